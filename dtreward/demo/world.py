"""The demo world: pairs whose ratings, texts and judges are planted, so that the truth is known.

Ratings are drawn first, with the published shares and correlations; `text` then writes the
responses to them. The preferences of people and of the other judges are `votes` on the differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri

from dtreward.demo.draws import Draws
from dtreward.demo.families import STUDY, TRIES, Problem, pose
from dtreward.demo.text import respond
from dtreward.demo.votes import JUDGES, accuracy_ceiling, answers, latent_verdicts
from dtreward.published import PUBLISHED
from dtreward.tree.nodes import ATTRIBUTES

__all__ = [
    "JUDGES",
    "accuracy_ceiling",
    "answers",
    "draw_ratings",
    "latent_verdicts",
    "make_pairs",
    "new_problem",
]

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
    draw = Draws(np.random.default_rng(text_seed))
    seen: set[str] = set()
    rows = []
    for first, second in ratings.tolist():
        problem = new_problem(families, seen, draw)
        response1 = respond(problem, first, draw)
        response2 = respond(problem, second, draw)
        rows.append((problem.prompt, response1, response2, problem.family.name))
    pairs = pd.DataFrame(rows, columns=["prompt", "response_1", "response_2", "family"])
    family = pairs.pop("family")
    for side in (1, 2):
        for column, attribute in enumerate(ATTRIBUTES):
            pairs[f"{attribute}_{side}"] = ratings[:, side - 1, column].astype(np.float64)
    pairs["preference"] = pd.array(latent_verdicts(pairs, "Human", seed=seed), dtype="Int8")
    undecided = np.random.default_rng(tie_seed).random(prompts) < NO_PREFERENCE
    equal = (pairs["helpfulness_1"] == pairs["helpfulness_2"]).to_numpy()
    pairs.loc[equal & undecided, "preference"] = pd.NA
    return pairs.assign(family=family)


def new_problem(families: Sequence[str], seen: set[str], draw: Draws) -> Problem:
    """Pose a problem whose prompt is not among those seen, and add it to them.

    Raises:
        ValueError: if the families have hardly any prompt left.
    """
    for _ in range(TRIES):
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
    shares = _published_rows("rating_distribution.csv").to_numpy(np.float64)
    cumulated = np.cumsum(shares, axis=1)[:, :-1] / shares.sum(axis=1)[:, None]
    cuts = ndtri(np.clip(cumulated, 0, 1))
    wanted = _published_rows("correlation.csv")[list(ATTRIBUTES)].to_numpy(np.float64)
    latent = np.eye(len(ATTRIBUTES))
    for a in range(len(ATTRIBUTES)):
        for b in range(a):
            correlation = _latent_correlation(cuts[a], cuts[b], wanted[a, b])
            latent[a, b] = correlation
            latent[b, a] = correlation
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
    square = a[:, None] ** 2 + b**2
    product = a[:, None] * b

    def pearson(correlation: float) -> float:
        angle = np.arcsin(correlation) * (nodes + 1) / 2
        sine = np.sin(angle)[:, None, None]
        density = np.exp(-(square - 2 * product * sine) / (2 * (1 - sine**2)))
        scale = np.arcsin(correlation) / (4 * np.pi)
        covariance = scale * (weights[:, None, None] * density).sum()
        return covariance / np.sqrt(_variance(a) * _variance(b))

    low = -0.999
    high = 0.999
    for _ in range(50):
        middle = (low + high) / 2
        if pearson(middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _variance(cuts: Float[np.ndarray, " cuts"]) -> float:
    shares = np.diff(ndtr(cuts), prepend=0, append=1)
    values = np.arange(len(shares))
    return float(shares @ values**2 - (shares @ values) ** 2)


def _published_rows(name: str) -> pd.DataFrame:
    return pd.read_csv(PUBLISHED / name, index_col=0).loc[list(ATTRIBUTES)]
