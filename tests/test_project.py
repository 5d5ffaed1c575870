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

ROOT = Path(__file__).parents[1]
LEVELS = [
    {"core"},
    {"store", "nets"},
    {"formats", "samplers"},
    {"envs"},
    {"agents"},
    {"rollout"},
    {"training"},
    {"report"},
    {"sweep"},
    {"cli"},
    {"__main__"},
]
MODULES = sorted(
    path
    for path in (ROOT / "trajrl").rglob("*.py")
    if path.parent != ROOT / "trajrl" or path.stem != "__init__"
)


def level(name: str) -> int:
    return next(i for i, names in enumerate(LEVELS) if name in names)


def imports(path: Path) -> set[str]:
    """Return the parts of trajrl that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        found |= {name.split(".")[1] for name in names if name.startswith("trajrl.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_import_only_from_below(path):
    own = path.relative_to(ROOT / "trajrl").parts[0].removesuffix(".py")
    above = {name for name in imports(path) if name != own and level(name) > level(own)}
    assert not above, f"{path.name} imports from above itself: {above}"


def test_nets_never_import_the_store():
    for path in (ROOT / "trajrl" / "nets").glob("*.py"):
        assert "store" not in imports(path)


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
    from trajrl.cli.main import COMMANDS, GROUPS

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


def test_git_ignores_runs_and_keeps_the_demo_store():
    ignored = subprocess.run(
        ["git", "check-ignore", "runs/x", "out/x", "data/other.h5"], capture_output=True, text=True, cwd=ROOT
    )
    assert ignored.stdout.split() == ["runs/x", "out/x", "data/other.h5"]
    kept = subprocess.run(
        ["git", "check-ignore", "data/hopper-skewed.h5"], capture_output=True, text=True, cwd=ROOT
    )
    assert kept.returncode == 1
