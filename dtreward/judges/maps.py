"""Where judges stand: distances between their trees, and places in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float, Real

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


def map_table(maps: Mapping[str, Real[np.ndarray, "judges 2"]], family: pd.Series) -> pd.DataFrame:
    """List the places of judges on several maps, one a row: map, judge, family, x, y.

    Args:
        maps: places by the name of the map, judges in the order of `family`.
        family: of each judge; its index names the judges.

    Example:
        >>> family = pd.Series({"GPT-4o": "GPT"})
        >>> map_table({"PCA": np.array([[0.5, 1.0]])}, family).to_numpy().tolist()
        [['PCA', 'GPT-4o', 'GPT', 0.5, 1.0]]
        >>> map_table({}, family).columns.to_list()
        ['map', 'judge', 'family', 'x', 'y']
    """
    names = pd.MultiIndex.from_product([list(maps), family.index], names=["map", "judge"])
    table = pd.DataFrame(index=names).reset_index()
    table["family"] = table["judge"].map(family)
    places = [np.empty((0, 2)), *maps.values()]
    table[["x", "y"]] = np.concatenate(places)
    return table
