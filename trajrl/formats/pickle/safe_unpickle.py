"""A pickle reader that admits numpy arrays and plain containers alone: nothing in the file can run code.

No class of numpy is ever handed to the pickle: types and arrays are rebuilt here from their raw bytes, so
that a crafted type cannot turn numbers into pointers.  Every other name is refused before it is imported.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

WHY = "a pickle can run any code when it is loaded; --trust-pickle loads it if you know who wrote it"
CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
PLAIN = (list, dict, tuple, set, frozenset, bytearray, complex)


def load(path: Path, trust: bool = False) -> Any:
    """Load a pickle; one that is broken or holds more than arrays fails with one line.

    Args:
        trust: load whatever the file holds, running any code in it.
    """
    try:
        with path.open("rb") as file:
            return pickle.load(file) if trust else _filled(NumpyUnpickler(file).load())
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except PermissionError as error:
        raise PermissionError(f"{path}: no permission to read it") from error
    except RefusedError as error:
        raise ValueError(f"{path} is refused: {error}; {WHY}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is refused: it is nested too deeply") from error
    except Exception as error:  # a broken pickle can raise anything
        raise ValueError(f"{path} is not a whole pickle ({error}); download or copy it again") from error


class RefusedError(pickle.UnpicklingError):
    """The pickle asks for something that is neither an array nor a plain container."""


class NumpyUnpickler(pickle.Unpickler):
    """Loads arrays, numbers, text and plain containers."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands in for a name of the pickle, if it is on the list."""
        allowed = {
            ("numpy", "dtype"): _Type, ("numpy", "ndarray"): _NDARRAY,
            **{(core, "_reconstruct"): _reconstruct for core in CORE},
            **{(core, "scalar"): _scalar for core in CORE},
            **{(core.replace("multiarray", "numeric"), "_frombuffer"): _frombuffer for core in CORE},
            **{(home, kind.__name__): kind for kind in PLAIN for home in ("builtins", "__builtin__")},
            ("collections", "OrderedDict"): OrderedDict, ("_codecs", "encode"): _encode,
        }  # fmt: skip
        if (module, name) not in allowed:
            raise RefusedError(f"it holds {module}.{name}, which is neither an array nor a plain container")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to objects outside the file."""
        raise RefusedError("it refers to objects outside the file")


_NDARRAY = "numpy.ndarray"  # what the pickle calls the class of arrays; never called


class _Type:
    """A type of numbers or text, as a pickle describes it."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        self.order, self.code = "", code if isinstance(code, str) else code.decode("latin1")
        if self.code[:1] not in "biufcSUO?":
            raise RefusedError(f"it holds an array of records or of another kind ('{self.code}')")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order, *structure = state[1:5]
        if any(part is not None for part in structure):
            raise RefusedError("it holds an array of records")
        order = order.decode() if isinstance(order, bytes) else order
        self.order = order if order in ("<", ">") else ""

    def dtype(self) -> np.dtype:
        """Return the type as numpy knows it; objects are none."""
        found = np.dtype(self.order + self.code)
        if found.hasobject:
            raise RefusedError("it holds an array of objects")
        return found


class _Array:
    """An array whose bytes are still to come."""

    value: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, raw = state
        if isinstance(kind, _Type) and kind.code[:1] == "O" and isinstance(raw, list):
            self.value = raw  # an array of objects becomes the list of its entries
            return
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        self.value = np.frombuffer(raw, kind.dtype()).reshape(shape, order="F" if fortran else "C")


def _reconstruct(kind: str, shape: tuple[int, ...], code: bytes) -> _Array:
    return _Array()


def _scalar(kind: _Type, raw: Any = b"") -> Any:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    return np.frombuffer(raw, kind.dtype())[0]


def _frombuffer(buffer: Any, kind: _Type, shape: tuple[int, ...], order: str, *_: Any) -> np.ndarray:
    return np.frombuffer(buffer, kind.dtype()).reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Stand in for _codecs.encode, with which old pickles keep bytes as text."""
    if encoding not in ("latin1", "latin-1"):
        raise RefusedError(f"it encodes text as {encoding}")
    return text.encode("latin1")


def _filled(found: Any, known: dict[int, Any] | None = None) -> Any:
    """Return what was loaded with every array in its place; what occurs often is made once."""
    known = {} if known is None else known
    if id(found) not in known:
        known[id(found)] = _fresh(found, known)
    return known[id(found)]


def _fresh(found: Any, known: dict[int, Any]) -> Any:
    if isinstance(found, _Array):
        return _filled(found.value, known) if isinstance(found.value, list) else found.value
    if isinstance(found, dict):
        return {_filled(key, known): _filled(value, known) for key, value in found.items()}
    if isinstance(found, list | tuple):
        filled = [_filled(value, known) for value in found]
        return filled if isinstance(found, list) else tuple(filled)
    return found
