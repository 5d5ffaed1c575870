"""Colours under every kind of sight, in light and in dark.

A colour is turned into what protanopes, deuteranopes and tritanopes see (Machado et al. 2009, in linear RGB)
and compared by distance in CIELAB.
"""

import itertools

import numpy as np
import pytest

from trajrl.report.charts import style

BLIND = {
    "none": "1 0 0 0 1 0 0 0 1",
    "protan": "0.152286 1.052583 -0.204868 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998",
    "deutan": "0.367322 0.860646 -0.227968 0.280085 0.672501 0.047413 -0.011820 0.042940 0.968881",
    "tritan": "1.255528 -0.076749 -0.178779 -0.078411 0.930809 0.147602 0.004733 0.691367 0.303900",
}
TO_XYZ = "0.4124564 0.3575761 0.1804375 0.2126729 0.7151522 0.0721750 0.0193339 0.1191920 0.9503041"
WHITE = np.array([0.95047, 1.0, 1.08883])


def matrix(text: str) -> np.ndarray:
    return np.array(text.split(), float).reshape(3, 3)


def linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    x = matrix(TO_XYZ) @ np.clip(rgb, 0, 1) / WHITE
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("sight", BLIND)
def test_colours_stay_apart_for_every_kind_of_sight(theme, sight):
    seen = [lab(matrix(BLIND[sight]) @ linear(style.colour(place, theme))) for place in range(6)]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_eighteen_clusters_have_eighteen_colours(theme):
    seen = [lab(linear(style.colour(place, theme))) for place in range(18)]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 25


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_and_ink_stand_out_from_the_paper(theme):
    weights = np.array([0.2126, 0.7152, 0.0722])

    def contrast(colour: str) -> float:
        pair = sorted((linear(colour) @ weights, linear(style.PAPER[theme]) @ weights))
        return (pair[1] + 0.05) / (pair[0] + 0.05)

    assert all(contrast(style.colour(place, theme)) >= 3 for place in range(18))
    assert contrast(style.INK[theme]) >= 7
