"""metrics.csv: means over the interval, columns that may grow, rows that can be cut back."""

import pytest
import torch

from trajrl.training.run_dir.csv_log import append_csv, cut_csv, read_csv
from trajrl.training.run_dir.logger import Logger


def test_a_row_holds_means_over_the_interval(tmp_path):
    logger = Logger(tmp_path, tensorboard=False)
    logger.add({"critic/loss": torch.tensor(1.0)})
    logger.add({"critic/loss": torch.tensor(3.0)})
    row = logger.flush("offline", 2, {"sampler/entropy": 0.5})
    assert row == {"offline/critic/loss": 2.0, "offline/sampler/entropy": 0.5}
    assert read_csv(tmp_path / "metrics.csv") == [
        {"step": "2", "offline/critic/loss": "2.0", "offline/sampler/entropy": "0.5"}
    ]


def test_a_metric_that_comes_late_gets_its_own_column(tmp_path):
    logger = Logger(tmp_path, tensorboard=False)
    logger.flush("offline", 1, {"a": 1.0})
    logger.flush("offline", 2, {"b": 2.0, "a": 3.0})
    assert read_csv(tmp_path / "metrics.csv") == [
        {"step": "1", "offline/a": "1.0", "offline/b": ""},
        {"step": "2", "offline/a": "3.0", "offline/b": "2.0"},
    ]


def test_the_interval_under_way_survives_a_restart(tmp_path):
    first = Logger(tmp_path / "a", tensorboard=False)
    (tmp_path / "a").mkdir()
    first.add({"x": torch.tensor(1.0)})
    second = Logger(tmp_path / "a", tensorboard=False)
    second.load_state_dict(first.state_dict())
    second.add({"x": torch.tensor(4.0)})
    assert second.flush("offline", 2, {}) == {"offline/x": 2.5}


def test_rows_after_the_checkpoint_and_torn_rows_are_cut(tmp_path):
    logger = Logger(tmp_path, tensorboard=False)
    for step in (1, 2, 3):
        logger.flush("offline", step, {"a": float(step), "b": 0.0})
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("4,1.0")
    logger.cut_back(2)
    assert [row["step"] for row in read_csv(tmp_path / "metrics.csv")] == ["1", "2"]


@pytest.mark.parametrize("torn", ["", "step,off"])
def test_a_first_line_cut_short_by_a_crash_is_written_again(tmp_path, torn):
    path = tmp_path / "metrics.csv"
    path.write_text(torn)
    logger = Logger(tmp_path, tensorboard=False)
    logger.cut_back(0)
    logger.flush("offline", 1, {"a": 1.0})
    assert path.read_text().split() == ["step,offline/a", "1,1.0"]
    path.write_text(torn)
    cut_csv(path, 0)
    append_csv(path, ["step", "b"], [{"step": 1, "b": 2}])
    assert read_csv(path) == [{"step": "1", "b": "2"}]


@pytest.mark.parametrize("content", [b"\xff\x00\n", b"step,a\n1,\xff\n", b"a,b\n1,2\n", b"step,a\none,2\n"])
def test_a_file_that_holds_no_rows_of_a_run_is_named_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"metrics\.csv is damaged"):
        cut_csv(path, 5)
    assert path.read_bytes() == content
