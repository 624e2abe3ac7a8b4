"""How often is a split that recurs on resamples one that was planted? A measurement.

    python -m dtreward.demo.recurrence data/measured/split_recurrence.json

Every simulated judge of several demo worlds gets a tree and 100 resampled trees, as in notebook 07.
A split counts as claimed if enough of these have it, and as planted if the judge's taste uses its
attribute.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from dtreward.demo.votes import (
    JUDGES,
    answers_by_position,
    latent_verdicts,
    planted_attributes,
    rating_differences,
)
from dtreward.demo.world import make_pairs
from dtreward.files import write_json
from dtreward.judges.trees import bootstrap_trees
from dtreward.pairs.split import draw_prompts
from dtreward.record import provenance
from dtreward.stats import accuracy_interval
from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.stability import RECURS, rating_step, split_recurrence
from dtreward.tree.tree import PreferenceTree


def measure_recurrence(
    seeds: int = 10,
    *,
    judged: int = 1200,
    bootstraps: int = 100,
    tolerances: tuple = (0.0, 0.5, 1.0),
) -> pd.DataFrame:
    """List every split of every simulated judge's tree, and how often it recurs.

    Args:
        seeds: number of demo worlds.
        judged: pairs that each judge is asked about, by whole prompts.
        bootstraps: resampled trees a judge.
        tolerances: multiples of `rating_step` within which two thresholds count as one.

    Returns:
        A row a split: seed, judge, attribute, threshold, planted, and a column a tolerance with
        the share of resampled trees that have it.

    Example:
        >>> table = measure_recurrence(1, judged=60, bootstraps=3, tolerances=(1.0,))
        >>> table.columns.tolist()
        ['seed', 'judge', 'attribute', 'threshold', 'planted', 1.0]
    """
    rows = []
    for seed in range(seeds):
        pairs = make_pairs(seed=seed)
        prompt = pd.Series(pd.factorize(pairs["prompt"])[0])
        asked = draw_prompts(prompt, judged, np.random.default_rng(seed))
        for judge in JUDGES:
            rows += _splits_of(pairs[asked], prompt[asked], judge, seed, bootstraps, tolerances)
    return pd.DataFrame(rows)


def _splits_of(
    pairs: pd.DataFrame,
    prompt: pd.Series,
    judge: str,
    seed: int,
    bootstraps: int,
    tolerances: tuple[float, ...],
) -> Iterator[dict]:
    """Fit a judge's tree and resampled trees, and describe the splits of the first."""
    steady = ~answers_by_position(pairs, judge, seed=seed)
    differences = rating_differences(pairs)[steady]
    preference = latent_verdicts(pairs, judge, seed=seed)[steady]
    settings = {"attributes": ATTRIBUTES, "max_depth": 3, "min_leaf": 10, "seed": seed}
    tree = PreferenceTree.fit(differences, preference, **settings)
    prompts = prompt[steady]
    trees = bootstrap_trees(differences, preference, prompts, resamples=bootstraps, **settings)
    step = rating_step(differences)
    shares = {times: split_recurrence(tree, trees, times * step) for times in tolerances}
    planted = planted_attributes(JUDGES[judge].taste)
    for node in tree.splits:
        attribute = ATTRIBUTES[tree.feature[node]]
        row = {"seed": seed, "judge": judge, "attribute": attribute}
        row |= {"threshold": tree.threshold[node], "planted": attribute in planted}
        yield row | {times: share[node] for times, share in shares.items()}


def summarise(table: pd.DataFrame, tolerance: float) -> dict:
    """Count the claimed splits: which share of them is false, and which share of the planted is claimed.

    Both have a 95 % bootstrap interval in which the splits of one demo world stay together.
    """
    claimed = table[table[tolerance] >= RECURS]
    planted = table[table["planted"]]
    false = (~claimed["planted"]).to_numpy(float)
    found = (planted[tolerance] >= RECURS).to_numpy(float)
    return {
        "splits": len(table),
        "planted": len(planted),
        "claimed": len(claimed),
        "claimed and false": int(false.sum()),
        "false among claimed": accuracy_interval(false, claimed["seed"]),
        "claimed among planted": accuracy_interval(found, planted["seed"]),
    }


def main() -> None:
    """Measure, and write the counts for each tolerance with what made them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    tolerances = (0.0, 0.5, 1.0, 1.5)
    table = measure_recurrence(options.seeds, tolerances=tolerances)
    by_tolerance = {f"{times:g} steps": summarise(table, times) for times in tolerances}
    result = {"share of resamples": RECURS, "by tolerance": by_tolerance}
    write_json(options.out, result | provenance({"seeds": options.seeds}))
    for name, counts in by_tolerance.items():
        print(name, *(f"{words} {value}" for words, value in counts.items()), sep="; ")


if __name__ == "__main__":
    main()
