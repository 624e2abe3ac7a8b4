"""A judge's tree beside the rule that looks at length alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Real

from dtreward.judges.trees import DecidedPairs, Fit, held_out_answers
from dtreward.stats import FEWEST_PROMPTS, accuracy_interval, holm, paired_test
from dtreward.tree.tree import PreferenceTree


def compare_with_length(
    decided: Mapping[str, DecidedPairs],
    longer: Mapping[str, Real[np.ndarray, " pairs"]],
    fit: Fit,
    *,
    min_leaf: int = 10,
    folds: int = 5,
    seed: int = 0,
    **options: int,
) -> pd.DataFrame:
    """Ask how much better a judge's tree tells its preferences than length alone does.

    Length alone is a single split on the difference in words, fitted to the same pairs as the tree
    and measured on the same others (`trees.held_out_accuracy`).

    Args:
        decided: the pairs of each judge.
        longer: by judge, words that response 2 has more than response 1 in these pairs.
        fit: makes the judge's tree.
        min_leaf: pairs on a side of the single split, at least.
        folds: parts of cross-validation.
        options: `resamples` of the intervals.

    Returns:
        A row for each judge that can be tested: judge, pairs and prompts (that it is measured on),
        floor, tree, length, gain (tree minus length), the last three with `_low` and `_high`, and p
        of "the gain is 0" (`stats.paired_test`), corrected for the judges (Holm); nan with fewer
        than 20 prompts.

    Example:
        >>> d = np.array([[-1.0], [1.0]] * 30)
        >>> generator = np.random.default_rng(0)
        >>> pairs = DecidedPairs(d, np.array([0, 1] * 30), np.arange(60), np.zeros(60, bool))
        >>> fit = lambda *two: PreferenceTree.fit(*two, attributes=["h"])
        >>> words = {"J": generator.normal(size=60)}
        >>> table = compare_with_length({"J": pairs}, words, fit)
        >>> bool(table["tree"][0] == 1 and table["gain_low"][0] > 0)
        True
    """
    by_length = partial(PreferenceTree.fit, attributes=["words"], max_depth=1, min_leaf=min_leaf)
    settings = {"seed": seed, **options}
    rows = []
    for judge, pairs in decided.items():
        if not pairs.can_be_tested(folds=folds, seed=seed):
            continue
        words = np.asarray(longer[judge], float)[:, None]
        tree = held_out_answers(pairs, fit, folds=folds, seed=seed)
        length = held_out_answers(
            replace(pairs, differences=words), by_length, folds=folds, seed=seed
        )
        prompts = pairs.prompts[tree.rows]
        test = paired_test(tree.is_right, length.is_right, prompts, **settings)
        row = {"judge": judge, "pairs": len(prompts), "prompts": len(np.unique(prompts))}
        intervals = {"tree": accuracy_interval(tree.is_right, prompts, **settings)}
        intervals["length"] = accuracy_interval(length.is_right, prompts, **settings)
        intervals["gain"] = test.difference
        for name, one in intervals.items():
            row |= {name: one.estimate, f"{name}_low": one.low, f"{name}_high": one.high}
        rows.append(row | {"floor": tree.floor, "p": test.p_value})
    names = ["judge", "pairs", "prompts", "floor"]
    names += [
        f"{name}{end}" for name in ("tree", "length", "gain") for end in ("", "_low", "_high")
    ]
    table = pd.DataFrame(rows, columns=[*names, "p"])
    table["p"] = table["p"].where(table["prompts"] >= FEWEST_PROMPTS)
    is_tested = table["p"].notna()
    if is_tested.any():
        table.loc[is_tested, "p"] = holm(table.loc[is_tested, "p"])
    return table
