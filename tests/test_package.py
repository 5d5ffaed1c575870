"""The wheel: what is in it, that its words are the project's, and that it works where no checkout is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

import trajrl
from trajrl.core.extras import DISTRIBUTION
from trajrl.training.build import choose_device

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LICENSES = ("LICENSE", "data/LICENSES.md")
STEM = f"{DISTRIBUTION.replace('-', '_')}-{trajrl.__version__}"


def built(place: Path, kind: str = "wheel") -> Path:
    """Build a distribution of the checkout with what builds it, and no network."""
    words = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(place)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return next(place.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return built(tmp_path_factory.mktemp("dist"))


def tracked(*places: str) -> set[str]:
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *places]
    return set(subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout.split())


def test_the_wheel_holds_the_package_the_data_and_the_licences_and_nothing_else(wheel):
    assert wheel.name == f"{STEM}-py3-none-any.whl"
    about = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", *(f"licenses/{name}" for name in LICENSES))
    wanted = tracked("trajrl") | {f"trajrl/{name}" for name in tracked("data")}
    held = set(zipfile.ZipFile(wheel).namelist())
    assert held == wanted | {f"{STEM}.dist-info/{name}" for name in about}
    assert {"trajrl/py.typed", "trajrl/data/hopper-skewed.h5"} <= held
    assert wheel.stat().st_size < 8e6


def test_the_wheel_says_who_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        said = archive.read(f"{STEM}.dist-info/METADATA").decode().split("\n\n")[0]
        scripts = archive.read(f"{STEM}.dist-info/entry_points.txt").decode()
    assert f"Name: {DISTRIBUTION}\nVersion: {trajrl.__version__}\n" in said
    assert "\nLicense-Expression: MIT AND CC-BY-4.0\n" in said
    assert "Project-URL" not in said  # there is no public address yet
    assert "trajrl = trajrl.cli.main:main" in scripts


def test_an_editable_install_takes_everything_from_the_checkout(tmp_path):
    code = "import sys; from hatchling.build import build_editable; print(build_editable(sys.argv[1]))"
    words = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / ended.stdout.split()[-1]) as archive:
        loose = [name for name in archive.namelist() if ".dist-info/" not in name]
        assert [archive.read(name).decode().strip() for name in loose] == [str(ROOT)]


def test_what_is_licensed_is_what_is_shipped():
    named = set(re.findall(r"`([\w/.-]+\.(?:npz|h5|json|txt))`", (ROOT / "data" / "LICENSES.md").read_text()))
    data = {name.removeprefix("data/") for name in tracked("data") if not name.endswith(".md")}
    own = {"measured_references.json", "known.json", "policies/index.json"}
    tables = {Path(name).name for name in tracked("trajrl") if re.search(r"\.(json|txt)$", name)} - own
    assert named == data - own | tables


def test_the_version_and_the_name_are_the_same_everywhere():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == trajrl.__version__
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert newest.group(1) == trajrl.__version__
    assert PROJECT["name"] == DISTRIBUTION
    assert "urls" not in PROJECT
    assert "url" not in cited


def test_every_python_that_is_named_was_tried():
    named = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r":: 3\.\d", line)}
    page = (ROOT / "docs" / "systems.md").read_text()
    assert set(re.findall(r"^\| Python (3\.\d+) \| (?:tested|tried)", page, re.M)) == named


def test_what_is_said_to_fail_elsewhere_does():
    with pytest.raises(ValueError, match="--device mps was never tried"):
        choose_device("mps")
    assert "import fcntl" in (ROOT / "trajrl" / "core" / "atomic_files.py").read_text()
    assert "os.sched_getaffinity" in (ROOT / "trajrl" / "core" / "cpu.py").read_text()


def test_the_same_ruff_everywhere():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    pin = re.search(r"^ruff==.*$", (ROOT / "constraints.txt").read_text(), re.M).group(0)
    assert {hook["id"]: hook["additional_dependencies"] for hook in hooks} == {
        "ruff": [pin],
        "ruff-format": [pin],
    }


def test_hosted_ci_runs_what_is_run_here():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    assert ".ci/run" in [step.get("run") for job in jobs.values() for step in job["steps"]]


def test_the_image_is_the_two_commands():
    text = (ROOT / "Dockerfile").read_text()
    asked = json.loads(re.search(r"^CMD (.*)$", text, re.M).group(1))[-1]
    assert asked == "trajrl offline --sampler cluster && trajrl online --metric td_error_rank"


def fresh(place: Path, wheel: Path) -> Path:
    """Make an environment that holds the wheel; what trajrl depends on is read from this one's packages."""
    venv.create(place, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(place / "bin" / "python"), "install", "-q"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    packages = next(place.glob("lib/python3*/site-packages"))
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "bin"


ALONE = (
    ("trajrl --help", "usage: trajrl COMMAND"),
    ("trajrl list agents", "trajectory_ql"),
    ("trajrl offline --sampler cluster --steps 500", "runs/offline-"),
    ("trajrl online --metric td_error_rank --env-steps 400", "runs/online-"),
    ("trajrl collect --recipe skewed --steps 400", "hopper-skewed.h5"),
    ("python -m trajrl store --help", "usage: python -m trajrl store"),
)


@pytest.mark.slow
@pytest.mark.timeout(900)  # 97 s of one core of an AMD EPYC
def test_the_wheel_alone_works_in_an_empty_folder(wheel, tmp_path):
    tools, folder = fresh(tmp_path / "env", wheel), tmp_path / "empty"
    folder.mkdir()
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"PATH": f"{tools}{os.pathsep}{env['PATH']}", "OMP_NUM_THREADS": "1"}
    for line, printed in ALONE:
        ended = subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True)
        assert ended.returncode == 0, f"{line}\n{ended.stderr[-2000:]}"
        assert printed in ended.stdout, line
        assert "Traceback" not in ended.stderr
    found = next(folder.glob("runs/offline-*"))
    config = json.loads((found / "config.json").read_text())
    assert Path(config["data"]).is_relative_to(tmp_path / "env")
    assert json.loads((found / "versions.json").read_text())["trajrl"] == trajrl.__version__
    assert (found / "command.txt").read_text() == f"{ALONE[2][0]}\n"


PIP = """#!/bin/sh
echo "$@" >> asked
echo "Looking in links: /somewhere"
echo "Collecting torch==2.13.0"
echo "  Downloading torch.whl.metadata (29 kB)"
echo "Downloading torch.whl (187 MB)"
echo "Installing collected packages: mpmath, torch"
test ! -e broken || { echo "ERROR: no space left" >&2; exit 1; }
echo "Successfully installed torch-2.13.0"
"""
OUTER = ("MAKE", "MFLAGS", "VENV")  # what a make that runs these tests leaves to its children
PYTHON = """#!/bin/sh
test "$1" = -c && { test -z "$PRINTS" || echo "$PRINTS"; exit 0; }
mkdir -p "$3/bin" && cp pip "$3/bin/pip"
"""


def make_environment(folder: Path, prints: str = "") -> subprocess.CompletedProcess:
    """Run `make .venv` with a Python that makes no environment and a pip that installs nothing."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    for name, text in (("pip", PIP), ("python", PYTHON)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    alone = {name: value for name, value in os.environ.items() if not name.startswith(OUTER)}
    alone |= {"PRINTS": prints}
    words = ["make", ".venv", "PYTHON=./python"]
    return subprocess.run(words, cwd=folder, env=alone, capture_output=True, text=True)


def test_make_venv_names_each_package_as_it_comes(tmp_path):
    ended = make_environment(tmp_path)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0] == "installing into .venv: some minutes, most of them torch"
    assert lines[1:5] == [
        "Collecting torch==2.13.0", "Downloading torch.whl (187 MB)",
        "Writing the files of all of these: a minute or two", "Successfully installed torch-2.13.0",
    ]  # fmt: skip
    assert (tmp_path / ".venv" / ".installed").exists()


@pytest.mark.parametrize(("prints", "more"), [("", "ogbench,"), ("newer", "")])
def test_make_venv_leaves_ogbench_out_where_it_cannot_be_installed_and_says_so(prints, more, tmp_path):
    ended = make_environment(tmp_path, prints)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "asked").read_text().split()[-1] == f".[dev,{more}export,video]"
    assert ("without ogbench: it needs Python 3.12 or older" in ended.stdout) == bool(prints)


def test_make_venv_fails_where_pip_does(tmp_path):
    (tmp_path / "broken").touch()
    ended = make_environment(tmp_path)
    assert ended.returncode != 0
    assert "no space left" in ended.stderr
    assert not (tmp_path / ".venv" / ".installed").exists()
