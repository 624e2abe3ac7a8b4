"""Which attributes a table of pairs has ratings of."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import pandas as pd

from dtreward.pairs.columns import TEXTS, rating_columns

RESERVED = {"prompt", "prompt_id", "response", "split", "preference"}


def find_attributes(
    table: pd.DataFrame, asked: Sequence[str] = (), order_by: str = ""
) -> tuple[str, ...]:
    """Name the attributes with a numeric column for each response.

    Args:
        table: one pair a row.
        asked: the attributes to use, in this order; () means all that there are.
        order_by: a column that only orders responses, and is no attribute.

    Raises:
        ValueError: for a name that is asked for and absent or reserved, a column that is numeric
            but for some values, or a column without its partner.

    Example:
        >>> find_attributes(pd.DataFrame({"coherence_1": [3.0], "coherence_2": [1.0]}))
        ('coherence',)
    """
    numeric = set(table.select_dtypes("number", exclude="timedelta"))
    numeric -= {"response_1", f"{order_by}_1"}
    there = tuple(
        name.removesuffix("_1")
        for name in table
        if name.endswith("_1") and {name, _partner(name)} <= numeric
    )
    if asked:
        wanted = set(rating_columns(asked))
    else:
        wanted = {name for name in table if name[-2:] in ("_1", "_2")} - {*TEXTS}
    ignored = {f"{order_by}_1", f"{order_by}_2"}
    for name in sorted((wanted & set(table)) - numeric - ignored):
        _expect_no_numbers(table[name])
    _expect_legal_names(asked or there, there)
    lonely = {name for name in wanted & numeric if _partner(name) not in numeric}
    lonely.discard(f"{order_by}_2")
    if lonely:
        raise ValueError(
            f"columns {sorted(lonely)} have no numeric column for the other response; add it"
        )
    return tuple(asked) or there


def _partner(name: str) -> str:
    """Give the column of the other response: x_2 for x_1."""
    other = {"1": "2", "2": "1"}.get(name[-1], "")
    return name[:-1] + other


def _expect_no_numbers(column: pd.Series) -> None:
    """Refuse a column that is mostly numbers, but not all: it was meant to be one of ratings."""
    texts = column.astype(str) if column.dtype == object else column
    values = pd.to_numeric(texts, errors="coerce")
    is_mostly_numbers = values.notna().mean() > 0.5
    if not is_mostly_numbers:
        return
    bad = column[values.isna() & column.notna()]
    reason = f"such as {bad.iloc[0]!r}" if len(bad) else f"stored as {column.dtype}"
    raise ValueError(
        f"column {column.name} is mostly numbers, but not all ({reason}); correct it, or name "
        "the attributes to use"
    )


def _expect_legal_names(names: Sequence[str], there: Sequence[str]) -> None:
    reserved = RESERVED.intersection(names)
    if reserved:
        raise ValueError(f"attributes cannot be named {sorted(reserved)}; rename these columns")
    for name in names:
        if name not in there:
            nearest = get_close_matches(name, there, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(
                f"attribute {name!r} has no two numeric columns {name}_1 and {name}_2; the table "
                f"has {list(there)}{hint}"
            )
