"""Draw whole prompts: cut validation and test, divide for cross-validation, or take a few."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from dtreward.stats import FEWEST_PROMPTS


@dataclass(frozen=True)
class Evaluation:
    """Rows to fit on, and rows of other prompts to measure on; row numbers of one table."""

    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]


def check_shares(validation_share: int | float, test_share: int | float) -> None:
    """Raise a ValueError if these shares of the prompts leave none to train on.

    Example:
        >>> check_shares(0.1, 0.2)
    """
    shares = (validation_share, test_share)
    is_legal = min(shares) >= 0 and sum(shares) < 1  # False for nan
    if not is_legal:
        raise ValueError(
            "expected validation_share and test_share of 0 or more whose sum is below 1, came "
            f"{validation_share} and {test_share}"
        )


def cut_splits(
    table: pd.DataFrame,
    test_share: int | float,
    validation_share: int | float,
    rng: np.random.Generator,
) -> pd.Series:
    """Give each pair's split; all pairs of a prompt are in one.

    A split that the source has stays as it is. The others are cut at random from the prompts of
    "train", each as a share of the prompts that were there.

    Args:
        table: `prompt_id` and `split` of each pair.

    Example:
        >>> table = pd.DataFrame({"prompt_id": [0, 0, 1], "split": ["train", "train", "test"]})
        >>> cut_splits(table, 0.2, 0.0, np.random.default_rng(0)).tolist()
        ['train', 'train', 'test']
    """
    split = table["split"].copy()
    there = set(split)
    train = table.loc[split == "train", "prompt_id"].unique()
    left = rng.permutation(train)
    for name, share in (("test", test_share), ("validation", validation_share)):
        if name not in there:
            cut, left = np.split(left, [round(share * len(train))])
            split[table["prompt_id"].isin(cut)] = name
    return split


def plan_evaluations(
    split: pd.Series, prompt_id: pd.Series, *, folds: int, seed: int = 0
) -> list[Evaluation]:
    """Plan on which rows a model is fitted, and on which it is measured.

    Usually that is one evaluation: fit on "train", measure on "test". Where "test" has fewer than
    20 prompts, which can tell nothing, it is cross-validation by prompt instead: all prompts, those
    of "validation" too, are divided into `folds` parts, and each part is measured once by a model
    that is fitted on the others.

    Args:
        split: of each row: "train", "validation" or "test".
        prompt_id: of each row.
        folds: parts for cross-validation; at most one a prompt. 0 or 1: never cross-validate.
        seed: decides which prompts are in one part.

    Returns:
        One evaluation, or one for each part. Together they test no row twice.

    Example:
        >>> split = pd.Series(["train", "train", "train", "test"])
        >>> for part in plan_evaluations(split, pd.Series([5, 5, 6, 7]), folds=3):
        ...     print(part.train, part.test)
        [0 1 3] [2]
        [0 1 2] [3]
        [2 3] [0 1]
    """
    code, prompts = pd.factorize(prompt_id)
    is_test = (split == "test").to_numpy()
    if folds < 2 or len(set(code[is_test])) >= FEWEST_PROMPTS or len(prompts) < 2:
        is_train = (split == "train").to_numpy()
        return [Evaluation(np.flatnonzero(is_train), np.flatnonzero(is_test))]
    order = np.random.default_rng(seed).permutation(len(prompts))
    part_of_prompt = order % min(folds, len(prompts))
    part = part_of_prompt[code]
    return [
        Evaluation(np.flatnonzero(part != place), np.flatnonzero(part == place))
        for place in range(part_of_prompt.max() + 1)
    ]


def draw_prompts(
    prompt_id: pd.Series, pairs: int, rng: np.random.Generator
) -> Bool[np.ndarray, " pairs"]:
    """Draw the fewest prompts that have so many pairs; mark the pairs whose prompt is drawn.

    Args:
        prompt_id: of each pair.
        pairs: number of pairs wanted; 0 means all.
        rng: decides in which order prompts are drawn.

    Example:
        >>> prompt_id = pd.Series([0, 0, 1, 1, 2, 2])
        >>> draw_prompts(prompt_id, 3, np.random.default_rng(0)).tolist()
        [True, True, False, False, True, True]
    """
    code, distinct = pd.factorize(prompt_id)
    order = rng.permutation(len(distinct))
    pairs_so_far = np.bincount(code)[order].cumsum()
    count = np.searchsorted(pairs_so_far, pairs or len(prompt_id)) + 1
    return np.isin(code, order[:count])
