"""Which columns of a table are ratings, and why the others are not."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import pandas as pd

from dtreward.pairs.columns import TEXTS, rating_columns
from dtreward.pairs.numbers import (
    are_times,
    is_boolean,
    is_number_like,
    is_numeric,
    is_numeric_but_missing,
    number_rows,
    share_of_numbers,
    to_numbers,
)

RESERVED = {"prompt", "prompt_id", "pair_id", "response", "reader", "split", "preference"}
# Names of row numbers and ids, and of times. Small letters before "Id" are part of a word.
ID_NAME = re.compile(
    r"(^|[\W_])(?i:id|ids|idx|index|uuid|guid|uid)$|[a-z](Id|ID|Idx|Index)$|^Unnamed: [\d.]+$"
    r"|^(?i:prompt|response|row|line|pair|user|item|question|task|sample|example)(?i:id|idx|index)$"
    r"|^(__index_)?level_\d+(__)?$"
)
TIME_NAME = re.compile(r"(^|[\W_])(timestamp|datetime|time_stamp)$|[a-z]_at$", re.IGNORECASE)
RANK_NAME = re.compile(r"(^|[\W_])(rank|ranks|ranking)$", re.IGNORECASE)
# A name that says before its end which response is meant: response_1_score, is_response_0_safe.
INNER_SIDE = re.compile(
    r"(^|_)(?P<owner>(response|answer|output)_?)?(?P<side>[012])_", re.IGNORECASE
)
BY_NAME = "name it in `attributes` to use it all the same"


@dataclass(frozen=True)
class Reason:
    """Why a column is no attribute.

    Attributes:
        text: what it is instead.
        cure: how it becomes one, where it is meant to be; else "".
    """

    text: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.cure}" if self.cure else self.text


@dataclass(frozen=True, eq=False)
class Choice:
    """The ratings of a table.

    Attributes:
        table: the table, with the columns of chosen attributes as numbers.
        names: the attributes.
        left_out: why another column is no attribute, by the column's name.
    """

    table: pd.DataFrame
    names: tuple[str, ...]
    left_out: dict[str, str]


def choose_attributes(
    table: pd.DataFrame,
    asked: Sequence[str] = (),
    order_by: str = "",
    *,
    needs_ratings: bool = True,
) -> Choice:
    """Choose the rating columns of a table, and read them as numbers.

    A name that is asked for is taken if its columns can be read as numbers. Without names, all
    numeric columns are taken but row numbers, ids and times.

    Args:
        table: one pair a row, where an attribute has the columns <name>_1 and <name>_2, or one
            response a row, where it has the column <name>.
        asked: the attributes to use, in this order; () means all that there are.
        order_by: a column that only orders responses, and is no attribute; with "-" before it
            where its smallest value is the best.
        needs_ratings: whether to refuse a table whose rating columns all need a change first; a
            public data set has what it has, and does without.

    Raises:
        ValueError: for a name that is asked for and absent, reserved or no rating, for a column
            that is numeric but for some values, and where all rating columns need a change first.

    Example:
        >>> table = pd.DataFrame({"wit_1": [3.0], "wit_2": [1.0], "note": ["fine"]})
        >>> choice = choose_attributes(table)
        >>> choice.names, choice.left_out
        (('wit',), {'note': 'belongs to no response: ratings come as <name>_1 and <name>_2'})
    """
    columns_of = _candidates(table)
    order = order_by if order_by in table else order_by.removeprefix("-")
    reasons = {name: _why_alone(name, table) for name in _alone(table, columns_of)}
    if asked:
        _expect_legal(asked, order)
        for name in asked:
            _expect_asked(name, table, columns_of, reasons)
        names = tuple(asked)
        for name in columns_of:
            reasons[name] = Reason("is not among the attributes asked for")
    else:
        for name, columns in columns_of.items():
            reasons[name] = _why_no_rating(name, table, columns)
        names = tuple(name for name in columns_of if name != order and not reasons[name].text)
        _expect_legal(names, order)
    if order in columns_of:
        reasons[order] = Reason("orders the responses (order_by)")
    if not names and needs_ratings:
        _refuse_if_cured(reasons)
    columns = [column for name in names for column in columns_of[name]]
    numbers = {column: to_numbers(table[column]) for column in columns}
    left_out = {name: str(reason) for name, reason in reasons.items() if name not in names}
    return Choice(table.assign(**numbers), names, left_out)


def ordering_column(table: pd.DataFrame, order_by: str) -> tuple[pd.Series, int]:
    """Give the column that orders the responses as numbers, and 1, or -1 if its smallest is best.

    Raises:
        ValueError: if it is no column of numbers.

    Example:
        >>> values, sign = ordering_column(pd.DataFrame({"rank": [1, 2]}), "-rank")
        >>> values.name, sign
        ('rank', -1)
    """
    sign = 1
    name = order_by
    if name.startswith("-") and name not in table:
        sign = -1
        name = name[1:]
    if name not in table or name in RESERVED:
        numeric = [other for other in table if is_numeric(table[other]) and other not in RESERVED]
        nearest = get_close_matches(name, numeric, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        wrong = f"order_by={order_by!r} is none of them" if name else "order_by is empty"
        raise ValueError(
            "one response a row needs order_by, the column whose largest value is the best (with - "
            f"before it the smallest), one of {', '.join(numeric)}; {wrong}{hint}"
        )
    if sign == 1 and RANK_NAME.search(name):
        warnings.warn(
            f"order_by={name!r} prefers the response with the larger {name}; if 1 is the best, "
            f"write order_by='-{name}'",
            stacklevel=2,
        )
    return to_numbers(table[name]), sign


def describe_choice(names: Sequence[str], left_out: Mapping[str, str]) -> pd.DataFrame:
    """List the columns of a source: those taken as attributes, then the others with the reason.

    Example:
        >>> describe_choice(["wit"], {"note": "is empty"})["use"].to_dict()
        {'wit': 'taken as attribute', 'note': 'left out: is empty'}
    """
    use = dict.fromkeys(names, "taken as attribute")
    use |= {name: f"left out: {reason}" for name, reason in left_out.items()}
    return pd.Series(use, name="use", dtype=object).rename_axis("column").to_frame()


def _candidates(table: pd.DataFrame) -> dict[str, list[str]]:
    """Give the columns of each name that could be an attribute's."""
    if _has_responses(table):
        return {name: [name] for name in table if name not in RESERVED}
    names = [name[:-2] for name in table if name.endswith("_1") and name not in TEXTS]
    return {name: [f"{name}_1", f"{name}_2"] for name in names if f"{name}_2" in table}


def _has_responses(table: pd.DataFrame) -> bool:
    """Whether a table has one response a row."""
    return "response" in table and "response_1" not in table


def _why_no_rating(name: str, table: pd.DataFrame, columns: Sequence[str]) -> Reason:
    """Say why columns are no ratings; the text is empty if they are."""
    others = [
        column
        for column in columns
        if not is_numeric(table[column]) and not is_numeric_but_missing(table[column])
    ]
    if others:
        reason = _why_no_numbers(table[others[0]])
        is_half = len(others) < len(columns) and not reason.cure
        return Reason(reason.text, f"write numbers in {others[0]}") if is_half else reason
    if ID_NAME.search(name):
        return Reason(f"is a row number or an id by its name; {BY_NAME}")
    numbers = pd.concat([to_numbers(table[column]) for column in columns])
    if TIME_NAME.search(name) or are_times(numbers):
        return Reason(f"holds times; {BY_NAME}")
    if number_rows(numbers, _owners(table, columns)):
        return Reason(f"numbers or names rows: no two values are the same; {BY_NAME}")
    return Reason("")


def _why_no_numbers(column: pd.Series) -> Reason:
    if pd.api.types.is_datetime64_any_dtype(column) or column.dtype.kind == "m":
        return Reason("holds times")
    if is_boolean(column):
        return Reason("holds true and false", f"{BY_NAME}, as 1 and 0")
    if is_number_like(column):
        return _why_text(column)
    if share_of_numbers(column) > 0.5:
        try:
            to_numbers(column)
        except ValueError as error:
            raise ValueError(
                f"{error}; it is mostly numbers. Correct it, or name the attributes to use"
            ) from error
    example = column.dropna().head(1).tolist()
    return Reason(f"holds no numbers, but such as {example[0]!r:.40}" if example else "is empty")


def _why_text(column: pd.Series) -> Reason:
    """Say of a column with numbers as text how it can be used."""
    try:
        to_numbers(column)
    except ValueError as error:
        problem, cure = str(error).rsplit(": ", 1)
        return Reason(problem, cure)
    return Reason("holds numbers as text", BY_NAME)


def _owners(table: pd.DataFrame, columns: Sequence[str]) -> list[pd.Series]:
    """Give the row, prompt and response that each rating belongs to, column by column."""
    rows = pd.concat([pd.Series(range(len(table)))] * len(columns))
    sides = TEXTS[1:] if len(columns) == 2 else ["response"]
    if not {"prompt", *sides} <= set(table):
        return [rows]
    prompts = pd.concat([table["prompt"].astype(str)] * len(columns))
    texts = pd.concat([table[side].astype(str) for side in sides])
    return [rows, prompts, prompts + "\0" + texts]


def _alone(table: pd.DataFrame, columns_of: Mapping[str, Sequence[str]]) -> list[str]:
    """List the columns that are neither texts nor candidates."""
    known = {*RESERVED, *TEXTS}.union(*columns_of.values())
    return [name for name in table if name not in known]


def _why_alone(name: str, table: pd.DataFrame) -> Reason:
    """Say why a column without a partner is no attribute."""
    if ID_NAME.search(name):
        return Reason("is a row number or an id by its name")
    column = table[name]
    renamed = _renamed(name, table)
    if name[-2:] in ("_1", "_2"):
        partner = name[:-1] + {"1": "2", "2": "1"}[name[-1]]
        reason = Reason("has no column for the other response", f"add {partner}")
    elif renamed:
        reason = Reason("does not end in _1 or _2", f"rename it to {renamed}")
    else:
        return Reason("belongs to no response: ratings come as <name>_1 and <name>_2")
    if is_numeric(column) or is_number_like(column):
        return reason
    # Other pairs have such columns too, so a table with nothing else is not refused for them.
    return Reason(str(reason) if is_boolean(column) else reason.text)


def _renamed(name: str, table: Iterable[str]) -> str:
    """Give the name of a rating that says before its end which response is meant; else "".

    Example:
        >>> _renamed("is_response_1_safe", []), _renamed("top_1_share", []), _renamed("note", [])
        ('is_safe_1', '', '')
        >>> _renamed("is_response_1_safe", ["is_response_0_safe"])
        'is_safe_2'
    """
    match = INNER_SIDE.search(name)
    if not match:
        return ""
    place = match.start("side")
    siblings = {side for side in "012" if f"{name[:place]}{side}{name[place + 1 :]}" in table}
    siblings.add(match["side"])
    if not match["owner"] and len(siblings) == 1:
        return ""
    number = int(match["side"]) + ("0" in siblings)
    return f"{name[: match.start()]}{match[1]}{name[match.end() :]}_{number}"


def _refuse_if_cured(reasons: Mapping[str, Reason]) -> None:
    """Refuse a table in which each rating needs a change first."""
    needy = [f"{name}: {reason}" for name, reason in reasons.items() if reason.cure]
    if needy:
        raise ValueError(
            f"no column can be taken as ratings as it is, expected numbers. {'. '.join(needy)}"
        )


def _expect_asked(
    name: str,
    table: pd.DataFrame,
    columns_of: Mapping[str, Sequence[str]],
    reasons: Mapping[str, Reason],
) -> None:
    """Refuse a name that is no attribute of the table, and say what is meant or missing."""
    if name in columns_of:
        return
    wanted = rating_columns([name])
    for other in table:
        if other in (name, *wanted) or _renamed(other, table) in wanted:
            reason = reasons.get(other, "has no ratings")
            raise ValueError(f"attribute {name!r} cannot be used: column {other} {reason}")
    nearest = get_close_matches(name, columns_of, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    columns = f"column {name}" if _has_responses(table) else f"two columns {' and '.join(wanted)}"
    there = ", ".join(columns_of) or "no ratings"
    raise ValueError(f"attribute {name!r} has no {columns}; the table has {there}{hint}")


def _expect_legal(names: Sequence[str], order: str) -> None:
    reserved = ", ".join(sorted(RESERVED.intersection(names)))
    if reserved:
        raise ValueError(f"attributes cannot be named {reserved}; rename these columns")
    if order in names:
        raise ValueError(
            f"{order!r} orders the responses (order_by) and cannot be an attribute too; leave it "
            "out of attributes"
        )
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} cannot be named twice in attributes")
