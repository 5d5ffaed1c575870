"""What a file is, for provenance: its name, size and blake2 hash; a folder has one hash over its files'."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

BLOCK_BYTES = 1 << 22


def describe(path: Path) -> dict[str, Any]:
    """Return name, bytes and blake2 of a file, or of all the files of a folder in order of name."""
    if not path.is_dir():
        return {"file": path.name, "bytes": path.stat().st_size, "blake2": file_hash(path)}
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    state = hashlib.blake2b(digest_size=16)
    for file in files:
        state.update(f"{file.relative_to(path)} {file_hash(file)}\n".encode())
    size = sum(file.stat().st_size for file in files)
    return {"file": path.name, "files": len(files), "bytes": size, "blake2": state.hexdigest()}


def file_hash(path: Path) -> str:
    """Hash a file in blocks."""
    state = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            state.update(block)
    return state.hexdigest()
