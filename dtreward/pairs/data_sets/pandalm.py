"""Pairs of answers with the votes of three people, in the JSON that PandaLM publishes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dtreward.pairs.form import Form, Formed, Reading

PEOPLE = ("annotator1", "annotator2", "annotator3")
# https://github.com/WeOpenML/PandaLM, README, "Test data": 1K of 2.5K pairs were kept.
NOTE = (
    "The source left out pairs on which its people diverged strongly, so their agreement here is "
    "higher than on all pairs that they read."
)
PREFERENCES = {"0": np.nan, "1": 0.0, "2": 1.0}  # a tie, response 1, response 2


def name_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Name the texts as all tables of pairs do; the prompt is the instruction, then its input.

    A few answers are true or false in the JSON: they are the words that the model wrote.
    """
    given = table["input"].fillna("").str.strip()
    instruction = table["instruction"].str.strip()
    answers = {f"response_{side}": table[f"response{side}"].map(_as_text) for side in (1, 2)}
    prompt = instruction.where(given == "", instruction + "\n\n" + given)
    return table.drop(columns=["response1", "response2"]).assign(prompt=prompt, **answers)


def _as_text(answer: str | bool) -> str:
    return str(answer) if isinstance(answer, bool) else answer


def read_pandalm(table: pd.DataFrame, reading: Reading) -> Formed:
    """Make one vote of one person a row; a tie is no preference.

    Source: Wang et al. (2024), PandaLM: An Automatic Evaluation Benchmark for LLM Instruction Tuning
    Optimization; data/testset-v1.json.

    Raises:
        ValueError: if a vote is none of 0 (tie), 1 and 2.
    """
    table = name_columns(table).rename(columns={"cmp_key": "models"})
    columns = ["idx", "prompt", "response_1", "response_2", "models"]
    votes = table[[*columns, *PEOPLE]].melt(columns, var_name="reader", value_name="vote")
    words = votes["vote"].astype(str)
    wrong = votes[~words.isin(list(PREFERENCES))]
    if len(wrong):
        first = wrong.iloc[0]
        raise ValueError(
            f"column {first['reader']} holds {first['vote']!r} for idx {first['idx']}; expected 0 (a "
            "tie), 1 or 2; correct it"
        )
    votes["preference"] = words.map(PREFERENCES)
    reading.counts["ties"] += int(votes["preference"].isna().sum())
    return Formed(votes.drop(columns="vote"), FORM.name, note=NOTE)


FORM = Form(
    "pandalm",
    "PandaLM's test set: two answers and three people's votes a row",
    (("instruction", "response1", "response2", *PEOPLE),),
    read_pandalm,
)
