"""Read a judge's words, and make one verdict of both orders."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

ORDERS = ["given", "swapped"]  # response 1 shown first, response 2 shown first
OUTCOMES = ("decided", "inconsistent", "unparsed", "refused", "error", "missing")
# A letter alone, or with as much of "is the better response" as the first tokens hold.
BETTER = r"is( (the )?(better|best|preferred|superior)\b|( (t|th|the|the b|the be|the bet|the bett))?\W*$)"
SAYS = re.compile(rf"\W*(?:response )?([ab])\W*?($|[.:](\s|$)|\n|\s{BETTER})", re.IGNORECASE)
REFUSES = re.compile(r"\W*(I.?m (sorry|unable)|Sorry|I (can.?t|cannot|won.?t|am unable)|As an AI)")


def verdict(text: str) -> str:
    """Read the first words of an answer: "A", "B", "refused" or "unparsed".

    Example:
        >>> [verdict(text) for text in ("A is the", "**B**", "A good answer", "I'm sorry, but")]
        ['A', 'B', 'unparsed', 'refused']
    """
    if found := SAYS.match(text):
        return found[1].upper()
    return "refused" if REFUSES.match(text) else "unparsed"


def judged_frame(states: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Finish the rows that `verdicts` describes.

    Args:
        states: judge, family ("": by the judge's name), pair, and for given and swapped "A", "B",
            one of `OUTCOMES`, or nan (missing).
        pairs: with prompt_id.
    """
    rank = {"A": 0, "B": 0} | {name: place for place, name in enumerate(OUTCOMES)}
    worst = states[ORDERS].fillna("missing").replace(rank).max(axis=1).astype(int)
    worst = worst.where(worst > 0, (states["given"] == states["swapped"]).astype(int))
    named = states["judge"].str.split("[-/]", regex=True).str[0]
    said = states[ORDERS].astype(object).where(states[ORDERS].isin(["A", "B"]), None)
    found = states[["judge"]].assign(family=states["family"].where(states["family"] != "", named))
    found["pair"], found["prompt_id"] = states["pair"], pairs["prompt_id"][states["pair"]].array
    found[[*ORDERS, "outcome"]] = said.assign(outcome=np.array(OUTCOMES)[worst])
    return found.assign(preference=(said["given"] == "B").astype("Int8").where(worst == 0))
