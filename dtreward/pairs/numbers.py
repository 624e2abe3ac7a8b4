"""What a column holds: numbers, or what can be read as numbers, or something else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from numbers import Real

import numpy as np
import pandas as pd

from dtreward.pairs.columns import wrong_value

MISSING = {"", "na", "n/a", "nan", "null", "none", "<na>"}  # texts of a missing value
WORDS = {"true": 1.0, "false": 0.0}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
OUT_OF = re.compile(r"([+-]?[\d.]+)\s*(?:/|of|out of)\s*\d+", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
LEAST_DISTINCT = 10  # with fewer values, ratings may be distinct by chance
EARLIEST = 9e8  # seconds from 1970 to 1998; a larger number is no rating


def is_numeric(column: pd.Series) -> bool:
    """Whether a column holds numbers as they are: not true and false, times or text."""
    dtype = column.dtype
    is_number = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
    return is_number and not pd.api.types.is_complex_dtype(dtype)


def is_numeric_but_missing(column: pd.Series) -> bool:
    """Whether a column holds numbers and texts of missing values, such as "N/A", and nothing else.

    Example:
        >>> is_numeric_but_missing(pd.Series([4, "N/A"])), is_numeric_but_missing(pd.Series(["4"]))
        (True, False)
    """
    if column.dtype != object:
        return False
    values = [value for value in column if not _is_missing(value)]
    return bool(values) and all(
        isinstance(value, Real) and not isinstance(value, bool | np.bool_) for value in values
    )


def is_boolean(column: pd.Series) -> bool:
    """Whether a column holds true and false, or the words, and nothing else.

    Example:
        >>> is_boolean(pd.Series([True, None, False])), is_boolean(pd.Series([1, True]))
        (True, False)
    """
    if pd.api.types.is_bool_dtype(column.dtype):
        return True
    values = [value for value in column.astype(object) if not _is_missing(value)]
    return bool(values) and all(
        isinstance(value, bool | np.bool_) or str(value).strip().lower() in WORDS
        for value in values
    )


def to_numbers(column: pd.Series) -> pd.Series:
    """Read a column as numbers: true is 1 and false is 0, numeric text and Decimal have their value.

    Texts such as "", "NA" and "null" are missing.

    Raises:
        ValueError: names the column, the first row that is no number, and what to write.

    Example:
        >>> to_numbers(pd.Series(["3.5", None, True])).tolist()
        [3.5, nan, 1.0]
        >>> to_numbers(pd.Series(["4", "4/5"], name="wit_1"))
        Traceback (most recent call last):
        ...
        ValueError: column wit_1 holds '4/5' in row 1 (the first is 0); expected a number: write 4
    """
    if is_numeric(column):
        return column.astype("Float64").astype(float)
    numbers = []
    for row, value in enumerate(column.astype(object)):
        number = to_number(value)
        if number is None:
            raise wrong_value(str(column.name), value, row, f"a number: {_cure(value)}")
        numbers.append(number)
    return pd.Series(numbers, column.index, dtype=float, name=column.name)


def to_number(value: object) -> float | None:
    """Read one value as a number, nan where it is missing, None where it is no number.

    Example:
        >>> to_number("3.5"), to_number(True), to_number("N/A"), to_number("good")
        (3.5, 1.0, nan, None)
    """
    if _is_missing(value):
        return np.nan
    if isinstance(value, bool | np.bool_ | Real | Decimal):
        try:
            return float(value)
        except OverflowError:
            return np.inf
    if not isinstance(value, str):
        return None
    text = value.strip().lower()
    if text in WORDS:
        return WORDS[text]
    return float(text) if NUMBER.fullmatch(text) else None


def share_of_numbers(column: pd.Series) -> float:
    """Give the share of the values there are that can be read as numbers; nan if there are none.

    Example:
        >>> share_of_numbers(pd.Series(["3", "n/a", "good"]))
        0.5
    """
    values = [value for value in column.astype(object) if not _is_missing(value)]
    return float(np.mean([to_number(value) is not None for value in values])) if values else np.nan


def is_number_like(column: pd.Series) -> bool:
    """Whether a column of text holds numbers, or such as "4/5" and "3,5", and nothing else.

    Example:
        >>> is_number_like(pd.Series(["4/5", "3,5", None])), is_number_like(pd.Series(["good"]))
        (True, False)
    """
    values = [value for value in column.astype(object) if not _is_missing(value)]
    texts = [str(value).strip() for value in values]
    return bool(texts) and all(
        to_number(value) is not None or OUT_OF.fullmatch(text) or DECIMAL_COMMA.fullmatch(text)
        for value, text in zip(values, texts, strict=True)
    )


def are_times(numbers: pd.Series) -> bool:
    """Whether numbers are seconds since 1970, or parts of seconds: none is small.

    Example:
        >>> are_times(pd.Series([1.7e9, 1.7e9])), are_times(pd.Series([4.0, 1.7e9]))
        (True, False)
    """
    values = numbers.dropna()
    return len(values) > 0 and bool((values > EARLIEST).all())


def number_rows(numbers: pd.Series, owners: Iterable[pd.Series]) -> bool:
    """Whether whole numbers only count or name something: each thing has one, and no two the same.

    Ten or more things are needed, because a few ratings may be distinct by chance.

    Args:
        numbers: the values of a column.
        owners: for each kind of thing, such as prompts, the thing that each value belongs to.

    Example:
        >>> rows = pd.Series(range(12))
        >>> number_rows(rows + 7, [rows]), number_rows(rows % 5, [rows])
        (True, False)
    """
    whole = numbers.notna() & (numbers == numbers.round())
    if not whole.all() or numbers.nunique() < LEAST_DISTINCT:
        return False
    for owner in owners:
        couples = pd.DataFrame({"owner": owner.to_numpy(), "number": numbers.to_numpy()})
        couples = couples.drop_duplicates()
        if couples["owner"].is_unique and couples["number"].is_unique:
            return True
    return False


def _is_missing(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in MISSING
    if isinstance(value, float | Decimal):
        return value != value  # noqa: PLR0124 (nan)
    return value is None or value is pd.NA or value is pd.NaT


def _cure(value: object) -> str:
    """Say what to write instead of a value that is no number."""
    text = str(value).strip()
    out_of = OUT_OF.fullmatch(text)
    if out_of:
        return f"write {out_of[1]}"
    if DECIMAL_COMMA.fullmatch(text):
        return f"write {text.replace(',', '.')}, with a point"
    if isinstance(value, str):
        return "write a number for each such text, or leave it empty where there is no rating"
    return "write one number, or nothing where there is no rating"
