"""A pickle reader that admits numpy arrays and plain containers alone: nothing in the file can run code.

No class of numpy is ever handed to the pickle: types and arrays are rebuilt here from their raw bytes, so
that a crafted type cannot turn numbers into pointers.  Every other name is refused before it is imported.
What a file makes is bounded by its size: no sets, which can be nested to take for ever to hash, no buffers of
a claimed size, no keys but plain ones, and nothing that is written once and used a million times.
"""

from __future__ import annotations

import mmap
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trajrl.core.damage import first_line
from trajrl.store.notes import one

Unpickler: Any = pickle._Unpickler  # in Python: the one in C makes sets, keys and buffers without asking
WHY = "a pickle can run any code when it is loaded; --trust-pickle loads it if you know who wrote it"
CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
KEYS = (str, bytes, int, float, bool, type(None), np.generic)  # what a dictionary may have as a key
ENTRY_BYTES = 8  # what an entry of a list counts for
SHARED_BYTES = 64 << 20  # what a file may unfold to however small it is
SHARED_TIMES = 16  # above that, how many times its size


def load(path: Path, trust: bool = False) -> Any:
    """Load a pickle; one that is broken or holds more than arrays fails with one line.

    Args:
        trust: load whatever the file holds, running any code in it.
    """
    try:
        with path.open("rb") as file:
            if trust:
                return pickle.load(file)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                found = NumpyUnpickler(content, len(content)).load()
        return Filling(max(SHARED_BYTES, SHARED_TIMES * path.stat().st_size)).filled(found)[0]
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file") from error
    except PermissionError as error:
        raise PermissionError(f"{path}: no permission to read it") from error
    except RefusedError as error:
        raise ValueError(f"{path} is refused: {error}; {WHY}") from error
    except RecursionError as error:
        raise ValueError(f"{path} is refused: it is nested too deeply") from error
    except Exception as error:  # a broken pickle can raise anything
        raise ValueError(
            f"{path} is not a whole pickle ({first_line(error)}); download or copy it again"
        ) from error


class RefusedError(pickle.UnpicklingError):
    """The pickle asks for something that is neither an array nor a plain container."""


class NumpyUnpickler(Unpickler):
    """Loads arrays, numbers, text and plain containers.

    Args:
        file: what is read; its `read` never gives more than there is.
        size: bytes of it.
    """

    def __init__(self, file: Any, size: int) -> None:
        super().__init__(file)
        self.size = self.left = size

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands in for a name of the pickle, if it is on the list."""
        allowed = {
            ("numpy", "dtype"): _Type, ("numpy", "ndarray"): _NDARRAY,
            **{(core, "_reconstruct"): self._reconstruct for core in CORE},
            **{(core, "scalar"): _scalar for core in CORE},
            **{(core.replace("multiarray", "numeric"), "_frombuffer"): _frombuffer for core in CORE},
            **{(home, "complex"): complex for home in ("builtins", "__builtin__")},
            ("collections", "OrderedDict"): self._ordered, ("_codecs", "encode"): self._encode,
        }  # fmt: skip
        if (module, name) not in allowed:
            raise RefusedError(f"it holds {module}.{name}, which is neither an array nor a plain container")
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to objects outside the file."""
        raise RefusedError("it refers to objects outside the file")

    def _spend(self, num_bytes: int) -> None:
        """Count what is copied: each byte of the file can be copied once."""
        self.left -= num_bytes
        if self.left < 0:
            raise RefusedError("it copies the same content again and again")

    def _reconstruct(self, kind: str, shape: tuple[int, ...], code: bytes) -> _Array:
        """Stand in for the function that makes an empty array."""
        return _Array(self._spend)

    def _encode(self, text: str, encoding: str = "latin1") -> bytes:
        """Stand in for _codecs.encode, with which old pickles keep bytes as text."""
        if encoding not in ("latin1", "latin-1"):
            raise RefusedError(f"it encodes text as {encoding}")
        self._spend(len(text))
        return text.encode("latin1")

    def _ordered(self, items: Any = ()) -> dict[Any, Any]:
        """Stand in for OrderedDict, whose items old pickles give at once."""
        self._spend(len(items))
        return OrderedDict((_key(key), value) for key, value in items)

    def _load_setitem(self) -> None:
        _key(self.stack[-2])
        Unpickler.load_setitem(self)

    def _load_setitems(self) -> None:
        for key in self.stack[::2]:
            _key(key)
        Unpickler.load_setitems(self)

    def _load_dict(self) -> None:
        for key in self.stack[::2]:
            _key(key)
        Unpickler.load_dict(self)

    def _load_build(self) -> None:
        if not isinstance(self.stack[-2], _Type | _Array):
            raise RefusedError(f"it changes {one(self.stack[-2])}")
        Unpickler.load_build(self)

    def _load_bytearray(self) -> None:
        size = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(min(size, self.size))))
        if len(self.stack[-1]) < size:
            raise EOFError(f"it ends within a buffer of {size} bytes")

    def _refuse_set(self) -> None:
        raise RefusedError("it holds a set, which is neither an array nor a plain container")

    dispatch: dict[int, Callable[..., None]] = {
        **Unpickler.dispatch,
        pickle.SETITEM[0]: _load_setitem, pickle.SETITEMS[0]: _load_setitems, pickle.DICT[0]: _load_dict,
        pickle.BUILD[0]: _load_build, pickle.BYTEARRAY8[0]: _load_bytearray,
        pickle.EMPTY_SET[0]: _refuse_set, pickle.FROZENSET[0]: _refuse_set, pickle.ADDITEMS[0]: _refuse_set,
    }  # fmt: skip


_NDARRAY = "numpy.ndarray"  # what the pickle calls the class of arrays; never called


def _key(key: Any) -> Any:
    """Return a key that takes no time to hash."""
    if not isinstance(key, KEYS) or (isinstance(key, int) and abs(key) >> 63):
        raise RefusedError(f"it holds a dictionary with {one(key)} as a key")
    return key


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

    def __init__(self, spend: Callable[[int], None]) -> None:
        self.spend = spend
        self.value: Any = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, raw = state
        if isinstance(kind, _Type) and kind.code[:1] == "O" and isinstance(raw, list):
            self.value = raw  # an array of objects becomes the list of its entries
            return
        if isinstance(raw, str):
            self.spend(len(raw))
            raw = raw.encode("latin1")
        self.value = np.frombuffer(raw, kind.dtype()).reshape(shape, order="F" if fortran else "C")


def _scalar(kind: _Type, raw: Any = b"") -> Any:
    if len(raw) != kind.dtype().itemsize:
        raise RefusedError("it holds a number of another size than its type")
    return np.frombuffer(raw.encode("latin1") if isinstance(raw, str) else raw, kind.dtype())[0]


def _frombuffer(buffer: Any, kind: _Type, shape: tuple[int, ...], order: str, *_: Any) -> np.ndarray:
    return np.frombuffer(buffer, kind.dtype()).reshape(shape, order="F" if order == "F" else "C")


class Filling:
    """Puts every array in its place; what occurs often is made once, and counted as often as it occurs.

    Args:
        limit: bytes that all of it may unfold to.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.known: dict[int, tuple[Any, int]] = {}

    def filled(self, found: Any) -> tuple[Any, int]:
        """Return what was loaded, and the bytes that it unfolds to."""
        if id(found) not in self.known:
            value, num_bytes = self._fresh(found)
            if num_bytes > self.limit:
                raise RefusedError(f"it repeats itself until it takes more than {self.limit >> 20} MiB")
            self.known[id(found)] = value, num_bytes
        return self.known[id(found)]

    def _fresh(self, found: Any) -> tuple[Any, int]:
        if isinstance(found, _Array):
            return self.filled(found.value)
        if isinstance(found, dict):
            values = [self.filled(value) for value in found.values()]
            made = {key: value for key, (value, _) in zip(found, values, strict=True)}
            return made, _bytes_of(values)
        if isinstance(found, list | tuple):
            values = [self.filled(value) for value in found]
            items = [value for value, _ in values]
            return items if isinstance(found, list) else tuple(items), _bytes_of(values)
        return found, getattr(found, "nbytes", 0)


def _bytes_of(values: list[tuple[Any, int]]) -> int:
    return sum(num_bytes + ENTRY_BYTES for _, num_bytes in values)
