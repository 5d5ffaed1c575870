"""The recipes for clusters: their shell and YAML parse, and their commands are ones that run.py knows."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from trajrl.cli.commands import COMMANDS
from trajrl.cli.main import parse
from trajrl.core.registry import find

FOLDER = Path(__file__).parents[2] / "docs" / "recipes"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
DIRECTIVE = re.compile(r"--[a-z-]+(=\S+)?")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_the_shell_parses(path):
    assert shutil.which("bash")
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_directives_come_before_the_first_command_and_are_well_formed(path):
    lines = path.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    found = {i: line.split(maxsplit=1)[1] for i, line in enumerate(lines) if line.startswith("#SBATCH")}
    assert len(found) > 5
    assert max(found) < first  # sbatch reads no further
    assert [text for text in found.values() if not DIRECTIVE.fullmatch(text)] == []


def commands() -> list[str]:
    """Return what follows `run.py` in scripts, in their first comment and in the YAML."""
    found = []
    for path in [*SCRIPTS, FOLDER / "ray-cluster.yaml"]:
        text = path.read_text().replace("\\\n", " ").replace("\n#      ", " ")
        own = re.search(rf"sbatch \S+{path.name} (.*)", text)
        for line in re.findall(r"run\.py (.*)", text):
            words = line.replace('"$@"', own[1] if own else "").replace('"$address:$port"', "auto")
            found.append(words.rstrip('"'))
    return found


@pytest.mark.parametrize("line", commands())
def test_the_commands_parse(line):
    words = shlex.split(line)
    command = find({words[0]: COMMANDS[words[0]][0]}, words[0], "command")
    assert isinstance(parse(command, words[0], words[1:]), command)


def test_there_is_a_command_in_every_recipe():
    assert len(commands()) == 3


def test_the_cluster_is_what_ray_asks_for():
    cluster = yaml.safe_load((FOLDER / "ray-cluster.yaml").read_text())
    assert cluster["provider"]["type"] == "local"
    assert cluster["max_workers"] == len(cluster["provider"]["worker_ips"])
    assert {"cluster_name", "auth", "head_start_ray_commands", "worker_start_ray_commands"} <= set(cluster)


@pytest.mark.slow
def test_ray_accepts_the_cluster():
    pytest.importorskip("ray", reason="ray is not installed")
    from ray.autoscaler._private.util import prepare_config, validate_config

    cluster = prepare_config(yaml.safe_load((FOLDER / "ray-cluster.yaml").read_text()))
    validate_config(cluster)  # raises where Ray would
    assert cluster["max_workers"] > 0
