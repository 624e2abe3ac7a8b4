"""Responses rewritten with one rating changed, and how far each reward moves with it."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Real

from dtreward.demo.draws import Draws, KeyedDraws
from dtreward.demo.families import STUDY
from dtreward.demo.text import respond
from dtreward.demo.world import draw_ratings, new_problem
from dtreward.stats import Interval, bootstrap, ratio_interval
from dtreward.tree.nodes import ATTRIBUTES

BEFORE = "nothing"  # what is edited in a response as it was first written
LARGEST_RATING = 4


def make_edits(prompts: int, *, seed: int = 0, taken: Collection[str] = ()) -> pd.DataFrame:
    """Write a response to each of so many prompts, and again with each rating changed alone.

    The changed rating is drawn from the four others. All random choices of the text are the same,
    so that it differs only where its new rating demands it. One thing cannot be kept: how helpful
    a response is shows in its text as more or less than how correct it is. A change of correctness
    alone therefore changes what shows of helpfulness, too.

    Args:
        seed: the same seed writes the same responses.
        taken: prompts that must not come again, such as those a probe was fitted to.

    Returns:
        a row a response: prompt, response, edited ("nothing", or the attribute whose rating is
        another than in that row), and the ratings. Rows of a prompt stand together.

    Example:
        >>> edits = make_edits(1)
        >>> edits["edited"].tolist()
        ['nothing', 'helpfulness', 'correctness', 'coherence', 'complexity', 'verbosity']
    """
    rating_seed, change_seed, problem_seed = np.random.SeedSequence(seed).spawn(3)
    ratings = draw_ratings(prompts, seed=rating_seed)
    steps = np.random.default_rng(change_seed).integers(1, LARGEST_RATING + 1, ratings.shape)
    changed = (ratings + steps) % (LARGEST_RATING + 1)
    draw = Draws(np.random.default_rng(problem_seed))
    seen = set(taken)
    rows = []
    for number in range(prompts):
        problem = new_problem(STUDY, seen, draw)
        for column, edited in enumerate((BEFORE, *ATTRIBUTES), start=-1):
            own = ratings[number].copy()
            if edited != BEFORE:
                own[column] = changed[number, column]
            response = respond(problem, own.tolist(), KeyedDraws(seed * prompts + number))
            rows.append((problem.prompt, response, edited, *own.astype(float)))
    return pd.DataFrame(rows, columns=["prompt", "response", "edited", *ATTRIBUTES])


def reward_movements(
    edits: pd.DataFrame,
    rewards: Real[np.ndarray, "responses attributes"],
    **options,
) -> dict[str, list[Interval]]:
    """Measure how far each reward moves with each rating, in reward points a rating point.

    It is the slope of the changes of a reward on the changes of the edited rating, through 0: 1 for
    the edited attribute's own reward if it follows in full, 0 for one that reads only its own.

    Args:
        edits: of `make_edits`.
        rewards: of its responses, in the order of `ATTRIBUTES`.
        options: of `dtreward.stats.bootstrap`; prompts are resampled.

    Returns:
        by edited attribute, the movement of each reward.
    """
    movements = {}
    for edited in ATTRIBUTES:
        products, squares, prompts = _changes(edits, rewards, edited)
        movements[edited] = [
            ratio_interval(product, squares, prompts, **options) for product in products.T
        ]
    return movements


def movement_lead(
    edits: pd.DataFrame,
    rewards: Real[np.ndarray, "responses attributes"],
    own: str,
    *,
    edited: str,
    moved: str,
    **options,
) -> Interval:
    """Measure how much farther a reward moves with its own rating than some reward with some rating.

    Both movements are those of `reward_movements`, of the same prompts in each resample; the other
    one counts by its size.

    Args:
        own: attribute whose reward moves with its own rating.
        edited: the other rating.
        moved: the other reward.
        options: of `dtreward.stats.bootstrap`.
    """
    products, squares, prompts = _changes(edits, rewards, own)
    other_products, other_squares, _ = _changes(edits, rewards, edited)
    columns = [
        products[:, ATTRIBUTES.index(own)],
        squares,
        other_products[:, ATTRIBUTES.index(moved)],
        other_squares,
    ]

    def lead(means):
        return means[..., 0] / means[..., 1] - np.abs(means[..., 2] / means[..., 3])

    return bootstrap(np.stack(columns, axis=1), prompts, lead, **options)


def _changes(
    edits: pd.DataFrame, rewards: Real[np.ndarray, "responses attributes"], edited: str
) -> tuple[
    Float[np.ndarray, "prompts attributes"], Float[np.ndarray, " prompts"], Sequence[Hashable]
]:
    """Give the changes of rewards times that of the edited rating, its square, and the prompts."""
    before = (edits["edited"] == BEFORE).to_numpy()
    after = (edits["edited"] == edited).to_numpy()
    ratings = edits[edited].to_numpy(float)
    change = ratings[after] - ratings[before]
    products = (rewards[after] - rewards[before]) * change[:, None]
    return products, change**2, edits.loc[after, "prompt"].tolist()
