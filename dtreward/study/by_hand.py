"""The folder of a study in which notebooks write that are run by hand, as in JupyterLab.

A notebook's own default of `data_dir` is `../data/by_hand`, so that it never writes among the
results of a study by accident. What the study has made is linked into its folder there. A notebook
run by hand puts its file in the place of the link; the study's file stays.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from dtreward.files import write_atomically
from dtreward.study.graph import read_graph
from dtreward.study.settings import BY_HAND, NOTEBOOKS, STUDIES


def is_by_hand(made: Path) -> bool:
    """Say whether a study's folder is the one for notebooks run by hand.

    Example:
        >>> is_by_hand(Path("../data/by_hand/demo")), is_by_hand(Path("../data/demo"))
        (True, False)
    """
    return made.parent.name == BY_HAND


def folder_by_hand(made: Path) -> Path:
    """Give the folder for notebooks run by hand that belongs to a study's folder.

    Example:
        >>> folder_by_hand(Path("data/demo")).as_posix()
        'data/by_hand/demo'
    """
    return made.parent / BY_HAND / made.name


def link_study(made: Path) -> list[str]:
    """Link what a study has made into its folder for notebooks run by hand.

    A file or folder that was made by hand stays. What notebooks keep from run to run (features,
    answers about a bench) is linked file by file, because they add to it. Answers of judges are
    copied once, because a database is written in place.

    Args:
        made: the folder for notebooks run by hand, `by_hand/<study>` beside that of the study.

    Returns:
        The outputs in `made` that were made by hand, by name.
    """
    study = made.parent.parent / made.name
    made.mkdir(parents=True, exist_ok=True)
    by_hand = []
    for notebook in read_graph().values():
        if notebook.reads_all:
            continue  # nothing reads what it draws
        for name in notebook.keeps:
            _show(study / name, made / name)
        for name in notebook.outputs:
            if _is_made_by_hand(made / name):
                by_hand.append(name.rstrip("/"))
            else:
                _show(study / name, made / name)
    return by_hand


def _is_made_by_hand(path: Path) -> bool:
    files = path.rglob("*") if path.is_dir() else [path]
    return any(file.is_file() and not file.is_symlink() for file in files)


def _show(source: Path, path: Path) -> None:
    """Link a file or folder as it is now; copy a database, which is written in place."""
    if source.suffix == ".sqlite":
        if source.exists() and not path.exists():
            with contextlib.suppress(sqlite3.OperationalError):  # the study is writing it
                write_atomically(path, lambda temporary: _copy_database(source, temporary))
        return
    for link in [path, *path.rglob("*")]:
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)  # another notebook may do the same just now
    _link(source, path)


def _link(source: Path, path: Path) -> None:
    """Link a file, or each file of a folder in a folder of its own, where nothing is yet."""
    if source.is_dir():
        for part in source.iterdir():
            if not part.name.startswith("."):
                _link(part, path / part.name)
    elif source.exists() and not os.path.lexists(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.symlink_to(os.path.relpath(source, path.parent))


def _copy_database(source: Path, copy: Path) -> None:
    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as old,
        closing(sqlite3.connect(copy)) as new,
    ):
        old.backup(new)


def start_in_notebooks() -> None:
    """Make `notebooks/` of the repository the working directory of a copy that lies elsewhere.

    Raises:
        FileNotFoundError: outside the repository.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / STUDIES).is_dir():
            os.chdir(folder / NOTEBOOKS)
            return
    raise FileNotFoundError(
        f"expected to start in the repository, but no folder above {here} has {STUDIES}/; "
        "open this notebook where `make lab` made it"
    )
