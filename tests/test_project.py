"""The house itself: what imports what, what is installed, and what starts quickly."""

import ast
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import trajrl

ROOT = Path(__file__).parents[1]
LAYERS = [  # a room imports only from rooms of lines above its own: neither of two on one line sees the other
    {"core"},
    {"store", "nets"},
    {"formats", "samplers"},
    {"envs", "agents"},
    {"rollout"},
    {"training"},
    {"report"},
    {"sweep"},
    {"cli"},
    {"__main__"},
]
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
ROOMS = set(LAYER) - {"__main__"}
MODULES = sorted(
    path
    for path in (ROOT / "trajrl").rglob("*.py")
    if path.parent != ROOT / "trajrl" or path.stem != "__init__"
)
# An agent learns from batches and does not know where they come from.  Strata alone read more: they cluster
# and split their own rows with the mathematics of the samplers, three pure functions of arrays.
READ_BY_AGENTS = {"trajrl.store.window"}
STRATA = ("trajrl.agents.base.strata", "trajrl.agents.base.merit_split")
READ_BY_STRATA = {
    "trajrl.samplers.base.split",
    "trajrl.samplers.clustering.kmeans",
    "trajrl.store.features",
}


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph(root: Path) -> dict[str, set[str]]:
    """Return what every module of trajrl imports of trajrl: all imports, in functions and for types too."""
    files = {module_name(path, root): path for path in (root / "trajrl").rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for own, path in files.items():
        names = []
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: an import is written from the root on"
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                names += [name if name in files else node.module for name in inner]
        graph[own] = {name for name in names if name in files} - {own}
    return graph


def reached(graph: dict[str, set[str]], start: str) -> set[str]:
    """Return every module that one leads to by its imports."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def circles(graph: dict[str, set[str]]) -> set[tuple[str, ...]]:
    """Return the groups of modules that lead to one another (strongly connected, of two or more)."""
    after = {name: reached(graph, name) for name in graph}
    return {
        tuple(sorted({own, *(other for other in after[own] if own in after[other])}))
        for own in graph
        if own in after[own]
    }


GRAPH = import_graph(ROOT)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_layers_modules_import_only_from_rooms_above_their_own(path):
    own = path.relative_to(ROOT / "trajrl").parts[0].removesuffix(".py")
    rooms = {name.split(".")[1] for name in GRAPH[module_name(path, ROOT)] if name != "trajrl"} - {own}
    wrong = {room for room in rooms if LAYER[room] >= LAYER[own]}
    assert not wrong, f"{path.name} imports from rooms that stand below or beside its own: {wrong}"


def test_layers_of_agents_know_of_data_only_batches():
    for name, imported in GRAPH.items():
        if name.startswith("trajrl.agents."):
            outside = {other for other in imported if other.split(".")[1] in ("store", "samplers", "formats")}
            allowed = READ_BY_STRATA if name in STRATA else READ_BY_AGENTS
            assert outside <= allowed, name


def test_layers_twelve_rooms_and_nothing_loose():
    found = {path.name for path in (ROOT / "trajrl").iterdir()} - {"__pycache__"}
    assert len(ROOMS) == 12
    assert found == ROOMS | {"__init__.py", "__main__.py", "py.typed"}


def test_no_circles_of_files():
    assert circles(GRAPH) == set()


@pytest.mark.parametrize(
    "closing",
    [
        "from trajrl.room.a import x",
        "import trajrl.room.a",
        "def f():\n    from trajrl.room import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from trajrl.room import a",
    ],
)
def test_circles_put_in_by_hand_are_found(tmp_path, closing):
    room = tmp_path / "trajrl" / "room"
    room.mkdir(parents=True)
    (room / "__init__.py").write_text("")
    (room / "a.py").write_text("from trajrl.room.b import y\n")
    (room / "b.py").write_text("from trajrl.room.c import z\n")
    (room / "c.py").write_text("z = 1\n")
    assert circles(import_graph(tmp_path)) == set()
    (room / "c.py").write_text(f"z = 1\n{closing}\n")
    assert circles(import_graph(tmp_path)) == {("trajrl.room.a", "trajrl.room.b", "trajrl.room.c")}


def test_layers_users_import_from_trajrl_itself():
    texts = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.py")]
    inner = [(path.name, m) for path in texts for m in re.findall(r"from trajrl\.(\w+)", path.read_text())]
    assert {room for _, room in inner} <= {"report"}, inner  # notebooks read runs with trajrl.report


def test_layers_every_public_name_is_there():
    for name in trajrl.__all__:
        assert getattr(trajrl, name) is not None


def test_no_agent_imports_another():
    agents = ROOT / "trajrl" / "agents"
    names = {
        re.match(r".*\.(\w+):", line).group(1)
        for line in (agents / "__init__.py").read_text().splitlines()
        if '": "trajrl' in line
    }
    assert {"diffusion_ql", "trajectory_ql"} <= names
    for name in names:
        text = (agents / f"{name}.py").read_text()
        assert not [
            other for other in names - {name} if f"agents.{other} " in text or f"agents.{other}\n" in text
        ]


def test_chance_comes_from_streams_alone():
    draws = re.compile(
        r"np\.random\.(seed|rand|randn|randint|choice|uniform|normal|default_rng)\("
        r"|torch\.manual_seed\(|^\s*import random"
    )
    wrong = [str(p) for p in MODULES for line in p.read_text().splitlines() if draws.search(line)]
    assert not wrong


def test_environment_yml_equals_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {requirement.replace("torch>=", "pytorch>=") for requirement in project["dependencies"]}
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    pip = next(item["pip"] for item in conda if isinstance(item, dict))
    named = {item for item in conda if isinstance(item, str)} - {"pip"}
    assert f"python{project['requires-python']}" in named
    assert {item for item in named if not item.startswith("python>")} | set(pip) == wanted


def test_environment_yml_names_the_legacy_stack_and_its_command():
    text = (ROOT / "environment.yml").read_text()
    for name in ("d4rl", "gym==", "mujoco-py", "make legacy"):
        assert re.search(rf"# .*{name}", text)


def test_constraints_pin_the_processor_build_of_torch():
    lines = (ROOT / "constraints.txt").read_text().split()
    assert "torch==2.13.0" in lines
    assert all(re.fullmatch(r"[A-Za-z0-9_.\-]+==[0-9][^=]*", line) for line in lines)


def test_every_core_package_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().split()
    }
    extras = [r for name in ("dev", "ogbench", "export") for r in project["optional-dependencies"][name]]
    names = {re.split(r"[\[<>=]", r)[0].lower() for r in project["dependencies"] + extras}
    assert names <= pinned


HEAVY = ("torch", "h5py", "pandas", "faiss", "gymnasium")


@pytest.mark.parametrize(
    "code", ["import trajrl", "from trajrl.cli.main import dispatch; dispatch(['--help'])"]
)
def test_start_is_light(code):
    check = f"{code}\nimport sys\nprint([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_help_of_every_command_is_light_and_reads():
    from trajrl.cli.commands import COMMANDS, GROUPS

    names = [[n] for n, (target, _) in COMMANDS.items() if target]
    names += [[g, n] for g, table in GROUPS.items() for n in table]
    code = "import sys\nfrom trajrl.cli.main import dispatch\n"
    for words in names:
        code += f"assert dispatch({[*words, '--help']}) == 0, {words}\n"
    code += f"print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == "[]"
    for words in names:
        assert f"run.py {' '.join(words)}" in done.stdout


def processor_seconds(*words: str) -> float:
    """Return the least processor time of five runs of Python, so that a busy machine is no failure."""
    found = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def test_help_takes_a_small_multiple_of_an_empty_python():
    ratio = processor_seconds("run.py", "--help") / processor_seconds("-c", "pass")
    assert ratio < 15, f"{ratio:.0f} times `python -c pass`; importing torch alone is above 100"


TOP = {"trajrl", "data", "run.py", "analysis", "tests", "environment.yml", "README.md"}
BESIDE = {  # what a project of this kind has: how it is built, licensed, cited, changed, tested and packed
    ".ci", ".dockerignore", ".github", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md",
    "CITATION.cff", "CONTRIBUTING.md", "Dockerfile", "LICENSE", "Makefile", "benchmarks", "constraints.txt",
    "docs", "examples", "mkdocs.yml", "pyproject.toml",
}  # fmt: skip


def test_the_top_of_the_house_holds_nothing_else():
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    paths = subprocess.run(listed, capture_output=True, text=True, cwd=ROOT, check=True).stdout.split()
    assert {Path(path).parts[0] for path in paths} == TOP | BESIDE


def test_git_ignores_no_file_of_the_package():
    inside = [str(path.relative_to(ROOT)) for path in MODULES]
    words = [
        "git",
        "check-ignore",
        "--no-index",
        *inside,
    ]  # an ignored file is in no wheel, and ruff skips it
    assert subprocess.run(words, capture_output=True, text=True, cwd=ROOT).stdout.split() == []


def test_git_ignores_runs_and_keeps_the_demo_store():
    ignored = subprocess.run(
        ["git", "check-ignore", "runs/x", "out/x", "data/other.h5"], capture_output=True, text=True, cwd=ROOT
    )
    assert ignored.stdout.split() == ["runs/x", "out/x", "data/other.h5"]
    kept = subprocess.run(
        ["git", "check-ignore", "data/hopper-skewed.h5"], capture_output=True, text=True, cwd=ROOT
    )
    assert kept.returncode == 1
