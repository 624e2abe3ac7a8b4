"""RewardBench: its pairs, and the scores of its sections as on its leaderboard."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from huggingface_hub import snapshot_download
from jaxtyping import Float

from dtreward.published import PUBLISHED
from dtreward.stats import Interval, alike_interval, bootstrap

REWARDBENCH = "allenai/reward-bench"
REVISION = "168d848cdbbea9764fae4a544dc9ca1e6cca4931"
COLUMNS = ["id", "prompt", "chosen", "chosen_model", "rejected", "rejected_model", "subset"]
# (subsets, sections): a subset's number of pairs, but math-prm counts as much as all code.
WEIGHTS = pd.read_csv(PUBLISHED / "rewardbench_weights.csv", index_col="subset").fillna(0)
SECTIONS = tuple(WEIGHTS)
SECTION_OF = WEIGHTS.idxmax(axis=1)  # of each subset


def load_bench(source: str, revision: str = "", limit: int = 0, seed: int = 0) -> pd.DataFrame:
    """Read the pairs: RewardBench's columns, and `problem`, a number that related pairs share.

    Pairs with the same prompt are related, and so are pairs at the same place of the hep-* subsets,
    which hold the same problems in six programming languages.

    Args:
        source: "allenai/reward-bench", a folder of its files (split filtered), or a Parquet file
            with its columns.
        revision: commit of allenai/reward-bench; "" means the pinned one.
        limit: pairs to draw from each subset; 0 means all.
        seed: decides which pairs are drawn.

    Raises:
        ValueError: if files, columns or subsets are not RewardBench's, or a pair comes twice.
    """
    bench = pd.concat(map(pd.read_parquet, _bench_files(source, revision)), ignore_index=True)
    missing = set(COLUMNS) - set(bench)
    if missing:
        raise ValueError(
            f"{source}: missing {missing}; a bench has the columns "
            f"{COLUMNS}, this one has {list(bench)}"
        )
    section_weights(bench["subset"].unique())
    repeated = int(bench.duplicated(COLUMNS).sum())
    if repeated:
        raise ValueError(f"{source}: {repeated} rows repeat another row; remove them")
    is_code = bench["subset"].str.startswith("hep-")
    place = bench.groupby("subset").cumcount()
    problem = bench["prompt"].mask(is_code, place.map("hep-* at {}".format))
    bench["problem"] = problem.factorize()[0]
    shuffled = bench.sample(frac=1, random_state=seed)
    drawn = shuffled.groupby("subset").head(limit or len(bench))
    return drawn.sort_index().reset_index(drop=True)


def _bench_files(source: str, revision: str) -> list[Path]:
    folder = Path(source)
    if source == REWARDBENCH:
        revision = revision or REVISION
        folder = Path(snapshot_download(source, repo_type="dataset", revision=revision))
    if folder.is_file():
        return [folder]
    files = sorted(folder.rglob("filtered-*.parquet"))
    if not files:
        raise ValueError(
            f"{source} is no bench; expected {REWARDBENCH}, a folder or Parquet file of it"
        )
    return files


def section_coverage(bench: pd.DataFrame) -> pd.DataFrame:
    """Count the subsets, pairs and problems of each section, and its share of the section's weight.

    The share is below 1 where the bench lacks some of the section's subsets.

    >>> bench = pd.DataFrame({"subset": ["math-prm", "math-prm"], "id": [1, 2], "problem": [1, 1]})
    >>> section_coverage(bench).loc["Reasoning"].tolist()
    [1.0, 2.0, 1.0, 0.5]
    """
    by_section = bench.groupby(bench["subset"].map(SECTION_OF))
    counts = by_section.agg(
        subsets=("subset", "nunique"), pairs=("id", "size"), problems=("problem", "nunique")
    )
    coverage = counts.reindex(SECTIONS, fill_value=0)
    weight = WEIGHTS.loc[bench["subset"].unique()].sum() / WEIGHTS.sum()
    return coverage.assign(**{"share of the section's weight": weight})


def section_scores(results: pd.DataFrame) -> pd.Series:
    """Score the sections and overall in percent; nan where a section has no pairs.

    A section is the mean of its subsets' accuracies, by `WEIGHTS`; overall is the plain mean of the
    four. `results` has a row a pair: `subset`, and `correct` (1, 0 or between).

    >>> results = pd.DataFrame({"subset": ["math-prm", "hep-go", "hep-go"], "correct": [1, 1, 0]})
    >>> section_scores(results).round(1).to_dict()
    {'Chat': nan, 'Chat Hard': nan, 'Safety': nan, 'Reasoning': 92.9, 'overall': nan}
    """
    if results.empty or not results["correct"].between(0, 1).all():
        raise ValueError(
            "expected correct from 0 to 1 in each row; drop pairs that nobody judged, as "
            "results[results['unread'] == ''] does"
        )
    accuracy = results.groupby("subset")["correct"].mean()
    return accuracy @ section_weights(accuracy.index)


def section_intervals(
    results: pd.DataFrame, *, level: float = 0.95, **options: int
) -> dict[str, Interval]:
    """Give the `section_scores` that there are pairs for, each with its interval, in percent.

    Whole problems are drawn, so that related pairs stay together, also across subsets. A resample
    without any pair of a subset that counts is left out. Where all pairs of a section have the same
    value (all are right, say), a bootstrap would give an interval without width; the interval is
    then `stats.alike_interval`, which is that of Clopper and Pearson with a problem as a trial,
    and wider where some problems weigh more than others.

    Args:
        results: a row a pair: `subset`, `problem`, and `correct` (1, 0 or between).
        level: of the intervals.
        options: `resamples` and `seed` of `stats.bootstrap`.
    """
    in_subset = pd.get_dummies(results["subset"], dtype=float)  # (pairs, subsets)
    right = in_subset.mul(results["correct"], axis=0)
    values = np.hstack([right, in_subset])
    intervals = {}
    for section, weights in section_weights(in_subset).dropna(axis=1).items():
        share = in_subset @ (weights / in_subset.sum()) / 100  # of the score, for each pair
        different = results["correct"][share > 0].unique()
        if len(different) > 1:
            score = partial(_weighted_score, weights=weights.to_numpy())
            intervals[section] = bootstrap(
                values, results["problem"], score, level=level, **options
            )
        else:
            largest = share.groupby(results["problem"]).sum().max()
            alike = alike_interval(float(different[0]), float(largest), level=level)
            intervals[section] = Interval(100 * alike.estimate, 100 * alike.low, 100 * alike.high)
    return intervals


@np.errstate(invalid="ignore")
def _weighted_score(
    means: Float[np.ndarray, "... twice_subsets"], weights: Float[np.ndarray, " subsets"]
) -> Float[np.ndarray, "..."] | float:
    """Give a section's score from the means over pairs of `right` and of `in_subset`."""
    right, asked = np.split(means, 2, axis=-1)
    return np.where(weights, right / asked, 0) @ weights


def section_weights(subsets: Iterable[str]) -> pd.DataFrame:
    """Give the percent that each subset has of the sections and overall, (subsets, sections)."""
    unknown = set(subsets) - set(WEIGHTS.index)
    if unknown:
        raise ValueError(f"expected subsets among {', '.join(WEIGHTS.index)}; found {unknown}")
    weights = WEIGHTS.loc[list(subsets)]
    table = 100 * weights / weights.sum()
    return table.assign(overall=table.mean(axis=1, skipna=False))
