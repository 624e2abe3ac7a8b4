"""Whether the pairs on which a judge contradicts itself are like those on which it does not.

Trees and agreement rest on the pairs that a judge decided. What they say holds for pairs like
these alone, if the others differ from them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Real

from dtreward.judges.family import RESAMPLES_A_TEST, two_sided
from dtreward.stats import FEWEST_PROMPTS, holm, resampled_sums

PREFER_LONGER = "people prefer the longer response"
UNEQUAL = "difference in words, as a share of the longer response"
OTHERS_RIGHT = "other judges name what people prefer"
MEASURES = (PREFER_LONGER, UNEQUAL, OTHERS_RIGHT)


def unequal_lengths(
    words_1: Real[np.ndarray, " pairs"], words_2: Real[np.ndarray, " pairs"]
) -> Real[np.ndarray, " pairs"]:
    """Say how unequal the lengths of two responses are, from 0 (equal) to 1 (one is empty).

    >>> unequal_lengths(np.array([10, 0]), np.array([5, 0])).tolist()
    [0.5, 0.0]
    """
    most = np.maximum(words_1, words_2)
    return np.abs(words_1 - words_2) / np.maximum(most, 1)


def compare_kept(
    answers: pd.DataFrame, unequal: pd.Series, *, resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Compare the pairs that each judge decided with those on which it contradicts itself.

    Args:
        answers: as `biases.list_answers` gives them, of all judges.
        unequal: `unequal_lengths` of each pair.
        resamples: of prompts; as many more as it takes to find a difference among all judges.

    Returns:
        A row for each measure and judge: measure (`MEASURES`; the last is the mean of the other
        judges' answers), judge, kept and dropped (means over its decided pairs, and over those
        with a contradiction), difference (kept minus dropped) with `_low` and `_high` (95 %, by
        prompt), prompts (of the fewer), and p of "the difference is 0", corrected for the judges
        (Holm); nan where one side has fewer than 20 prompts.
    """
    judges = list(dict.fromkeys(answers["judge"]))
    options = {"resamples": max(resamples, RESAMPLES_A_TEST * len(judges)), "seed": seed}
    by_pair = answers.groupby("pair")["right"]
    total = by_pair.transform("sum") - answers["right"]
    others = by_pair.transform("count") - 1
    values = {
        PREFER_LONGER: answers["is_longer"],
        UNEQUAL: answers["pair"].map(unequal),
        OTHERS_RIGHT: (total / others.where(others > 0)).where(answers["right"].notna()),
    }
    rows = answers[["judge", "prompt_id", "consistent"]]
    tables = []
    for measure in MEASURES:
        of_measure = rows.assign(value=values[measure]).dropna()
        table = _compare_sides(of_measure, judges, options)
        tables.append(table.assign(measure=measure))
    names = ["measure", "judge", "kept", "dropped", "difference", "difference_low"]
    return pd.concat(tables, ignore_index=True)[[*names, "difference_high", "prompts", "p"]]


def _compare_sides(rows: pd.DataFrame, judges: list[str], options: dict[str, int]) -> pd.DataFrame:
    """Compare the mean value of consistent rows with that of the others, by judge."""
    codes, prompts = pd.factorize(rows["prompt_id"])
    is_kept = rows["consistent"].to_numpy() == 1
    value = rows["value"].to_numpy(float)
    columns = []
    fewest = []
    for judge in judges:
        own = (rows["judge"] == judge).to_numpy()
        sides = (own & is_kept, own & ~is_kept)
        for side in sides:
            columns.append(np.bincount(codes[side], value[side], minlength=len(prompts)))
            columns.append(np.bincount(codes[side], minlength=len(prompts)))
        fewest.append(min(len(np.unique(codes[side])) for side in sides))
    totals = np.stack(columns, axis=1).astype(float)
    table = pd.DataFrame({"judge": judges, "prompts": fewest})
    if len(prompts) < 2:
        empty = ["kept", "dropped", "difference", "difference_low", "difference_high", "p"]
        return table.assign(**dict.fromkeys(empty, np.nan))
    observed = _sides(totals.sum(axis=0, keepdims=True))
    drawn = _sides(resampled_sums(totals, prompts, **options))
    gap = drawn[0] - drawn[1]
    table["kept"] = observed[0][0]
    table["dropped"] = observed[1][0]
    table["difference"] = table["kept"] - table["dropped"]
    quantiles = pd.DataFrame(gap).quantile([0.025, 0.975]).to_numpy()  # leaves nan out
    table[["difference_low", "difference_high"]] = quantiles.T
    table["p"] = np.where(table["prompts"] >= FEWEST_PROMPTS, two_sided(gap), np.nan)
    is_tested = table["p"].notna()
    if is_tested.any():
        table.loc[is_tested, "p"] = holm(table.loc[is_tested, "p"])
    return table


def _sides(totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the means of kept and of dropped rows, from sums and counts of either, by judge."""
    by_judge = totals.reshape(len(totals), -1, 4)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is nan: there is no such row
        return by_judge[..., 0] / by_judge[..., 1], by_judge[..., 2] / by_judge[..., 3]
