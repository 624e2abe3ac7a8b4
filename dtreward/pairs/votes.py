"""What several votes on one pair say together, and how far they agree.

One row of `Pairs.frame` is one vote. Votes on one pair share a `pair_id`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from dtreward.pairs.columns import rating_columns
from dtreward.pairs.identity import align_votes, number_pairs
from dtreward.stats import Interval, alpha_interval, ratio_interval


def merge_votes(frame: pd.DataFrame, attributes: Sequence[str] = ()) -> pd.DataFrame:
    """Give each pair one row: the preference of most of its votes, and its mean ratings.

    Where half of the votes are for either response, the preference is missing. All other columns
    are those of the pair's first row, whose index the row keeps.

    Example:
        >>> frame = pd.DataFrame(
        ...     {"pair_id": 0, "response_1": "a", "response_2": "b", "preference": [1, 1, 0]}
        ... )
        >>> merge_votes(frame)["preference"].tolist()
        [1]
    """
    if "pair_id" not in frame:  # a file of an earlier version
        frame = frame.assign(pair_id=number_pairs(frame))
    if frame["pair_id"].is_unique:
        return frame
    groups = align_votes(frame, attributes).groupby("pair_id", sort=False)
    once = frame[~frame["pair_id"].duplicated()].copy()
    share = groups["preference"].mean().astype("Float64").to_numpy(float, na_value=np.nan)
    majority = np.select([share < 0.5, share > 0.5], [0.0, 1.0], np.nan)
    once["preference"] = pd.Series(majority, once.index).astype(frame["preference"].dtype)
    for name in rating_columns(attributes):
        once[name] = groups[name].mean().to_numpy()
    return once


def count_votes(frame: pd.DataFrame) -> pd.DataFrame:
    """Count the votes on each pair: `prompt_id`, `zeros` and `ones`, indexed by `pair_id`.

    Zeros are votes for the response that stands first in the pair's first row.
    """
    votes = align_votes(frame, ())
    preference = votes["preference"].astype("Float64").to_numpy(float, na_value=np.nan)
    table = votes[["pair_id", "prompt_id"]].assign(zeros=preference == 0, ones=preference == 1)
    groups = table.groupby("pair_id")
    return groups["prompt_id"].first().to_frame().join(groups[["zeros", "ones"]].sum())


def votes_on_pair(frame: pd.DataFrame) -> Int[np.ndarray, " votes"]:
    """Give each row the number of votes on its pair."""
    counts = count_votes(frame)
    return (counts["zeros"] + counts["ones"]).reindex(frame["pair_id"]).to_numpy()


def majority_share(frame: pd.DataFrame) -> Float[np.ndarray, " votes"]:
    """Give each row the share of its pair's votes that agree with most of them.

    Its mean is the best accuracy that any function of the pair can have on these votes.

    Example:
        >>> frame = pd.DataFrame(
        ...     {"pair_id": 0, "prompt_id": 0, "response_1": "a", "response_2": "b",
        ...      "preference": [1, 1, 0]}
        ... )
        >>> majority_share(frame).round(3).tolist()
        [0.667, 0.667, 0.667]
    """
    counts = count_votes(frame)
    most = counts[["zeros", "ones"]].max(axis=1)
    total = counts["zeros"] + counts["ones"]
    return (most / total).reindex(frame["pair_id"]).to_numpy(float)


@dataclass(frozen=True)
class VoteAgreement:
    """How far votes on one pair agree, over the pairs that have several.

    Attributes:
        pairs: how many pairs have several votes.
        votes: how many votes these have.
        share: of the couples of votes on one pair that agree.
        alpha: Krippendorff's alpha for nominal data: 1 for perfect agreement, 0 for chance.
    """

    pairs: int
    votes: int
    share: Interval
    alpha: Interval


def vote_agreement(frame: pd.DataFrame, **options) -> VoteAgreement | None:
    """Measure how far votes on one pair agree.

    It is None where fewer than two prompts have a pair with several votes.

    Args:
        options: of `dtreward.stats.bootstrap`, which resamples prompts.
    """
    counts = count_votes(frame)
    counts = counts[counts["zeros"] + counts["ones"] > 1]
    if counts["prompt_id"].nunique() < 2:
        return None
    zeros = counts["zeros"].to_numpy(float)
    ones = counts["ones"].to_numpy(float)
    votes = zeros + ones
    couples = votes * (votes - 1) / 2
    prompts = counts["prompt_id"]
    share = ratio_interval(couples - zeros * ones, couples, prompts, **options)
    alpha = alpha_interval(zeros, ones, prompts, **options)
    return VoteAgreement(len(counts), int(votes.sum()), share, alpha)
