"""The doctor: every check finds its quirk, says where and how many, and a repair mends what can be mended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from foreign import chained, d4rl, hdf5

from trajrl import Episode, TrajectoryStore
from trajrl.core.rng import stream
from trajrl.formats import open_source
from trajrl.formats.base.options import Options
from trajrl.formats.base.source import Source
from trajrl.formats.doctor import examine, repair
from trajrl.formats.doctor.noted import MEANINGS
from trajrl.store.file.writer import StoreWriter
from trajrl.store.notes import SENTENCES, sentence


class Given(Source):
    """Episodes from memory."""

    format = "given"

    def __init__(self, episodes, environment="Toy-v0", path="given.npz", notes=(), **facts) -> None:
        super().__init__(Path(path), Options(environment=environment))
        self.given, self.noted = episodes, notes
        for name, value in facts.items():
            setattr(self, name, value)

    def read(self):
        for note in self.noted:
            self.notes.add(note, 2, "row 7")
        yield from ((episode, {}) for episode in self.given)

    @property
    def provenance(self):
        return {"format": self.format, **self.reading()}


def walk(seed: int, length: int = 12, terminated: bool = False, **fields) -> Episode:
    """Make a sound episode: small random numbers, no two alike."""
    rng = stream(seed, "test")
    return Episode(
        rng.uniform(-1, 1, (length + 1, 3)),
        rng.uniform(-0.9, 0.9, (length, 2)),
        rng.uniform(0, 1, length),
        terminated,
        **fields,
    )


def changed(episode: Episode, name: str, where, value) -> Episode:
    """Return the episode with one entry of a column replaced."""
    column = getattr(episode, name).copy()
    column[where] = value
    return replace(episode, **{name: column})


SOUND = [walk(seed, 10 + seed) for seed in range(6)]


def found(episodes, **facts) -> dict:
    """Examine episodes and return the findings by name."""
    report = examine(lambda: Given(episodes, **facts))
    return {finding.name: finding for finding in report.findings}


def test_sound_data_has_no_findings():
    report = examine(lambda: Given(SOUND))
    assert report.findings == []
    assert report.would() == {
        "episodes": 6, "transitions": 75, "terminated": 0, "truncated": 6, "inferred": 0,
        "actions_given_up": 0, "values_changed": 0,
    }  # fmt: skip
    assert "would write 6 episodes of 75 steps: 0 terminated, 6 truncated" in report.sentence()


@pytest.mark.parametrize(("name", "value"), [("obs", np.nan), ("actions", np.inf), ("rewards", -np.inf)])
def test_nan_and_inf_are_errors(name, value):
    episodes = [SOUND[0], changed(SOUND[1], name, 4, value)]
    finding = found(episodes)["not_numbers"]
    assert (finding.level, finding.count, finding.where) == ("E", 1, "episode 1, step 4")
    assert name in finding.what
    assert examine(lambda: Given(episodes)).sentence() == "an import would fail and write nothing"


def test_absurd_sizes_are_errors():
    finding = found([SOUND[0], changed(SOUND[1], "obs", (3, 1), 1e9)])["huge_numbers"]
    assert (finding.level, finding.count, finding.where) == ("E", 1, "episode 1, step 3")


def test_actions_outside_the_box_are_counted_with_share_and_range():
    finding = found([SOUND[0], changed(SOUND[1], "actions", (slice(2, 5), 0), 1.5)])["actions_outside"]
    assert (finding.level, finding.count, finding.where) == ("W", 3, "episode 1, step 2")
    assert "3 steps (14.3%)" in finding.what
    assert "to 1.5" in finding.what


def test_recorded_box_decides_what_is_outside():
    episodes = [changed(SOUND[0], "actions", (2, 0), 1.5)]
    box = {"action_low": np.full(2, -2.0), "action_high": np.full(2, 2.0)}
    assert "actions_outside" not in found(episodes, **box)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_constant_rewards_are_a_warning(value):
    finding = found([replace(e, rewards=np.full(len(e), value)) for e in SOUND])["constant_rewards"]
    assert (finding.level, finding.count) == ("W", 75)
    assert f"are {value:g}" in finding.what


def test_rewards_that_were_shifted_are_a_warning():
    episodes = [replace(e, rewards=-(np.arange(len(e)) < 5).astype(float)) for e in SOUND]
    assert found(episodes)["shifted_rewards"].level == "W"
    assert "shifted_rewards" not in found([replace(e, rewards=e.rewards - 1) for e in SOUND])


def test_observation_columns_that_never_vary_are_named():
    episodes = [
        replace(e, obs=np.concatenate([e.obs, np.zeros((len(e) + 1, 4)), e.obs[:, :1]], 1)) for e in SOUND
    ]
    finding = found(episodes)["constant_columns"]
    assert (finding.level, finding.count) == ("W", 4)
    assert "4 of 8 observation columns never vary: 3-6" in finding.what


def test_rows_of_zeros_are_counted():
    finding = found([SOUND[0], changed(SOUND[1], "obs", slice(2, 4), 0)])["zero_rows"]
    assert (finding.level, finding.count, finding.where) == ("W", 2, "episode 1, step 2")
    assert "zero_rows" not in found([SOUND[0], changed(SOUND[1], "obs", slice(0, 1), 0)])


def test_discrete_actions_are_an_error():
    episodes = [replace(e, actions=(np.arange(len(e)) % 3)[:, None]) for e in SOUND]
    assert found(episodes)["discrete_actions"].level == "E"
    assert "discrete_actions" not in found([replace(e, actions=e.actions[:, :1]) for e in SOUND])


def test_pixels_are_an_error():
    rng = stream(1, "test")
    episode = replace(SOUND[0], obs=rng.integers(0, 256, (11, 1200)))
    assert found([episode])["pixels"].level == "E"


def test_repeated_episodes_are_counted():
    finding = found([*SOUND, SOUND[2]])["duplicates"]
    assert (finding.level, finding.count, finding.where) == ("W", 1, "episode 6")


def test_short_episodes_are_information():
    finding = found([*SOUND, walk(9, 1)])["short_episodes"]
    assert (finding.level, finding.count, finding.where) == ("I", 1, "episode 6")


def test_time_limit_written_as_terminal_is_a_warning():
    episodes = [walk(0, 60, terminated=True), walk(1, 30, terminated=True), walk(2, 60, terminated=True)]
    finding = found(episodes)["terminated_at_limit"]
    assert (finding.level, finding.count, finding.where) == ("W", 2, "episode 0, step 59")
    assert "terminated_at_limit" not in found([*episodes, walk(3, 60)])  # one of them continued


def test_terminal_in_a_task_that_cannot_terminate_is_a_warning():
    finding = found([walk(0), walk(1, 9, terminated=True)], environment="HalfCheetah-v4")[
        "terminated_endless"
    ]
    assert (finding.level, finding.count, finding.where) == ("W", 1, "episode 1, step 8")
    assert "terminated_endless" not in found([walk(1, 9, terminated=True)], environment="Hopper-v4")


def test_several_marks_in_one_episode_are_a_warning():
    marks = np.arange(10) > 7
    finding = found([replace(SOUND[0], extras={"terminal": marks}), SOUND[1]])["marked_often"]
    assert (finding.level, finding.count, finding.where) == ("W", 1, "episode 0")


def test_jump_inside_an_episode_is_an_error():
    path = np.cumsum(np.full((13, 2), 0.1), 0)
    path[7:] += 21
    episode = replace(walk(0), obs=path)
    finding = found([episode], environment="antmaze-medium-play-v0")["jumps"]
    assert (finding.level, finding.count, finding.where) == ("E", 1, "episode 0, step 6")
    assert "jumps" not in found([episode], environment="Toy-v0")


def goal_episode(early: bool) -> Episode:
    """Walk to a goal 5 steps away; the reward is earned within one step of it."""
    place = np.arange(9.0)[:, None] * [1.0, 0.0]
    goal = np.tile([5.0, 0.0], (8, 1))
    near = np.linalg.norm(place - [5.0, 0.0], axis=1) <= 1
    return Episode(
        place, np.full((8, 2), 0.5), near[:-1] if early else near[1:], False, extras={"goal": goal}
    )


def test_reward_one_step_early_is_a_warning():
    assert found([goal_episode(early=True)])["early_rewards"].level == "W"
    assert "early_rewards" not in found([goal_episode(early=False)])


@pytest.mark.parametrize(("environment", "words"), [("", "nothing says"), ("Hopper", "has no version")])
def test_environment_that_is_not_known_is_a_warning(environment, words):
    finding = found(SOUND, environment=environment)["environment"]
    assert finding.level == "W"
    assert words in finding.what


def test_reference_scores_of_another_version_are_information():
    assert found(SOUND, environment="Hopper-v5")["scores"].level == "I"
    assert "scores" not in found(SOUND, environment="d4rl:hopper-medium-v2")


class Published(Given):
    label = "D4RL/door/human-v2"


def test_part_of_a_published_set_is_an_error():
    report = examine(lambda: Published(SOUND))
    (finding,) = [finding for finding in report.findings if finding.name == "published_size"]
    assert (finding.level, finding.count) == ("E", 6729 - 75)
    assert "published with 6729 steps in 25 episodes; this has 75 in 6" in finding.what


def test_synthetic_set_under_a_good_name_is_a_warning():
    facts = {"environment": "", "path": "hopper-medium-replay-v2.pkl"}
    assert found([walk(seed) for seed in range(30)], **facts)["strange_returns"].level == "W"
    assert found([walk(seed) for seed in range(30)], **facts)["strange_columns"].where == "column 0"
    good = [
        replace(e, rewards=e.rewards + 100, obs=e.obs / 9 + 1.2) for e in (walk(seed) for seed in range(30))
    ]
    assert {"strange_returns", "strange_columns"}.isdisjoint(found(good, **facts))


def test_relabelling_of_an_old_ogbench_is_a_warning():
    assert found(SOUND, versions={"ogbench": "1.1.5"})["old_relabelling"].level == "W"
    assert "old_relabelling" not in found(SOUND, versions={"ogbench": "1.2.0"})


def test_every_note_of_the_readers_has_a_meaning():
    assert set(MEANINGS) == set(SENTENCES)


@pytest.mark.parametrize("name", sorted(SENTENCES))
def test_note_becomes_a_finding_with_count_and_place(name):
    finding = found(SOUND, notes=[name])[name]
    assert finding.level == MEANINGS[name].level
    assert (finding.count, finding.where) == (2, "row 7")
    assert finding.what == sentence(name, 2)


def test_errors_come_first():
    episodes = [changed(walk(0, 1), "obs", 0, np.nan), changed(SOUND[1], "actions", 0, 7)]
    levels = [finding.level for finding in examine(lambda: Given(episodes, notes=["cast_columns"])).findings]
    assert levels == sorted(levels, key="EWI".index)
    assert set(levels) == {"E", "W", "I"}


def test_source_that_cannot_be_opened_is_a_finding():
    def broken():
        raise ValueError("x.hdf5 is a web page, perhaps of an error, not the data")

    report = examine(broken)
    assert report.failed
    assert report.findings[0].what.startswith("x.hdf5 is a web page")
    with pytest.raises(ValueError, match="cannot be read to its end"):
        repair(report, Path("never.h5"))


def test_source_that_breaks_half_way_keeps_what_was_found():
    class Breaks(Given):
        def read(self):
            yield from super().read()
            raise ValueError("'episode_7' has 5 observations, 5 actions; 6 are due")

    names = {f.name for f in examine(lambda: Breaks([changed(SOUND[0], "obs", 1, np.nan)])).findings}
    assert {"unreadable", "not_numbers"} <= names


def test_damaged_store_is_an_error(tmp_path):
    from trajrl.formats import open_source

    with StoreWriter(tmp_path / "x.h5") as writer:
        writer.append(SOUND[0])
    content = bytearray((tmp_path / "x.h5").read_bytes())
    place = content.find(SOUND[0].rewards.tobytes())
    content[place] ^= 1
    (tmp_path / "x.h5").write_bytes(content)
    report = examine(lambda: open_source(tmp_path / "x.h5"))
    assert any(f.name == "damage" and f.what.startswith("rewards:") for f in report.findings)


def mended(tmp_path, episodes, **facts) -> tuple[TrajectoryStore, dict]:
    report = examine(lambda: Given(episodes, **facts))
    done = repair(report, tmp_path / "mended.h5")
    return TrajectoryStore.open(tmp_path / "mended.h5"), done["repaired"]


def test_repair_of_sound_data_changes_nothing(tmp_path):
    store, done = mended(tmp_path, SOUND)
    assert done == {}
    assert store.fingerprint == TrajectoryStore.of(SOUND).fingerprint


def test_repair_cuts_bad_steps_out(tmp_path):
    bad = changed(replace(SOUND[2], terminated=True), "rewards", 4, np.nan)
    store, done = mended(tmp_path, [SOUND[0], bad])
    assert done == {"steps cut out": 1}
    assert store.table.length.tolist() == [10, 4, 7]
    assert store.table.terminated.tolist() == [False, False, True]
    np.testing.assert_array_equal(store.episode(1).obs, bad.obs[:5])
    np.testing.assert_array_equal(store.episode(2).obs, bad.obs[5:])


def test_repair_gives_up_both_steps_beside_a_bad_observation(tmp_path):
    store, done = mended(tmp_path, [changed(SOUND[2], "obs", (6, 1), np.inf)])
    assert done == {"steps cut out": 2}
    assert store.table.length.tolist() == [5, 5]


def test_repair_leaves_out_what_has_no_good_step(tmp_path):
    store, done = mended(tmp_path, [SOUND[0], replace(SOUND[1], obs=SOUND[1].obs * np.nan)])
    assert (len(store), done) == (1, {"steps cut out": 11})


def test_repair_clips_to_the_box(tmp_path):
    box = {"action_low": np.full(2, -2.0), "action_high": np.full(2, 2.0)}
    store, done = mended(tmp_path, [changed(SOUND[0], "actions", (3, 1), -5)], **box)
    assert (store.episode(0).actions.min(), done) == (-2, {"action entries clipped": 1})


def test_repair_keeps_actions_whose_box_nobody_names(tmp_path):
    episodes = [changed(SOUND[0], "actions", (3, 1), 1.2)]
    finding = found(episodes)["actions_outside"]
    assert not finding.fixed
    assert "--action-box" in finding.fix
    store, done = mended(tmp_path, episodes)
    assert (store.episode(0).actions[3, 1].item(), done) == (np.float32(1.2), {})


def test_repair_keeps_the_first_of_repeated_episodes(tmp_path):
    store, done = mended(tmp_path, [SOUND[0], SOUND[1], SOUND[0]])
    assert (len(store), done) == (2, {"duplicates left out": 1})


def test_repair_opens_ends_that_were_time_limits(tmp_path):
    made_up = changed(walk(1, 60, terminated=True), "obs", 60, walk(1, 60).obs[59])
    store, done = mended(tmp_path, [walk(0, 60, terminated=True), made_up, walk(2, 20, terminated=True)])
    assert store.table.terminated.tolist() == [False, False, True]
    assert store.table.length.tolist() == [60, 59, 20]
    assert done == {"ends marked truncated": 2, "last actions given up": 1}


def test_repair_cuts_at_jumps(tmp_path):
    path = np.cumsum(np.full((13, 2), 0.1), 0)
    path[7:] += 21
    store, done = mended(tmp_path, [replace(walk(0), obs=path)], environment="antmaze-medium-play-v0")
    assert (store.table.length.tolist(), done) == ([6, 5], {"steps cut out": 1})


def test_repaired_store_has_none_of_the_mended_findings(tmp_path):
    from trajrl.formats import open_source

    episodes = [*SOUND, SOUND[0], changed(walk(8), "obs", 3, np.nan), changed(walk(9), "actions", 3, 4)]
    before = examine(lambda: Given(episodes))
    repair(before, tmp_path / "x.h5")
    after = {finding.name for finding in examine(lambda: open_source(tmp_path / "x.h5")).findings}
    assert {finding.name for finding in before.findings if finding.fixed}
    assert after.isdisjoint(finding.name for finding in before.findings if finding.fixed)
    assert (
        TrajectoryStore.open(tmp_path / "x.h5").attributes["provenance"]["repaired"]["duplicates left out"]
        == 1
    )


def test_one_column_is_one_column(tmp_path):
    columns = chained(d4rl(), (9, 19))
    columns["rewards"] = columns["rewards"].astype(np.float64)
    path = hdf5(tmp_path / "x.hdf5", columns)
    assert "1 column cast or reshaped" in examine(lambda: open_source(path)).sentence()
