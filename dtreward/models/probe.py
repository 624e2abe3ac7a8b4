"""Linear probes: ridge regressions that read ratings from the features of a frozen backbone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Real
from sklearn.model_selection import GroupKFold

from dtreward.pairs.split import Evaluation
from dtreward.stats import Interval, r2_interval

Features = Real[np.ndarray, "responses features"]
Ratings = Real[np.ndarray, "responses attributes"]
HeldOut = Float[np.ndarray, "strengths responses attributes"]


@dataclass(frozen=True)
class LinearProbe:
    """One straight line an attribute: reward = features @ weight + bias.

    Attributes:
        weight: shape (attributes, features), in rating points per unit of a feature.
        bias: shape (attributes,), in rating points.

    Example:
        >>> probe = LinearProbe(weight=np.array([[2.0, 0.0]]), bias=np.array([1.0]))
        >>> probe.predict(np.array([[1.0, 5.0]])).tolist()
        [[3.0]]
    """

    weight: Float[np.ndarray, "attributes features"]
    bias: Float[np.ndarray, " attributes"]

    def predict(self, features: Features) -> Float[np.ndarray, "responses attributes"]:
        """Predict the rewards of responses, in rating points."""
        return features @ self.weight.T + self.bias


def fit_probe(
    features: Features, ratings: Ratings, strengths: Real[np.ndarray, " attributes"]
) -> LinearProbe:
    """Fit a ridge regression with an intercept to each attribute, each with its own strength.

    An attribute is fitted to the responses that have a rating of it. Without any, weight and bias
    are 0.

    Args:
        features: of the training responses.
        ratings: of the same responses; nan where one is missing.
        strengths: weight of the penalty on squared weights, as a multiple of the mean variance of
            the features; 0 is ordinary least squares.

    Example:
        >>> features = np.array([[0.0], [1.0], [2.0]])
        >>> probe = fit_probe(features, 1 + 2 * features, np.zeros(1))
        >>> probe.weight.round(6).tolist(), probe.bias.round(6).tolist()
        ([[2.0]], [1.0])
    """
    weights, intercepts = _ridge(features, ratings, strengths)
    each = np.arange(ratings.shape[1])
    return LinearProbe(weight=weights[each, :, each], bias=intercepts[each, each])


def held_out_rewards(
    features: Features,
    ratings: Ratings,
    prompts: Sequence[Hashable] | np.ndarray,
    strengths: Real[np.ndarray, " strengths"],
    *,
    folds: int = 5,
    seed: int = 0,
) -> HeldOut:
    """Predict each training response by probes that did not see its prompt, for each strength.

    Args:
        features: of the training responses.
        ratings: of the same responses; nan where one is missing.
        prompts: of the same responses; responses to one prompt are held out together.
        strengths: as in `fit_probe`.
        folds: number of parts, each held out once; at least 2, and at most one a prompt.
        seed: decides which prompts are held out together.
    """
    held_out = np.empty((len(strengths), *ratings.shape))
    parts = min(folds, len(set(prompts)))
    splitter = GroupKFold(parts, shuffle=True, random_state=seed)
    for learn, check in splitter.split(features, groups=prompts):
        weights, intercepts = _ridge(features[learn], ratings[learn], strengths)
        held_out[:, check] = features[check] @ weights + intercepts[:, None]
    return held_out


def predict_unseen(
    inputs: Features,
    ratings: Ratings,
    prompts: Sequence[Hashable] | np.ndarray,
    evaluations: Sequence[Evaluation],
    strengths: Real[np.ndarray, " strengths"],
    *,
    folds: int = 5,
    seed: int = 0,
) -> Float[np.ndarray, "responses attributes"]:
    """Predict the responses of evaluations, each by a probe that saw none of its prompts.

    For each evaluation a probe is fitted to its training responses. The strengths are chosen by
    cross-validation among these alone.

    Args:
        inputs: of all responses: features, or what a simpler reader sees.
        ratings: of the same responses; nan where one is missing.
        prompts: of the same responses.
        evaluations: of `dtreward.pairs.split.plan_evaluations`.
        strengths, folds, seed: as in `held_out_rewards`.

    Returns:
        predicted ratings; nan for responses that no evaluation tests.

    Example:
        >>> line = np.arange(8.0)[:, None]
        >>> evaluation = Evaluation(train=np.arange(6), test=np.array([7]))
        >>> predicted = predict_unseen(line, 2 * line, range(8), [evaluation], np.zeros(1))
        >>> predicted[5:].ravel().round(6).tolist()
        [nan, nan, 14.0]
    """
    predicted = np.full(ratings.shape, np.nan)
    for evaluation in evaluations:
        train = evaluation.train
        seen = inputs[train], ratings[train]
        own_prompts = np.asarray(prompts)[train]
        held_out = held_out_rewards(*seen, own_prompts, strengths, folds=folds, seed=seed)
        probe = fit_probe(*seen, strengths[best_strengths(held_out, ratings[train])])
        predicted[evaluation.test] = probe.predict(inputs[evaluation.test])
    return predicted


def intervals_by_attribute(
    measure: Callable[..., Interval],
    ratings: Ratings,
    predicted: Ratings,
    prompts: Sequence[Hashable] | np.ndarray,
    **options: Any,
) -> list[Interval]:
    """Measure how well each attribute is predicted, on the responses that have both numbers.

    Args:
        measure: of `dtreward.stats`, such as `pearson_interval`.
        ratings: nan where one is missing.
        predicted: of `predict_unseen`; nan where a response was not tested.
        prompts: of the same responses.
        options: of `dtreward.stats.bootstrap`.

    Returns:
        an interval an attribute: nan where its ratings do not vary or are of one prompt, and 0 for
        a correlation with constant predictions.

    Example:
        >>> from dtreward.stats import pearson_interval
        >>> ratings = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, np.nan]])
        >>> print(*intervals_by_attribute(pearson_interval, ratings, ratings, "abc"))
        1.000 [1.000, 1.000] nan [nan, nan]
    """
    own_prompts = np.asarray(list(prompts))
    intervals = []
    for asked, answered in zip(ratings.T, predicted.T, strict=True):
        rows = np.flatnonzero(np.isfinite(asked) & np.isfinite(answered))
        if len(set(asked[rows])) < 2 or len(set(own_prompts[rows])) < 2:
            interval = Interval(np.nan, np.nan, np.nan)
        elif measure is not r2_interval and np.ptp(answered[rows]) == 0:
            interval = Interval(0.0, 0.0, 0.0)
        else:
            interval = measure(asked[rows], answered[rows], own_prompts[rows], **options)
        intervals.append(interval)
    return intervals


def relative_errors(
    held_out: HeldOut, ratings: Ratings
) -> Float[np.ndarray, "strengths attributes"]:
    """Give the mean squared error of held-out rewards, divided by the variance of the ratings.

    One minus it is R². The mean rating as a constant answer has 1. Missing ratings (nan) are left
    out. It is nan for an attribute whose ratings do not vary.

    Example:
        >>> relative_errors(np.zeros((1, 2, 1)), np.array([[0.0], [2.0]])).tolist()
        [[2.0]]
    """
    is_rated = ~np.isnan(ratings)
    errors = np.zeros((len(held_out), ratings.shape[1]))
    for column, rows in enumerate(is_rated.T):
        known = ratings[rows, column]
        varies = len(known) > 0 and known.var() > 0
        squares = (held_out[:, rows, column] - known) ** 2
        errors[:, column] = squares.mean(axis=1) / known.var() if varies else np.nan
    return errors


def best_strengths(held_out: HeldOut, ratings: Ratings) -> Int[np.ndarray, " attributes"]:
    """Give for each attribute the number of the strength with the smallest held-out error.

    It is the first one for an attribute whose ratings do not vary.
    """
    return np.nan_to_num(relative_errors(held_out, ratings)).argmin(axis=0)


def _ridge(
    features: Features, ratings: Ratings, strengths: Real[np.ndarray, " strengths"]
) -> tuple[
    Float[np.ndarray, "strengths features attributes"],
    Float[np.ndarray, "strengths attributes"],
]:
    """Give weights and intercepts for each strength, each attribute on its rated responses."""
    attributes = ratings.shape[1]
    weights = np.zeros((len(strengths), features.shape[1], attributes))
    intercepts = np.zeros((len(strengths), attributes))
    patterns, pattern = np.unique(~np.isnan(ratings), axis=1, return_inverse=True)
    for number, rows in enumerate(patterns.T):
        alike = np.flatnonzero(pattern.ravel() == number)
        if rows.any():
            known = ratings[np.ix_(rows, alike)]
            weights[:, :, alike], intercepts[:, alike] = _ridge_on_all(
                features[rows], known, strengths
            )
    return weights, intercepts


def _ridge_on_all(
    features: Features, ratings: Ratings, strengths: Real[np.ndarray, " strengths"]
) -> tuple[
    Float[np.ndarray, "strengths features attributes"],
    Float[np.ndarray, "strengths attributes"],
]:
    """Give weights and intercepts where no rating is missing.

    One eigendecomposition serves all strengths.
    """
    centre = features.mean(axis=0)
    level = ratings.mean(axis=0)
    scatter = (features - centre).T @ (features - centre)
    eigenvalues, vectors = np.linalg.eigh(scatter)
    projected = vectors.T @ (features - centre).T @ (ratings - level)
    weights = []
    for strength in strengths:
        penalised = np.maximum(eigenvalues + strength * eigenvalues.mean(), 0)[:, None]
        zeros = 0 * projected
        solution = np.divide(projected, penalised, out=zeros, where=penalised > 0)
        weights.append(vectors @ solution)
    stacked = np.stack(weights)
    return stacked, level - centre @ stacked
