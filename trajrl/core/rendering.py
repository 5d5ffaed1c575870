"""Rendering where no display is: which library MuJoCo draws with, chosen before its first frame."""

from __future__ import annotations

import ctypes.util
import importlib
import os
import sys

BACKENDS = {"osmesa": "OSMesa", "egl": "EGL"}  # MUJOCO_GL -> the library it needs, in order of preference
NEEDED = "software rendering: on Debian, apt-get install libosmesa6 (or libegl1)"


def choose_backend(what: str = "videos") -> None:
    """Let MuJoCo render in software, unless the user chose or a display is there; `what` is what needs it."""
    if "MUJOCO_GL" in os.environ or os.environ.get("DISPLAY"):
        return
    for backend, library in BACKENDS.items():
        if ctypes.util.find_library(library):
            os.environ["MUJOCO_GL"] = os.environ["PYOPENGL_PLATFORM"] = backend
            chosen = sys.modules.get("mujoco.rendering.classic.gl_context")
            if chosen is not None:  # MuJoCo looked when it was imported; let it look again
                importlib.reload(chosen)
            return
    raise ValueError(f"{what} need {NEEDED}")
