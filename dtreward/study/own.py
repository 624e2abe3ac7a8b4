"""Studies of one's own tables: each has a folder of its own, and its YAML in it.

`make study STUDY=own SOURCE=<table> [NAME=<name>]` takes `notebooks/studies/own.yaml` and writes
`data/<name>/<name>.yaml`, with which every command finds the study by its name later.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dtreward.files import write_atomically
from dtreward.study.graph import read_graph
from dtreward.study.settings import (
    BY_HAND,
    DATA_DIR,
    NOTEBOOKS,
    STUDIES,
    plain_name,
    seen_from_here,
    study_folder,
)

ENDINGS = re.compile(r"\.(parquet|csv|tsv|jsonl|json|arrow|feather|xlsx)$", re.IGNORECASE)
NO_STUDIES = {"measured", BY_HAND}  # folders of data/ that hold something else


def needs_source(study: Mapping[str, Any]) -> bool:
    """Say whether a study, as its YAML was read, is for tables of one's own: it names no source."""
    return study["parameters"].get("source") == ""


def name_of_source(source: str) -> str:
    """Make a study's name of the name of its source.

    Example:
        >>> name_of_source("data/My ratings (v2).jsonl.gz"), name_of_source("2024/оценки.csv")
        ('My-ratings-v2', 'own-оценки')
    """
    stem = ENDINGS.sub("", Path(source).name.removesuffix(".gz"))
    plain = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", stem)).strip("-")
    if not plain:
        return "own-table"
    starts_plainly = plain[0].isascii() and plain[0].isalnum()
    return plain if starts_plainly else f"own-{plain}"


def choose_name(name: str, source: str, data_dir: str = DATA_DIR) -> str:
    """Give the name of a study of one's own, which is that of its folder.

    Args:
        name: as asked for; "" takes the name of the source.
        source: the table, seen from `notebooks/`.

    Raises:
        ValueError: if the name is none, is another study's, or if its folder holds the results of
            another source.
    """
    chosen = plain_name(name or name_of_source(source))
    other = f"give this study another one: NAME={chosen}-2"
    reserved = {path.stem.lower() for path in STUDIES.glob("*.yaml")} | NO_STUDIES
    if chosen.lower() in reserved:
        raise ValueError(f"the name '{chosen}' is taken by a study of the project; {other}")
    folder = study_folder(chosen, data_dir)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, where the results of '{chosen}' would go; {other}")
    made = results(folder)
    if not made:
        return chosen
    earlier = own_file(chosen, data_dir)
    if not earlier.exists():
        raise ValueError(
            f"{made[0]} is there, and {folder} is not the folder of a study '{chosen}'; {other}"
        )
    made_from = yaml.safe_load(earlier.read_text(encoding="utf-8"))["parameters"]["source"]
    if not _is_same(made_from, source):
        raise ValueError(
            f"{folder} holds the study of {seen_from_here(made_from)}, not of "
            f"{seen_from_here(source)}; {other}, or delete {folder}"
        )
    return chosen


def results(folder: Path) -> list[Path]:
    """List the files and folders that finished notebooks have left in a study's folder."""
    names = [name for notebook in read_graph().values() for name in notebook.outputs]
    return [folder / name for name in names if (folder / name).exists()]


def _is_same(one: str, other: str) -> bool:
    paths = [(NOTEBOOKS / source).resolve() for source in (one, other)]
    return one == other or paths[0] == paths[1]


def own_file(name: str, data_dir: str = DATA_DIR) -> Path:
    """Give the YAML that the study of a table keeps in its own folder."""
    return study_folder(name, data_dir) / f"{name}.yaml"


def find_study(name: str) -> Path:
    """Find the YAML of a study: one of the project's, or that of a table, in its own folder.

    Raises:
        ValueError: if there is none.
    """
    name = plain_name(name)
    path = STUDIES / f"{name}.yaml"
    if path.exists():
        return path
    if own_file(name).exists():
        return own_file(name)
    studies = sorted(other.stem for other in STUDIES.glob("*.yaml"))
    folders = sorted(own_file("demo").parents[1].glob("*/"))
    own = [folder.name for folder in folders if own_file(folder.name).exists()]
    near = difflib.get_close_matches(name, [*studies, *own], 1)
    hint = f"did you mean {near[0]}? " if near else ""
    of_tables = f", and of your own tables {', '.join(own)}" if own else ""
    raise ValueError(
        f"there is no study '{name}'; {hint}those in {STUDIES}/ are {', '.join(studies)}{of_tables}"
    )


def as_own_study(study: Mapping[str, Any], given: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Make the study of one table of a study for any table.

    Args:
        study: as its YAML was read, without a source.
        given: parameters of the command line, as notebooks see them, with the source.
        name: of the new study.
    """
    blocks = {}
    for key, value in study.items():
        is_block = key[:2].isdigit() and isinstance(value, dict)
        blocks[key] = {k: v for k, v in value.items() if k not in given} if is_block else value
    parameters = study["parameters"] | given | {"study": name}
    return blocks | {"parameters": parameters}


def write_own_file(study: Mapping[str, Any], folder: Path) -> Path:
    """Write the YAML of the study of a table, {"notebooks": ..., "parameters": ...}, in its folder."""
    text = yaml.safe_dump(dict(study), allow_unicode=True, sort_keys=False)
    path = folder / f"{folder.name}.yaml"
    return write_atomically(path, lambda file: file.write_text(text, encoding="utf-8"))
