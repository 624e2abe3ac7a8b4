"""The names of the columns of a table of pairs, and the check that they are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import pandas as pd

TEXTS = ["prompt", "response_1", "response_2"]
# Names of texts in public forms, which a CSV file must not turn into numbers or missing values.
TEXT_NAMES = (
    *("response", "response_0", "response_a", "response_b", "response1", "response2"),
    *("chosen", "rejected", "conversation_a", "conversation_b", "instruction", "question"),
    *("context", "completions", "answers", "responses", "input", "system"),
)
SPLITS = ["train", "validation", "test"]


def expect_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Check that a table has some columns.

    Raises:
        ValueError: names the columns that are expected, missing and there, and the nearest ones.
    """
    missing = [name for name in columns if name not in table]
    if not missing:
        return
    near = []
    for name in missing:
        near += _nearest(name, [other for other in table if other not in columns])
    hint = f"; rename {near} if they are meant" if near else ""
    raise ValueError(
        f"expected columns {list(columns)}, missing {missing}, found {list(table)}{hint}"
    )


def expect_distinct(columns: Iterable[str], name: str) -> None:
    """Check that no two columns have one name.

    Args:
        name: of the table, for the error.

    Raises:
        ValueError: names the columns that stand twice.
    """
    names = pd.Series(list(columns), dtype=object)
    twice = sorted(set(names[names.duplicated()]))
    if twice:
        raise ValueError(f"columns {twice} stand twice in {name}; rename or drop one")


def _nearest(name: str, others: Sequence[str]) -> list[str]:
    """Give the name that is most like another, whatever its spaces and capital letters."""
    plain = {str(other).strip().lower().replace(" ", "_"): other for other in others}
    return [plain[match] for match in get_close_matches(name, plain, n=1, cutoff=0.8)]


def rating_columns(attributes: Sequence[str]) -> list[str]:
    """Name the columns of ratings, attribute by attribute.

    Example:
        >>> rating_columns(["coherence"])
        ['coherence_1', 'coherence_2']
    """
    return [f"{attribute}_{side}" for attribute in attributes for side in (1, 2)]
