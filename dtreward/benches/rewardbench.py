"""RewardBench: its pairs, and the scores of its sections as on its leaderboard."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from huggingface_hub import snapshot_download

from dtreward.benches.bench import Bench, NoVerdict
from dtreward.benches.evaluation import judge, weigh_pairs
from dtreward.benches.scoring import OTHER, Parts, one_part_each
from dtreward.models.comparison import RewardModel
from dtreward.models.ensemble import Ensemble
from dtreward.pairs.readers import read_table
from dtreward.published import PUBLISHED
from dtreward.stats import Interval

REWARDBENCH = "allenai/reward-bench"
REVISION = "168d848cdbbea9764fae4a544dc9ca1e6cca4931"
COLUMNS = ["id", "prompt", "chosen", "chosen_model", "rejected", "rejected_model", "subset"]
# (subsets, sections): a subset's number of pairs, but math-prm counts as much as all code.
WEIGHTS = pd.read_csv(PUBLISHED / "rewardbench_weights.csv", index_col="subset").fillna(0)
SECTIONS = tuple(WEIGHTS)
SECTION_OF = WEIGHTS.idxmax(axis=1)  # of each subset


@dataclass(frozen=True, eq=False)
class RewardBench(Bench):
    """Pairs in 23 subsets and four sections; overall is the plain mean of the sections.

    A tree, a judge and a critic are asked in both orders, and the mean counts. A tie of scores
    counts as wrong.

    Source: Lambert and others (2024), arXiv 2403.13787, and its code, allenai/reward-bench.
    """

    name = "RewardBench"
    repository = REWARDBENCH
    unit = "pairs"
    sections = SECTIONS

    def judge(self, model: RewardModel, items: pd.DataFrame) -> pd.DataFrame:
        """Ask about pairs (`evaluation.judge`)."""
        return judge(model, items)

    def weigh(
        self, model: Ensemble, by_member: Mapping[str, pd.DataFrame], items: pd.DataFrame
    ) -> pd.DataFrame:
        """Give an ensemble's results from those of its members."""
        return weigh_pairs(model, by_member, items)

    def parts(self, results: pd.DataFrame, *, no_verdict: NoVerdict = "wrong") -> Parts:
        """Make each subset a part; see `section_weights`."""
        correct = count_no_verdict(results, no_verdict)
        values = one_part_each(correct, results["subset"])
        return Parts(values, section_weights(results["subset"]).loc[values.columns])

    def section_of(self, subsets: pd.Series) -> pd.Series:
        """Give the section of each subset; `OTHER` for one that is not RewardBench's."""
        return sections_of_subsets(subsets)


def load_rewardbench(
    source: str, revision: str = "", limit: int = 0, seed: int = 0
) -> pd.DataFrame:
    """Read the pairs: RewardBench's columns, and `problem`, a number that related pairs share.

    Pairs with the same prompt are related, and so are pairs at the same place of the hep-* subsets,
    which hold the same problems in six programming languages.

    Args:
        source: "allenai/reward-bench", a folder of its files (split filtered), or a file (Parquet,
            JSON, JSONL) with its columns. Its subsets may be others than RewardBench's.
        revision: commit of allenai/reward-bench; "" means the pinned one.
        limit: pairs to draw from each subset; 0 means all.
        seed: decides which pairs are drawn.

    Raises:
        ValueError: if files or columns are not RewardBench's, or a pair comes twice.
    """
    bench = pd.concat(map(read_table, _bench_files(source, revision)), ignore_index=True)
    missing = set(COLUMNS) - set(bench)
    if missing:
        raise ValueError(
            f"{source}: missing {missing}; a bench has the columns "
            f"{COLUMNS}, this one has {list(bench)}"
        )
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


def sections_of_subsets(subsets: pd.Series) -> pd.Series:
    """Give the section of each subset; `OTHER` for one that is not RewardBench's.

    >>> sections_of_subsets(pd.Series(["math-prm", "my subset"])).tolist()
    ['Reasoning', 'Other']
    """
    return subsets.map(SECTION_OF).fillna(OTHER)


def section_coverage(bench: pd.DataFrame) -> pd.DataFrame:
    """Count the subsets, pairs and problems of each section, and its share of the section's weight.

    The share is below 1 where the bench lacks some of the section's subsets. Subsets that are not
    RewardBench's form the section Other, which stands last where there are any.

    >>> bench = pd.DataFrame({"subset": ["math-prm", "math-prm"], "id": [1, 2], "problem": [1, 1]})
    >>> section_coverage(bench).loc["Reasoning"].tolist()
    [1.0, 2.0, 1.0, 0.5]
    """
    by_section = bench.groupby(sections_of_subsets(bench["subset"]))
    counts = by_section.agg(
        subsets=("subset", "nunique"), pairs=("id", "size"), problems=("problem", "nunique")
    )
    rows = [*SECTIONS, *(name for name in counts.index if name == OTHER)]
    coverage = counts.reindex(rows, fill_value=0)
    known = [name for name in bench["subset"].unique() if name in WEIGHTS.index]
    weight = (WEIGHTS.loc[known].sum() / WEIGHTS.sum()).reindex(rows, fill_value=1.0)
    return coverage.assign(**{"share of the section's weight": weight})


def section_scores(results: pd.DataFrame, *, no_verdict: NoVerdict = "wrong") -> pd.Series:
    """Score the sections and overall in percent; nan where a section has no pairs.

    A section is the mean of its subsets' accuracies, by `WEIGHTS`; overall is the plain mean of the
    four. Subsets that are not RewardBench's form the section Other, the mean over its pairs, which
    overall leaves out. `results` has a row a pair: `subset`, and `correct` (1, 0 or between).

    >>> results = pd.DataFrame({"subset": ["math-prm", "hep-go", "hep-go"], "correct": [1, 1, 0]})
    >>> section_scores(results).round(1).to_dict()
    {'Chat': nan, 'Chat Hard': nan, 'Safety': nan, 'Reasoning': 92.9, 'overall': nan}
    """
    return RewardBench(results).scores(results, no_verdict=no_verdict)


def section_intervals(
    results: pd.DataFrame,
    *,
    no_verdict: NoVerdict = "wrong",
    level: float = 0.95,
    **options: int,
) -> dict[str, Interval]:
    """Give the `section_scores` that there are pairs for, each with its interval, in percent.

    Args:
        results: a row a pair: `subset`, `problem`, and `correct` (1, 0 or between).
        no_verdict: as for `Bench.scores`.
        level: of the intervals, which `scoring.Parts.intervals` describes.
        options: `resamples` and `seed` of `stats.bootstrap`.
    """
    bench = RewardBench(results)
    return bench.intervals(results, no_verdict=no_verdict, level=level, **options)


def count_no_verdict(results: pd.DataFrame, no_verdict: NoVerdict) -> pd.Series:
    """Give `correct`, where each order without a verdict counts nothing, or half a point.

    >>> results = pd.DataFrame({"correct": [0.5, 0.0], "no_verdict": [0.5, 1.0]})
    >>> count_no_verdict(results, "half").tolist(), count_no_verdict(results, "wrong").tolist()
    ([0.75, 0.5], [0.5, 0.0])
    """
    if no_verdict == "half" and "no_verdict" in results:
        return results["correct"] + results["no_verdict"] / 2
    return results["correct"]


def section_weights(subsets: pd.Series) -> pd.DataFrame:
    """Give the percent that each subset has of the sections and overall, (subsets, sections).

    Args:
        subsets: of each pair; how often an unknown one comes is its weight in the section Other.
    """
    counts = subsets.value_counts(sort=False)
    known = WEIGHTS.reindex(counts.index).fillna(0)
    table = 100 * known / known.sum()
    table["overall"] = table.mean(axis=1, skipna=False)
    others = counts.mask(counts.index.isin(WEIGHTS.index), 0)
    if others.any():
        table.insert(len(SECTIONS), OTHER, 100 * others / others.sum())
    return table
