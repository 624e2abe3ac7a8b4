"""The names of the columns of a table of pairs, and the check that they are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd

TEXTS = ["prompt", "response_1", "response_2"]
UNPUBLISHED = [*TEXTS, "preference"]  # of real data: rows are shown without them
# Names of texts in public forms, which a CSV file must not turn into numbers or missing values.
TEXT_NAMES = (
    *("response", "response_0", "response_a", "response_b", "response1", "response2"),
    *("chosen", "rejected", "conversation_a", "conversation_b", "instruction", "question"),
    *("context", "completions", "answers", "responses", "input", "system"),
)
SPLITS = ["train", "validation", "test"]
# Other names of the two responses, the first one first; renaming one alone would swap them.
COUPLES = (
    *(("response_0", "response_1"), ("response_a", "response_b"), ("response1", "response2")),
    *(("answer_1", "answer_2"), ("answer_0", "answer_1"), ("answer_a", "answer_b")),
    *(("output_1", "output_2"), ("output_0", "output_1"), ("output_a", "output_b")),
    *(("completion_1", "completion_2"), ("completion_a", "completion_b")),
)
PROMPTS = ("question", "instruction", "query", "context", "input", "history")
MOST_GROUPS = 50  # a column of more values names its rows rather than groups of them


def expect_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Check that a table has some columns.

    Raises:
        ValueError: names the columns that are expected, missing and there, and those to rename.

    Example:
        >>> expect_columns(pd.DataFrame(columns=["prompt"]), ["prompt", "response"])
        Traceback (most recent call last):
        ...
        ValueError: expected columns prompt, response; missing: response; found: prompt
    """
    missing = [name for name in columns if name not in table]
    if not missing:
        return
    found = [str(name) for name in table]
    renamed = _meant(missing, [name for name in found if name not in columns], found)
    hint = ", ".join(f"{_shown(old)} to {new}" for old, new in renamed.items())
    hint = f"; if they are meant, rename {hint}" if hint else ""
    raise ValueError(
        f"expected columns {', '.join(columns)}; missing: {', '.join(missing)}; found: "
        f"{', '.join(map(_shown, found))}{hint}"
    )


def wrong_value(column: str, value: object, row: int | np.integer, expected: str) -> ValueError:
    """Make the error of a value that a column cannot have.

    Args:
        row: its number; the first row below the header is 0.
        expected: what would be legal there, and what to do.

    Example:
        >>> print(wrong_value("preference", 3, 7, "0 or 1"))
        column preference holds 3 in row 7 (the first is 0); expected 0 or 1
    """
    plain = value.tolist() if isinstance(value, np.generic | np.ndarray) else value
    return ValueError(
        f"column {column} holds {plain!r:.60} in row {row} (the first is 0); expected {expected}"
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
        shown = ", ".join(map(_shown, twice))
        raise ValueError(f"two columns of {name} are called {shown}; rename or drop one")


def _meant(missing: Sequence[str], others: Sequence[str], found: Sequence[str]) -> dict[str, str]:
    """Say which columns are probably meant by those that are missing: {column: name it needs}.

    Example:
        >>> _meant(["response_2"], ["response_0"], ["prompt", "response_0", "response_1"])
        {'response_0': 'response_1', 'response_1': 'response_2'}
    """
    renamed = {}
    if set(missing) & set(TEXTS[1:]):
        renamed = _meant_as_responses(found)
    if "prompt" in missing:
        prompt = [name for name in PROMPTS if name in others][:1]
        renamed |= dict.fromkeys(prompt, "prompt")
    for name in missing:
        if name in renamed.values():
            continue
        plain = {_plain(other): other for other in others if other not in renamed}
        matches = get_close_matches(name, plain, n=1, cutoff=0.8)
        renamed |= {plain[match]: name for match in matches}
    return renamed


def _meant_as_responses(found: Sequence[str]) -> dict[str, str]:
    """Say which two columns are probably the responses, and what to call them."""
    for couple in COUPLES:
        taken = set(TEXTS[1:]) & set(found) - set(couple)
        if set(couple) <= set(found) and not taken:
            return dict(zip(couple, TEXTS[1:], strict=True))
    return {}


def _plain(name: str) -> str:
    """Give a name without spaces around it and capital letters."""
    return name.strip().lower().replace(" ", "_")


def _shown(name: object) -> str:
    """Write the name of a column; in quotes where spaces around it would be overlooked."""
    text = str(name)
    return text if text and text == text.strip() else repr(text)


def _as_text(column: pd.Series) -> pd.Series:
    """Write each value as text, and leave what is missing missing."""
    return column.map(str, na_action="ignore").astype(object)


def rating_columns(attributes: Sequence[str]) -> list[str]:
    """Name the columns of ratings, attribute by attribute.

    Example:
        >>> rating_columns(["coherence"])
        ['coherence_1', 'coherence_2']
    """
    return [f"{attribute}_{side}" for attribute in attributes for side in (1, 2)]


def group_of_pairs(frame: pd.DataFrame, name: str) -> pd.Series:
    """Give the group of each pair, as text, from a column of the source; missing where it has none.

    A table with one response a row has the column twice, with _1 and _2. A pair whose responses are
    of two groups is then in a group of its own, "a and b".

    Args:
        frame: from `dtreward.pairs.frame.load_pairs`.
        name: of the column.

    Raises:
        ValueError: if there is no such column, or if it has more than 50 different values.

    Example:
        >>> table = pd.DataFrame({"system_1": ["x", "y", "y"], "system_2": ["x", "x", "z"]})
        >>> group_of_pairs(table, "system").tolist()
        ['x', 'x and y', 'y and z']
    """
    sides = [f"{name}_1", f"{name}_2"]
    if name in frame:
        group = _as_text(frame[name])
    elif set(sides) <= set(frame):
        one = _as_text(frame[sides[0]])
        two = _as_text(frame[sides[1]])
        first = one.where(one <= two, two)
        last = two.where(one <= two, one)
        group = one.where(one == two, first + " and " + last)
        group = group.where(one.notna() & two.notna())
    else:
        columns = [str(column).removesuffix("_1") for column in frame]
        near = get_close_matches(name, columns, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"expected group as a column of the pairs, came {name!r}{hint}; the pairs have "
            f"{', '.join(map(str, frame))}"
        )
    if group.nunique() > MOST_GROUPS:
        raise ValueError(
            f"expected a group column of at most {MOST_GROUPS} different values, {name!r} has "
            f"{group.nunique():,}; choose one that divides the pairs into fewer groups"
        )
    return group.rename(name)
