"""LeRobot sets with images that trajrl writes: the same episodes again, in columns as `datasets` has them."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from foreign import read, store_of
from PIL import Image

from trajrl import Episode, TrajectoryStore
from trajrl.core.rng import stream
from trajrl.formats import export, import_source, open_source
from trajrl.formats.lerobot.write_images import features_of

FORMATS = ("lerobot", "lerobot-v2.1")


def episodes(state: int, names: tuple[str, ...] = ("top",), channels: int = 3) -> list[Episode]:
    """Return three episodes with images."""
    found = []
    for e, length in enumerate((4, 1, 6)):
        rng = stream(e, "film")
        images = {n: rng.integers(0, 256, (length + 1, 8, 6, channels)).astype(np.uint8) for n in names}
        obs = rng.standard_normal((length + 1, state)).astype(np.float32)
        actions = rng.uniform(-1, 1, (length, 2)).astype(np.float32)
        rewards = np.arange(length, dtype=np.float32)
        found.append(Episode(obs, actions, rewards, e == 1, e != 0, ("push", "", "pull")[e], {}, images))
    return found


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("state", [0, 3])
def test_out_and_in_again_gives_the_same_episodes(format, state, tmp_path):
    store = store_of(episodes(state, ("top", "observation.images.hand")))
    export(store, tmp_path / "set", format)
    keys = (*(["observation.state"] if state else []), "observation.images.top", "observation.images.hand")
    source = open_source(tmp_path / "set", obs_keys=keys)
    import_source(source, tmp_path / "b.h5")
    again = TrajectoryStore.open(tmp_path / "b.h5")
    assert list(again.images) == list(store.images)
    assert again.fingerprint == store.fingerprint
    assert not source.notes.counts


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_images_of_other_channels_come_back(channels, tmp_path):
    export(store_of(episodes(3, channels=channels)), tmp_path / "set", "lerobot")
    found, _ = read(tmp_path / "set", obs_keys=("observation.state", "observation.images.top"))
    for one, other in zip(found, episodes(3, channels=channels), strict=True):
        np.testing.assert_array_equal(one.images["top"], other.images["top"])


def test_channels_that_png_has_not_are_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(ValueError, match="have 1 to 4 channels; 'top' of the store has 5"):
        export(store_of(episodes(3, channels=5)), tmp_path / "set", "lerobot")
    assert not list(tmp_path.iterdir())


def test_columns_and_descriptions_are_those_of_lerobot(tmp_path):
    due = episodes(3)
    export(store_of(due), tmp_path / "set", "lerobot")
    table = pq.read_table(tmp_path / "set/data/chunk-000/file-000.parquet")
    kinds = json.loads(table.schema.metadata[b"huggingface"])
    assert kinds["info"]["features"] == {"observation.images.top": {"_type": "Image"}}
    cells = table["observation.images.top"].to_pylist()
    assert list(cells[0]) == ["bytes", "path"]
    np.testing.assert_array_equal(
        np.asarray(Image.open(io.BytesIO(cells[4]["bytes"]))), due[1].images["top"][0]
    )
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert info["features"]["observation.images.top"] == {
        "dtype": "image", "shape": [8, 6, 3], "names": ["height", "width", "channels"],
    }  # fmt: skip
    stats = json.loads((tmp_path / "set/meta/stats.json").read_text())["observation.images.top"]
    seen = np.concatenate([one.images["top"][:-1] for one in due]) / 255
    np.testing.assert_allclose(np.ravel(stats["mean"]), seen.mean((0, 1, 2)), rtol=1e-5)
    assert np.shape(stats["std"]) == (3, 1, 1)


def test_a_set_whose_last_images_were_lost_is_read_as_found(tmp_path):
    export(store_of(episodes(3)), tmp_path / "set", "lerobot")
    (tmp_path / "set/meta/trajrl_final.parquet").unlink()
    found, source = read(tmp_path / "set", obs_keys=("observation.state", "observation.images.top"))
    assert [len(one) for one in found] == [3, 1, 5]
    assert source.notes.counts["outdated_ledger"] == 3


def test_without_its_images_the_set_is_whole(tmp_path):
    export(store_of(episodes(3)), tmp_path / "set", "lerobot")
    found, source = read(tmp_path / "set")
    assert [len(one) for one in found] == [4, 1, 6]
    assert source.notes.counts == {"left_frames": 1}


def test_two_images_of_one_name_there_are_refused():
    assert features_of(["top", "observation.images.side"]) == {
        "observation.images.top": "top", "observation.images.side": "observation.images.side"
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"images 'top' and 'observation\.images\.top'"):
        features_of(["top", "observation.images.top"])
