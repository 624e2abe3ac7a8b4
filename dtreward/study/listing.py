"""List what a page says of a study's pairs: numbers, leaves that they reach, and verdicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from pandas.api.types import is_integer_dtype, is_string_dtype

from dtreward.pairs.columns import TEXTS, expect_columns
from dtreward.pairs.frame import (
    attributes_of,
    differences,
    inputs_name,
    response_index,
    responses,
)
from dtreward.pairs.votes import merge_votes
from dtreward.tree.rules import conditions, verdict
from dtreward.tree.tree import PreferenceTree

REWARDS = "predicted rewards"  # input of trees, as notebook 04 records it
PEOPLE = "Human"  # as notebook 07 calls them
MOST_PAIRS = 5_000
MOST_NUMBERS = 400_000  # of all pairs; with many attributes, trees and judges fewer pairs fit
MOST_TEXT = 3_000_000  # characters of all texts
LONGEST_TEXT = 2_000  # characters of one text
NOT_ASKED = "-"
NO_ANSWER = "n"
INCONSISTENT = "i"  # which position was named is not known
NAMES_FIRST = "f"  # inconsistent: named the response shown first in both orders
NAMES_SECOND = "s"

PairRows = Int[np.ndarray, " _"]  # row numbers of the study's pairs
Differences = Float[np.ndarray, "_ attributes"]
Shown = int | float | None  # whole numbers without a point; None for nan


@dataclass(frozen=True)
class ListedNode:
    """One node of a tree.

    Attributes:
        label: its question, or the verdict of a leaf.
        words: which differences lead to it, its share of the fitted pairs, its verdict.
        level: number of splits above it.
        last: number of the last node below it; nodes below it have the numbers in between.
        second: probability of response 2.
    """

    label: str
    words: str
    level: int
    last: int
    second: float


@dataclass(frozen=True)
class ListedTree:
    """One tree, with one value for each listed pair.

    Attributes:
        leaf: number of the leaf that the pair reaches.
        wavers: "1" where the tree prefers another response once the two are swapped, else "0".
    """

    name: str
    nodes: list[ListedNode]
    leaf: list[int]
    wavers: str


@dataclass(frozen=True)
class ListedJudge:
    """One judge, or the people, with one character for each listed pair.

    Attributes:
        codes: "0" and "1" are preferences. A judge that named the same position in both orders is
            `NAMES_FIRST`, `NAMES_SECOND`, or `INCONSISTENT` where the position is not known, or for
            a tie.
            `NO_ANSWER` stands for an answer that is missing or unusable, `NOT_ASKED` for none asked.
    """

    name: str
    codes: str


@dataclass(frozen=True)
class Listing:
    """The pairs that a page lists; each list has one value for each listed pair.

    Attributes:
        of: number of pairs of the study; the page lists at most `MOST_PAIRS` of them.
        problems: sentences about files that could not be used.
        pair: row numbers in pairs.parquet; of several votes on a pair, that of the first.
        words: numbers of words of response 1 and of response 2.
        differences: by input, one list an attribute; response 2 minus response 1, with four
            digits of the attribute's largest.
        texts: prompt, response 1 and response 2, or None beyond `MOST_TEXT`; None without texts.
    """

    of: int
    problems: list[str]
    pair: list[int]
    prompt: list[int]
    split: list[str]
    words: list[list[int]]
    attributes: list[str]
    differences: dict[str, list[list[Shown]]]
    trees: list[ListedTree]
    judges: list[ListedJudge]
    texts: list[list[str] | None] | None


def list_pairs(made: Path, *, texts: bool = False) -> Listing:
    """Read a study's pairs, with the leaves that they reach and the verdicts on them.

    A file that notebooks 03 to 07 have not written is left out. One that is damaged, or of other
    pairs, is left out and named among the problems. Several votes on a pair are listed as one:
    what most of them say. Where there are more pairs than a page holds, those that judges were
    asked about come first, and the others are evenly spaced.

    Args:
        made: the study's folder.
        texts: list the texts of prompts and responses too.

    Raises:
        FileNotFoundError: if there is no pairs.parquet.
        OSError, ValueError: if it is damaged, or no table of pairs.
    """
    frame = _read_pairs(made / "pairs.parquet")
    attributes = list(attributes_of(frame))
    problems: list[str] = []
    pairs = merge_votes(frame, attributes)
    inputs = _inputs(made, frame, pairs, problems)
    judges = {name: codes[pairs.index] for name, codes in _judges(made, frame, problems).items()}
    trees = read_trees(made, problems, inputs_name(frame))
    numbers_a_pair = len(attributes) * len(inputs) + len(judges) + 1 + len(trees)
    most = min(MOST_PAIRS, MOST_NUMBERS // numbers_a_pair)
    rows = choose_rows(_was_judged(judges, len(pairs)), most)
    chosen = pairs.iloc[rows]
    people = _people(pairs["preference"])
    return Listing(
        of=len(pairs),
        pair=pairs.index[rows].tolist(),
        prompt=chosen["prompt_id"].tolist(),
        split=chosen["split"].astype(str).tolist(),
        words=[_word_counts(chosen["response_1"]), _word_counts(chosen["response_2"])],
        attributes=attributes,
        differences={name: _short(values[rows]) for name, values in inputs.items()},
        trees=_listed_trees(trees, inputs, attributes, rows, problems),
        judges=[
            ListedJudge(name, "".join(codes[rows]))
            for name, codes in [(PEOPLE, people), *judges.items()]
        ],
        texts=_texts(chosen) if texts else None,
        problems=problems,
    )


def _read_pairs(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path).reset_index(drop=True)
    expect_columns(frame, ["prompt_id", *TEXTS, "preference", "split"])
    are_texts = [is_string_dtype(frame[name]) and frame[name].notna().all() for name in TEXTS]
    if not all(are_texts) or not is_integer_dtype(frame["prompt_id"]):
        raise ValueError(f"{path}: expected whole numbers as prompt_id, and texts in {TEXTS}")
    if not frame["preference"].dropna().isin([0, 1]).all():
        raise ValueError(f"{path}: expected 0, 1 or nothing as preference")
    return frame


def choose_rows(is_first: Bool[np.ndarray, " pairs"], most: int) -> PairRows:
    """Choose at most `most` rows, in order: those marked first, then others; each evenly spaced.

    Example:
        >>> choose_rows(np.array([False, True, False, True, False]), 3).tolist()
        [0, 1, 3]
        >>> choose_rows(np.array([False] * 5), 3).tolist()
        [0, 2, 4]
    """
    first = _evenly_spaced(np.flatnonzero(is_first), most)
    others = _evenly_spaced(np.flatnonzero(~is_first), most - len(first))
    return np.sort(np.concatenate([first, others]))


def _evenly_spaced(rows: PairRows, most: int) -> PairRows:
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(int)]


def _usable(path: Path, read: Callable[[Path], Any], problems: list[str]) -> Any:
    """Read a file; None where it is absent, and where it is of no use, which is a problem."""
    if not path.exists():
        return None
    try:
        return read(path)
    except Exception:  # noqa: BLE001 (damage shows anywhere; the page names the file)
        problems.append(
            f"{path.name} is left out: it is damaged, or was made from other pairs. "
            "Run the study again."
        )
        return None


def _inputs(
    made: Path, frame: pd.DataFrame, pairs: pd.DataFrame, problems: list[str]
) -> dict[str, Differences]:
    """Give the differences of pairs that trees look at, by the name of the input."""
    attributes = list(attributes_of(frame))
    inputs = {inputs_name(frame): differences(pairs, attributes, missing=0.0)}
    read = partial(_reward_differences, frame, pairs)
    rewards = _usable(made / "rewards.parquet", read, problems)
    if rewards is not None:
        inputs[REWARDS] = rewards
    return inputs


def _reward_differences(frame: pd.DataFrame, pairs: pd.DataFrame, path: Path) -> Differences:
    attributes = list(attributes_of(frame))
    rewards = pd.read_parquet(path)
    expect_columns(rewards, ["prompt_id", *attributes])
    rated = responses(frame, attributes)
    if rewards["prompt_id"].tolist() != rated["prompt_id"].tolist():
        raise ValueError("rewards.parquet is of other responses than pairs.parquet")
    values = rewards[attributes].to_numpy(float)
    index = response_index(pairs, rated)
    return values[index[:, 1]] - values[index[:, 0]]


def _people(preference: pd.Series) -> np.ndarray:
    return preference.astype("Int8").astype("string").fillna(NOT_ASKED).to_numpy(object)


def _judges(made: Path, frame: pd.DataFrame, problems: list[str]) -> dict[str, np.ndarray]:
    """Give the codes of each judge, one for each pair of the study."""
    return _usable(made / "judges.parquet", partial(_verdicts, frame), problems) or {}


def _was_judged(judges: dict[str, np.ndarray], count: int) -> Bool[np.ndarray, " pairs"]:
    was_judged = np.zeros(count, dtype=bool)
    for codes in judges.values():
        was_judged |= codes != NOT_ASKED
    return was_judged


def _verdicts(frame: pd.DataFrame, path: Path) -> dict[str, np.ndarray]:
    judged = pd.read_parquet(path)
    pair = judged["pair"].to_numpy()
    if not np.isin(pair, np.arange(len(frame))).all():
        raise ValueError("judges.parquet is of other pairs")
    if (frame["prompt_id"].to_numpy()[pair] != judged["prompt_id"].to_numpy()).any():
        raise ValueError("judges.parquet is of other prompts")
    codes = {}
    for judge, own in judged.groupby("judge", sort=False):
        codes[str(judge)] = np.full(len(frame), NOT_ASKED, dtype=object)
        codes[str(judge)][own["pair"].to_numpy()] = _outcome_codes(own)
    return codes


def _outcome_codes(own: pd.DataFrame) -> np.ndarray:
    """Give one code for each row of one judge."""
    outcome = own["outcome"].to_numpy()
    preference = own["preference"].fillna(-1).to_numpy(int)
    position = own["given"].fillna("").to_numpy()
    is_decided = outcome == "decided"
    is_inconsistent = np.isin(outcome, ["inconsistent", "tie"])
    cases = {
        "0": is_decided & (preference == 0),
        "1": is_decided & (preference == 1),
        NAMES_FIRST: is_inconsistent & (position == "A"),
        NAMES_SECOND: is_inconsistent & (position == "B"),
        INCONSISTENT: is_inconsistent,
    }
    return np.select(list(cases.values()), list(cases), NO_ANSWER).astype(object)


def read_trees(
    made: Path, problems: list[str], ratings: str = ""
) -> dict[str, tuple[str, PreferenceTree]]:
    """Give each tree of a study by what it is of, with the name of its input.

    Args:
        made: the study's folder.
        problems: gets a sentence about each file that is damaged.
        ratings: the input of judges' trees (`dtreward.pairs.frame.inputs_name`).
    """
    trees = {}
    recorded = _usable(made / "04_fit_preference_tree.json", _recorded_trees, problems) or {}
    for name, tree in recorded.items():
        trees[f"on {name}"] = (name, tree)
    of_judges = _usable(made / "judge_trees.json", _judge_trees, problems) or {}
    for judge, tree in of_judges.items():
        trees[f"of {judge}"] = (ratings, tree)
    return trees


def _recorded_trees(path: Path) -> dict[str, PreferenceTree]:
    return _from_documents(json.loads(path.read_text(encoding="utf-8"))["numbers"]["trees"])


def _judge_trees(path: Path) -> dict[str, PreferenceTree]:
    return _from_documents(json.loads(path.read_text(encoding="utf-8")))


def _from_documents(documents: Any) -> dict[str, PreferenceTree]:
    if not isinstance(documents, dict):
        raise ValueError(f"expected trees by name, found {documents!r:.80}")  # noqa: TRY004
    return {name: PreferenceTree.from_dict(document) for name, document in documents.items()}


def _listed_trees(
    trees: dict[str, tuple[str, PreferenceTree]],
    inputs: dict[str, Differences],
    attributes: list[str],
    rows: PairRows,
    problems: list[str],
) -> list[ListedTree]:
    """Send the listed pairs down each tree; a tree without its numbers is a problem."""
    listed = []
    for name, (input_name, tree) in trees.items():
        if input_name not in inputs or not set(tree.attributes) <= set(attributes):
            problems.append(f"The tree {name} is left out: the numbers it splits on are missing.")
            continue
        columns = [attributes.index(attribute) for attribute in tree.attributes]
        values = inputs[input_name][rows][:, columns]
        if not np.isfinite(values).all():
            problems.append(f"The tree {name} is left out: some of its numbers are not finite.")
            continue
        listed.append(_listed_tree(name, tree, values))
    return listed


def _listed_tree(name: str, tree: PreferenceTree, values: Differences) -> ListedTree:
    is_same_position = tree.predict(values) == tree.predict(-values)
    wavers = np.where(is_same_position, "1", "0")
    return ListedTree(name, _nodes(tree), tree.apply(values).tolist(), "".join(wavers))


def _nodes(tree: PreferenceTree) -> list[ListedNode]:
    reasons = conditions(tree)
    last = list(range(len(tree.feature)))
    for node in tree.splits[::-1]:
        last[node] = last[tree.right[node]]  # preorder: the right side stands last
    nodes = []
    for number, reason in enumerate(reasons):
        pairs = f"Pairs with {reason}" if reason else "All pairs"
        leans = verdict(tree, number)
        if tree.is_split[number]:
            attribute = tree.attributes[tree.feature[number]]
            label = f"{attribute} ≤ {tree.threshold[number]:.4g}?"
        else:
            label = leans
        nodes.append(
            ListedNode(
                label=label,
                words=f"{pairs}: {100 * tree.share[number]:.1f} % of the fitted pairs; {leans}.",
                level=int(tree.level[number]),
                last=last[number],
                second=float(f"{tree.value[number, 1]:.4g}"),
            )
        )
    return nodes


def _short(values: Differences) -> list[list[Shown]]:
    """Give one list an attribute, with four digits of its largest value; None for nan."""
    return [_short_column(column) for column in values.T]


def _short_column(values: Float[np.ndarray, " pairs"]) -> list[Shown]:
    is_finite = np.isfinite(values)
    largest = np.abs(values[is_finite]).max(initial=0)
    decimals = 0
    if largest > 0:
        decimals = max(0, 3 - int(np.floor(np.log10(largest))))
    rounded = np.round(values, decimals).tolist()
    return [
        _plain_number(value) if finite else None
        for value, finite in zip(rounded, is_finite, strict=True)
    ]


def _plain_number(value: float) -> int | float:
    """Write whole numbers without a point, which saves bytes."""
    return int(value) if value.is_integer() else value


def _word_counts(texts: pd.Series) -> list[int]:
    return [len(text.split()) for text in texts]


def _texts(chosen: pd.DataFrame) -> list[list[str] | None]:
    """Give the texts of pairs until the page is full."""
    texts: list[list[str] | None] = []
    room = MOST_TEXT
    for row in chosen[TEXTS].itertuples(index=False, name=None):
        cut = [_cut(text) for text in row]
        room -= sum(map(len, cut))
        texts.append(cut if room >= 0 else None)
    return texts


def _cut(text: str) -> str:
    if len(text) <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]} … ({len(text) - LONGEST_TEXT:,} more characters)"
