"""The demo world: pairs whose ratings, texts and judges are planted, so that the truth is known.

Ratings are drawn first, with the published shares and correlations; `demo_text` then writes the
responses to them. People's preferences and the other judges' are votes on the differences.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.special import expit, ndtr, ndtri

from dtreward.demo.draws import Draws
from dtreward.demo.families import STUDY, Problem, pose
from dtreward.demo.text import respond
from dtreward.published import PUBLISHED
from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.tree import PreferenceTree

# Share of the pairs of equal helpfulness on which people have no preference. Independent draws make
# 29 % of pairs equal; with this, 15.8 % of those with a preference are, as in the published tree.
NO_PREFERENCE = 0.525


def make_pairs(
    prompts: int = 3000, *, seed: int = 0, families: Sequence[str] = STUDY
) -> pd.DataFrame:
    """Make pairs of the demo world, one for each of so many distinct prompts.

    Columns: prompt, response_1, response_2, `<attribute>_1` and `_2` (ratings, 0.0 to 4.0),
    preference (Int8; people's; missing where they have none), family.

    Args:
        seed: the same seed makes the same pairs.
        families: names in `FAMILIES`; the study's are never seen by the backbone in training.

    Example:
        >>> pairs = make_pairs(20)
        >>> pairs[["prompt", "preference"]].shape, pairs.equals(make_pairs(20))
        ((20, 2), True)
    """
    rating_seed, text_seed, tie_seed = np.random.SeedSequence(seed).spawn(3)
    ratings = draw_ratings(2 * prompts, seed=rating_seed).reshape(prompts, 2, len(ATTRIBUTES))
    draw, rows, seen = Draws(np.random.default_rng(text_seed)), [], set()
    for first, second in ratings.tolist():
        problem = new_problem(families, seen, draw)
        responses = respond(problem, first, draw), respond(problem, second, draw)
        rows.append((problem.prompt, *responses, problem.family.name))
    pairs = pd.DataFrame(rows, columns=["prompt", "response_1", "response_2", "family"])
    for side in (1, 2):
        for column, attribute in enumerate(ATTRIBUTES):
            pairs[f"{attribute}_{side}"] = ratings[:, side - 1, column].astype(np.float64)
    pairs["preference"] = pd.array(latent_verdicts(pairs, "Human", seed=seed), dtype="Int8")
    undecided = np.random.default_rng(tie_seed).random(prompts) < NO_PREFERENCE
    equal = (pairs["helpfulness_1"] == pairs["helpfulness_2"]).to_numpy()
    pairs.loc[equal & undecided, "preference"] = pd.NA
    return pairs[[c for c in pairs if c != "family"] + ["family"]]


def new_problem(families: Sequence[str], seen: set[str], draw: Draws) -> Problem:
    """Pose a problem whose prompt is not among those seen, and add it to them.

    Raises:
        ValueError: if the families have hardly any prompt left.
    """
    for _ in range(10_000):
        problem = pose(draw.pick(families), draw)
        if problem.prompt not in seen:
            seen.add(problem.prompt)
            return problem
    raise ValueError(f"{families} have hardly more than {len(seen)} prompts; ask for fewer")


def draw_ratings(
    responses: int, *, seed: int | np.random.SeedSequence = 0
) -> Int[np.ndarray, "responses attributes"]:
    """Draw ratings (0 to 4) with the published shares and correlations, by a Gaussian copula.

    Responses are independent; attributes in the order of `ATTRIBUTES`.

    Example:
        >>> draw_ratings(4).shape
        (4, 5)
    """
    cuts, factor = _copula()
    latent = np.random.default_rng(seed).standard_normal((responses, len(ATTRIBUTES))) @ factor.T
    return (latent[:, :, None] > cuts).sum(axis=2)


@cache
def _copula() -> tuple[Float[np.ndarray, "attributes cuts"], Float[np.ndarray, "a a"]]:
    """Cuts of the latent normals, and the factor of their correlation matrix."""
    shares, wanted = _published("rating_distribution.csv"), _published("correlation.csv")
    wanted = wanted[:, [*map(_columns("correlation.csv").index, ATTRIBUTES)]]
    cuts = ndtri(np.clip(np.cumsum(shares, axis=1)[:, :-1] / shares.sum(axis=1)[:, None], 0, 1))
    latent = np.eye(len(ATTRIBUTES))
    for a in range(len(ATTRIBUTES)):
        for b in range(a):
            latent[a, b] = latent[b, a] = _latent_correlation(cuts[a], cuts[b], wanted[a, b])
    values, vectors = np.linalg.eigh(latent)  # the nearest matrix that is a correlation
    near = vectors * np.maximum(values, 1e-6) @ vectors.T
    scale = np.sqrt(np.diag(near))
    return cuts, np.linalg.cholesky(near / np.outer(scale, scale))


def _latent_correlation(
    a: Float[np.ndarray, " cuts"], b: Float[np.ndarray, " cuts"], wanted: float
) -> float:
    """Bisect for the normals' correlation that gives the cut ones the Pearson correlation wanted.

    The covariance of the cut normals is the sum over pairs of cuts of P(X > a, Y > b) - P(X > a)
    P(Y > b), an integral over the angle of the correlation (Drezner and Wesolowsky, 1990,
    https://doi.org/10.1080/00949659008811236), here by Gauss-Legendre with 64 nodes.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)
    square, product = a[:, None] ** 2 + b**2, a[:, None] * b

    def pearson(correlation: float) -> float:
        angle = np.arcsin(correlation) * (nodes + 1) / 2
        sine = np.sin(angle)[:, None, None]
        density = np.exp(-(square - 2 * product * sine) / (2 * (1 - sine**2)))
        scale = np.arcsin(correlation) / (4 * np.pi)
        covariance = scale * (weights[:, None, None] * density).sum()
        return covariance / np.sqrt(_variance(a) * _variance(b))

    low, high = -0.999, 0.999
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if pearson(middle) < wanted else (low, middle)
    return (low + high) / 2


def _variance(cuts: Float[np.ndarray, " cuts"]) -> float:
    shares = np.diff(ndtr(cuts), prepend=0, append=1)
    values = np.arange(len(shares))
    return float(shares @ values**2 - (shares @ values) ** 2)


def _columns(name: str) -> list[str]:
    return list(pd.read_csv(PUBLISHED / name, index_col=0).columns)


def _published(name: str) -> Float[np.ndarray, "attributes columns"]:
    return pd.read_csv(PUBLISHED / name, index_col=0).loc[list(ATTRIBUTES)].to_numpy(np.float64)


@dataclass(frozen=True)
class Judge:
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
        """Probability that the latent verdict is response 2."""
        if isinstance(self.taste, str):
            probability = PreferenceTree.published(self.taste).probability(differences)
        else:
            weights = np.array([self.taste.get(attribute, 0.0) for attribute in ATTRIBUTES])
            probability = expit(differences @ weights)
        return (1 - self.lapse) * probability + self.lapse / 2


_WORDY, _PLAIN = {"verbosity": 3.0}, {"verbosity": -2.0, "coherence": 1.0}
_STRICT = {"correctness": 2.0}
JUDGES = {
    judge.name: judge
    for judge in (
        Judge("Human", "Human", family="Human", made_up=False),
        Judge("GPT-4o", "GPT-4o", by_position=0.297, family="GPT", made_up=False),
        Judge("Llama-3.1-8B", "Llama-3.1-8B", by_position=0.629, family="Llama", made_up=False),
        Judge("Wordy-1", _WORDY, by_position=0.15, family="Wordy"),
        Judge("Wordy-2", _WORDY, by_position=0.35, lapse=0.1, family="Wordy"),
        Judge("Strict-1", _STRICT, by_position=0.1, family="Strict"),
        Judge("Strict-2", _STRICT, by_position=0.3, lapse=0.1, family="Strict"),
        Judge("Plain-1", _PLAIN, by_position=0.2, family="Plain"),
        Judge("Plain-2", _PLAIN, by_position=0.45, lapse=0.1, family="Plain"),
        Judge("Scholar", {"complexity": 3.0}, by_position=0.2, family="Scholar"),
        Judge("Orderly", {"coherence": 3.0}, by_position=0.2, family="Orderly"),
        Judge("First-comer", _STRICT, by_position=0.8, first=0.95, family="First-comer"),
        Judge("Noisy", {"helpfulness": 1.0}, by_position=0.2, lapse=0.6, family="Noisy"),
    )
}


def latent_verdicts(pairs: pd.DataFrame, judge: str, *, seed: int = 0) -> Int[np.ndarray, " pairs"]:
    """What a judge truly thinks of each pair: 0 (response 1) or 1 (response 2), one draw a pair.

    The draw depends on the seed, the judge and the pair's texts, not on the other pairs.

    Raises:
        ValueError: if `JUDGES` has no such judge.

    Example:
        >>> bool((latent_verdicts(pairs := make_pairs(9), "Human") == pairs.preference).all())
        True
    """
    if judge not in JUDGES:
        raise ValueError(f"expected one of the judges {', '.join(JUDGES)}; got {judge!r}")
    probability = JUDGES[judge].probability(_differences(pairs))
    return (_uniforms(pairs, f"{seed} {judge} verdict") < probability).astype(np.int64)


def answers(
    pairs: pd.DataFrame, judge: str, *, order: Literal["original", "swapped"], seed: int = 0
) -> Int[np.ndarray, " pairs"]:
    """The position that a judge answers: 0 for the response shown first, 1 for the other.

    In the order "swapped" response 2 is shown first. A pair that the judge answers by position gets
    the same position in both orders, so that it is inconsistent; all others are consistent.

    Example:
        >>> pairs = make_pairs(9)
        >>> one, other = (answers(pairs, "Human", order=o) for o in ("original", "swapped"))
        >>> bool((one == 1 - other).all())
        True
    """
    if order not in ("original", "swapped"):
        raise ValueError(f"expected order 'original' or 'swapped', got {order!r}")
    verdict, asked = latent_verdicts(pairs, judge, seed=seed), JUDGES[judge]
    shown = verdict if order == "original" else 1 - verdict
    second = (_uniforms(pairs, f"{seed} {judge} position") >= asked.first).astype(np.int64)
    return np.where(_by_position(pairs, asked, seed), second, shown)


def accuracy_ceiling(pairs: pd.DataFrame) -> float:
    """The most that any rule can reach on people's preferences in expectation, ratings known.

    The mean over pairs with a preference of max(p, 1 - p), p the planted tree's probability.

    Example:
        >>> 0.5 < accuracy_ceiling(make_pairs(100)) < 1
        True
    """
    decided = pairs[pairs["preference"].notna()]
    probability = JUDGES["Human"].probability(_differences(decided))
    return float(np.maximum(probability, 1 - probability).mean())


def _by_position(pairs: pd.DataFrame, judge: Judge, seed: int) -> Bool[np.ndarray, " pairs"]:
    return _uniforms(pairs, f"{seed} {judge.name} by position") < judge.by_position


def _differences(pairs: pd.DataFrame) -> Float[np.ndarray, "pairs attributes"]:
    one, two = (pairs[[f"{a}_{side}" for a in ATTRIBUTES]].to_numpy(np.float64) for side in (1, 2))
    return two - one


def _uniforms(pairs: pd.DataFrame, purpose: str) -> Float[np.ndarray, " pairs"]:
    """One number from 0 to 1 for each pair, from a hash of the purpose and the pair's texts."""
    rows = zip(pairs["prompt"], pairs["response_1"], pairs["response_2"], strict=True)
    hashes = (hashlib.blake2b("\0".join((purpose, *row)).encode(), digest_size=8) for row in rows)
    whole = np.array([int.from_bytes(found.digest(), "big") >> 11 for found in hashes])
    return whole.astype(np.float64) / 2.0**53
