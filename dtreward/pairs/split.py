"""Draw whole prompts: cut validation and test from the training prompts, or take a few."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Bool


def cut_splits(
    table: pd.DataFrame, test_share: float, validation_share: float, rng: np.random.Generator
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
