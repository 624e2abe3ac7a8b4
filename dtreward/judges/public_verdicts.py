"""Verdicts of single public data sets, each with the texts of its pair."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from dtreward.judges.verdict import ORDERS, OUTCOMES, SHOWN
from dtreward.pairs.columns import TEXTS, expect_columns
from dtreward.pairs.data_sets import llmbar, pandalm

INCONSISTENT, NEITHER = OUTCOMES[1:3]
GPT = "gpt_result"  # the column that makes a file one of PandaLM's LLM verdicts
TIE = (NEITHER, NEITHER)
ONE_ORDER = {"1": ("A", "B"), "2": ("B", "A"), "0": TIE, "Tie": TIE}
ONE_ORDER["garbage"] = ("unparsed", "unparsed")  # PandaLM's word for a reply without a verdict


def read_llmbar(folder: Path) -> pd.DataFrame:
    """Read LLMBar's verdicts: judge, family, `given`, `swapped`, subset and the texts of the pair."""
    pairs = llmbar.read_llmbar(folder).table
    verdicts = llmbar.read_llmbar_verdicts(folder)
    return verdicts.merge(pairs[["subset", "place", *TEXTS]], on=["subset", "place"])


def has_pandalm(path: Path) -> bool:
    """Say whether a file holds LLM verdicts as PandaLM publishes them."""
    if path.suffix != ".json" or not path.is_file():
        return False
    entries = json.loads(path.read_text(encoding="utf-8"))
    return isinstance(entries, list) and bool(entries) and GPT in entries[0]


def read_pandalm(path: Path, table: Path) -> pd.DataFrame:
    """Read the verdicts of PandaLM's LLM judge and of its three people, one order each.

    The one order stands for both: nothing is known of positions (`verdict.asked_once`). Different
    verdicts of one judge, where two systems gave the same answers, are inconsistent.

    Args:
        path: the LLM's verdicts, by `idx`.
        table: the test set, with texts, people's votes and `idx`.

    Raises:
        ValueError: if a file lacks a column, or a verdict is none of 0 or Tie, 1, 2 and garbage.
    """
    people = pd.DataFrame(json.loads(table.read_text(encoding="utf-8")))
    verdicts = pd.DataFrame(json.loads(path.read_text(encoding="utf-8")))
    expect_columns(people, ["idx", "instruction", "response1", "response2", *pandalm.PEOPLE])
    expect_columns(verdicts, ["idx", GPT])
    judge = path.stem.removesuffix("-testset-v1")
    verdicts = verdicts[["idx", GPT]].rename(columns={GPT: judge})
    verdicts["idx"] = verdicts["idx"].astype(str)
    asked = pandalm.name_columns(people.astype({"idx": str})).merge(verdicts, on="idx")
    rows = asked.melt([*TEXTS], [judge, *pandalm.PEOPLE], var_name="judge", value_name="verdict")
    words = rows["verdict"].astype(str)
    wrong = rows[~words.isin(list(ONE_ORDER))]
    if len(wrong):
        first = wrong.iloc[0]
        raise ValueError(
            f"{path}: {first['judge']} has the verdict {first['verdict']!r}; expected 1, 2, 0 (Tie) or garbage"
        )
    rows[ORDERS] = words.map(ONE_ORDER).tolist()
    rows = _one_order_of_answers(rows)
    keys = [*TEXTS, "judge"]
    contradicts = rows.groupby(keys)["given"].transform("nunique") > 1
    rows.loc[contradicts, ORDERS] = INCONSISTENT
    rows = rows[[*keys, *ORDERS]].drop_duplicates().assign(family=rows["judge"])
    rows.attrs[SHOWN] = 1
    return rows


def _one_order_of_answers(rows: pd.DataFrame) -> pd.DataFrame:
    """Let the answer that sorts first stand first, so that copies of a pair are alike."""
    is_turned = rows["response_1"] > rows["response_2"]
    for one, two in (TEXTS[1:], ORDERS):
        turned = rows.loc[is_turned, [two, one]].to_numpy()
        rows.loc[is_turned, [one, two]] = turned
    return rows
