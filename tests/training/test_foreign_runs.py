"""A run directory that came from elsewhere: no link in it is written through, no pipe is waited for."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from small_runs import small_online, trained, write_store

from trajrl import load_run
from trajrl.cli.main import dispatch
from trajrl.training import loop
from trajrl.training.run_dir import checkpoint, folder

WRITTEN = Path(folder.__file__).parents[2]  # the package


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a place with an offline run that has finished, and an online one that continued it."""
    place = tmp_path_factory.mktemp("made")
    data = write_store(place / "x.h5", 4)
    trained(place / "offline", data, agent="td3_bc", sampler="uniform", steps=14)
    loop.online(small_online(place / "online", place / "offline"))
    return place


@pytest.fixture(autouse=True)
def let_go():
    yield
    while folder._locks:
        folder._locks.pop().close()


def resume(run: Path, phase: str = "offline") -> int:
    longer = {"offline": ["--steps", "21"], "online": ["--env-steps", "90"]}[phase]
    return dispatch([phase, "--resume", "--out", str(run), *longer])


def places(run: Path) -> list[str]:
    """Return every file of a run, and every fixed name that its writers ever wrote under on the way."""
    files = [str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()]
    names = {name for path in WRITTEN.rglob("*.py") for name in scratch_names(path.read_text())}
    return [*files, *(str(Path(place) / name) for place in ("", "checkpoints") for name in sorted(names))]


def scratch_names(source: str) -> set[str]:
    """Return what fixed scratch names of a source are for the files of a run."""
    found = set(re.findall(r'"(\.[\w-]+\.tmp)"', source)) | {".latest.tmp", ".best.tmp", "metrics.tmp"}
    return found | {
        "evals.tmp",
        ".policy.onnx.tmp.onnx",
        "projector_config.pbtxt",
        "tb/projector_config.pbtxt",
    }


WHOLE = 6  # every sixth place is tried by the whole command


@pytest.mark.parametrize("phase", ["offline", "online"])
def test_a_resume_writes_through_no_link_to_a_users_file(made, phase, tmp_path, capsys):
    victim = tmp_path / "precious.txt"
    victim.write_text("precious")
    run = shutil.copytree(made / phase, tmp_path / "run")
    for number, place in enumerate(places(made / phase)):
        (run / place).parent.mkdir(exist_ok=True)
        before = (run / place).read_bytes() if (run / place).exists() else None
        (run / place).unlink(missing_ok=True)
        (run / place).symlink_to(victim)
        with pytest.raises(ValueError, match="outside"):
            folder.refuse_links_out(run)  # what a resume asks before it opens anything
        if number % WHOLE == 0:
            assert resume(run, phase) == 1, place
            assert "outside" in capsys.readouterr().err, place
            assert victim.read_text() == "precious", place
        (run / place).unlink()
        if before is not None:
            (run / place).write_bytes(before)


@pytest.mark.slow
def test_no_writer_follows_a_link_where_nobody_looked_for_links_before(made, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "refuse_links_out", lambda folder: None)
    (tmp_path / "precious.txt").write_text("precious")
    for place in places(made / "offline"):
        run = tmp_path / "run"
        shutil.copytree(made / "offline", run)
        (run / place).parent.mkdir(exist_ok=True)
        (run / place).unlink(missing_ok=True)
        (run / place).symlink_to(tmp_path / "precious.txt")
        resume(run)
        assert (tmp_path / "precious.txt").read_text() == "precious", place
        let_locks_go()
        shutil.rmtree(run)


def let_locks_go():
    while folder._locks:
        folder._locks.pop().close()


@pytest.mark.parametrize("name", ["checkpoints", "tb"])
def test_a_part_of_a_run_that_lies_elsewhere_is_refused_and_nothing_there_is_pruned(
    made, tmp_path, name, capsys
):
    shutil.copytree(made / "offline", tmp_path / "run")
    shutil.move(tmp_path / "run" / name, tmp_path / "elsewhere")
    (tmp_path / "run" / name).symlink_to(tmp_path / "elsewhere")
    before = sorted(tmp_path.joinpath("elsewhere").iterdir())
    assert resume(tmp_path / "run") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{name} is a link to {tmp_path / 'elsewhere'}, outside" in line
    assert sorted(tmp_path.joinpath("elsewhere").iterdir()) == before


def test_a_link_to_a_run_is_a_name_of_it(made, tmp_path):
    shutil.copytree(made / "offline", tmp_path / "run")
    (tmp_path / "named").symlink_to(tmp_path / "run")
    assert resume(tmp_path / "named") == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 21


def test_a_new_run_begins_in_no_folder_with_links_out(made, tmp_path, capsys):
    out, victim = tmp_path / "out", tmp_path / "not-yet"
    out.mkdir()
    (out / "metrics.csv.tmp").symlink_to(victim)
    words = ["offline", "--data", str(made / "x.h5"), "--steps", "2", "--out", str(out)]
    assert dispatch(words) == 1
    assert "outside" in capsys.readouterr().err
    assert not victim.exists()


READERS = {
    "report": ["report", "RUN", "--detail", "0", "--out", "OUT.html"],
    "evaluate": ["evaluate", "RUN", "--episodes", "1"],
    "resume": ["offline", "--resume", "--out", "RUN"],
    "config": ["offline", "--config", "RUN/config.json", "--out", "OUT", "--steps", "2"],
}  # fmt: skip
PIPES = (
    "config.json", "mark", "versions.json", "summary.json", "command.txt", "metrics.csv", "evals.csv",
    "episodes.parquet", "checkpoints/latest", "checkpoints/lock", "checkpoints/STEP/agent.pt",
    "checkpoints/STEP/whole.json", "checkpoints/POLICY/agent.pt", "checkpoints/POLICY/facts.json",
)  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "reader",
    [pytest.param(name, marks=pytest.mark.slow if name in ("report", "config") else ()) for name in READERS],
)
def test_no_command_waits_for_a_pipe_in_a_run(made, reader, tmp_path, capsys):
    for place in PIPES:
        run = tmp_path / "run"
        shutil.copytree(made / "offline", run)
        for short, pattern in (("STEP", "step-*"), ("POLICY", "policy-*")):
            place = place.replace(short, sorted((run / "checkpoints").glob(pattern))[-1].name)
        (run / place).unlink(missing_ok=True)
        os.mkfifo(run / place)
        if place == "mark":  # is looked at only where a name would be called
            config = json.loads((run / "config.json").read_text())
            (run / "config.json").write_text(json.dumps({**config, "agent": "canary:TD3BC"}))
        words = [
            word.replace("RUN", str(run)).replace("OUT", str(tmp_path / "out")) for word in READERS[reader]
        ]
        code = dispatch(words)  # the limit of time on this test is the check
        said = capsys.readouterr()
        assert code in (0, 1)
        assert "Traceback" not in said.err
        let_locks_go()
        shutil.rmtree(run)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        (tmp_path / "out.html").unlink(missing_ok=True)


def test_a_journal_that_is_a_pipe_or_a_link_is_refused(made, tmp_path, capsys):
    from trajrl.store.journal import NAME, Journal, replay

    os.mkfifo(tmp_path / NAME)
    for opened in (lambda: Journal(tmp_path), lambda: list(replay(tmp_path / NAME))):
        with pytest.raises(ValueError, match=f"{NAME} is not a plain file"):
            opened()
    (tmp_path / NAME).unlink()
    shutil.copy(made / "online" / "journal" / NAME, tmp_path / "victim")
    (tmp_path / NAME).symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="a symbolic link"):
        Journal(tmp_path)


class Bomb:
    """Touches a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def set_bombs(run: Path, path: Path) -> None:
    """Put code into every tensor file, under digests that are right."""
    for whole in run.rglob("whole.json"):
        for part in whole.parent.glob("*.pt"):
            torch.save({"x": Bomb(path)}, part)
        said = json.loads(whole.read_text())
        digests = {name: checkpoint._digest(whole.parent / name) for name in said["digests"]}
        whole.write_text(json.dumps({**said, "digests": digests}))


@pytest.mark.parametrize("reader", ["report", "evaluate", "resume", "export", "from"])
def test_code_in_the_tensors_of_a_run_is_not_run(made, reader, tmp_path, capsys):
    run = shutil.copytree(made / "offline", tmp_path / "run")
    set_bombs(run, tmp_path / "exploded")
    doors = {
        **READERS,
        "export": ["export", "RUN", "--format", "torch", "--out", "OUT.pt2"],
        "report": ["report", "RUN", "--videos", "0", "--out", "OUT.html"],
        "from": ["online", "--from", "RUN", "--env-steps", "4", "--out", "OUT"],
    }
    words = [word.replace("RUN", str(run)).replace("OUT", str(tmp_path / "out")) for word in doors[reader]]
    words += ["--steps", "21"] if reader == "resume" else []
    assert dispatch(words) == (0 if reader == "report" else 1)
    said = capsys.readouterr()
    assert "part 'agent' cannot be read (it is damaged, or holds more than tensors" in said.out + said.err
    assert "weights_only" not in said.out + said.err
    with pytest.raises(ValueError, match="holds more than tensors"):
        load_run(run).policy()
    assert not (tmp_path / "exploded").exists()


WRONG = {
    "agent.alpha": ({"agent_options": {"alpha": None}}, "agent.alpha takes float; got null"),
    "agent.tau": ({"agent_options": {"tau": float("nan")}}, "agent.tau must be a finite number; got nan"),
    "env": ({"env_options": None}, "env_options takes names and values"),
    "utd": ({"utd": float("nan")}, "utd takes a number; got nan"),
}  # fmt: skip


@pytest.mark.parametrize("field", WRONG)
def test_a_null_or_nan_in_a_config_is_one_line_that_names_file_and_field(made, field, tmp_path, capsys):
    changes, line = WRONG[field]
    run = shutil.copytree(made / "offline", tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    options = {**config["agent_options"], **changes.get("agent_options", {})}
    (run / "config.json").write_text(json.dumps({**config, **changes, "agent_options": options}))
    assert dispatch(["evaluate", str(run), "--episodes", "1"]) == 1
    assert f"{run / 'config.json'}: {line}" in capsys.readouterr().err
    dispatch(["report", str(run), "--videos", "0", "--out", str(tmp_path / "out.html")])
    said = capsys.readouterr()
    assert line in said.out + said.err
    assert "config.json" in said.out + said.err
