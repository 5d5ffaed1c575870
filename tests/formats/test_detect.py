"""Formats are recognised by content, whatever a file is called; what is not data is said to be so."""

from __future__ import annotations

import json
import zipfile

import h5py
import numpy as np
import pytest
from foreign import (
    chained,
    d4rl,
    example,
    hdf5,
    lerobot,
    lerobot_set,
    minari,
    minari_set,
    npz,
    ogbench,
    pickled,
    replay_buffer,
    rlds,
    robomimic,
    shared,
    store_of,
    tfrecord,
    zarr_store,
)

from trajrl import Episode
from trajrl.core.registry import find
from trajrl.formats import FORMATS, export, import_source, open_source, recognise


def made(kind: str, path):
    """Write a file of a kind under a name that says nothing."""
    if kind == "trajrl":
        source = open_source(hdf5(path.with_name("source"), d4rl()))
        import_source(source, path)
        return path
    makers = {
        "d4rl": lambda: hdf5(path, d4rl()), "robomimic": lambda: hdf5(path, robomimic({"demo_0": 4})),
        "minari": lambda: hdf5(path, minari([3])), "pickle": lambda: pickled(path, []),
        "ogbench": lambda: npz(path.with_suffix(".npz"), ogbench([3])).rename(path),
        "lerobot": lambda: lerobot_set(path, lerobot([3])),
        "rlds": lambda: tfrecord(path, [example(steps) for steps in rlds([3])]),
        "zarr": lambda: zarr_store(path, replay_buffer([3])),
        "npz-folder": lambda: npz(path / "1.npz", d4rl(5, ends=(4,))).parent,
        "npz": lambda: npz(path.with_suffix(".npz"), ogbench([3], rewards=np.zeros(4))).rename(path),
    }  # fmt: skip
    return makers[kind]()


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_content_decides_and_not_the_name(kind, tmp_path):
    assert recognise(made(kind, tmp_path / "anything.txt")) == kind


def test_every_format_has_a_reader_of_that_name():
    for name in FORMATS:
        assert find(FORMATS, name, "format").format == name


def test_folders_are_minari_or_shards(tmp_path):
    assert recognise(minari_set(tmp_path / "set-v0", minari([3]))) == "minari"
    npz(tmp_path / "shards" / "a-0.npz", ogbench([3]))
    assert recognise(tmp_path / "shards") == "ogbench"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"folder without shards \(\*\.npz\) or data/metadata.json"):
        recognise(tmp_path / "empty")


def test_chunked_d4rl_is_d4rl(tmp_path):
    assert recognise(hdf5(tmp_path / "x", {"virtual/0/observations": np.zeros((3, 2))})) == "d4rl"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty; download or copy it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git-lfs pointer, not the data"),
        (b"<!DOCTYPE html><html>403</html>", "a web page, perhaps of an error, not the data"),
        (b"\n\n<HTML><body>gone</body>", "a web page"),
        (b"observations,actions\n1,2\n", "text, not data"),
        (b"\x00\x01\x02\xff" * 9, "of no format trajrl knows"),
        (b"PK\x03\x04 and then nothing", "not a whole npz file"),
        (b"\x89HDF\r\n\x1a\n and then nothing", "not a whole HDF5 file"),
    ],
)
def test_what_is_not_data_says_what_it_is(tmp_path, content, said):
    path = tmp_path / "hopper.hdf5"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        recognise(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zip_without_arrays_and_hdf5_of_another_layout_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ValueError, match="a zip file without arrays"):
        recognise(tmp_path / "x.zip")
    with pytest.raises(ValueError, match="of no layout trajrl knows; it holds model_weights"):
        recognise(hdf5(tmp_path / "x.h5", {"model_weights/w": np.zeros(3)}))
    with pytest.raises(ValueError, match="holds act, obs, rew; accepted are observations, actions, rewards"):
        recognise(hdf5(tmp_path / "y.h5", {name: np.zeros(3) for name in ("obs", "act", "rew")}))


def test_lerobot_is_known_by_its_description_and_missing_files_are_refused(tmp_path):
    (tmp_path / "set" / "meta").mkdir(parents=True)
    (tmp_path / "set" / "meta" / "info.json").write_text("{}")
    assert recognise(tmp_path / "set") == "lerobot"
    with pytest.raises(FileNotFoundError, match="no such file"):
        recognise(tmp_path / "absent.hdf5")


def test_a_format_can_be_forced_and_must_exist(tmp_path):
    path = hdf5(tmp_path / "x", chained(d4rl(), (9, 19)))
    assert open_source(path, "d4rl").format == "d4rl"
    with pytest.raises(ValueError, match="no format 'd4lr'; did you mean 'd4rl'"):
        open_source(path, "d4lr")
    with pytest.raises(ValueError, match="no reader option 'horizn'; did you mean 'horizon'"):
        open_source(path, horizn=3)
    for wrong in ({"ends": "never"}, {"split": "test"}, {"horizon": -1}):
        with pytest.raises(ValueError, match=r"is one of|positive number of steps"):
            open_source(path, **wrong)
    with pytest.raises(ValueError, match="no export format 'pickle'"):
        export(
            store_of([Episode(np.zeros((2, 1)), np.zeros((1, 1)), np.zeros(1), True)]),
            tmp_path / "y",
            "pickle",
        )


def test_a_store_is_a_source_with_its_labels_and_provenance(tmp_path):
    path = hdf5(tmp_path / "x.hdf5", {**robomimic({"demo_0": 4}), "mask/train": np.array([b"demo_0"])})
    import_source(open_source(path), tmp_path / "a.h5")
    source = open_source(tmp_path / "a.h5")
    ((episode, labels),) = source.labelled()
    assert (len(episode), dict(labels)) == (4, {"mask_train": True, "phase": "offline"})
    assert source.provenance["versions"]["provenance"]["file"] == "x.hdf5"


def test_provenance_names_the_file_its_hash_and_what_was_changed(tmp_path):
    path = hdf5(tmp_path / "hopper_medium-v2.hdf5", {**d4rl(), "metadata/algorithm": np.bytes_("SAC")})
    import_source(open_source(path, source="mine"), tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as file:
        kept = json.loads(file.attrs["provenance"])
        assert bytes(file.attrs["environment"]) == b"d4rl:hopper-medium-v2"
    assert (kept["file"], kept["format"], len(kept["blake2"])) == ("hopper_medium-v2.hdf5", "d4rl", 32)
    assert kept["counts"] == {"dropped_steps": 2}
    assert kept["first"] == {"dropped_steps": "row 9"}
    assert kept["options"] == {"source": "mine"}
    assert kept["versions"] == {"algorithm": "SAC"}


def test_every_real_file_is_recognised():
    kinds = {
        "d4rl/hopper_medium-v2.hdf5": "d4rl", "robomimic/robomimic_test.hdf5": "robomimic",
        "minari/fixtures/hopper/mixed-v0": "minari", "ogbench/scene-play-v0.npz": "ogbench",
        "pickle/expert_data_Hopper-v4.pkl": "pickle", "policies/hopper-expert.npz": "npz",
    }  # fmt: skip
    for name, kind in kinds.items():
        assert recognise(shared(name)) == kind
    with pytest.raises(ValueError, match="has no 'obs'; it has"):
        list(open_source(shared("policies/hopper-expert.npz")).episodes())


@pytest.mark.parametrize(
    ("option", "value"),
    [("filter", "train"), ("obs_keys", ["object"]), ("split", "val"), ("trust_pickle", True)],
)
def test_an_option_that_the_format_does_not_read_is_refused(tmp_path, option, value):
    path = tmp_path / "x.hdf5"
    hdf5(path, d4rl())
    with pytest.raises(ValueError, match=f"the option {option} is for .*; this source is d4rl"):
        open_source(path, **{option: value})
