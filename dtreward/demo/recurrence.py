"""How often is a split that recurs on resamples one that was planted? A measurement.

    python -m dtreward.demo.recurrence data/measured/split_recurrence.json

Every simulated judge of several demo worlds gets a tree and 100 resampled trees, as in notebook 07.
A split counts as claimed if enough of these have it, and as planted if the judge's taste uses its
attribute. The same is done with shuffled preferences, of which every claimed split is false.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
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

SETTINGS = {"max_depth": 3, "min_leaf": 10}  # of every tree
JUDGED = 1200  # pairs that each judge is asked about
BOOTSTRAPS = 100  # resampled trees a judge
STEPS = 1.0  # the tolerance of the rule, in steps of the rating scale


def measure_recurrence(
    seeds: int = 10,
    *,
    judged: int = JUDGED,
    bootstraps: int = BOOTSTRAPS,
    tolerances: tuple = (0.0, 0.5, 1.0),
    shuffled: bool = False,
) -> pd.DataFrame:
    """List every split of every simulated judge's tree, and how often it recurs.

    Args:
        seeds: number of demo worlds.
        judged: pairs that each judge is asked about, by whole prompts.
        bootstraps: resampled trees a judge.
        tolerances: multiples of `rating_step` within which two thresholds count as one.
        shuffled: whether each judge's preferences are shuffled among its pairs; nothing is planted
            then.

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
            voted = _Voted.by(judge, pairs[asked], prompt[asked], seed)
            if shuffled:
                voted = voted.shuffled(seed)
            for split in _splits_of(voted, seed, bootstraps, tolerances):
                rows.append({"seed": seed, "judge": judge} | split)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class _Voted:
    """The pairs on which a simulated judge is consistent, and the attributes that its taste uses."""

    differences: np.ndarray
    preference: np.ndarray
    prompt: pd.Series
    planted: set[str]

    @classmethod
    def by(cls, judge: str, pairs: pd.DataFrame, prompt: pd.Series, seed: int) -> _Voted:
        steady = ~answers_by_position(pairs, judge, seed=seed)
        return cls(
            differences=rating_differences(pairs)[steady],
            preference=latent_verdicts(pairs, judge, seed=seed)[steady],
            prompt=prompt[steady],
            planted=planted_attributes(JUDGES[judge].taste),
        )

    def shuffled(self, seed: int) -> _Voted:
        preference = np.random.default_rng(seed).permutation(self.preference)
        return replace(self, preference=preference, planted=set())


def _splits_of(
    voted: _Voted, seed: int, bootstraps: int, tolerances: tuple[float, ...]
) -> Iterator[dict]:
    """Fit a judge's tree and resampled trees, and describe the splits of the first."""
    settings = SETTINGS | {"attributes": ATTRIBUTES, "seed": seed}
    pairs = (voted.differences, voted.preference)
    tree = PreferenceTree.fit(*pairs, **settings)
    trees = bootstrap_trees(*pairs, voted.prompt, resamples=bootstraps, **settings)
    step = rating_step(voted.differences)
    shares = {times: split_recurrence(tree, trees, times * step) for times in tolerances}
    for node in tree.splits:
        attribute = ATTRIBUTES[tree.feature[node]]
        row = {"attribute": attribute, "threshold": tree.threshold[node]}
        row |= {"planted": attribute in voted.planted}
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
    tolerances = (0.0, 0.5, STEPS, 1.5)
    table = measure_recurrence(options.seeds, tolerances=tolerances)
    nothing = measure_recurrence(options.seeds, tolerances=(STEPS,), shuffled=True)
    is_claimed = (nothing[STEPS] >= RECURS).to_numpy(float)
    by_tolerance = {f"{times:g} steps": summarise(table, times) for times in tolerances}
    result = {
        "share of resamples": RECURS,
        "judges": len(JUDGES),
        "pairs asked": JUDGED,
        "resamples": BOOTSTRAPS,
        "trees": SETTINGS,
        "claimed among splits of shuffled preferences": accuracy_interval(
            is_claimed, nothing["seed"]
        ),
        "by tolerance": by_tolerance,
    }
    write_json(options.out, result | provenance({"seeds": options.seeds}))
    print(
        *(f"{name}: {value}" for name, value in by_tolerance[f"{STEPS:g} steps"].items()), sep="; "
    )


if __name__ == "__main__":
    main()
