"""What a form of preference data is, and what reading one needs and gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Formed:
    """A table in a form that the room knows: one pair a row, or one response a row.

    Attributes:
        table: the columns of `TEXTS`, or `prompt` and `response`; all texts, with the turns of a
            conversation as `dtreward.conversation.prompt_text` writes them.
        form: the name of the form that was taken.
        order_by: the column that orders the responses, where each row is one; else "".
        rated_by: who gave the ratings, where the form tells; else "".
        note: a sentence on how the pairs were chosen, where that bends a result; else "".
    """

    table: pd.DataFrame
    form: str
    order_by: str = ""
    rated_by: str = ""
    note: str = ""


@dataclass(frozen=True)
class Reading:
    """What a form needs beside its table.

    Attributes:
        rng: decides which response stands first, where the form would give that away.
        counts: gets the ties, and how many prompts were read as turns.
        order_by: the column that the caller orders the responses by; "" for none.
    """

    rng: np.random.Generator
    counts: Counter
    order_by: str


@dataclass(frozen=True)
class Form:
    """One public form.

    Attributes:
        name: as `load_pairs` takes it.
        meaning: what a row is, for messages and guides.
        columns: sets of columns; a table with all of one set is of this form.
        form: makes pairs, or rated responses, of a table.
        preferred: whether the columns say which response is preferred, so that a column
            `preference` beside them belongs to the plain form.
    """

    name: str
    meaning: str
    columns: tuple[tuple[str, ...], ...]
    form: Callable[[pd.DataFrame, Reading], Formed]
    preferred: bool = False

    def fits(self, table: pd.DataFrame) -> bool:
        """Say whether a table has the columns of this form."""
        if self.preferred and "preference" in table:
            return False
        return any(set(columns) <= set(table) for columns in self.columns)
