"""The core needs no extra: every module imports without one, and each is named where it is needed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from foreign import minari, minari_set

from trajrl.training.config import RunConfig

ROOT = Path(__file__).parents[1]
EXTRAS = {
    "export": ("onnx", "onnxruntime", "onnxscript"), "far": ("s3fs", "huggingface_hub"),
    "minari": ("minari",), "mlflow": ("mlflow",),
    "ogbench": ("ogbench",),
    "ray": ("ray",), "robotics": ("gymnasium_robotics",), "wandb": ("wandb",),
    "video": ("av",), "zarr": ("numcodecs",),
}  # fmt: skip
IMPORT_ALL = """
import importlib, pkgutil, sys
for name in {names!r}:
    sys.modules[name] = None
import trajrl
found = [one.name for one in pkgutil.walk_packages(trajrl.__path__, "trajrl.") if "__main__" not in one.name]
for name in found:
    importlib.import_module(name)
print(len(found))
"""


def test_every_extra_of_the_project_is_looked_at():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras) - {"dev"} == set(EXTRAS)


def test_every_module_imports_without_any_extra():
    names = [name for group in EXTRAS.values() for name in group]
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL.format(names=names)], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[-1]) > 150


def need_export(tmp_path):
    from trajrl.rollout import export

    export.require("onnxruntime")


def need_far(tmp_path):
    from trajrl import TrajectoryStore

    TrajectoryStore.open("s3://bucket/x.h5")


def need_minari(tmp_path):
    from trajrl.formats import open_source

    folder = minari_set(tmp_path / "x-v0", minari([3]), data_format="arrow")
    list(open_source(folder).episodes())


def need_ogbench(tmp_path):
    from trajrl.envs import make_suite

    make_suite("ogbench:cube-single-play-singletask-v0").make(0)


def need_ray(tmp_path):
    from trajrl.sweep import on_ray

    on_ray.imported()


def need_robotics(tmp_path):
    from trajrl.envs import make_suite

    make_suite("FetchUnheard-v9").make(0)  # one that no other test can have registered


def need_wandb(tmp_path):
    from trajrl.training.run_dir.boards import WandbLog

    WandbLog(tmp_path, RunConfig())


def need_video(tmp_path):
    from trajrl.formats.lerobot.video import Video

    Video(tmp_path / "x.mp4")


def need_zarr(tmp_path):
    from trajrl.formats.zarr.array import decoder

    decoder({"id": "blosc"}, "x")(bytes(16), 64)


def need_mlflow(tmp_path):
    from trajrl.training.run_dir.boards import MlflowLog

    MlflowLog(tmp_path, RunConfig())


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_a_missing_extra_is_named_in_one_line(extra, tmp_path, monkeypatch):
    for name in EXTRAS[extra]:
        for known in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
            monkeypatch.delitem(sys.modules, known)
        monkeypatch.setitem(sys.modules, name, None)
    from importlib import util

    plain = util.find_spec
    absent = lambda name, *more: None if name in EXTRAS[extra] else plain(name, *more)  # noqa: E731
    for module in ("trajrl.envs.gymnasium", "trajrl.envs.ogbench_environment"):
        __import__(module)
        monkeypatch.setattr(f"{module}.find_spec", absent)
    with pytest.raises((ImportError, ValueError)) as caught:
        globals()[f"need_{extra}"](tmp_path)
    assert f"[{extra}]" in str(caught.value)
    assert "pip install" in str(caught.value)
    assert "\n" not in str(caught.value)
