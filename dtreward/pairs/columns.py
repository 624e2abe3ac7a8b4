"""The names of the columns of a table of pairs, and the check that they are there."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

TEXTS = ["prompt", "response_1", "response_2"]
SPLITS = ["train", "validation", "test"]


def expect_columns(table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Check that a table has some columns.

    Raises:
        ValueError: names the columns that are expected, missing and there.
    """
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(
            f"expected columns {list(columns)}, missing {missing}, found {list(table)}"
        )


def rating_columns(attributes: Sequence[str]) -> list[str]:
    """Name the columns of ratings, attribute by attribute.

    Example:
        >>> rating_columns(["coherence"])
        ['coherence_1', 'coherence_2']
    """
    return [f"{attribute}_{side}" for attribute in attributes for side in (1, 2)]
