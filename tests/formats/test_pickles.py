"""Pickles: three public layouts, through an unpickler that runs nothing from the file."""

from __future__ import annotations

import io
import pickle
import pickletools
from collections import OrderedDict

import numpy as np
import pytest
from foreign import at, normal, pickled, read, shared

from trajrl.formats import import_source, open_source
from trajrl.formats.pickle.safe_unpickle import NumpyUnpickler, RefusedError, load

RAN = []


def ring(*_):
    RAN.append(1)
    return {}


class Bomb:
    """Calls a function of this module when it is unpickled."""

    def __reduce__(self):
        return ring, ()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.pkl"


def trajectory(length: int, terminated: bool = False, seed: int = 0):
    return {
        "observations": normal("obs", length, 3, seed=seed),
        "next_observations": normal("next", length, 3, seed=seed),
        "actions": normal("act", length, 2, seed=seed), "rewards": normal("rew", length, seed=seed),
        "terminals": at(length, length - 1) & terminated,
    }  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_decision_transformer_lists_are_read_with_every_protocol(path, protocol):
    found = [trajectory(5, True), trajectory(3, False, seed=1)]
    episodes, source = read(pickled(path, found, protocol))
    assert [(len(e), e.terminated) for e in episodes] == [(5, True), (3, False)]
    np.testing.assert_array_equal(episodes[0].obs[:-1], found[0]["observations"])
    np.testing.assert_array_equal(episodes[0].obs[-1], found[0]["next_observations"][-1])
    assert source.count == 2
    assert source.notes.counts == {}


def test_expert_lists_with_singular_keys_are_read(path):
    names = {"observations": "observation", "next_observations": "next_observation", "actions": "action",
             "rewards": "reward", "terminals": "terminal"}  # fmt: skip
    found = [{names[k]: v.astype(np.float64) for k, v in trajectory(60, True).items()} for _ in range(2)]
    found[0]["action"][3] = 5.2
    episodes, _ = read(pickled(path, found))
    assert [(len(e), e.terminated) for e in episodes] == [(60, True)] * 2
    assert episodes[0].actions.max() == np.float32(5.2)  # kept as found


def test_import_warns_of_actions_outside_the_box_and_of_limits_set_as_terminals(path, tmp_path):
    found = [trajectory(60, True, seed=seed) for seed in range(3)]
    found[1]["actions"][:] = 0
    for each in found:
        each["actions"] = np.clip(each["actions"], -1, 1)
    found[1]["actions"][7, 1] = -1.5
    summary = import_source(open_source(pickled(path, found)), tmp_path / "x.h5")
    assert summary["counts"] == {"actions_outside_box": 1, "terminals_at_limit": 3}
    assert summary["first"]["actions_outside_box"] == "episode 1, step 7"


def test_demonstrations_without_ends_give_up_their_last_action(path):
    found = [trajectory(5)]
    for name in ("next_observations", "terminals"):
        del found[0][name]
    episodes, source = read(pickled(path, [{**found[0], "init_state_dict": {"qpos": np.zeros(3)}}]))
    assert [(len(e), e.terminated) for e in episodes] == [(4, False)]
    assert source.notes.counts == {"dropped_steps": 1, "ends_of_unknown_kind": 1, "skipped_members": 1}


def test_one_observation_more_than_actions_is_the_last_one(path):
    found = trajectory(5)
    del found["next_observations"]
    found["observations"] = normal("obs", 6, 3)
    episodes, _ = read(pickled(path, [found]))
    np.testing.assert_array_equal(episodes[0].obs, found["observations"])


def test_a_terminal_inside_a_trajectory_is_a_mark(path):
    found = [trajectory(5), trajectory(3, True)]
    found[0]["terminals"] = at(5, 2)
    episodes, source = read(pickled(path, found))
    assert [e.extras["terminal"].tolist() for e in episodes] == [
        [False, False, True, False, False],
        [False, False, True],
    ]
    assert source.notes.counts["flags_before_the_end"] == 1


def test_a_dictionary_of_flat_columns_is_cut(path):
    found = trajectory(6)
    del found["next_observations"]
    episodes, _ = read(pickled(path, {**found, "terminals": at(6, 1, 5)}))
    assert [len(e) for e in episodes] == [2, 4]


def test_object_arrays_lists_and_numpy_scalars_are_plain(path):
    value = [OrderedDict(a=np.float32(2.5), b=np.array([[1, 2], [3]], object), d=np.array(["x"]))]
    assert load(pickled(path, value)) == [{"a": 2.5, "b": [[1, 2], [3]], "d": np.array(["x"])}]


@pytest.mark.parametrize("protocol", range(6))
def test_fortran_and_big_endian_arrays_keep_their_values(path, protocol):
    value = [
        np.asfortranarray(normal("a", 3, 2)),
        normal("b", 4).astype(">f8"),
        np.arange(6, dtype="<i2")[::2],
    ]
    for got, due in zip(load(pickled(path, value, protocol)), value, strict=True):
        np.testing.assert_array_equal(got, due)


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_pickle_never_runs(path, protocol):
    with pytest.raises(
        ValueError, match=r"holds \S*test_pickles\.ring, .*--trust-pickle loads it if you know who wrote it"
    ):
        load(pickled(path, [trajectory(3), Bomb()], protocol))
    assert not RAN


def test_a_trusted_pickle_runs_and_says_so(path):
    found = pickled(path, [{**trajectory(3), "bomb": Bomb()}])
    episodes, source = read(found, trust_pickle=True)
    assert (len(episodes), RAN) == (1, [1])
    assert source.notes.counts["trusted_pickles"] == 1
    RAN.clear()


@pytest.mark.parametrize(
    "value", [print, open, np.load, np.random.Generator, pickle.loads, ValueError("x")],
    ids=["print", "open", "load", "Generator", "loads", "ValueError"],
)  # fmt: skip
def test_names_off_the_list_are_refused(path, value):
    with pytest.raises(ValueError, match="neither an array nor a plain container"):
        load(pickled(path, value))


def test_nothing_of_numpy_can_be_called_by_a_pickle():
    """ndarray(shape, dtype, buffer) and dtype.__setstate__ with fields could turn bytes into pointers."""
    call = b"\x80\x02cnumpy\nndarray\n(K\x01X\x02\x00\x00\x00f8tR."
    with pytest.raises(TypeError, match="not callable"):
        NumpyUnpickler(io.BytesIO(call), len(call)).load()
    with pytest.raises(RefusedError, match="records"):
        NumpyUnpickler(io.BytesIO(pickle.dumps(np.zeros(2, [("a", "f8")]))), 500).load()
    names = {arg for op, arg, _ in pickletools.genops(call) if op.name == "GLOBAL"}
    assert names == {"numpy ndarray"}


def test_persistent_references_are_refused(path):
    path.write_bytes(b"\x80\x02X\x01\x00\x00\x00aQ.")
    with pytest.raises(ValueError, match="objects outside the file"):
        load(path)


@pytest.mark.parametrize("kept", [2, 40, 200, -3])
def test_a_truncated_pickle_is_one_line(path, kept):
    pickled(path, [trajectory(5)])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="is not a whole pickle") as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [3, [], {}, "text", [1, 2], np.zeros(3)], ids=str)
def test_anything_but_trajectories_is_refused(path, value):
    with pytest.raises(ValueError, match="a list of trajectories, each a dictionary, is due"):
        open_source(pickled(path, value))


def test_columns_that_disagree_name_the_trajectory(path):
    found = [trajectory(5), trajectory(5)]
    found[1]["rewards"] = found[1]["rewards"][:-1]
    with pytest.raises(ValueError, match="trajectory 1: 'rewards' has 4 rows and 'actions' 5"):
        read(pickled(path, found))


def test_real_experts_are_read_as_found(tmp_path):
    source = open_source(shared("pickle/expert_data_Hopper-v4.pkl"))
    found = import_source(source, tmp_path / "x.h5")
    assert found["lengths"] == {"min": 1000, "mean": 1000, "max": 1000}
    assert [round(found["returns"][k], 1) for k in ("min", "max")] == [3717.2, 3717.9]
    assert 0.43 < found["counts"]["actions_outside_box"] / 6000 < 0.45
    assert found["counts"]["terminals_at_limit"] == 2


def test_a_pickle_cut_inside_a_long_number_says_why(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02\x8b\xff\xff\x00\x00\x01\x02")
    with pytest.raises(ValueError, match=r"x.pkl is not a whole pickle \(\w+.*\); download"):
        read(path)


def test_what_is_no_list_is_named_with_its_article(tmp_path):
    with pytest.raises(ValueError, match="holds an int; a list of trajectories"):
        read(pickled(tmp_path / "x.pkl", 3))
