"""Outcomes of a pair: one verdict from both orders."""

from __future__ import annotations

import numpy as np
import pandas as pd

ORDERS = ["given", "swapped"]  # response 1 shown first, response 2 shown first
OUTCOMES = ("decided", "inconsistent", "tie", "unparsed", "refused", "cut", "error", "missing")
SHOWN = "orders"  # the key of a frame's attrs: in how many orders a judge saw each pair


def asked_once(judges: pd.DataFrame) -> bool:
    """Say whether judges saw each pair in one order only; then nothing is known of positions.

    Args:
        judges: rows of `judges.parquet`, read from the file or just made.

    Example:
        >>> asked_once(pd.DataFrame())
        False
    """
    return judges.attrs.get(SHOWN, len(ORDERS)) == 1


def judged_frame(states: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Finish the rows that `verdicts` describes.

    Args:
        states: judge, family ("": the judge's name up to its first - or /), pair, and for given
            and swapped "A", "B", one of `OUTCOMES`, or nan (missing).
        pairs: with prompt_id.
    """
    rank = {"A": 0, "B": 0} | {outcome: place for place, outcome in enumerate(OUTCOMES)}
    worst = states[ORDERS].fillna("missing").replace(rank).max(axis=1).astype(int)
    # Both orders chose a position; the same position means different responses.
    same_position = states["given"] == states["swapped"]
    worst = worst.where(worst > 0, same_position.astype(int))
    position = states[ORDERS].astype(object).where(states[ORDERS].isin(["A", "B"]), None)
    named = states["judge"].str.split("[-/]", regex=True).str[0]
    frame = states[["judge"]].copy()
    frame["family"] = states["family"].where(states["family"] != "", named)
    frame["pair"] = states["pair"]
    frame["prompt_id"] = pairs["prompt_id"][states["pair"]].array
    frame[ORDERS] = position
    frame["outcome"] = np.array(OUTCOMES)[worst]
    preference = (position["given"] == "B").astype("Int8")
    return frame.assign(preference=preference.where(worst == 0))
