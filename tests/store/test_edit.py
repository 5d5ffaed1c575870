"""Edits of stores: what is kept, changed and named; nothing is held whole, and no kill leaves a half."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from episodes import assert_same, counting, random_episode, write
from faults import Nursery
from tried import note

from trajrl import Episode, TrajectoryStore, make_sampler
from trajrl.core.rng import stream
from trajrl.formats import import_source, open_source
from trajrl.samplers.clustering.fit import ClusterSpec, cluster_store
from trajrl.samplers.clustering.labels import read_clustering, write_clustering
from trajrl.store.edit.choose import kept_where, without
from trajrl.store.edit.merge import write_merged
from trajrl.store.edit.parts import shares_of, write_parts
from trajrl.store.edit.relabel import Rewards, relabelled
from trajrl.store.edit.rename import pairs, renamed
from trajrl.store.edit.rewrite import open_to_edit, write_edit
from trajrl.store.file.pack import pack
from trajrl.store.file.verify import verify
from trajrl.store.file.writer import StoreWriter
from trajrl.store.mix import Part, write_mixture

ROOT = Path(__file__).parents[2]
FACTS = {"environment": "E", "action_low": [-9.0, -9.0], "action_high": [9.0, 9.0], "units": {"obs": "m"}}


@pytest.fixture
def path(tmp_path) -> Path:
    """Twelve episodes with marks, every second one labelled, some online, in clusters."""
    plain = tmp_path / "plain.h5"
    with StoreWriter(
        plain, {**FACTS, "provenance": {"format": "npz", "counts": {"dropped_steps": 2}}}
    ) as writer:
        for e in range(12):
            phase = "online" if e % 4 == 3 else "offline"
            writer.append(random_episode(3, e, marks=True), phase, {"train": e % 2 == 0, "score": e / 2})
    store = TrajectoryStore.open(plain)
    write_clustering(plain, tmp_path / "x.h5", store, cluster_store(store, ClusterSpec(clusters=2), 0))
    plain.unlink()
    return tmp_path / "x.h5"


def edited(path: Path, edit, name: str = "y.h5") -> tuple[dict, TrajectoryStore]:
    found = write_edit(edit, path.with_name(name))
    assert list(verify(path.with_name(name))) == []
    return found, TrajectoryStore.open(path.with_name(name))


def test_filter_keeps_episodes_phases_labels_clusters_and_attributes(path):
    old = open_to_edit(path)
    found, new = edited(path, kept_where(old, "column('train') and length > 2 or phase == 'online'")[0])
    ids = [e for e in range(12) if (e % 2 == 0 and old.table.length[e] > 2) or e % 4 == 3]
    assert 3 < len(ids) < 9
    for e, kept in zip(ids, new.episodes(), strict=True):
        assert_same(old.episode(e), kept)
    for name in ("phase", "train", "score", "cluster", "success", "returns"):
        np.testing.assert_array_equal(getattr(new.table, name), getattr(old.table, name)[ids])
        assert getattr(new.table, name).dtype == getattr(old.table, name).dtype
    assert {name: new.attributes[name] for name in FACTS} == FACTS
    centres = read_clustering(new)
    assert centres is not None
    np.testing.assert_array_equal(centres.centres, read_clustering(old).centres)
    assert found["fingerprint"] == new.fingerprint == TrajectoryStore.of(new.episodes()).fingerprint


def test_provenance_says_what_was_asked_kept_and_dropped_edit_after_edit(path):
    old = open_to_edit(path)
    edited(path, kept_where(old, "episode < 10")[0])
    _, new = edited(path, without(open_to_edit(path.with_name("y.h5")), ["3", "5:7"])[0], "z.h5")
    first, second = new.attributes["provenance"]["edits"]
    assert new.attributes["provenance"]["counts"] == {"dropped_steps": 2}
    assert (first["edit"], first["asked"]) == ("filter", {"where": "episode < 10", "unknown": 0})
    assert first["from"]["fingerprint"] == old.fingerprint
    assert first["from"]["episodes"] == 12
    assert (first["kept"]["episodes"], first["dropped"]["episodes"]) == (10, 2)
    assert first["dropped"]["transitions"] == int(old.table.length[10:].sum())
    assert (second["edit"], second["asked"]["episodes"]) == ("delete", "3 5:7")
    assert second["from"]["fingerprint"] == TrajectoryStore.open(path.with_name("y.h5")).fingerprint
    assert second["dropped"]["transitions"] == int(old.table.length[[3, 5, 6]].sum())


def test_a_filter_does_not_keep_what_is_not_known_and_a_delete_does_not_drop_it(path):
    old = open_to_edit(path)
    success = old.table.success
    edit, unknown = kept_where(old, "not success")
    assert unknown == (success < 0).sum() == 4
    np.testing.assert_array_equal(edit.ids, np.flatnonzero(success == 0))
    edit, unknown = without(old, text="not success")
    assert unknown == 4
    np.testing.assert_array_equal(edit.ids, np.flatnonzero(success != 0))


def test_a_store_may_be_edited_in_place_again_and_again(path):
    for left in (11, 10, 9):
        _, new = edited(path, without(open_to_edit(path), ["0"])[0], path.name)
        assert len(new) == left
    assert [place.name for place in path.parent.iterdir()] == [path.name]


def shifted(path: Path, shift: float):
    return relabelled(open_to_edit(path), Rewards(shift=shift))


def test_of_edits_in_place_at_once_one_is_written_and_the_others_are_refused(path):
    old, edits = open_to_edit(path), [shifted(path, shift) for shift in (1.0, 10.0, 100.0)]

    with ThreadPoolExecutor(3) as pool:
        under_way = [pool.submit(write_edit, edit, path) for edit in edits]
    refused = [str(one.exception()) for one in under_way if one.exception()]
    said = f"{path} was changed by another program since it was read"
    assert [text.startswith(said) for text in refused] == [True, True]
    (written,) = (edit.change.shift for edit, one in zip(edits, under_way) if not one.exception())
    new = TrajectoryStore.open(path)
    np.testing.assert_allclose(new.episode(3).rewards, old.episode(3).rewards + written, rtol=1e-5)
    assert len(new.attributes["provenance"]["edits"]) == 1
    assert [place.name for place in path.parent.iterdir()] == [path.name]


def test_no_edit_in_place_undoes_another_that_it_did_not_see(path, tmp_path):
    write(tmp_path / "z.h5", [random_episode(4, e, marks=True) for e in range(3)], **FACTS)
    both, store = [open_to_edit(path), open_to_edit(tmp_path / "z.h5")], TrajectoryStore.open(path)
    clusters = cluster_store(store, ClusterSpec(clusters=2), 0)
    now, _ = edited(path, shifted(path, 1.0), path.name)
    for late in (
        lambda: write_merged(both, path), lambda: write_clustering(path, path, store, clusters),
        lambda: write_mixture([Part(path, 1.0, store, 3, np.arange(3))], path, 0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="was changed by another program since it was read"):
            late()
    assert TrajectoryStore.open(path).fingerprint == now["fingerprint"]
    source = open_source(path)
    now, _ = edited(path, shifted(path, 2.0), path.name)
    with pytest.raises(ValueError, match="was changed by another program since it was read"):
        import_source(source, path, overwrite=True)
    assert TrajectoryStore.open(path).fingerprint == now["fingerprint"]
    write_edit(kept_where(store, "length > 2")[0], path.with_name("y.h5"))  # another name is free


def test_a_packed_store_is_edited_too_and_gives_the_same_episodes(path):
    pack(path, path.with_name("p.h5"))
    _, left = edited(path, kept_where(open_to_edit(path), "length > 3")[0])
    _, right = edited(path, kept_where(open_to_edit(path.with_name("p.h5")), "length > 3")[0])
    assert left.fingerprint == right.fingerprint


def test_a_cluster_that_lost_all_its_episodes_is_no_trouble_to_the_sampler(path):
    _, new = edited(path, kept_where(open_to_edit(path), "cluster == 1")[0])
    sampler = make_sampler("cluster", new, clusters=2)
    assert len(sampler.sample(stream(0, "test"), 32).episode) == 32


@pytest.mark.parametrize(
    ("episodes", "message"),
    [
        (["12"], "ids run from 0 to 11"), (["3:3"], "names what is not there"), (["5:3"], "is not there"),
        (["3-5"], "takes ids and ranges such as 3 17 20:30"), (["-1"], "takes ids"), (["x"], "takes ids"),
        ([""], "takes ids"), (["1:2:3"], "takes ids"), (["11:13"], "ids run from 0 to 11"),
    ],
)  # fmt: skip
def test_ids_that_are_not_there_are_refused(path, episodes, message):
    with pytest.raises(ValueError, match=message):
        without(open_to_edit(path), episodes)


def test_ids_and_half_open_ranges_are_deleted(path):
    edit, _ = without(open_to_edit(path), ["1", "4:6", "10:", ":1"])
    assert edit.ids.tolist() == [2, 3, 6, 7, 8, 9]


def test_columns_are_deleted_by_name_and_named_as_not_carried(path):
    edit, _ = without(open_to_edit(path), extras=["terminal"], labels=["score", "cluster"])
    found, new = edited(path, edit)
    assert (new.extras, new.table.extra_names, len(new)) == ({}, ["train"], 12)
    assert read_clustering(new) is None
    assert "clustering" not in new.attributes
    assert set(found["left_out"]) > {"table/score", "table/cluster", "extras/terminal"}
    with pytest.raises(ValueError, match="no table column 'scor'; did you mean 'score'"):
        without(open_to_edit(path), labels=["scor"])


def test_nothing_left_and_nothing_named_are_refused_and_write_nothing(path):
    store = open_to_edit(path)
    with pytest.raises(ValueError, match="no episode of the 12"):
        kept_where(store, "length > 99")
    with pytest.raises(ValueError, match="nothing would be left"):
        edited(path, without(store, [":"])[0])
    with pytest.raises(ValueError, match="nothing is named to delete"):
        without(store)
    with pytest.raises(ValueError, match="nothing is named to rename"):
        renamed(store, {}, {}, {})
    assert [place.name for place in path.parent.iterdir()] == ["x.h5"]


def test_split_gives_every_episode_to_one_part_and_merge_puts_them_together(path):
    old = open_to_edit(path)
    found = write_parts(old, shares_of(["train:0.5", "val:0.25", "test:0.25"]), path.with_name("parts"), 0)
    files = [Path(part["out"]) for part in found["parts"].values()]
    assert sorted(place.name for place in path.with_name("parts").iterdir()) == [
        "test.h5",
        "train.h5",
        "val.h5",
    ]
    assert [list(verify(place)) for place in files] == [[], [], []]
    parts = [open_to_edit(place) for place in files]
    assert [len(part) for part in parts] == [6, 3, 3]
    assert parts[1].attributes["provenance"]["edits"][0]["kept"]["episodes"] == 3
    merged = write_merged(parts, path.with_name("m.h5"))
    assert (merged["episodes"], merged["transitions"], merged["twice"]) == (12, old.num_steps, 0)
    new = TrajectoryStore.open(path.with_name("m.h5"))
    assert list(verify(path.with_name("m.h5"))) == []
    score = new.table.score.argsort()  # the order of the old store
    for e in range(12):
        assert_same(old.episode(e), new.episode(int(score[e])))
    assert merged["left_out"] == []
    assert read_clustering(new) is not None
    assert {name: new.attributes[name] for name in FACTS} == FACTS
    assert [part["episodes"] for part in new.attributes["provenance"]["parts"]] == [6, 3, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a:0.5", "b:0.4"], "these add up to 0.9"), (["a:1"], "not NAME:SHARE"), (["a:0.5"], "two parts"),
        (["a:0.5", "a:0.5"], "is not NAME:SHARE"), (["../a:0.5", "b:0.5"], "is not NAME:SHARE"),
        (["a:x", "b:0.5"], "is not NAME:SHARE"), ([":0.5", "b:0.5"], "is not NAME:SHARE"),
    ],
)  # fmt: skip
def test_shares_that_cannot_be_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        shares_of(words)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"environment": "F"}, "do not agree in environment: E and F; where both are the same one"),
        ({"environment": None}, "do not agree in environment: E and none"),
        ({"units": {"obs": "mm"}}, "do not agree in units: obs in m and obs in mm"),
        ({"action_high": [9.0, 8.0]}, r"do not agree in action box: \[-9, 9\] and \[-9, -9\] to \[9, 8\]"),
        ({"action_low": None, "action_high": None}, r"do not agree in action box: \[-9, 9\] and none"),
        ({"actions_scaled": True}, "do not agree in action box: .* and trajrl's own"),
    ],
)
def test_stores_that_do_not_mean_the_same_are_not_merged(tmp_path, changed, message):
    facts = {name: value for name, value in {**FACTS, **changed}.items() if value is not None}
    one = write(tmp_path / "a.h5", [random_episode(0, e) for e in range(3)], **FACTS)
    two = write(tmp_path / "b.h5", [random_episode(1, e) for e in range(3)], **facts)
    with pytest.raises(ValueError, match=message):
        write_merged([open_to_edit(one), open_to_edit(two)], tmp_path / "m.h5")
    assert not (tmp_path / "m.h5").exists()


def test_other_dims_and_extras_are_not_merged_and_marks_may_be_missing(tmp_path):
    extra = {"time": np.arange(3)}
    one = open_to_edit(write(tmp_path / "a.h5", [counting(3, extras=extra)]))
    for name, episode, message in (
        (
            "b.h5",
            random_episode(0, 0),
            "do not agree in dims: observations of 1, actions of 1 numbers and obs",
        ),
        (
            "c.h5",
            counting(3),
            r"do not agree in extras: time \(int64\) and none; `store delete --extras NAME`",
        ),
        (
            "d.h5",
            counting(3, extras={"time": np.arange(3.0)}),
            r"extras: time \(int64\) and time \(float64\)",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            write_merged([one, open_to_edit(write(tmp_path / name, [episode]))], tmp_path / "m.h5")
    twin = open_to_edit(write(tmp_path / "e.h5", [counting(3, extras=extra)]))
    with pytest.raises(ValueError, match="hold the same episodes"):
        write_merged([one, twin], tmp_path / "m.h5")
    marked = open_to_edit(write(tmp_path / "f.h5", [counting(4, marks=[1], extras={"time": np.arange(4)})]))
    write_merged([one, marked], tmp_path / "m.h5")
    assert TrajectoryStore.open(tmp_path / "m.h5").extras["terminal"].slice(0, 7).tolist() == [False] * 4 + [
        True, False, False,
    ]  # fmt: skip


def test_labels_that_one_store_lacks_and_other_clusterings_are_named(path, tmp_path):
    other = write(tmp_path / "b.h5", [random_episode(9, e, marks=True) for e in range(3)], **FACTS)
    found = write_merged([open_to_edit(path), open_to_edit(other)], tmp_path / "m.h5")
    assert set(found["left_out"]) == {"table/score", "table/cluster"}
    assert TrajectoryStore.open(tmp_path / "m.h5").table.extra_names == ["train"]


def test_episodes_that_two_stores_share_are_counted(tmp_path):
    one = write(tmp_path / "a.h5", [random_episode(0, e) for e in (0, 1, 2)])
    two = write(tmp_path / "b.h5", [random_episode(0, e) for e in (2, 3, 1)])
    assert write_merged([open_to_edit(one), open_to_edit(two)], tmp_path / "m.h5")["twice"] == 2


def by_step(episode: Episode) -> np.ndarray:
    return episode.obs[1:, 0] * 10


def test_rewards_of_a_function_scaled_and_shifted(tmp_path):
    path = write(tmp_path / "x.h5", [counting(3), counting(2)])
    found, new = edited(path, relabelled(open_to_edit(path), Rewards("m:f", by_step, scale=0.5, shift=1)))
    assert new.rewards.slice(0, 5).tolist() == [6, 11, 16, 6, 11]
    assert new.table.returns.tolist() == [33, 17]
    assert new.attributes["statistics"]["reward_max"].tolist() == [16]
    assert found["asked"] == {"reward": "m:f", "scale": 0.5, "shift": 1}
    assert found["fingerprint"] != found["from"]["fingerprint"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda episode: np.ones(9), r"returned float64 of shape \(9,\) for an episode of 3 actions"),
        (lambda episode: [None] * 3, "returned object of shape"),
        (lambda episode: [0, np.nan, 0], "is nan at step 1 of an episode of 3 steps"),
        (lambda episode: [0, 1e300, 0], "is 1e.300 at step 1"),
    ],
)
def test_rewards_that_cannot_be_are_refused_and_leave_no_file(tmp_path, function, message):
    path = write(tmp_path / "x.h5", [counting(3)])
    with pytest.raises(ValueError, match=message):
        edited(path, relabelled(open_to_edit(path), Rewards("m:f", function)))
    assert [place.name for place in tmp_path.iterdir()] == ["x.h5"]


@pytest.mark.parametrize("column", ["obs", "actions", "rewards", "extras/mark", "images/top"])
def test_a_reward_function_cannot_change_what_it_is_given(column):
    marks, frames = {"mark": np.zeros(2)}, {"top": np.zeros((3, 4, 4, 3), np.uint8)}
    episode = Episode(np.zeros((3, 2)), np.zeros((2, 1)), np.ones(2), True, extras=marks, images=frames)

    def function(given):
        given.columns[column][:] = 7
        return np.zeros(2)

    with pytest.raises(ValueError, match="read-only"):
        Rewards("m:f", function)(episode)
    episode.columns[column][:] = 7  # the caller's own arrays are as before


def test_success_is_rewarded_at_marks_else_at_the_end_and_what_nobody_said_is_refused(tmp_path):
    episodes = [
        counting(3, success=True, marks=[1]), counting(2, success=True, marks=[]),
        counting(2, success=False, marks=[0]),
    ]  # fmt: skip
    path = write(tmp_path / "x.h5", episodes)
    _, new = edited(path, relabelled(open_to_edit(path), Rewards(of_success=True)))
    assert new.rewards.slice(0, 7).tolist() == [0, 1, 0, 0, 1, 0, 0]
    _, new = edited(path, relabelled(open_to_edit(path), Rewards(of_success=True, shift=-1)), "z.h5")
    assert new.rewards.slice(0, 7).tolist() == [-1, 0, -1, -1, 0, -1, -1]
    silent = write(tmp_path / "s.h5", [counting(3), counting(2, success=True)])
    with pytest.raises(ValueError, match=r"1 of 2 episodes .* do not say whether they succeeded"):
        relabelled(open_to_edit(silent), Rewards(of_success=True))


@pytest.mark.parametrize("returns", [False, True])
def test_clusters_made_of_returns_do_not_outlive_them(tmp_path, returns):
    plain = write(tmp_path / "plain.h5", [random_episode(3, e) for e in range(9)], units={"rewards": "N"})
    store = TrajectoryStore.open(plain)
    path, spec = tmp_path / "x.h5", ClusterSpec(clusters=2, returns=returns)
    write_clustering(plain, path, store, cluster_store(store, spec, 0))
    found, new = edited(path, relabelled(open_to_edit(path), Rewards(scale=2)))
    assert (read_clustering(new) is None) == returns
    assert any("made of the old returns" in what for what in found["left_out"]) == returns
    assert "the unit of rewards" in found["left_out"]
    assert new.attributes["units"] == {}


def test_names_change_and_numbers_do_not(path):
    old = open_to_edit(path)
    edit = renamed(old, {"source 0": "teleop", "source 1": "teleop"}, {}, {"score": "stars"}, "F")
    found, new = edited(path, edit)
    assert set(new.table.source) == {"teleop"}
    assert set(new.table.extra_names) == {"train", "stars", "cluster"}
    assert new.table.stars.tolist() == old.table.score.tolist()
    assert new.attributes["environment"] == "F"
    assert found["asked"]["environment"] == "F"
    for before, after in zip(old.episodes(), new.episodes()):
        assert_same(replace(before, source="teleop"), after)
    time = write(path.with_name("t.h5"), [counting(2, source="", extras={"time": np.arange(2)})])
    _, new = edited(path, renamed(open_to_edit(time), {"": "x"}, {"time": "clock"}, {}), "u.h5")
    assert (set(new.extras), new.table.source[0]) == ({"clock"}, "x")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (({"source 2": "x"}, {}, {}), "no source 'source 2'; did you mean 'source"),
        (({}, {"terminal": "t"}, {}), "extras/terminal marks where the task ended"),
        (({}, {"time": "t"}, {}), "no extra 'time'"),
        (({}, {}, {"train": "score"}), "two columns would be called 'score'"),
        (({}, {}, {"train": "success"}), "'success' is a column of every table"),
        (({}, {}, {"train": "return"}), "'return' is a column of every table"),
        (({}, {}, {"train": "a/b"}), "cannot be the name of a column"),
        (({}, {}, {"cluster": "c"}), "belong to its centres"),
    ],
)
def test_names_that_cannot_be_are_refused(path, names, message):
    with pytest.raises(ValueError, match=message):
        renamed(open_to_edit(path), *names)


def test_pairs_are_read_at_the_first_equals_sign():
    assert pairs(["a=b=c", "=x"], "sources") == {"a": "b=c", "": "x"}
    for words in (["a"], ["a="], ["a=b", "a=c"]):
        with pytest.raises(ValueError, match="--sources takes OLD=NEW, each OLD once"):
            pairs(words, "sources")


EDITS = {
    "filter": ["filter", "{x}", "--where", "length > 4", "--out", "{y}", "--overwrite"],
    "in place": ["delete", "{x}", "--episodes", "1", "3:5", "--out", "{x}", "--overwrite"],
    "relabel": ["relabel", "{x}", "--reward-scale", "2", "--out", "{y}", "--overwrite"],
    "rename": ["rename", "{x}", "--env", "F", "--out", "{y}", "--overwrite"],
    "merge": ["merge", "{x}", "{z}", "--out", "{y}", "--overwrite"],
    "filter of several": ["filter", "{x}", "{z}", "--where", "length > 4", "--out", "{y}", "--overwrite"],
    "split of several": ["split", "{x}", "{z}", "--parts", "a:0.5", "b:0.5", "--out", "{d}"],
    "split": ["split", "{x}", "--parts", "a:0.5", "b:0.5", "--out", "{d}"],
}
PROGRAM = "from trajrl.cli.main import dispatch\nraise SystemExit(dispatch({words!r}))"
MODULES = "h5py tyro rich.table trajrl.cli.main " + " ".join(
    f"trajrl.cli.store.{name} trajrl.store.edit.{module}"
    for name, module in zip(("filter", "delete", "relabel", "rename", "merge", "split"),
                            ("choose", "rewrite", "relabel", "rename", "merge", "parts"))
)  # fmt: skip


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    found = Nursery(MODULES, tmp_path_factory.mktemp("edits") / "log")
    yield found
    found.close()


class Killing:
    """A folder of stores, laid out anew before each run of an edit, which is killed."""

    def __init__(self, nursery: Nursery, folder: Path, name: str) -> None:
        self.nursery, self.folder, self.original = nursery, folder / "here", folder / "original"
        self.under = folder  # so that flushing the folder itself counts as a write
        self.original.mkdir()
        for letter, seed, count in (("x", 3, 8), ("z", 4, 8), ("y", 5, 2)):
            write(self.original / f"{letter}.h5", [random_episode(seed, e) for e in range(count)])
        places = {letter: self.folder / f"{letter}.h5" for letter in "xyz"} | {"d": self.folder / "parts"}
        self.parts = places["d"]
        self.target = {"in place": places["x"], "split": self.parts / "a.h5"}.get(
            name.removesuffix(" of several"), places["y"]
        )
        self.program = PROGRAM.format(words=["store", *(word.format(**places) for word in EDITS[name])])
        shutil.copytree(self.original, self.folder)
        self.old = self.found()
        whole = nursery.run(self.program, self.under)
        assert whole.code == 0, whole.output
        self.new, self.num_writes = self.found(), whole.num_writes

    def found(self) -> str:
        return TrajectoryStore.open(self.target).fingerprint if self.target.exists() else ""

    def kill(self, n: int, torn: bool) -> bool:
        """Kill at the n-th write; says whether what stands there is new, which is old or new and whole."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.original, self.folder)
        assert self.nursery.run(self.program, self.under, after_writes=n, torn=torn).killed
        there = [path for path in (self.target, *self.parts.glob("*")) if path.exists()]
        assert all(list(verify(path)) == [] for path in there)
        assert len(list(self.parts.glob("*"))) in (0, 2)
        assert self.found() in (self.old, self.new)
        return self.found() == self.new

    def again(self) -> None:
        """Run the edit where a kill left its traces: it succeeds and removes them."""
        shutil.rmtree(self.parts, ignore_errors=True)  # a split does not replace a folder
        assert self.nursery.run(self.program, self.under).code == 0
        assert [path.name for path in self.folder.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["in place", "split"])
def test_an_edit_killed_as_it_is_published_leaves_the_old_or_the_new(nursery, tmp_path, name):
    killing = Killing(nursery, tmp_path, name)
    last = killing.num_writes
    assert [killing.kill(n, torn=False) for n in (last - 1, last)] == [False, True]
    killing.again()


@pytest.mark.slow
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_killed_at_any_write_leaves_the_old_or_the_new(nursery, tmp_path, name):
    killing = Killing(nursery, tmp_path, name)
    places = [(n, torn) for n in range(1, killing.num_writes + 1) for torn in (False, True)]
    found = [killing.kill(*place) for place in places]
    note(len(places), f"kills of store {name}, at every write")
    assert found == sorted(found)  # old ... old, new ... new
    assert (found[0], found[-1]) == (False, True)
    killing.again()


MEMORY = """
import sys
import h5py, numpy, rich, tyro
import trajrl.store.edit.choose, trajrl.store.edit.relabel, trajrl.store.edit.parts, trajrl.store.edit.merge
from trajrl.cli.main import dispatch

def anonymous():
    lines = open("/proc/self/status")
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) // 1024

import threading, time
peak, done = [anonymous()], []
def watch():
    while not done:
        peak.append(anonymous())
        time.sleep(0.002)
thread = threading.Thread(target=watch)
thread.start()
code = dispatch(sys.argv[1:])
done.append(1)
thread.join()
print("peak", max(peak) - peak[0])
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["filter", "merge", "relabel", "split"])
def test_an_edit_of_200_megabytes_takes_constant_memory(tmp_path, name):
    places = {letter: tmp_path / f"{letter}.h5" for letter in "xyz"} | {"d": tmp_path / "parts"}
    for letter, count in (("x", 50), ("z", 3)):
        with StoreWriter(places[letter]) as writer:
            for e in range(count):
                writer.append(Episode(np.full((1001, 1000), e), np.zeros((1000, 2)), np.ones(1000), False))
    assert places["x"].stat().st_size > 200e6
    words = ["store", *(word.format(**places) for word in EDITS[name])]
    env = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": ""}
    command = [sys.executable, "-c", MEMORY, *words]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[-1]) < 48, ended.stdout
