"""What an answer says, and one verdict from both orders."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

ORDERS = ["given", "swapped"]  # response 1 shown first, response 2 shown first
OUTCOMES = ("decided", "inconsistent", "unparsed", "refused", "error", "missing")
# A letter alone, or with as much of "is the better response" as the first tokens hold.
BETTER = (
    r"is( (the )?(better|best|preferred|superior)\b"
    r"|( (t|th|the|the b|the be|the bet|the bett))?\W*$)"
)
CHOOSES = re.compile(rf"\W*(?:response )?([ab])\W*?($|[.:](\s|$)|\n|\s{BETTER})", re.IGNORECASE)
REFUSES = re.compile(r"\W*(I.?m (sorry|unable)|Sorry|I (can.?t|cannot|won.?t|am unable)|As an AI)")


def verdict(text: str) -> str:
    """Read the first words of an answer: "A", "B", "refused" or "unparsed".

    Example:
        >>> [verdict(text) for text in ("A is the", "**B**", "A good answer", "I'm sorry, but")]
        ['A', 'B', 'unparsed', 'refused']
    """
    choice = CHOOSES.match(text)
    if choice:
        return choice[1].upper()
    return "refused" if REFUSES.match(text) else "unparsed"


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
