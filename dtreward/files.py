"""Files that are whole or absent, and their hashes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem


def write_atomically(path: str | Path, write: Callable[[Path], Any]) -> Path:
    """Let `write` make a temporary file beside `path`, then rename it: whole or absent.

    The temporary name keeps the suffix, which libraries use to choose a format.

    Example:
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> write_atomically(folder / "a.txt", lambda path: path.write_text("whole")).read_text()
        'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        temporary.chmod(0o644)  # safetensors, for one, writes for the owner alone
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_json(path: str | Path, value: Any) -> Path:
    """Write `value` as indented JSON, atomically; dataclasses become objects, numpy scalars numbers.

    Raises:
        ValueError: if `value` holds nan or infinity, which JSON does not have.

    Example:
        >>> from tempfile import mkdtemp
        >>> write_json(Path(mkdtemp()) / "a.json", {"n": 3}).read_text()
        '{\\n  "n": 3\\n}\\n'
    """
    return write_atomically(path, lambda temporary: temporary.write_bytes(as_json(value)))


def as_json(value: Any) -> bytes:
    """Give what `write_json` writes."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"
    return text.encode()


class Store:
    """Files that are whole or absent: in a folder, or in an object store by its fsspec URL.

    Example:
        >>> store = Store("memory://features")
        >>> store.write("a", b"whole")
        >>> store.read("a"), store.read("b")
        (b'whole', None)
    """

    def __init__(self, folder: str | Path) -> None:
        self.files, self.root = LocalFileSystem(), str(Path(folder).absolute())
        if "://" in str(folder):
            self.files, self.root = fsspec.url_to_fs(str(folder))
        self.is_local = isinstance(self.files, LocalFileSystem)

    def read(self, name: str) -> bytes | None:
        """Read a file; None where it is absent."""
        try:
            return self.files.cat_file(f"{self.root}/{name}")
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole; what had its name is replaced at once."""
        if self.is_local:
            write_atomically(Path(self.root, name), lambda temporary: temporary.write_bytes(data))
        else:
            self.files.pipe_file(f"{self.root}/{name}", data)

    def remove_leftovers(self, *patterns: str) -> None:
        """Remove temporary files of `write` in a run that was killed; object stores have none."""
        for pattern in patterns if self.is_local else ():
            for leftover in Path(self.root).glob(pattern):
                leftover.unlink()


def digest(*parts: str | bytes) -> str:
    """Hash strings or bytes to 64 hex digits; where one part ends matters.

    Example:
        >>> digest("ab", "c") == digest("a", "bc")
        False
    """
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()


def file_digest(path: str | Path) -> str:
    """Hash a file's bytes (SHA-256, as `sha256sum` prints it)."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"expected plain, numpy or dataclass values, got {type(value)}: {value!r}")
