"""What came of the questions to judges: outcomes, consistency, positions, and certainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dtreward.files import digest
from dtreward.judges.judge import render
from dtreward.judges.store import both_orders
from dtreward.judges.verdict import ORDERS, OUTCOMES, asked_once
from dtreward.stats import Interval, alike_interval, mean_interval

SPARSEST = 1 / 16  # tokens a byte: texts that people write have more
ANSWERED = ["decided", "inconsistent"]  # outcomes with a verdict in both orders


@dataclass(frozen=True)
class Steadiness:
    """How steady judges are when the responses change places; judges without answers are left out.

    Both are empty where judges saw each pair in one order only (`verdict.asked_once`).

    Attributes:
        consistency: by judge, the share of pairs answered in both orders on which it names the
            same response twice; an answer by coin reaches one half.
        first_position: by judge, the share of the answers in both orders that name the response
            shown first; one half for a judge that looks at the responses alone.
    """

    consistency: dict[str, Interval]
    first_position: dict[str, Interval]


def count_outcomes(judged: pd.DataFrame) -> pd.DataFrame:
    """Count the outcomes of each judge's pairs: a row a judge, a column for each of `OUTCOMES`.

    Args:
        judged: judge and outcome, one row for each judge and pair.

    Example:
        >>> rows = [("J", "decided"), ("J", "refused"), ("I", "decided")]
        >>> counts = count_outcomes(pd.DataFrame(rows, columns=["judge", "outcome"]))
        >>> counts[["decided", "refused"]].to_dict("index")
        {'J': {'decided': 1, 'refused': 1}, 'I': {'decided': 1, 'refused': 0}}
    """
    sizes = pd.Series(judged.groupby(["judge", "outcome"]).size())
    counts = pd.DataFrame(sizes.unstack(fill_value=0))
    counts = counts.reindex(judged["judge"].unique())
    return counts.reindex(columns=OUTCOMES, fill_value=0)


def measure_steadiness(judged: pd.DataFrame, **options: int) -> Steadiness:
    """Measure consistency and lean of judges, with intervals over prompts.

    Args:
        judged: rows as `store.verdicts` gives them.
        options: of `stats.mean_interval`.

    Raises:
        ValueError: if no judge answered two prompts in both orders.
    """
    if asked_once(judged):
        return Steadiness({}, {})
    both = judged[judged["outcome"].isin(ANSWERED)]
    consistent = both["outcome"].eq("decided").astype(float)
    positions_are_known = both["given"].notna()
    first = both[ORDERS].eq("A").mean(axis=1).where(positions_are_known)
    steadiness = Steadiness(
        consistency=_means_by_judge(both, consistent, options),
        first_position=_means_by_judge(both, first, options),
    )
    if not steadiness.consistency:
        raise ValueError(
            "no judge answered two prompts in both orders: look at the outcomes for the reason"
        )
    return steadiness


def _means_by_judge(
    rows: pd.DataFrame, values: pd.Series, options: dict[str, int]
) -> dict[str, Interval]:
    """Average values by judge, where two or more prompts have one."""
    known = rows.assign(value=values).dropna(subset="value")
    intervals = {}
    for judge, own in known.groupby("judge", sort=False):
        prompts = own["prompt_id"]
        if prompts.nunique() < 2:
            continue
        if own["value"].nunique() == 1:  # a bootstrap of equal values has no width
            largest_share = prompts.value_counts(normalize=True).max()
            intervals[str(judge)] = alike_interval(own["value"].iloc[0], largest_share)
        else:
            intervals[str(judge)] = mean_interval(own["value"], prompts, **options)
    return intervals


def certainty_by_outcome(
    answers: pd.DataFrame, judged: pd.DataFrame, pairs: pd.DataFrame
) -> pd.DataFrame:
    """Average the probability that judges gave to their answer, by judge and outcome of the pair.

    Args:
        answers: as `store.stored_answers` gives them.
        judged: as `store.verdicts` gives them.
        pairs: the pairs that were asked about, with their texts.

    Returns:
        "mean" and "count" (answers) for each judge and outcome; empty where no judge gave
        log-probabilities.
    """
    known = answers.dropna(subset=["logprob_a", "logprob_b"], how="all")
    if known.empty:
        return pd.DataFrame(columns=["mean", "count"])
    pair_of_digest = {}
    for pair, orders in zip(pairs.index, both_orders(pairs), strict=True):
        for shown in orders:
            pair_of_digest[digest(*shown)] = pair
    probability = np.exp(known[["logprob_a", "logprob_b"]].max(axis=1))
    rows = known.assign(pair=known["shown"].map(pair_of_digest), probability=probability)
    rows = rows.merge(judged, on=["judge", "pair"])
    by_outcome = rows.groupby(["judge", "outcome"])["probability"]
    return pd.DataFrame(by_outcome.agg(["mean", "count"]))


def find_truncated(answers: pd.DataFrame, pairs: pd.DataFrame, template: str) -> dict[str, int]:
    """Count the questions of which a judge's server read only a part, by judge.

    Such a server counts far fewer tokens than the question has: less than half of what its length
    in bytes lets expect, by the shorter half of the questions to that judge, or less than one for
    sixteen bytes. Judges without such a question, or whose endpoint does not count, are left out.

    Args:
        answers: as `store.stored_answers` gives them.
        pairs: the pairs that were asked about, with their texts.
        template: of the questions.
    """
    size = {}
    for orders in both_orders(pairs):
        for shown in orders:
            size[digest(*shown)] = len(render(template, *shown).encode(errors="replace"))
    counted = answers[answers["prompt_tokens"] > 0].assign(size=answers["shown"].map(size))
    counted = counted.dropna(subset="size")
    truncated = {}
    for judge, rows in counted.groupby("judge", sort=False):
        rate = rows["prompt_tokens"] / rows["size"]
        usual = rate[rows["size"] <= rows["size"].median()].median()
        count = int((rate < max(usual / 2, SPARSEST)).sum())
        if count:
            truncated[judge] = count
    return truncated
