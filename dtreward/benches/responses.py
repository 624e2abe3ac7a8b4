"""Ask a reward model about items with several responses, each compared with others."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dtreward.benches.evaluation import compare_pairs
from dtreward.engine.tokens import Unread
from dtreward.models.comparison import Comparison, RewardModel
from dtreward.models.ensemble import Ensemble

ITEM_COLUMNS = ["id", "subset", "problem"]  # of the items, repeated in their results
ANSWER_COLUMNS = [
    "correct_responses",
    "attributes",
    "rewards",
    "scores",
    "probability",
    "won",
    "silent",
    "no_verdict",
    "unread",
]
Places = list[tuple[int, int]]  # two responses of an item, the first the one that should win
Choose = Callable[[int, int], Places]  # of an item with so many correct and wrong responses


def every_two(correct: int, wrong: int) -> Places:
    """List each two responses of an item once; the correct ones come first.

    >>> every_two(1, 2)
    [(0, 1), (0, 2), (1, 2)]
    """
    total = correct + wrong
    return [(first, second) for first in range(total) for second in range(first + 1, total)]


def right_against_wrong(correct: int, wrong: int) -> Places:
    """List each correct response with each wrong one.

    >>> right_against_wrong(2, 1)
    [(0, 2), (1, 2)]
    """
    return [(first, correct + second) for first in range(correct) for second in range(wrong)]


def judge_responses(model: RewardModel, items: pd.DataFrame, choose: Choose) -> pd.DataFrame:
    """Ask a model about the responses of every item; give a row an item, in order.

    A model that scores, and a tree, reads each response once; what they say of two responses
    follows from their scores or rewards. Verdicts are asked for in both orders.

    The columns, beside those of `items`: `correct_responses` counts them, and they stand first in
    every list; `scores` and `rewards` are of the responses; `probability` (that the first of two
    responses is the better one, the mean of both orders), `won` and `silent` are of the
    comparisons that `choose` lists. `won` is 1 or 0 for scores (a tie counts 0); for a tree the
    mean of both orders; for verdicts too, and an order without a verdict counts 0. `silent` counts
    these orders, and `no_verdict` is their share. `unread` is "", or why the model could not read
    the item; such a row has no numbers.

    Args:
        items: columns id, subset, problem, prompt, and lists of texts chosen and rejected.
    """
    if isinstance(model, Ensemble):
        members = model.members.items()
        by_member = {name: judge_responses(member, items, choose) for name, member in members}
        return weigh_responses(model, by_member, items, choose)
    if model.kind == "verdict":
        rows = _by_verdicts(model, items, choose)
    else:
        rows = _by_reading(model, items, choose)
    return _as_results(items, rows)


def weigh_responses(
    model: Ensemble, by_member: Mapping[str, pd.DataFrame], items: pd.DataFrame, choose: Choose
) -> pd.DataFrame:
    """Give an ensemble's results from its members', scaled over the items that all of them read.

    Raises:
        ValueError: if a member gives no scores.
    """
    reasons_by_item = zip(*(results["unread"] for results in by_member.values()), strict=True)
    unread = [next((why for why in reasons if why), "") for reasons in reasons_by_item]
    is_read = np.array(unread) == ""
    scores = {}
    for name, results in by_member.items():
        lists = results["scores"][is_read]
        if lists.isna().any():
            raise ValueError(f"{name} gives no scores to be weighed: leave it out of the ensemble")
        scores[name] = np.concatenate([np.array(one, float) for one in lists] or [np.empty(0)])
    whole = model.weigh(scores)
    ends = np.cumsum([len(one) for one in next(iter(by_member.values()))["scores"][is_read]])
    of_items = iter(np.split(whole, ends[:-1]))
    rows: list[dict[str, Any]] = []
    for why, places in zip(unread, _places(items, choose), strict=True):
        rows.append({"unread": why} if why else _of_scores(next(of_items), places))
    return _as_results(items, rows)


def _places(items: pd.DataFrame, choose: Choose) -> list[Places]:
    sides = zip(items["chosen"], items["rejected"], strict=True)
    return [choose(len(chosen), len(rejected)) for chosen, rejected in sides]


def _by_reading(model: RewardModel, items: pd.DataFrame, choose: Choose) -> list[dict[str, Any]]:
    """Let a model read each response once, two at a time, and compare by what it gives them."""
    prompts = []
    first = []
    second = []
    for prompt, texts in zip(items["prompt"], _responses(items), strict=True):
        in_twos = texts + texts[-1:] if len(texts) % 2 else texts
        first += in_twos[::2]
        second += in_twos[1::2]
        prompts += [prompt] * (len(in_twos) // 2)
    comparisons = iter(compare_pairs(model, prompts, first, second))
    rows = []
    for texts, places in zip(_responses(items), _places(items, choose), strict=True):
        read = [next(comparisons) for _ in range((len(texts) + 1) // 2)]
        reasons = _reasons(read)
        if reasons:
            rows.append({"unread": reasons})
        else:
            rows.append(_of_readings(model, read, len(texts), places))
    return rows


def _responses(items: pd.DataFrame) -> list[list[str]]:
    sides = zip(items["chosen"], items["rejected"], strict=True)
    return [[*chosen, *rejected] for chosen, rejected in sides]


def _reasons(read: Sequence[Comparison | Unread]) -> str:
    """Say why responses that were read two at a time could not be read, by their numbers."""
    reasons = []
    for place, one in enumerate(read):
        if isinstance(one, Unread):
            number = f"response {2 * place + 1} or {2 * place + 2}: "
            reason = re.sub(
                r"response ([12])\b",
                lambda found, k=2 * place: f"response {k + int(found[1])}",
                one.reason,
            )
            reasons.append(reason if reason.startswith("response ") else number + reason)
    return "; ".join(reasons)


def _of_readings(
    model: RewardModel, read: Sequence[Comparison], responses: int, places: Places
) -> dict[str, Any]:
    """Compare responses by the tree on their rewards, or by their scores."""
    rewards = [values for one in read for values in one.rewards][:responses]
    scores = None
    if read[0].scores is not None:
        scores = np.array([score for one in read for score in one.scores][:responses])
    tree = read[0].tree
    if tree is None and scores is None:
        raise ValueError(f"a model of the kind {model.kind} gave neither scores nor a tree")
    if tree is None:
        answer = _of_scores(scores, places)
    else:
        table = np.array(rewards, float)
        differences = np.array([table[one] - table[other] for one, other in places])
        second = tree.probability(differences)  # the first of both stands second
        swapped = tree.probability(-differences)
        decisions = (tree.predict(differences) == 1).astype(float)
        decisions += tree.predict(-differences) == 0
        answer = {
            "probability": ((second + 1 - swapped) / 2).tolist(),
            "won": (decisions / 2).tolist(),
            "scores": None if scores is None else scores.tolist(),
        }
    return answer | {"rewards": rewards, "attributes": list(read[0].attributes), "unread": ""}


def _of_scores(scores: np.ndarray, places: Places) -> dict[str, Any]:
    """Compare responses by the larger score; a tie is won by none of both."""
    gaps = np.array([scores[one] - scores[other] for one, other in places])
    return {
        "scores": scores.tolist(),
        "probability": np.exp(-np.logaddexp(0.0, -gaps)).tolist(),
        "won": (gaps > 0).astype(float).tolist(),
        "unread": "",
    }


def _by_verdicts(model: RewardModel, items: pd.DataFrame, choose: Choose) -> list[dict[str, Any]]:
    """Ask for verdicts on each two responses, the one that should win standing second."""
    prompts = []
    first = []
    second = []
    all_places = _places(items, choose)
    for prompt, texts, places in zip(items["prompt"], _responses(items), all_places, strict=True):
        for one, other in places:
            prompts.append(prompt)
            first.append(texts[other])
            second.append(texts[one])
    comparisons = iter(compare_pairs(model, prompts, first, second))
    rows: list[dict[str, Any]] = []
    for places in all_places:
        compared = [next(comparisons) for _ in places]
        unread = [one.reason for one in compared if isinstance(one, Unread)]
        if unread:
            rows.append({"unread": "; ".join(dict.fromkeys(unread))})
            continue
        silent = [one.no_verdict for one in compared]
        probability = [one.probability for one in compared]
        won = np.array(probability) - np.array(silent) / 4  # without a verdict: half of one order
        rows.append(
            {"probability": probability, "won": won.tolist(), "silent": silent, "unread": ""}
        )
    return rows


def _as_results(items: pd.DataFrame, rows: list[dict[str, Any]]) -> pd.DataFrame:
    answers = pd.DataFrame(rows, items.index, ANSWER_COLUMNS)
    answers["correct_responses"] = items["chosen"].map(len)
    orders = [2 * len(won) if isinstance(won, list) else np.nan for won in answers["won"]]
    counts = [sum(counts) if isinstance(counts, list) else 0 for counts in answers["silent"]]
    answers["no_verdict"] = np.array(counts) / np.array(orders, float)
    return items[ITEM_COLUMNS].join(answers)
