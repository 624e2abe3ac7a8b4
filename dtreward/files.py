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
    """Write a file so that it is whole or absent, also if the program is killed meanwhile.

    `write` makes a temporary file beside `path`, which is then renamed. The temporary name keeps
    the suffix, because libraries choose a format by it.

    Args:
        write: gets the temporary path, and writes the file there.

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
    """Write `value` as indented JSON, atomically.

    Dataclasses become objects, numpy arrays lists and numpy scalars numbers.

    Raises:
        ValueError: if `value` holds nan or infinity, which JSON does not have.
        TypeError: if `value` holds something else that JSON does not have.

    Example:
        >>> from tempfile import mkdtemp
        >>> write_json(Path(mkdtemp()) / "a.json", {"n": 3}).read_text()
        '{\\n  "n": 3\\n}\\n'
    """
    return write_atomically(path, lambda temporary: temporary.write_bytes(as_json(value)))


def as_json(value: Any) -> bytes:
    """Give the bytes that `write_json` writes.

    Example:
        >>> as_json([1.5])
        b'[\\n  1.5\\n]\\n'
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    return f"{text}\n".encode()


class Store:
    """Read and write files that are whole or absent, in a folder or an object store.

    Args:
        folder: a path, or a URL that fsspec knows, such as "s3://bucket/features".

    Example:
        >>> store = Store("memory://features")
        >>> store.write("a", b"whole")
        >>> store.read("a"), store.read("b")
        (b'whole', None)
    """

    def __init__(self, folder: str | Path) -> None:
        if "://" in str(folder):
            self.files, self.root = fsspec.url_to_fs(str(folder))
        else:
            self.files = LocalFileSystem()
            self.root = str(Path(folder).absolute())
        self.is_local = isinstance(self.files, LocalFileSystem)

    def read(self, name: str) -> bytes | None:
        """Read a file; None if it is absent."""
        try:
            return self.files.cat_file(f"{self.root}/{name}")
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file; a file of this name is replaced in one step."""
        if not self.is_local:
            self.files.pipe_file(f"{self.root}/{name}", data)
            return
        write_atomically(Path(self.root, name), lambda temporary: temporary.write_bytes(data))

    def remove_leftovers(self, *patterns: str) -> None:
        """Remove temporary files that `write` left when a run was killed.

        Args:
            patterns: names of the files to remove, with * and ?. Object stores have none.
        """
        if not self.is_local:
            return
        for pattern in patterns:
            for leftover in Path(self.root).glob(pattern):
                leftover.unlink()


def digest(*parts: str | bytes) -> str:
    """Hash strings or bytes with SHA-256, to 64 hex digits.

    The length of each part is hashed with it, so that ("ab", "c") and ("a", "bc") differ.

    Example:
        >>> digest("ab", "c") == digest("a", "bc")
        False
    """
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        length = len(data).to_bytes(8, "big")
        state.update(length + data)
    return state.hexdigest()


def file_digest(path: str | Path) -> str:
    """Hash a file's bytes with SHA-256, as `sha256sum` does.

    Example:
        >>> from tempfile import mkdtemp
        >>> file_digest(write_json(Path(mkdtemp()) / "a.json", 1))[:12]
        '4355a46b19d3'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    """Give what JSON has in place of a dataclass or a numpy value."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(
        f"JSON cannot hold {value!r:.60} of type {type(value).__name__}; expected numbers, texts, "
        "lists, dictionaries, dataclasses or numpy values"
    )
