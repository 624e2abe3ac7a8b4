"""Which notebooks of a study are finished, for which parameters: one small file a finished run.

A stamp is the only output that Snakemake knows of a notebook, so that it may delete it. Its name
holds a hash of all that decides a run but its inputs; its text, the files that the run left.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from dtreward.files import digest, write_json

FINISHED = ".finished"  # of a study's folder: the stamps


def stamp_path(made: Path, notebook: str, *parts: str) -> Path:
    """Name the stamp of a run.

    Args:
        made: the study's folder.
        parts: texts that decide what the run does: its parameters, its code.

    Example:
        >>> stamp_path(Path("data/demo"), "01_load_pairs", "{}").parent.as_posix()
        'data/demo/.finished'
    """
    return made / FINISHED / f"{notebook}-{digest(*parts)[:16]}"


def write_stamp(stamp: Path, files: Iterable[Path]) -> None:
    """Record that a notebook has finished, with its files as they are now."""
    write_json(stamp, {str(path): _state(path) for path in files})


def drop_stamps(made: Path, notebook: str) -> None:
    """Forget that a notebook has finished, before its files are replaced."""
    for stamp in (made / FINISHED).glob(f"{notebook}-*"):
        stamp.unlink()


def is_current(stamp: Path, files: Iterable[Path]) -> bool:
    """Say whether a run has finished, and these files of it are still as it left them."""
    if not stamp.exists():
        return False
    left = json.loads(stamp.read_text(encoding="utf-8"))
    return all(path.exists() and left.get(str(path)) == _state(path) for path in files)


def _state(path: Path) -> list[int] | None:
    """Give size and time of a file; a folder, and a notebook, which people open, only exist."""
    if path.is_dir() or path.suffix == ".ipynb":
        return None
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
