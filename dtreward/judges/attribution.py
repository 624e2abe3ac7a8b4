"""SHAP values of preference trees: how far does each attribute move a judge's probability?"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, Real

from dtreward.tree.tree import Differences, PreferenceTree

Background = Real[np.ndarray, "background attributes"]  # differences, as of the pairs explained


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
    shap = _shap()
    model, code = _coded(tree)
    closed = code(np.concatenate([background, -background]))
    if not len(closed):
        raise ValueError("expected a background of at least one pair, found none; give it pairs")
    masker = shap.maskers.Independent(
        closed, max_samples=len(closed)
    )  # else shap keeps 100 of them, silently
    explainer = shap.TreeExplainer(model, masker, model_output="probability")
    return _averaged(explainer.shap_values, code, differences)


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
    shap = _shap()
    model, code = _coded(tree)
    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    return _averaged(explainer.shap_interaction_values, code, differences)


def _shap() -> ModuleType:
    """Import shap, which takes seconds and comes with an extra."""
    try:
        import shap
        import shap.maskers
    except ImportError as error:
        raise ImportError('SHAP values need shap: pip install "dtreward[study]"') from error
    return shap


def _coded(tree: PreferenceTree) -> tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]:
    """Give the tree as shap takes it, and what turns differences into the numbers it compares.

    shap compares with thresholds in float32, where 0.1 <= 0.1 fails: so thresholds become their
    rank among those of the attribute, and differences the number of thresholds below them.
    """
    cuts = [np.unique(tree.threshold[tree.feature == k]) for k in range(len(tree.attributes))]
    ranks = np.zeros(len(tree.feature))
    for node in np.flatnonzero(tree.feature >= 0):
        ranks[node] = np.searchsorted(cuts[tree.feature[node]], tree.threshold[node])

    def code(differences):
        tree.apply(differences)  # raises for other columns, nan and infinity
        columns = zip(cuts, np.transpose(differences), strict=True)
        return np.stack([np.searchsorted(*each) for each in columns], axis=1).astype(float)

    nodes = {"children_left": tree.left, "children_right": tree.right, "features": tree.feature}
    nodes |= {"children_default": tree.left, "thresholds": ranks, "values": tree.value[:, 1:]}
    nodes["node_sample_weight"] = tree.share.copy()  # shap counts its background in here
    return {"trees": [nodes], "tree_output": "probability"}, code


def _averaged(explain, code, differences):
    both = code(np.concatenate([differences, -differences]))
    rows, place = np.unique(both, axis=0, return_inverse=True)  # few: most pairs pass alike
    given, swapped = np.split(explain(rows)[place.reshape(-1)], 2)
    return (given - swapped) / 2
