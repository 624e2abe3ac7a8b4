"""Cut validation and test from the training prompts."""

from __future__ import annotations

import numpy as np
import pandas as pd


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
