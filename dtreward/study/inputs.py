"""Check what a notebook reads from the notebooks before it, and the names of models."""

import json
from pathlib import Path

from dtreward.files import file_digest
from dtreward.models.catalogue import find_entry
from dtreward.study.by_hand import is_by_hand, link_study
from dtreward.study.graph import maker_of

ROWS = ("rewards.parquet", "judges.parquet")  # joined to the pairs by the number of their row


def expect(made, *names):
    """Check that the files `names` are in the study's folder `made`, in turn.

    In the folder for notebooks run by hand, what the study has made is linked first, and one line
    says which files are not the study's.

    Raises:
        FileNotFoundError: for the first that is not there; it says which notebook makes it.
        ValueError: if "pairs.parquet" is one of them and one of `ROWS` was made from other pairs
            than are there.
    """
    if is_by_hand(made):
        _say_what_is_read(made, link_study(made))
    for name in names:
        maker = maker_of(name)
        if not (made / name).exists():
            how = f"run it first, or the whole study: make study STUDY={made.name}"
            raise FileNotFoundError(f"expected {made / name}, which notebook {maker} makes; {how}")
        if name in ROWS and "pairs.parquet" in names:
            _refuse_other_pairs(made, name, maker)


def _say_what_is_read(made, by_hand):
    study = made.parent.parent / made.name
    if by_hand:
        print(
            f"This notebook is run by hand. Of an earlier run by hand in {made} are "
            f"{', '.join(by_hand)}; everything else is read from {study}."
        )
    else:
        print(f"This notebook is run by hand: it reads from {study} and writes to {made}.")


def _refuse_other_pairs(made, name, maker):
    record = made / f"{maker}.json"
    if not record.exists():
        return
    inputs = json.loads(record.read_text(encoding="utf-8"))["provenance"]["inputs"]
    read = inputs.get("pairs.parquet")
    if read is not None and read != file_digest(made / "pairs.parquet"):
        raise ValueError(f"{made / name} is of other pairs than pairs.parquet: run {maker} again")


def recorded_numbers(made, notebook):
    """Give the numbers that a notebook recorded of the pairs that are there now.

    They are {} where the notebook has not run, or has read other pairs than `pairs.parquet`.
    """
    record = made / f"{notebook}.json"
    if not record.exists():
        return {}
    content = json.loads(record.read_text(encoding="utf-8"))
    read = content["provenance"]["inputs"].get("pairs.parquet")
    return content["numbers"] if read == file_digest(made / "pairs.parquet") else {}


def repository(name):
    """Give the hub id behind a model's name on the leaderboard, or `name` itself.

    A folder, seen from here or from notebooks/, is its own name.
    """
    try:
        if any(Path(place, name).is_dir() for place in ("", "notebooks")):
            return name
    except OSError:  # a text, too long for a path
        return name
    return getattr(find_entry(name), "repo", "") or name
