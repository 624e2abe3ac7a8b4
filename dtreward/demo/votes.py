"""Simulated judges: each votes on the differences of ratings by a taste that is planted.

Two thirds of them are made up to be what the study looks for: judges that love length, judges that
answer by position, noisy ones, and families that share a taste.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.special import expit

from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.tree import PreferenceTree


@dataclass(frozen=True)
class SimulatedJudge:
    """A simulated judge: a taste that votes on differences, and a share of answers by position.

    Args:
        taste: name of a published tree, or weights of a logistic vote on differences.
        by_position: share of pairs that it answers by position, in both orders alike; what is left
            is its consistency.
        first: share of those in which it takes the response shown first.
        lapse: share of its latent verdicts that are a coin's.
        family: judges of one family share a taste.
        made_up: its taste is this project's, not a published one.
    """

    name: str
    taste: str | Mapping[str, float]
    by_position: float = 0.0
    first: float = 0.7
    lapse: float = 0.0
    family: str = ""
    made_up: bool = True

    def probability(
        self, differences: Float[np.ndarray, "pairs attributes"]
    ) -> Float[np.ndarray, " pairs"]:
        """Give the probability that the latent verdict is response 2."""
        if isinstance(self.taste, str):
            probability = PreferenceTree.published(self.taste).probability(differences)
        else:
            weights = np.array([self.taste.get(attribute, 0.0) for attribute in ATTRIBUTES])
            probability = expit(differences @ weights)
        return (1 - self.lapse) * probability + self.lapse / 2


WORDY = {"verbosity": 3.0}
PLAIN = {"verbosity": -2.0, "coherence": 1.0}
STRICT = {"correctness": 2.0}
SCHOLAR = {"complexity": 3.0}
ORDERLY = {"coherence": 3.0}
HELPFUL = {"helpfulness": 1.0}
PANEL = (
    SimulatedJudge("Human", "Human", family="Human", made_up=False),
    SimulatedJudge("GPT-4o", "GPT-4o", by_position=0.297, family="GPT", made_up=False),
    SimulatedJudge(
        "Llama-3.1-8B", "Llama-3.1-8B", by_position=0.629, family="Llama", made_up=False
    ),
    SimulatedJudge("Wordy-1", WORDY, by_position=0.15, family="Wordy"),
    SimulatedJudge("Wordy-2", WORDY, by_position=0.35, lapse=0.1, family="Wordy"),
    SimulatedJudge("Strict-1", STRICT, by_position=0.1, family="Strict"),
    SimulatedJudge("Strict-2", STRICT, by_position=0.3, lapse=0.1, family="Strict"),
    SimulatedJudge("Plain-1", PLAIN, by_position=0.2, family="Plain"),
    SimulatedJudge("Plain-2", PLAIN, by_position=0.45, lapse=0.1, family="Plain"),
    SimulatedJudge("Scholar", SCHOLAR, by_position=0.2, family="Scholar"),
    SimulatedJudge("Orderly", ORDERLY, by_position=0.2, family="Orderly"),
    SimulatedJudge("First-comer", STRICT, by_position=0.8, first=0.95, family="First-comer"),
    SimulatedJudge("Noisy", HELPFUL, by_position=0.2, lapse=0.6, family="Noisy"),
)
JUDGES = {judge.name: judge for judge in PANEL}


def planted_root(taste: str | Mapping[str, float]) -> str:
    """Name the attribute that a taste asks about first.

    It is the root of a published tree, or the attribute with the largest weight in size.

    Example:
        >>> planted_root("Llama-3.1-8B"), planted_root({"verbosity": -2.0, "coherence": 1.0})
        ('verbosity', 'verbosity')
    """
    if isinstance(taste, str):
        tree = PreferenceTree.published(taste)
        return tree.attributes[tree.feature[0]]
    return max(taste, key=lambda attribute: abs(taste[attribute]))


def planted_attributes(taste: str | Mapping[str, float]) -> set[str]:
    """Name the attributes that a taste uses.

    Example:
        >>> sorted(planted_attributes({"verbosity": -2.0, "coherence": 1.0}))
        ['coherence', 'verbosity']
    """
    if isinstance(taste, str):
        tree = PreferenceTree.published(taste)
        return {tree.attributes[number] for number in tree.feature[tree.is_split]}
    return set(taste)


def latent_verdicts(pairs: pd.DataFrame, judge: str, *, seed: int = 0) -> Int[np.ndarray, " pairs"]:
    """Give what a judge truly thinks of each pair: 0 (response 1) or 1 (response 2).

    There is one draw a pair. It depends on the seed, the judge and the pair's texts, not on the other pairs.

    Raises:
        ValueError: if `JUDGES` has no such judge.

    Example:
        >>> from dtreward.demo.world import make_pairs
        >>> bool((latent_verdicts(pairs := make_pairs(9), "Human") == pairs.preference).all())
        True
    """
    if judge not in JUDGES:
        raise ValueError(f"expected one of the judges {', '.join(JUDGES)}; got {judge!r}")
    probability = JUDGES[judge].probability(rating_differences(pairs))
    return (pair_uniforms(pairs, f"{seed} {judge} verdict") < probability).astype(np.int64)


def answers(
    pairs: pd.DataFrame, judge: str, *, order: Literal["original", "swapped"], seed: int = 0
) -> Int[np.ndarray, " pairs"]:
    """Give the position that a judge answers: 0 for the response shown first, 1 for the other.

    In the order "swapped" response 2 is shown first. A pair that the judge answers by position gets
    the same position in both orders, so that it is inconsistent; all others are consistent.

    Example:
        >>> from dtreward.demo.world import make_pairs
        >>> pairs = make_pairs(9)
        >>> one, other = (answers(pairs, "Human", order=o) for o in ("original", "swapped"))
        >>> bool((one == 1 - other).all())
        True
    """
    if order not in ("original", "swapped"):
        raise ValueError(f"expected order 'original' or 'swapped', got {order!r}")
    verdict = latent_verdicts(pairs, judge, seed=seed)
    shown = verdict if order == "original" else 1 - verdict
    uniforms = pair_uniforms(pairs, f"{seed} {judge} position")
    second = (uniforms >= JUDGES[judge].first).astype(np.int64)
    return np.where(answers_by_position(pairs, judge, seed=seed), second, shown)


def accuracy_ceiling(pairs: pd.DataFrame) -> float:
    """Give the accuracy on people's preferences that no rule on ratings can expect to exceed.

    The mean over pairs with a preference of max(p, 1 - p), p the planted tree's probability.

    Example:
        >>> from dtreward.demo.world import make_pairs
        >>> 0.5 < accuracy_ceiling(make_pairs(100)) < 1
        True
    """
    decided = pairs[pairs["preference"].notna()]
    probability = JUDGES["Human"].probability(rating_differences(decided))
    return float(np.maximum(probability, 1 - probability).mean())


def answers_by_position(
    pairs: pd.DataFrame, judge: str, *, seed: int = 0
) -> Bool[np.ndarray, " pairs"]:
    """Say which pairs a judge answers by position, in both orders alike."""
    return pair_uniforms(pairs, f"{seed} {judge} by position") < JUDGES[judge].by_position


def rating_differences(pairs: pd.DataFrame) -> Float[np.ndarray, "pairs attributes"]:
    """Give the ratings of response 2 minus those of response 1."""
    first = pairs[[f"{attribute}_1" for attribute in ATTRIBUTES]].to_numpy(np.float64)
    second = pairs[[f"{attribute}_2" for attribute in ATTRIBUTES]].to_numpy(np.float64)
    return second - first


def pair_uniforms(pairs: pd.DataFrame, purpose: str) -> Float[np.ndarray, " pairs"]:
    """Give each pair a number from 0 to 1, from a hash of the purpose and the pair's texts."""
    numbers = []
    for texts in zip(pairs["prompt"], pairs["response_1"], pairs["response_2"], strict=True):
        text = "\0".join((purpose, *texts))
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        numbers.append(int.from_bytes(digest, "big") >> 11)
    return np.array(numbers).astype(np.float64) / 2.0**53
