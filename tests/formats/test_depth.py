"""Depth: floats in metres or whole numbers of millimetres become bytes on a scale that is asked for."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign import at, hdf5, lerobot, lerobot_set, normal, read, robomimic
from PIL import Image

from trajrl import TrajectoryStore
from trajrl.cli.main import dispatch
from trajrl.formats import import_source, open_source
from trajrl.formats.base.depth import as_bytes, depth_images, is_depth
from trajrl.formats.base.encoded_image import decode
from trajrl.formats.base.options import make_options
from trajrl.formats.doctor.noted import noted
from trajrl.store.notes import Notes

KEY, TOP = "agentview_depth", "observation.images.depth"
RANGE = (0.5, 1.77)  # a byte is 5 mm


def scene(count: int, height: int = 16, width: int = 20) -> np.ndarray:
    """Return depth (n, h, w) in metres: a slope from 0.5 to 1.77, which moves, with a hole."""
    row, column = np.indices((height, width))
    metres = 0.5 + 1.27 * ((row * width + column)[None] + np.arange(count)[:, None, None]) / 400
    metres = np.minimum(metres, 1.77)
    metres[:, 3, 4] = 0
    return metres


def due(metres: np.ndarray) -> np.ndarray:
    """Return the bytes of it, pixel by pixel."""
    near, far = RANGE
    found = [0 if not 0 < d < np.inf else 1 + round(254 * (d - near) / (far - near)) for d in metres.flat]
    return np.array(found).reshape(*metres.shape, 1)


def test_the_ends_of_the_scale_and_what_was_not_read():
    metres = np.array([0.5, 1.77, 0.505, 1.135, 0.0, -1.0, np.nan, np.inf, 0.2, 9.0]).reshape(1, 2, 5)
    found, cut = as_bytes(metres, RANGE)
    assert found.ravel().tolist() == [1, 255, 2, 128, 0, 0, 0, 0, 1, 255]
    assert cut == 2


def test_whole_numbers_are_millimetres():
    metres = scene(3)
    found, cut = as_bytes(np.rint(metres * 1000).astype(np.uint16), RANGE)
    assert cut == 0
    np.testing.assert_allclose(found.astype(int), due(metres), atol=1)
    np.testing.assert_array_equal(found, as_bytes(np.rint(metres * 1000) / 1000, RANGE)[0])


def test_a_smaller_size_invents_no_depth():
    metres = np.where(np.arange(20) < 10, 0.6, 1.6)[None, None].repeat(16, 1)  # an edge
    small = depth_images(metres, RANGE, (8, 9), Notes(), "x")
    assert small.shape == (1, 8, 9, 1)
    assert set(small.ravel().tolist()) == set(due(np.array([0.6, 1.6])).ravel().tolist())


@pytest.mark.parametrize(
    ("shape", "kind", "found"),
    [((9, 16, 20), "f4", True), ((9, 16, 20, 1), "u2", True), ((9, 4, 4), "f8", False),
     ((9, 20), "f4", False), ((9, 16, 20, 3), "f4", False), ((9, 16, 20, 1), "u1", False),
     ((9, 16, 20), "i4", False)],
)  # fmt: skip
def test_what_is_depth(shape, kind, found):
    assert is_depth(shape, np.dtype(kind)) is found


def filed(path, kind):
    """Write a robomimic file with depth, (T, h, w, 1)."""
    metres = scene(5)[..., None]
    rows = metres.astype(np.float32) if kind == "f4" else np.rint(metres * 1000).astype(np.uint16)
    arrays = {f"data/demo_0/obs/{KEY}": rows[:-1], f"data/demo_0/next_obs/{KEY}": rows[1:]}
    return hdf5(path, {**robomimic({"demo_0": 4}), **arrays})


@pytest.mark.parametrize("kind", ["f4", "u2"])
def test_depth_of_robomimic_is_an_image_of_one_channel(kind, tmp_path):
    path = filed(tmp_path / "x.hdf5", kind)
    options = {"obs_keys": ("robot0_eef_pos", KEY), "depth_range": RANGE}
    import_source(open_source(path, **options), tmp_path / "x.h5")
    store = TrajectoryStore.open(tmp_path / "x.h5")
    assert (store.obs_dim, store.image_shapes) == (3, {KEY: (16, 20, 1)})
    np.testing.assert_allclose(store.images[KEY].slice(0, 5).astype(int), due(scene(5)), atol=1)
    assert store.attributes["provenance"]["options"]["depth_range"] == list(RANGE)
    assert read(path)[1].notes.first["images_left_out"] == KEY  # unless it is named


def test_depth_of_a_folder_of_npz(tmp_path):
    (tmp_path / "x").mkdir()
    for e in range(2):
        np.savez(
            tmp_path / "x" / f"{e}.npz", actions=np.tanh(normal("act", 4, 2)), rewards=np.zeros(4),
            terminals=at(4, 3), depth=np.rint(scene(5) * 1000).astype(np.uint16),
        )  # fmt: skip
    with pytest.raises(
        ValueError, match=r"0.npz: 'depth' is depth \(uint16 of 16x20\): --depth-range NEAR FAR"
    ):
        read(tmp_path / "x", obs_keys=("depth",))
    episodes, _ = read(tmp_path / "x", obs_keys=("depth",), depth_range=RANGE)
    np.testing.assert_allclose(episodes[1].images["depth"].astype(int), due(scene(5)), atol=1)


def pictured(folder):
    """Write a LeRobot set with PNG of 16 bits."""
    lerobot_set(folder, lerobot([4, 5]))
    cells = []
    for frame in np.rint(scene(9) * 1000).astype(np.uint16):
        out = io.BytesIO()
        Image.fromarray(frame).save(out, "PNG")
        cells.append({"bytes": out.getvalue(), "path": None})
    file = folder / "data/chunk-000/file-000.parquet"
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pq.read_table(file).append_column(TOP, pa.array(cells, kind)), file)
    place = folder / "meta/info.json"
    info = json.loads(place.read_text())
    info["features"][TOP] = {"dtype": "image", "shape": [16, 20, 1], "names": None}
    place.write_text(json.dumps(info))
    return folder


def test_depth_of_lerobot_is_read_from_png_of_16_bits(tmp_path):
    folder = pictured(tmp_path / "x")
    with pytest.raises(ValueError, match=r"row 0, is depth \(uint16 of 16x20x1\): --depth-range NEAR FAR"):
        read(folder, obs_keys=(TOP,))
    episodes, source = read(folder, obs_keys=(TOP,), depth_range=(0.6, 1.77))
    found = np.concatenate([one.images[TOP][:-1] for one in episodes])
    near = scene(9)[..., None]
    assert (found[near == 0] == 0).all()
    assert source.notes.counts["depth_outside"] == ((near > 0) & (np.rint(near * 1000) < 600)).sum()
    assert any("outside --depth-range" in finding.line() for finding in noted(source))


def test_images_without_a_reading_and_of_another_unit_are_counted():
    metres, notes = scene(4), Notes()
    depth_images(metres, RANGE, None, notes, "x")
    assert not {"depth_unread", "depth_of_other_range"} & {*notes.counts}
    depth_images(np.concatenate([1000 * metres, np.zeros_like(metres[:2])]), RANGE, None, notes, "x")
    assert notes.counts["depth_of_other_range"] == 4
    assert notes.counts["depth_unread"] == 2


def test_a_range_of_depth_without_images_is_refused():
    with pytest.raises(ValueError, match="--obs-keys names which"):
        make_options({"depth_range": RANGE}).validate()


def test_where_depth_is_not_asked_for_16_bits_are_refused():
    out = io.BytesIO()
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(out, "PNG")
    with pytest.raises(ValueError, match="x is an image of the kind I;16, which bytes do not hold"):
        decode(out.getvalue(), "x")


def test_a_video_of_depth_is_refused(tmp_path):
    pytest.importorskip("av", reason="PyAV is not installed")
    from test_lerobot_images import TOP as FILMED
    from test_lerobot_images import filmed

    folder = filmed(tmp_path / "x")
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"][FILMED]["info"] = {"video.is_depth_map": True}
    (folder / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=r"file-000.mp4 is a video of depth, which is not decoded: leave"):
        read(folder, obs_keys=(FILMED,), depth_range=RANGE)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "is depth (float32 of 16x20x1): --depth-range NEAR FAR, in metres, makes bytes of it"),
        (["--depth-range", "2", "1"], "a range of depth is two rising numbers of metres; got 2.0 1.0"),
        (["--depth-range", "nan", "1"], "a range of depth is two rising numbers of metres; got nan 1.0"),
    ],
)
def test_on_the_command_line_it_is_one_line_and_nothing_is_left(words, said, tmp_path, capsys):
    path = filed(tmp_path / "x.hdf5", "f4")
    command = ["store", "import", str(path), "--obs-keys", KEY, *words, "--out", str(tmp_path / "x.h5")]
    assert dispatch(command) == 1
    assert said in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "x.h5").exists()


def test_a_range_where_no_image_is_depth_is_refused(tmp_path, capsys):
    images = np.zeros((5, 16, 20, 3), np.uint8)
    arrays = {"data/demo_0/obs/view": images[:-1], "data/demo_0/next_obs/view": images[1:]}
    path = hdf5(tmp_path / "x.hdf5", {**robomimic({"demo_0": 4}), **arrays})
    words = ["--obs-keys", "view", "robot0_eef_pos", "--depth-range", "0.5", "2"]
    assert dispatch(["store", "import", str(path), *words, "--out", str(tmp_path / "x.h5")]) == 1
    assert "none of view, robot0_eef_pos is depth; leave it out" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "x.h5").exists()
