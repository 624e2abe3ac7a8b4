"""Where judges stand: distances between their trees, and places in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Real
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from dtreward.tree.tree import Differences, PreferenceTree


def tree_gaps(trees: Mapping[str, PreferenceTree], differences: Differences) -> pd.DataFrame:
    """Give the mean gap between the probabilities of each two judges' trees on the same pairs.

    Returns:
        A square in the order of `trees`, 0 to 1, with zeros on its diagonal.

    Example:
        >>> limits = {"high": 0.5, "low": -0.5}
        >>> trees = {name: PreferenceTree.single_split("h", at) for name, at in limits.items()}
        >>> tree_gaps(trees, np.array([[-1.0], [0.0], [1.0], [2.0]])).to_numpy().tolist()
        [[0.0, 0.25], [0.25, 0.0]]
    """
    rows = []
    for tree in trees.values():
        rows.append([tree.distance(other, differences) for other in trees.values()])
    return pd.DataFrame(rows, list(trees), list(trees))


def classical_scaling(
    distances: Real[np.ndarray, "points points"],
) -> Float[np.ndarray, "points 2"]:
    """Place points in a plane so that their distances are near the given ones.

    Exact, up to a turn or a mirror, if the distances are those of points in a plane.

    Source: Torgerson (1952), https://doi.org/10.1007/BF02288916.

    Example:
        >>> places = classical_scaling(np.array([[0.0, 3.0], [3.0, 0.0]]))
        >>> np.abs(places).round(6).tolist()
        [[1.5, 0.0], [1.5, 0.0]]
    """
    centre = np.eye(len(distances)) - 1 / len(distances)
    squared_scales, directions = np.linalg.eigh(-centre @ distances**2 @ centre / 2)
    places = directions * np.sqrt(squared_scales.clip(0))
    return places[:, :-3:-1]  # eigh sorts by ascending value


@dataclass(frozen=True)
class JudgeMap:
    """Places of judges in a plane.

    Args:
        places: two coordinates of each judge.
        note: how true the map is, or what it leaves out; it stands below the map.
    """

    places: Real[np.ndarray, "judges 2"]
    note: str = ""


def component_map(probabilities: Float[np.ndarray, "judges pairs"]) -> JudgeMap:
    """Show the two directions in which the probabilities of the trees differ most (PCA).

    The note gives the share of the variance that each direction explains.

    Example:
        >>> apart = component_map(np.array([[0.0, 0.5], [0.3, 0.5], [0.9, 0.5]]))
        >>> apart.note
        'across 100 %, up 0 % of variance'
    """
    components = PCA(2)
    places = components.fit_transform(probabilities)
    across, up = components.explained_variance_ratio_
    return JudgeMap(places, f"across {100 * across:.0f} %, up {100 * up:.0f} % of variance")


def gap_map(gaps: Real[np.ndarray, "judges judges"]) -> JudgeMap:
    """Keep the gaps between trees as well as a plane can (`classical_scaling`).

    The note gives the stress (`map_stress`).

    Example:
        >>> gap_map(np.array([[0.0, 0.3], [0.3, 0.0]])).note
        'stress 0.00'
    """
    places = classical_scaling(gaps)
    return JudgeMap(places, f"stress {map_stress(gaps, places):.2f}")


def map_stress(
    distances: Real[np.ndarray, "points points"], places: Real[np.ndarray, "points 2"]
) -> float:
    """Say how far the distances on a map are from the given ones: 0 if they are the same.

    It is the root of the sum of squared errors over the sum of squared distances. Up to 0.05 is
    called good, from 0.2 on poor.

    Source: Kruskal (1964), https://doi.org/10.1007/BF02289565, with the distances as they are.

    Example:
        >>> distances = np.array([[0.0, 2.0], [2.0, 0.0]])
        >>> map_stress(distances, np.array([[0.0, 0.0], [1.0, 0.0]]))
        0.5
    """
    on_map = cdist(places, places)
    return float(np.sqrt(((on_map - distances) ** 2).sum() / (distances**2).sum()))


def map_table(maps: Mapping[str, JudgeMap], family: pd.Series) -> pd.DataFrame:
    """List the places of judges on several maps, one a row: map, judge, family, x, y, note.

    Args:
        maps: by name, judges in the order of `family`.
        family: of each judge; its index names the judges.

    Example:
        >>> family = pd.Series({"GPT-4o": "GPT"})
        >>> one = JudgeMap(np.array([[0.5, 1.0]]), "stress 0.00")
        >>> map_table({"MDS": one}, family).to_numpy().tolist()
        [['MDS', 'GPT-4o', 'GPT', 0.5, 1.0, 'stress 0.00']]
        >>> map_table({}, family).columns.to_list()
        ['map', 'judge', 'family', 'x', 'y', 'note']
    """
    names = pd.MultiIndex.from_product([list(maps), family.index], names=["map", "judge"])
    table = pd.DataFrame(index=names).reset_index()
    table["family"] = table["judge"].map(family)
    places = [np.empty((0, 2)), *(one.places for one in maps.values())]
    table[["x", "y"]] = np.concatenate(places)
    notes = {name: one.note for name, one in maps.items()}
    table["note"] = table["map"].map(notes)
    return table
