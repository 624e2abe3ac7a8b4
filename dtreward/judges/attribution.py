"""How much each attribute matters to the tree of a judge: SHAP values, set beside other measures.

`values` of several judges is one array, (judges, pairs, attributes): the `shap_values` of each
judge's tree, all for the same pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Real, Shaped

from dtreward.names import isolate
from dtreward.pairs.summary import pool_differences
from dtreward.stats import Prompts, brier_terms, mean_intervals
from dtreward.tree.tree import Differences, PreferenceTree

Background = Real[np.ndarray, "background attributes"]  # differences, as of the pairs explained
Values = Float[np.ndarray, "judges pairs attributes"]
Distances = Float[np.ndarray, "judges judges"]


def shap_values(
    tree: PreferenceTree, differences: Differences, background: Background
) -> Float[np.ndarray, "pairs attributes"]:
    """Share out among the attributes what moves the averaged probability of response 2 from 0.5.

    Exact interventional Shapley values of `tree.probability(differences, averaged=True)`: a row
    sums to it minus 0.5. An attribute that is not known yet is drawn from the background. Each
    background pair is used in both orders, so that swapping the responses negates the values.

    Args:
        differences: response 2 minus response 1, of the pairs to explain.
        background: differences of other pairs; the error falls with the root of their number.

    Raises:
        ValueError: for other columns than the tree's attributes, nan, infinity, or no background.

    Source: Lundberg et al. (2020), https://doi.org/10.1038/s42256-019-0138-9, through shap.

    Example:
        >>> tree = PreferenceTree.single_split("h", 0.5, attributes=["h", "c"])
        >>> pairs = np.array([[2.0, 1.0], [-2.0, 0.0], [0.0, 4.0]])
        >>> shap_values(tree, pairs, background=pairs).round(2) + 0.0
        array([[ 0.5,  0. ],
               [-0.5,  0. ],
               [ 0. ,  0. ]])
    """
    shap = import_shap()
    codes = _Codes(tree)
    if not len(background):
        raise ValueError("expected a background of at least one pair, found none; give it pairs")
    both_orders = codes.encode(np.concatenate([background, -background]))
    # Without max_samples shap keeps 100 rows and says nothing.
    masker = shap.maskers.Independent(both_orders, max_samples=len(both_orders))
    explainer = shap.TreeExplainer(codes.model(), masker, model_output="probability")
    rows, row_of_pair = codes.different_rows(differences)
    return _average_orders(explainer.shap_values(rows), row_of_pair)


def interaction_values(
    tree: PreferenceTree, differences: Differences
) -> Float[np.ndarray, "pairs attributes attributes"]:
    """Split each attribute's part further: what it does alone (diagonal), and with each other one.

    Tree-path-dependent: an attribute that is not known yet follows the shares of the tree's own
    pairs, not a background, so that rows sum to other values than `shap_values`. Each of the two
    entries of an interaction holds half of it. Source and errors as there.

    Example:
        >>> tree = PreferenceTree.single_split("h", 0.5, attributes=["h", "c"])
        >>> interaction_values(tree, np.array([[2.0, 1.0]])) + 0.0
        array([[[0.5, 0. ],
                [0. , 0. ]]])
    """
    shap = import_shap()
    codes = _Codes(tree)
    explainer = shap.TreeExplainer(codes.model(), feature_perturbation="tree_path_dependent")
    rows, row_of_pair = codes.different_rows(differences)
    return _average_orders(explainer.shap_interaction_values(rows), row_of_pair)


def mean_abs_shap(
    values: Values,
    judges: Sequence[str],
    attributes: Sequence[str],
    prompts: Prompts,
    **options,
) -> pd.DataFrame:
    """Average the absolute SHAP value of each judge and attribute over pairs, with intervals.

    The trees are taken as they are: the intervals are those of other pairs, not of other trees.

    Args:
        judges: names of the first axis.
        attributes: names of the last axis.
        prompts: of the pairs; pairs of one prompt are drawn together.
        options: of `stats.mean_intervals`.

    Returns:
        A row for each judge and attribute: judge, attribute, mean_abs_shap, low, high.

    Example:
        >>> values = np.array([[[0.5, 0.0], [-0.25, 0.0]]])
        >>> mean_abs_shap(values, ["Human"], ["h", "c"], [1, 2])["mean_abs_shap"].tolist()
        [0.375, 0.0]
    """
    pairs = values.shape[1]
    columns = np.abs(values).transpose(1, 0, 2).reshape(pairs, -1)
    rows = [interval.as_dict() for interval in mean_intervals(columns, prompts, **options)]
    names = pd.MultiIndex.from_product([judges, attributes], names=["judge", "attribute"])
    table = pd.DataFrame(rows, index=names).reset_index()
    return table.rename(columns={"estimate": "mean_abs_shap"})


def background_error(values: Values, other_values: Values) -> dict[str, float]:
    """Give the standard error that the draw of the background brings, over judges and attributes.

    Two independent estimates of one number differ by the root of 2 times the standard error of
    one of them.

    Args:
        values: by one background.
        other_values: of the same pairs, by a background that has no pair in common with the first.

    Example:
        >>> error = background_error(np.array([[[0.2, 0.0]]]), np.array([[[-0.2, 0.0]]]))
        >>> {name: round(float(value), 3) for name, value in error.items()}
        {"of a pair's value": 0.2, 'of a mean |SHAP|': 0.0, 'of a mean |SHAP|, the largest': 0.0}
    """
    size = np.abs(values).mean(axis=1)
    other_size = np.abs(other_values).mean(axis=1)
    return {
        "of a pair's value": np.sqrt(((values - other_values) ** 2).mean() / 2),
        "of a mean |SHAP|": np.sqrt(((size - other_size) ** 2).mean() / 2),
        "of a mean |SHAP|, the largest": np.abs(size - other_size).max() / np.sqrt(2),
    }


def value_gaps(values: Values) -> Distances:
    """Give the gap of each two judges: how far their values of a pair lie apart, on average.

    It is the sum over attributes of the absolute difference of two values, averaged over pairs.

    Example:
        >>> value_gaps(np.array([[[0.5, 0.0]], [[0.0, 0.25]]])).tolist()
        [[0.0, 0.75], [0.75, 0.0]]
    """
    rows = []
    for one in values:
        rows.append([np.abs(one - other).sum(axis=1).mean() for other in values])
    return np.array(rows)


@dataclass(frozen=True)
class CreditGap:
    """How the SHAP values of two judges differ.

    Args:
        size: mean over pairs of the gap of their values, summed over attributes (`value_gaps`).
        cancelled: share of it that cancels out when the values of a pair are added up to its
            probability, from 0 to 1.
        more: the attribute that the first judge credits more, against the second, than any other.
        less: the attribute that it credits less than any other.
    """

    size: float
    cancelled: float
    more: str
    less: str


def compare_credits(
    values: Float[np.ndarray, "pairs attributes"],
    other: Float[np.ndarray, "pairs attributes"],
    attributes: Sequence[str],
) -> CreditGap:
    """Say where two judges' SHAP values of the same pairs differ, and how much of it cancels out.

    Two trees that ask about twins (attributes that rise and fall together) credit different ones,
    and decide alike: their values lie far apart, and their probabilities do not.

    Example:
        >>> one = np.array([[0.4, 0.1], [-0.4, 0.0]])
        >>> other = np.array([[0.0, 0.4], [0.0, -0.3]])
        >>> gap = compare_credits(one, other, ["helpfulness", "correctness"])
        >>> round(gap.size, 3), round(gap.cancelled, 3), gap.more, gap.less
        (0.7, 0.857, 'helpfulness', 'correctness')
    """
    apart = values - other
    size = np.abs(apart).sum(axis=1).mean()
    in_probability = np.abs(apart.sum(axis=1)).mean()
    cancelled = 1 - in_probability / size if size > 0 else 0.0
    credit = np.abs(values).mean(axis=0) - np.abs(other).mean(axis=0)
    more = attributes[credit.argmax()]
    less = attributes[credit.argmin()]
    return CreditGap(float(size), float(cancelled), more, less)


def farthest_first(distances: Distances, count: int) -> list[int]:
    """Choose judges that differ: the first, then in turn the one farthest from those chosen.

    How far a judge is from those chosen is its distance to the nearest of them. Of equals the first
    is taken.

    Args:
        distances: of each two judges.
        count: judges to choose; all of them if there are fewer.

    Source: Gonzalez (1985), https://doi.org/10.1016/0304-3975(85)90224-5.

    Example:
        >>> farthest_first(np.array([[0.0, 1.0, 5.0], [1.0, 0.0, 4.0], [5.0, 4.0, 0.0]]), 2)
        [0, 2]
    """
    chosen = [0]
    while len(chosen) < min(count, len(distances)):
        to_nearest = distances[chosen].min(axis=0)
        to_nearest[chosen] = -1
        chosen.append(int(to_nearest.argmax()))
    return chosen


def mean_by_difference(
    values: Real[np.ndarray, "judges pairs"],
    difference: Real[np.ndarray, " pairs"],
    judges: Sequence[str],
) -> pd.DataFrame:
    """Average the SHAP values of one attribute over pairs with the same difference.

    More than 9 different differences are pooled into eighths.

    Args:
        values: of one attribute.
        difference: of this attribute, response 2 minus response 1.
        judges: names of the first axis.

    Returns:
        A row for each group of pairs, by its mean difference; a column for each judge.

    Example:
        >>> values = np.array([[-0.3, -0.1, 0.4]])
        >>> mean_by_difference(values, np.array([-1.0, -1.0, 2.0]), ["Human"])["Human"].to_dict()
        {-1.0: -0.2, 2.0: 0.4}
    """
    group = pool_differences(difference)
    means = pd.DataFrame(np.transpose(values), columns=list(judges)).groupby(group).mean()
    rounded = pd.Series(difference, dtype=float).round(2)
    means.index = pd.Index(rounded.groupby(group).mean(), name="difference")
    return means


def by_couple(
    squares: Real[np.ndarray, "judges attributes attributes"],
    judges: Sequence[str],
    attributes: Sequence[str],
) -> pd.DataFrame:
    """List a symmetric number of each two attributes: a row a couple, a column a judge.

    Rows are sorted by their largest number, largest first.

    Example:
        >>> squares = np.array([[[9.0, 0.1, 0.0], [0.1, 9.0, 0.4], [0.0, 0.4, 9.0]]])
        >>> by_couple(squares, ["Human"], ["h", "c", "v"])["Human"].to_dict()
        {'c × v': 0.4, 'h × c': 0.1, 'h × v': 0.0}
    """
    first, second = np.triu_indices(len(attributes), 1)
    names = [
        f"{isolate(attributes[one])} × {isolate(attributes[two])}"
        for one, two in zip(first, second, strict=True)
    ]
    table = pd.DataFrame(squares[:, first, second].T, names, list(judges))
    order = np.argsort(-table.max(axis=1).to_numpy(), kind="stable")
    return table.iloc[order]


def joint_shares(
    interactions: Float[np.ndarray, "judges attributes attributes"],
) -> Float[np.ndarray, " judges"]:
    """Give the share of each judge's values that attributes bring together, from 0 to 1.

    Args:
        interactions: mean absolute `interaction_values` of each judge. What an attribute does alone
            is on the diagonal.

    Returns:
        The part off the diagonal; 0 for a judge whose tree has no split.

    Example:
        >>> joint_shares(np.array([[[0.6, 0.1], [0.1, 0.2]], [[0.0, 0.0], [0.0, 0.0]]])).round(3)
        array([0.2, 0. ])
    """
    alone = np.einsum("jaa->ja", interactions).sum(axis=1)
    total = interactions.sum(axis=(1, 2))
    joint = 1 - alone / total.clip(1e-12)
    joint[~interactions.any(axis=(1, 2))] = 0
    return joint


def correlation_distances(values: Values) -> Distances:
    """Give 1 minus the correlation of each two judges' values, over all pairs and attributes.

    0 where the values of one judge are a multiple of the other's, so that noise, which makes all
    values of a judge smaller, does not move it; 2 where they are a negative multiple.

    Args:
        values: none of the judges has the same value everywhere.

    Example:
        >>> values = np.array([[[0.4, 0.0]], [[0.2, 0.0]], [[-0.1, 0.0]]])
        >>> correlation_distances(values).round(3)[0].tolist()
        [0.0, 0.0, 2.0]
    """
    if not len(values):
        return np.zeros((0, 0))
    flat = values.reshape(len(values), -1)
    distances = (1 - np.atleast_2d(np.corrcoef(flat))).clip(0)
    np.fill_diagonal(distances, 0)
    return distances


@dataclass(frozen=True)
class FamilyTest:
    """Whether judges of one family are closer to each other than judges of two families.

    Args:
        one_family: mean distance of two judges of one family.
        two_families: mean distance of two judges of different families; nan if there are none.
        names_shuffled: mean of `one_family` over random assignments of the families' names.
        p_value: share of the assignments in which `one_family` is not larger than it is here.
    """

    one_family: float
    two_families: float
    names_shuffled: float
    p_value: float


def family_test(
    distances: Distances,
    families: Shaped[np.ndarray, " judges"],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> FamilyTest | None:
    """Test by shuffling the families' names whether judges of one family are close; one-sided.

    The names as they are count as one of the assignments, so that p is never 0.

    Args:
        distances: of each two judges.
        families: the family of each judge.
        resamples: assignments to draw.

    Returns:
        None if no two judges are of one family.

    Example:
        >>> places = np.array([0.0, 0.1, 5.0, 5.1, 9.0, 9.1])
        >>> apart = np.abs(places[:, None] - places)
        >>> test = family_test(apart, np.array(["A", "A", "B", "B", "C", "C"]))
        >>> round(test.one_family, 3), test.p_value < 0.1
        (0.1, True)
    """
    of_two = np.triu_indices(len(distances), 1)
    distance_of_two = distances[of_two]
    related = _related(families, of_two)
    if not related.any():
        return None
    one_family = float(distance_of_two[related].mean())
    two_families = float("nan")
    if not related.all():
        two_families = float(distance_of_two[~related].mean())
    shuffled = []
    for draw in range(resamples):
        names = np.random.default_rng([seed, draw]).permutation(families)
        shuffled.append(distance_of_two[_related(names, of_two)].mean())
    # A sum in another order may differ by rounding.
    not_larger = np.array(shuffled) <= one_family + 1e-9
    p_value = float((1 + not_larger.sum()) / (1 + resamples))
    return FamilyTest(one_family, two_families, float(np.mean(shuffled)), p_value)


def _related(
    families: Shaped[np.ndarray, " judges"], of_two: tuple[np.ndarray, np.ndarray]
) -> Bool[np.ndarray, " couples"]:
    """Say of each two judges whether they are of one family."""
    return (families[:, None] == families)[of_two]


def permutation_rise(
    tree: PreferenceTree,
    differences: Differences,
    preference: Shaped[np.ndarray, " pairs"],
    *,
    repeats: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, " attributes"]:
    """Say how much worse a tree fits when the differences of one attribute are shuffled.

    The fit is the Brier score of the averaged probability of response 2. Each attribute is shuffled
    among the pairs several times; the rises are added up, so that they are shares of one another.
    A rise is negative where shuffling made the fit better by luck.

    Args:
        differences: response 2 minus response 1.
        preference: 0 (response 1) or 1 (response 2) of each pair.
        repeats: how often each attribute is shuffled.
        generator: shuffles attribute by attribute.

    Source: Breiman (2001), https://doi.org/10.1023/A:1010933404324, section 10.

    Example:
        >>> tree = PreferenceTree.single_split("h", 0.0, attributes=["h", "c"])
        >>> pairs = np.array([[1.0, 2.0], [-1.0, 3.0], [2.0, 1.0], [-2.0, 0.0]])
        >>> generator = np.random.default_rng(1)
        >>> preference = np.array([1, 0, 1, 0])
        >>> rise = permutation_rise(tree, pairs, preference, repeats=5, generator=generator)
        >>> (rise > 0).tolist()
        [True, False]
    """
    score = brier_terms(tree.probability(differences, averaged=True), preference).mean()
    rise = np.zeros(differences.shape[1])
    for column in range(len(rise)):
        for _ in range(repeats):
            shuffled = differences.copy()
            shuffled[:, column] = generator.permutation(shuffled[:, column])
            probability = tree.probability(shuffled, averaged=True)
            rise[column] += brier_terms(probability, preference).mean() - score
    return rise


def rank_agreement(shares: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Correlate the ranks that each two measures give the attributes, as a mean over judges.

    Args:
        shares: by measure, a row for each judge and a column for each attribute. A judge that a
            measure lacks does not count for it.

    Returns:
        A square table of Spearman's correlations; nan where a measure is constant for every judge.

    Example:
        >>> one = pd.DataFrame([[0.7, 0.2, 0.1]], ["Human"], ["h", "c", "v"])
        >>> rank_agreement({"one": one, "reversed": -one}).loc["one"].tolist()
        [1.0, -1.0]
    """
    measures = list(shares)
    judges = list(dict.fromkeys(judge for table in shares.values() for judge in table.index))
    correlations = []
    for judge in judges:
        by_measure = {
            measure: table.loc[judge] for measure, table in shares.items() if judge in table.index
        }
        correlations.append(pd.DataFrame(by_measure).corr("spearman"))
    means = pd.concat(correlations).groupby(level=0).mean()
    return means.loc[measures, measures]


def shuffled_totals(
    differences: Differences,
    preference: Real[np.ndarray, " pairs"],
    background: Background,
    *,
    shuffles: int,
    generator: np.random.Generator,
    **options: Any,
) -> Float[np.ndarray, " shuffles"]:
    """Sum the absolute SHAP values of trees that are fitted to shuffled preferences.

    Preferences are shuffled among the pairs that have one. Such a tree has splits too, so that the
    sums are small but not zero.

    Args:
        differences: response 2 minus response 1, of all pairs.
        preference: 0 (response 1), 1 (response 2) or nan (undecided) of each pair.
        background: of the SHAP values.
        shuffles: trees to fit.
        generator: shuffles the preferences.
        options: of `PreferenceTree.fit`.

    Returns:
        For each tree, the sum over attributes, averaged over all pairs.

    Example:
        >>> differences = np.array([[-1.0], [1.0], [-2.0], [2.0]])
        >>> preference = np.array([0, 1, 0, np.nan])
        >>> options = {"shuffles": 2, "generator": np.random.default_rng(0), "attributes": ["h"]}
        >>> shuffled_totals(differences, preference, differences, **options).shape
        (2,)
    """
    decided = np.flatnonzero(~np.isnan(preference))
    totals = np.zeros(shuffles)
    for number in range(shuffles):
        shuffled = generator.permutation(preference[decided])
        tree = PreferenceTree.fit(differences[decided], shuffled, **options)
        values = shap_values(tree, differences, background)
        totals[number] = np.abs(values).sum(axis=1).mean()
    return totals


def import_shap() -> ModuleType:
    """Import shap, which takes seconds and comes with an extra.

    Raises:
        ImportError: where it is not installed; says how to install it.
    """
    try:
        import shap
        import shap.maskers
    except ImportError as error:
        raise ImportError('SHAP values need shap: pip install "dtreward[study]"') from error
    return shap


class _Codes:
    """Differences and thresholds of a tree as whole numbers that compare alike.

    shap compares in float32, where 0.1 <= 0.1 can be false. So a threshold is replaced by its rank
    among the thresholds of its attribute, and a difference by the number of thresholds below it.
    """

    def __init__(self, tree: PreferenceTree) -> None:
        self.tree = tree
        self.thresholds = [
            np.unique(tree.threshold[tree.feature == column])
            for column in range(len(tree.attributes))
        ]

    def encode(self, differences: Differences) -> Float[np.ndarray, "pairs attributes"]:
        """Replace each difference by its code; ValueError for other columns, nan or infinity."""
        self.tree.apply(differences)
        columns = zip(self.thresholds, np.transpose(differences), strict=True)
        codes = [np.searchsorted(thresholds, values) for thresholds, values in columns]
        return np.stack(codes, axis=1).astype(float)

    def different_rows(
        self, differences: Differences
    ) -> tuple[Float[np.ndarray, "rows attributes"], Int[np.ndarray, " both_orders"]]:
        """Give the different codes of pairs in both orders, and the row of each pair among them.

        There are few different ones, because most pairs go the same way. The row numbers are those
        of all pairs, and then those of all swapped pairs.
        """
        both_orders = self.encode(np.concatenate([differences, -differences]))
        rows, row_of_pair = np.unique(both_orders, axis=0, return_inverse=True)
        return rows, row_of_pair.reshape(-1)

    def model(self) -> dict[str, Any]:
        """Give the tree in the form that shap takes."""
        tree = self.tree
        ranks = np.zeros(len(tree.feature))
        for node in tree.splits:
            thresholds = self.thresholds[tree.feature[node]]
            ranks[node] = np.searchsorted(thresholds, tree.threshold[node])
        nodes = {
            "children_left": tree.left,
            "children_right": tree.right,
            "children_default": tree.left,
            "features": tree.feature,
            "thresholds": ranks,
            "values": tree.value[:, 1:],
            "node_sample_weight": tree.share.copy(),  # shap overwrites it
        }
        return {"trees": [nodes], "tree_output": "probability"}


def _average_orders(
    values: Float[np.ndarray, "rows ..."], row_of_pair: Int[np.ndarray, " both_orders"]
) -> Float[np.ndarray, "pairs ..."]:
    """Average the values of pairs as given and of swapped pairs, which have the other sign."""
    as_given, swapped = np.split(values[row_of_pair], 2)
    return (as_given - swapped) / 2
