"""Places of judges on maps: distances are kept where they can be."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from dtreward.judges.maps import (
    JudgeMap,
    classical_scaling,
    component_map,
    gap_map,
    map_stress,
    map_table,
    tree_gaps,
)
from dtreward.tree.tree import PreferenceTree


def test_points_of_a_plane_keep_their_distances():
    points = np.random.default_rng(0).normal(size=(9, 2))
    distances = cdist(points, points)
    places = classical_scaling(distances)
    # Rounding of the eigenvectors, 1e-16, grows by at most the largest distance, below 10.
    assert np.abs(cdist(places, places) - distances).max() < 1e-13
    assert np.ptp(places[:, 0]) > 0 and places[:, 0].var() >= places[:, 1].var()


def test_points_of_more_dimensions_lose_the_smallest_ones():
    points = np.random.default_rng(1).normal(size=(12, 3)) * [5.0, 3.0, 0.01]
    places = classical_scaling(cdist(points, points))
    # The third dimension changes a distance by at most its own range, below 0.06.
    assert np.abs(cdist(places, places) - cdist(points, points)).max() < 0.06


def test_gaps_are_symmetric_zero_to_oneself_and_one_between_opposites():
    tree = PreferenceTree.single_split("h", 0.0)
    turned = PreferenceTree.from_table(tree)
    turned.value[:] = tree.value[:, ::-1].copy()
    same = PreferenceTree.single_split("h", 0.0)
    gaps = tree_gaps({"a": same, "b": turned, "c": same}, np.array([[-1.0], [1.0]]))
    assert gaps.index.to_list() == gaps.columns.to_list() == ["a", "b", "c"]
    assert gaps.equals(gaps.T)
    assert gaps.loc["a"].to_list() == [0, 1, 0]


def test_a_table_of_maps_has_a_row_for_each_judge_and_map():
    family = pd.Series({"Human": "Human", "GPT-4o": "GPT"})
    maps = {"PCA": JudgeMap(np.eye(2), "true"), "UMAP": JudgeMap(np.ones((2, 2), np.float32))}
    table = map_table(maps, family)
    assert table["map"].to_list() == ["PCA", "PCA", "UMAP", "UMAP"]
    assert table["family"].to_list() == ["Human", "GPT"] * 2
    assert table["note"].to_list() == ["true", "true", "", ""]
    assert table["x"].to_list() == [1, 0, 1, 1] and table["y"].dtype == np.float64


def test_a_map_with_other_judges_is_refused():
    with pytest.raises(ValueError, match="Length of values"):
        map_table({"PCA": JudgeMap(np.eye(2))}, pd.Series({"Human": "Human"}))


def test_a_map_says_how_true_it_is():
    generator = np.random.default_rng(2)
    flat = generator.normal(size=(9, 2)) @ generator.normal(size=(2, 40))
    deep = generator.normal(size=(9, 40))
    assert gap_map(cdist(flat, flat)).note == "stress 0.00"
    assert map_stress(cdist(deep, deep), classical_scaling(cdist(deep, deep))) > 0.2
    explained = np.linalg.svd(deep - deep.mean(axis=0), compute_uv=False) ** 2
    across, up = 100 * explained[:2] / explained.sum()
    assert component_map(deep).note == f"across {across:.0f} %, up {up:.0f} % of variance"
    assert 10 < up < across < 50
