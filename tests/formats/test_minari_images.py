"""Images of Minari sets as its own package packs them: JPEG, in rows of any length or of one."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from foreign import read
from PIL import Image

from trajrl.core.rng import stream


def jpeg(frame: np.ndarray) -> np.ndarray:
    out = io.BytesIO()
    Image.fromarray(frame).save(out, format="JPEG")
    return np.frombuffer(out.getvalue(), np.uint8)


def packed(alike: bool = False) -> list[np.ndarray]:
    """Return four packed images."""
    frames = stream(0, "minari").integers(0, 256, (4, 32, 40, 3)).astype(np.uint8)
    return [jpeg(frame) for frame in (frames[:1].repeat(4, 0) if alike else frames)]


def shown(path: Path, rows: list[np.ndarray], key: str = "observations/camera") -> Path:
    """Write a set of one episode as Minari 0.5 does."""
    (path / "data").mkdir(parents=True)
    with h5py.File(path / "data/main_data.hdf5", "w") as file:
        group = file.create_group("episode_0")
        alike = len({len(row) for row in rows}) == 1
        kind = None if alike else h5py.vlen_dtype(np.uint8)
        images = group.create_dataset(
            key, (len(rows), *((len(rows[0]),) if alike else ())), dtype=kind or "u1"
        )
        for index, row in enumerate(rows):
            images[index] = row
        if key != "observations":
            group["observations/arm"] = np.ones((4, 2))
        columns = {"actions": np.zeros((3, 1), np.float32), "rewards": np.ones(3)}
        columns |= {"terminations": np.zeros(3, bool), "truncations": np.arange(3) == 2}
        for name, column in columns.items():
            group[name] = column
    (path / "data/metadata.json").write_text('{"jpeg_encoding": true}')
    return path


@pytest.mark.parametrize("alike", [False, True])
def test_jpeg_images_are_read_by_their_key(alike, tmp_path):
    rows = packed(alike)
    due = np.stack([np.asarray(Image.open(io.BytesIO(row.tobytes()))) for row in rows])
    folder = shown(tmp_path / "x-v0", rows)
    (both,), _ = read(folder, obs_keys=("arm", "camera"))
    np.testing.assert_array_equal(both.images["camera"], due)
    assert both.obs.shape == (4, 2)
    (small,), _ = read(folder, obs_keys=("camera",), image_size=(16, 20))
    assert small.images["camera"].shape == (4, 16, 20, 3)
    _, source = read(folder, obs_keys=("arm",))
    assert source.notes.counts["images_left_out"] == 1


@pytest.mark.parametrize("alike", [False, True])
def test_observations_that_are_images_alone_are_pixels(alike, tmp_path):
    (episode,), _ = read(shown(tmp_path / "x-v0", packed(alike), "observations"))
    assert episode.obs.shape == (4, 0)
    assert episode.images["pixels"].shape == (4, 32, 40, 3)


def test_an_image_that_is_damaged_is_named_by_its_step(tmp_path):
    rows = packed()
    rows[2] = rows[2][:200]
    with pytest.raises(ValueError, match=r"'episode_0, camera', step 2, .*(is damaged|that can be read)"):
        read(shown(tmp_path / "x-v0", rows), obs_keys=("camera",))


def test_bytes_of_no_image_are_refused(tmp_path):
    rows = [np.arange(n, dtype=np.uint8) for n in (4, 5, 6, 7)]
    with pytest.raises(ValueError, match="step 0, holds no PNG or JPEG image"):
        read(shown(tmp_path / "x-v0", rows), obs_keys=("camera",))
