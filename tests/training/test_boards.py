"""What Weights & Biases, MLflow and TensorBoard are given of a run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trajrl.core.out_paths import refuse_links_out
from trajrl.training.config import RunConfig
from trajrl.training.run_dir.boards import Facts, MlflowLog, WandbLog, flat, is_fact
from trajrl.training.run_dir.logger import Logger

CONFIG = RunConfig(seed=5, agent_options={"eta": 2.0, "hidden": [8, 8]})


class Shown:
    """A board that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple] = []

    def scalars(self, values, step) -> None:
        self.seen.append(("scalars", dict(values), step))

    def facts(self, values, step) -> None:
        self.seen.append(("facts", dict(values), step))

    def video(self, name, mp4, step) -> None:
        self.seen.append((name, mp4, step))

    def close(self) -> None:
        self.seen.append(("closed",))


def test_other_boards_get_every_row_and_video_and_are_closed(tmp_path):
    boards = Shown(), Shown()
    logger = Logger(tmp_path, tensorboard=False, others=boards)
    logger.flush("offline", 3, {"a": 1.0})
    logger.video("videos/best", b"mp4", 3)
    logger.close()
    for board in boards:
        assert board.seen == [("scalars", {"offline/a": 1.0}, 3), ("videos/best", b"mp4", 3), ("closed",)]


@pytest.mark.parametrize(
    ("name", "constant"),
    [
        ("offline/sampler/cluster/3/length_mean", True),
        ("offline/sampler/cluster/none/data_share", True),
        ("offline/sampler/values/cluster/3/episodes", True),
        ("offline/sampler/cluster/data_entropy", True),
        ("offline/sampler/score/8", True),
        ("offline/sampler/clusters", True),
        ("offline/sampler/cluster/3/draw_share", False),
        ("offline/sampler/cluster/draw_min", False),
        ("offline/sampler/entropy", False),
        ("offline/eval/score", False),
        ("offline/critic/q_mean", False),
    ],
)
def test_what_a_clustering_says_of_the_data_is_no_curve(name, constant):
    assert is_fact(name) == constant


def test_constants_are_shown_once_and_again_when_they_change():
    facts, name = Facts(), "online/sampler/cluster/0/length_mean"
    shown = [facts.take({name: value, "online/a": 1.0}) for value in (7.0, 7.0, 9.0)]
    assert [curves for curves, _ in shown] == [{"online/a": 1.0}] * 3
    assert [new for _, new in shown] == [{name: 7.0}, {}, {name: 9.0}]


def test_a_config_is_shown_field_by_field_in_plain_values():
    found = flat(CONFIG)
    assert (found["seed"], found["agent_options.eta"], found["agent_options.hidden"]) == (5, 2.0, "[8, 8]")
    assert {type(value) for value in found.values()} <= {bool, int, float, str}


def test_tensorboard_has_the_config_its_hyper_parameters_and_the_constants(tmp_path):
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    logger = Logger(tmp_path, config=CONFIG)
    for step in (10, 20):
        logger.write("offline", step, {"sampler/cluster/0/length_mean": 7.0, "eval/score": 3.0})
    logger.close()
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert events.Tags()["scalars"] == ["offline/eval/score"]
    assert [event.step for event in events.Tensors("facts/text_summary")] == [10]
    config = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert json.loads(config)["agent_options"]["eta"] == 2.0
    started = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    given = HParamsPluginData.FromString(started).session_start_info.hparams
    assert (given["seed"].number_value, given["agent_options.eta"].number_value) == (5.0, 2.0)


def test_wandb_missing_is_one_line_that_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"pip install -e .\.\[wandb\]"):
        WandbLog(tmp_path, RunConfig())


def test_wandb_is_offline_unless_asked_and_gets_videos_as_videos(tmp_path, monkeypatch):
    asked, logged, summary = {}, [], {}
    own = tmp_path / "wandb" / "offline-run-20261129_153029-a"  # as wandb 0.31.0 lays it out
    run = SimpleNamespace(
        log=lambda values, step: logged.append((values, step)), finish=lambda: logged.append("end"),
        summary=summary, dir=str(own / "files"),
    )  # fmt: skip

    def init(**options):
        asked.update(options)
        (own / "files").mkdir(parents=True)
        (own / "logs").mkdir()
        (own / "logs" / "debug-core.log").symlink_to(tmp_path.parent / "core-debug.log")
        return run

    fake = SimpleNamespace(
        init=init, Settings=SimpleNamespace,
        Video=lambda data_or_path, caption=None, fps=None, format=None: (
            Path(data_or_path).read_bytes(), format,
        ),
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    board = WandbLog(tmp_path, CONFIG)
    board.scalars({"x": 1.0}, 7)
    board.facts({"offline/sampler/clusters": 4.0}, 7)
    board.video("videos/best", b"mp4", 7)
    board.close()
    refuse_links_out(tmp_path)  # as a resume asks
    assert asked["settings"].symlink is False
    assert (asked["mode"], asked["config"]["seed"], summary) == (
        "offline",
        5,
        {"offline/sampler/clusters": 4.0},
    )
    assert logged == [({"x": 1.0}, 7), ({"videos/best": (b"mp4", "mp4")}, 7), "end"]


class Mlflow:
    """Stands in for mlflow 2: its functions by their names and arguments, which remember what they got."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []
        self.runs: dict[str, str] = {}  # key of the folder -> id

    def set_experiment(self, experiment_name=None, experiment_id=None):
        self.calls.append(("experiment", experiment_name))

    def start_run(self, run_id=None, experiment_id=None, run_name=None, nested=False, tags=None):
        self.runs[tags["trajrl.key"]] = run_id or "new"
        self.calls.append(("start", run_id, run_name))

    def search_runs(
        self, experiment_ids=None, filter_string="", run_view_type=1, max_results=100000, order_by=None,
        output_format="pandas", search_all_experiments=False, experiment_names=None,
    ):  # fmt: skip
        key = filter_string.split("'")[1]
        assert output_format == "list"
        assert filter_string == f"tags.`trajrl.key` = '{key}'"
        return [SimpleNamespace(info=SimpleNamespace(run_id=self.runs[key]))] if key in self.runs else []

    def log_params(self, params, synchronous=None):
        assert len(params) <= 100, "MLflow takes no more in one call"
        self.calls.append(("params", params))

    def log_metrics(self, metrics, step=None, synchronous=None, run_id=None):
        self.calls.append(("metrics", metrics, step))

    def log_text(self, text, artifact_file, run_id=None):
        self.calls.append(("text", artifact_file, text))

    def log_artifact(self, local_path, artifact_path=None, run_id=None):
        self.calls.append(("artifact", artifact_path, Path(local_path).name, Path(local_path).read_bytes()))

    def end_run(self, status="FINISHED"):
        self.calls.append(("end", status))


def test_mlflow_gets_parameters_text_scalars_constants_and_videos(tmp_path, monkeypatch):
    fake = Mlflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    board = MlflowLog(tmp_path / "a", CONFIG)
    board.scalars({"offline/eval/score": 1.0}, 7)
    board.facts({"offline/sampler/clusters": 4.0}, 7)
    board.video("videos/best", b"mp4", 7)
    board.close()
    kinds = [call[0] for call in fake.calls]
    assert fake.calls[:2] == [("experiment", "trajrl"), ("start", None, "a")]
    given = {name: value for kind, *what in fake.calls if kind == "params" for name, value in what[0].items()}
    assert given == flat(CONFIG)
    assert json.loads(fake.calls[kinds.index("text")][2])["seed"] == 5
    assert fake.calls[-4:] == [
        ("metrics", {"offline/eval/score": 1.0}, 7),
        ("text", "facts/step-7.tsv", "offline/sampler/clusters\t4\n"),
        ("artifact", "videos/best", "step-7.mp4", b"mp4"),
        ("end", "FINISHED"),
    ]


def test_a_resumed_run_continues_in_mlflow_under_its_id_and_a_new_one_does_not(tmp_path, monkeypatch):
    fake = Mlflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    MlflowLog(tmp_path, CONFIG)
    MlflowLog(tmp_path, CONFIG)  # nothing was trained yet
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/latest").touch()
    fake.calls.clear()
    MlflowLog(tmp_path, CONFIG)
    assert [call for call in fake.calls if call[0] in ("start", "params")] == [
        ("start", "new", tmp_path.name)
    ]


def test_the_page_that_maps_tags_names_those_that_are_logged():
    root = Path(__file__).parents[2]
    source = "".join(path.read_text() for path in (root / "trajrl").rglob("*.py"))
    rows = [
        line.split(" | ")[1] for line in (root / "docs/tags.md").read_text().splitlines() if "| `" in line
    ]
    tags = [
        tag.removeprefix("PHASE/").removeprefix("online/") for tag in re.findall(r"`(\S+)`", " ".join(rows))
    ]
    assert len(tags) == 14
    made = {"eval/return", "eval/length", "eval/success", "eval/score", "sampler/draws/ess"}  # of two parts
    spoken = [tag.removeprefix("time/") for tag in tags if tag not in made]
    assert not [tag for tag in spoken if f'"{tag}"' not in source]
