"""LeRobot sets: frames into episodes, what its versions say, and every way in which recordings break."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign import lerobot, lerobot_set, normal, parquet, read, table
from fuzz import cases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trajrl import TrajectoryStore
from trajrl.core.rng import stream
from trajrl.formats import import_source, open_source, recognise
from trajrl.formats.doctor import examine
from trajrl.formats.lerobot.footer import bytes_of, values_of

VERSIONS = ("v2.0", "v2.1", "v3.0")
OFFICIAL = Path(__file__).parents[1] / "fixtures" / "lerobot"  # written by the official package
DATA = "data/chunk-000/file-000.parquet"


def rewrite(path: Path, change) -> None:
    """Change the columns of a parquet file."""
    columns = {name: pq.read_table(path).column(name) for name in pq.read_schema(path).names}
    parquet(path, pa.table(change(columns)))


def findings(folder: Path, **options) -> dict[str, str]:
    """Return what the doctor says, by name."""
    report = examine(lambda: open_source(folder, **options))
    return {finding.name: finding.line() for finding in report.findings}


@pytest.mark.parametrize("version", VERSIONS)
def test_frames_become_episodes(version, tmp_path):
    arrays = lerobot([4, 5])
    folder = lerobot_set(tmp_path / "x", arrays, version)
    assert recognise(folder) == "lerobot"
    episodes, source = read(folder)
    assert [len(e) for e in episodes] == [4, 5]
    np.testing.assert_array_equal(episodes[1].obs[:-1], arrays["observation.state"][4:])
    np.testing.assert_array_equal(episodes[1].actions, arrays["action"][4:])
    np.testing.assert_array_equal(episodes[0].rewards, arrays["next.reward"][:4])
    assert [(e.terminated, e.success, e.source) for e in episodes] == [
        (True, True, "push"),
        (True, True, "pull"),
    ]
    assert source.notes.counts == {"repeated_last_obs": 2}
    assert source.versions["fps"] == 10


@pytest.mark.parametrize("version", ["v21", "v30"])
def test_a_set_that_the_official_package_wrote_is_read(version):
    episodes, source = read(OFFICIAL / version)
    assert [(len(e), e.terminated, e.success, e.source) for e in episodes] == [
        (5, True, True, "push"), (3, False, False, "pull"), (7, True, True, "push"),
    ]  # fmt: skip
    np.testing.assert_allclose(
        episodes[0].obs[0], [0.12573022, -0.13210486, 0.64042264, 0.10490012, -0.53566937]
    )
    np.testing.assert_array_equal(episodes[2].rewards, np.arange(7))
    assert source.notes.counts["dropped_steps"] == 1
    assert source.reading()["obs_keys"] == {"observation.state": 3, "observation.environment_state": 2}


def test_an_end_that_no_column_explains_is_a_cut(tmp_path):
    arrays = lerobot([4, 5], **{"next.success": None})
    episodes, source = read(lerobot_set(tmp_path / "x", arrays))
    assert [(len(e), e.terminated, e.success) for e in episodes] == [(3, False, None), (4, False, None)]
    assert source.notes.counts == {"dropped_steps": 2, "ends_of_unknown_kind": 2}
    episodes, source = read(tmp_path / "x", ends="flags")
    assert [(len(e), e.terminated) for e in episodes] == [(4, True), (5, True)]
    assert "ends_of_unknown_kind" not in source.notes.counts


def test_a_truncated_end_gives_up_its_last_action(tmp_path):
    cut = np.isin(np.arange(9), 8)
    episodes, source = read(lerobot_set(tmp_path / "x", lerobot([4, 5], **{"next.truncated": cut})))
    assert [(len(e), e.terminated) for e in episodes] == [(4, True), (4, False)]
    assert episodes[1].obs.shape == (5, 3)
    assert source.notes.counts == {"dropped_steps": 1, "repeated_last_obs": 1}


def test_steps_that_are_solved_before_the_end_are_marked(tmp_path):
    arrays = lerobot([6])
    arrays["next.done"] = arrays["next.success"] = np.arange(6) >= 3
    episodes, source = read(lerobot_set(tmp_path / "x", arrays))
    assert episodes[0].extras["terminal"].tolist() == [False] * 3 + [True] * 3
    assert source.notes.counts["terminal_marks"] == 2


def test_rewards_that_are_absent_are_said(tmp_path):
    _, source = read(lerobot_set(tmp_path / "x", lerobot([4, 5], **{"next.reward": None})))
    assert source.notes.counts["no_rewards"] == 9


def test_observations_are_chosen_by_name_and_others_are_kept(tmp_path):
    arrays = lerobot([4], **{"observation.velocity": normal("v", 4, 2), "effort": np.arange(4)})
    folder = lerobot_set(tmp_path / "x", arrays)
    episodes, source = read(folder)
    np.testing.assert_array_equal(episodes[0].extras["observation.velocity"], arrays["observation.velocity"])
    assert episodes[0].extras["effort"].dtype == np.int64
    keys = ("observation.velocity", "observation.state")
    episodes, source = read(folder, obs_keys=keys)
    np.testing.assert_array_equal(episodes[0].obs[:4, :2], arrays["observation.velocity"])
    assert list(source.reading()["obs_keys"]) == list(keys)
    with pytest.raises(
        ValueError, match=r"has no observation 'front'; choose --obs-keys from observation\.state"
    ):
        open_source(folder, obs_keys=("front",))


def test_images_are_left_where_they_are_and_named(tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot([4, 5]))
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"]["observation.images.top"] = {"dtype": "video", "shape": [3, 96, 96], "names": None}
    info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    (folder / "meta/info.json").write_text(json.dumps(info))
    (folder / "videos").mkdir()
    (folder / "videos/file-000.mp4").write_bytes(bytes(1 << 20))
    import_source(open_source(folder), tmp_path / "x.h5")
    store = TrajectoryStore.open(tmp_path / "x.h5")
    kept = store.attributes["provenance"]
    assert kept["counts"]["left_frames"] == 1
    assert kept["files"] == 4  # the video is not read
    assert kept["versions"]["frames"] == {"observation.images.top": [3, 96, 96]}
    assert store.table.lerobot_episode.tolist() == [0, 1]


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_missing_frames_cut_the_episode(version, tmp_path):
    arrays = lerobot([4, 6])
    arrays = {name: np.delete(value, 6, 0) for name, value in arrays.items()}  # frame 2 of episode 1
    folder = lerobot_set(tmp_path / "x", arrays, version, lengths=[4, 6])
    episodes, source = read(folder)
    assert [(len(e), e.terminated) for e in episodes] == [(4, True), (1, False), (3, True)]
    np.testing.assert_array_equal(episodes[1].obs, arrays["observation.state"][4:6])
    assert source.notes.first["frame_gaps"] == "episode 1, frame 1"
    assert "time_gaps" not in source.notes.counts
    assert "frame_gaps" in findings(folder)


def test_an_episode_that_lacks_its_first_frames_is_said(tmp_path):
    arrays = {name: value[2:] for name, value in lerobot([4, 5]).items()}
    _, source = read(lerobot_set(tmp_path / "x", arrays, lengths=[4, 5]))
    assert source.notes.first["frame_gaps"] == "episode 0, frame 0"


def test_what_the_list_of_episodes_lacks_or_promises_is_said(tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot([4, 5, 3]), lengths=[4, 6, 3, 7], total_frames=12)
    rewrite(
        folder / "meta/episodes/chunk-000/file-000.parquet",
        lambda columns: {name: column.take([0, 1, 3]) for name, column in columns.items()},
    )
    episodes, source = read(folder)
    assert len(episodes) == 3
    assert source.notes.first["unlisted_episodes"] == "episode 2"
    assert source.notes.first["absent_episodes"] == "episode 3"
    assert source.notes.first["length_mismatches"] == "episode 1, 5 frames, 6 listed"
    assert source.notes.first["wrong_totals"] == "total_episodes is 4, 3 are there"
    said = findings(folder)
    assert {"unlisted_episodes", "absent_episodes", "length_mismatches", "wrong_totals"} <= set(said)


def test_gaps_in_time_and_index_are_said(tmp_path):
    arrays = lerobot([4, 5])
    arrays["timestamp"][6:] += 0.05
    arrays["index"][5:] += 1
    _, source = read(lerobot_set(tmp_path / "x", arrays))
    assert source.notes.counts["time_gaps"] == 1
    assert source.notes.first["time_gaps"] == "episode 1, frame 1"
    assert source.notes.first["index_gaps"] == "file-000.parquet, index 6"


def test_episodes_that_the_list_places_elsewhere_are_said(tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot([4, 5]))
    listed = folder / "meta/episodes/chunk-000/file-000.parquet"
    rewrite(listed, lambda columns: {**columns, "dataset_from_index": pa.chunked_array([pa.array([0, 5])])})
    _, source = read(folder)
    assert source.notes.counts["misplaced_episodes"] == 1
    assert source.notes.first["misplaced_episodes"] == "episode 1, index 4, 5 listed"


def test_an_episode_written_twice_is_said(tmp_path):
    arrays = {name: np.concatenate([value, value[4:]]) for name, value in lerobot([4, 5]).items()}
    episodes, source = read(lerobot_set(tmp_path / "x", arrays, lengths=[4, 5]))
    assert [len(e) for e in episodes] == [4, 5, 5]
    assert source.notes.counts["repeated_numbers"] == 1


def test_a_file_that_was_never_closed_is_refused_and_the_others_are_read(tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot([4, 5]))
    second = folder / "data/chunk-000/file-001.parquet"
    second.write_bytes((folder / DATA).read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"file-001\.parquet is not whole: it has no footer.*move it away"):
        read(folder)
    assert "has no footer" in findings(folder)["unreadable"]
    second.unlink()
    assert len(read(folder)[0]) == 2


def test_a_list_of_episodes_that_was_never_closed_is_passed_over(tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot([4, 5]))
    listed = folder / "meta/episodes/chunk-000/file-000.parquet"
    listed.write_bytes(listed.read_bytes()[:-9])
    episodes, source = read(folder)
    assert [len(e) for e in episodes] == [4, 5]
    assert source.notes.counts["unreadable_metadata"] == 1
    assert "has no footer" in findings(folder)["unreadable_metadata"]


TASKS = {"v2.0": "tasks.jsonl", "v2.1": "tasks.jsonl", "v3.0": "tasks.parquet"}


@pytest.mark.parametrize("version", VERSIONS)
def test_tasks_without_a_list_of_them_are_said(version, tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot([4, 5]), version)
    (folder / "meta" / TASKS[version]).unlink()
    episodes, source = read(folder)
    assert [e.source for e in episodes] == ["x", "x"]
    assert source.notes.counts["unnamed_tasks"] == 2
    assert source.notes.first["unnamed_tasks"] == "episode 0, task 0"
    assert "source is the name of the set" in findings(folder)["unnamed_tasks"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_task_that_the_list_lacks_is_said(version, tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot([4, 5]), version)
    listed = folder / "meta" / TASKS[version]
    if version == "v3.0":
        rewrite(listed, lambda columns: {name: column.take([0]) for name, column in columns.items()})
    else:
        listed.write_text(listed.read_text().splitlines()[0])
    episodes, source = read(folder)
    assert [e.source for e in episodes] == ["push", "x"]
    assert source.notes.first["unnamed_tasks"] == "episode 1, task 1"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_list_of_episodes_that_is_missing_is_said(version, tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot([4, 5]), version)
    if version == "v3.0":
        shutil.rmtree(folder / "meta" / "episodes")
    else:
        (folder / "meta" / "episodes.jsonl").unlink()
    assert read(folder)[1].notes.counts["absent_listing"] == 1
    assert "list of episodes is missing" in findings(folder)["absent_listing"]


@pytest.mark.parametrize("fps", [0, "ten", None])
def test_a_rate_that_is_none_is_said(fps, tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot([4, 5]), fps=fps)
    assert read(folder)[1].notes.counts["unknown_rate"] == 1
    assert "`fps` of info.json is no number above 0" in findings(folder)["unknown_rate"]


@pytest.mark.parametrize("order", [[7, 2, 0, 5, 8, 1, 4, 6, 3], [0, 4, 1, 5, 2, 6, 3, 7, 8]])
def test_rows_out_of_order_are_said(order, tmp_path):
    folder = lerobot_set(
        tmp_path / "x", {name: value[order] for name, value in lerobot([4, 5]).items()}, lengths=[4, 5]
    )
    assert "the rows seem to be out of order" in findings(folder)["rows_out_of_order"]
    assert "rows_out_of_order" not in findings(lerobot_set(tmp_path / "y", lerobot([4, 5])))


def test_nan_is_named_with_its_episode(tmp_path):
    arrays = lerobot([4, 5])
    arrays["observation.state"][6, 1] = np.nan
    said = findings(lerobot_set(tmp_path / "x", arrays))["not_numbers"]
    assert "1 steps hold NaN or inf in obs (first: episode 1, step 2)" in said


def test_an_episode_may_lie_in_two_files(tmp_path):
    arrays = lerobot([4, 5])
    folder = lerobot_set(tmp_path / "x", arrays)
    whole = pq.read_table(folder / DATA)
    for number, part in enumerate((whole[:6], whole[6:])):
        parquet(folder / f"data/chunk-000/file-00{number}.parquet", part)
    episodes, _ = read(folder)
    assert [len(e) for e in episodes] == [4, 5]
    np.testing.assert_array_equal(episodes[1].actions, arrays["action"][4:])


def test_small_blocks_give_the_same_episodes(tmp_path, monkeypatch):
    folder = lerobot_set(tmp_path / "x", lerobot([4, 5, 1, 3]))
    due, _ = read(folder)
    monkeypatch.setattr("trajrl.formats.lerobot.parquet.BLOCK_BYTES", 200)
    found, _ = read(folder)
    for one, other in zip(due, found, strict=True):
        np.testing.assert_array_equal(one.obs, other.obs)
        np.testing.assert_array_equal(one.actions, other.actions)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"codebase_version": "v1.6"}, "is of LeRobot version 'v1.6'; trajrl reads"),
        ({"features": {}}, "names no features"),
        ({"features": {"action": {"dtype": "float32", "shape": "wide"}}}, "feature 'action' has no shape"),
    ],
)
def test_an_info_that_says_nothing_of_use_is_refused(wrong, said, tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot([4]))
    info = json.loads((folder / "meta/info.json").read_text())
    (folder / "meta/info.json").write_text(json.dumps(info | wrong))
    with pytest.raises(ValueError, match=said):
        open_source(folder)


def test_a_file_of_a_set_is_refused_with_what_to_name(tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot([4]))
    with pytest.raises(ValueError, match=r"is a file; a LeRobot set is a folder with meta/info\.json"):
        open_source(folder / DATA, "lerobot")


def test_columns_of_another_shape_than_described_are_refused(tmp_path):
    folder = lerobot_set(tmp_path / "x", lerobot([4]))
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"]["action"]["shape"] = [7]
    (folder / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match=r"'action' has shape \(2,\) in each frame; \(7,\) is due"):
        read(folder)


def test_whole_numbers_as_actions_are_refused(tmp_path):
    arrays = lerobot([4], action=np.arange(4))
    with pytest.raises(ValueError, match="'action' are int64: discrete actions"):
        open_source(lerobot_set(tmp_path / "x", arrays))


def test_rows_that_a_column_repeats_without_end_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("trajrl.store.file.bounds.UNPACKED", 1 << 20)
    folder = lerobot_set(tmp_path / "x", lerobot([4]))
    many = pq.read_table(folder / DATA).take(np.zeros(1 << 16, np.int64))
    pq.write_table(many, folder / DATA, compression="zstd")
    with pytest.raises(ValueError, match=r"unpacks to \d+ MiB, more than 50 times its size"):
        read(folder)


def test_one_frame_of_endless_numbers_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("trajrl.store.file.bounds.UNPACKED", 1 << 20)
    folder = lerobot_set(tmp_path / "x", lerobot([4]))
    whole = pq.read_table(folder / DATA)
    long = pa.array([[0.5] * (1 << 20)] * 4, pa.list_(pa.float32()))
    pq.write_table(whole.set_column(1, "action", long), folder / DATA, compression="zstd")
    assert (folder / DATA).stat().st_size < 1 << 16
    with pytest.raises(ValueError, match=r"unpacks to 32 MiB, more than 50 times its size"):
        read(folder)


@pytest.mark.parametrize("fixed", [True, False])
def test_the_values_of_a_footer_are_those_that_arrow_counts(fixed, tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(table(lerobot([40, 50]), fixed), path, row_group_size=32)
    said, due, unpacked = pq.read_metadata(path), {}, []
    for group in range(said.num_row_groups):
        columns = [said.row_group(group).column(index) for index in range(said.num_columns)]
        for column in columns:
            due[column.path_in_schema] = due.get(column.path_in_schema, 0) + column.num_values
        unpacked.append({column.path_in_schema: column.total_uncompressed_size for column in columns})
    assert values_of(path) == due
    assert bytes_of(path) == unpacked
    assert len(unpacked) == 3
    assert due["frame_index"] == 90
    assert sum(count for name, count in due.items() if name.startswith("action")) == 180


def test_a_link_out_of_the_set_is_refused_and_one_into_a_hubs_cache_is_followed(tmp_path):
    folder = lerobot_set(tmp_path / "hub/snapshots/abc", lerobot([4, 5]))
    (tmp_path / "hub/blobs").mkdir()
    (folder / DATA).rename(tmp_path / "hub/blobs/1")
    (folder / DATA).symlink_to("../../../../blobs/1")
    assert len(read(folder)[0]) == 2
    (tmp_path / "hub/blobs/1").rename(tmp_path / "1")
    (folder / DATA).unlink()
    (folder / DATA).symlink_to(tmp_path / "1")
    with pytest.raises(ValueError, match="is a link out of"):
        open_source(folder)


kinds = st.sampled_from(["f2", "f4", "f8", "i1", "u1", "i8", "u8", "?"])
columns = st.dictionaries(
    st.sampled_from(
        [
            "observation.state", "action", "next.reward", "next.done", "next.success", "next.truncated",
            "timestamp", "frame_index", "episode_index", "index", "task_index", "terminal", "x",
        ]
    ),
    st.tuples(kinds, arrays.array_shapes(min_dims=0, max_dims=2, max_side=3)),
    max_size=6,
)  # fmt: skip


@settings(deadline=None, max_examples=cases(20), derandomize=True, suppress_health_check=list(HealthCheck))
@given(found=columns, number=st.integers(0, 1000))
def test_columns_of_any_kind_and_shape_are_read_or_refused(tmp_path, found, number):
    rng = stream(number, "lerobot")
    changed = {
        name: (rng.standard_normal((9, *shape)) * 10).astype(kind) for name, (kind, shape) in found.items()
    }
    folder = tmp_path / "robot"
    shutil.rmtree(folder, ignore_errors=True)
    said = str(folder)
    try:
        lerobot_set(folder, lerobot([4, 5]) | changed, lengths=[4, 5])
        assert all(len(episode) > 0 for episode in read(folder)[0])
    except (ValueError, OSError) as error:
        said = str(error)
    assert str(folder) in said
    assert "\n" not in said
