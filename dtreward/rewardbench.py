"""RewardBench: its pairs, what a reward model says of each, and the leaderboard's scores."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from huggingface_hub import snapshot_download

from dtreward.comparison import RewardModel
from dtreward.record import digest, write_atomically
from dtreward.stats import Interval, bootstrap
from dtreward.tree import PUBLISHED

REWARDBENCH = "allenai/reward-bench"
REVISION = "168d848cdbbea9764fae4a544dc9ca1e6cca4931"
COLUMNS = ["id", "prompt", "chosen", "chosen_model", "rejected", "rejected_model", "subset"]
# (subsets, sections): a subset's number of pairs, but math-prm counts as much as all code.
WEIGHTS = pd.read_csv(PUBLISHED.with_name("rewardbench_weights.csv"), index_col="subset").fillna(0)


def load_bench(source: str, revision: str = "", limit: int = 0, seed: int = 0) -> pd.DataFrame:
    """Read the pairs: RewardBench's columns, and `problem`, a number that related pairs share.

    Related are pairs of one prompt, and those at one place of the hep-* subsets, which hold the
    same problems in six programming languages.

    Args:
        source: "allenai/reward-bench", a folder of its files (split filtered), or a Parquet file
            with its columns.
        revision: commit of allenai/reward-bench; "" means the pinned one.
        limit: pairs to draw from each subset; 0 means all.

    Raises:
        ValueError: for other files, columns or subsets than RewardBench's.
    """
    if source == REWARDBENCH:
        source = snapshot_download(source, repo_type="dataset", revision=revision or REVISION)
    paths = [source] if Path(source).is_file() else [*Path(source).rglob("filtered-*.parquet")]
    if not paths:
        raise ValueError(f"expected {REWARDBENCH}, a folder or Parquet file of it; got {source}")
    bench = pd.concat(map(pd.read_parquet, sorted(paths)), ignore_index=True)
    if missing := set(COLUMNS) - set(bench):
        raise ValueError(f"expected columns {COLUMNS}, missing {missing}, found {list(bench)}")
    _weights(bench["subset"].unique())
    if twice := int(bench.duplicated(COLUMNS).sum()):
        raise ValueError(f"{source}: {twice} rows repeat another; each pair counts once")
    code, place = bench["subset"].str.startswith("hep-"), bench.groupby("subset").cumcount()
    bench["problem"] = bench["prompt"].mask(code, place.map("hep-* at {}".format)).factorize()[0]
    drawn = bench.sample(frac=1, random_state=seed).groupby("subset").head(limit or len(bench))
    return drawn.sort_index().reset_index(drop=True)


def evaluate(model: RewardModel, bench: pd.DataFrame, path: str | Path) -> pd.DataFrame:
    """Give what `judge` says, read from `path` where that is of this model and bench.

    Otherwise it is written there. `settings`, the same JSON in each row, holds all that changes the
    result: weights, precision, attention, tokens, tree, versions, and a digest of the bench.
    """
    own = {name: getattr(model, name, None) for name in ("kind", "template", "weights", "limits")}
    own |= {"tree": (tree := getattr(model, "tree", None)) and tree.to_dict()}
    for name, each in getattr(model, "members", {"backbone": model}).items():
        own[name] = each.backbone.identity | each.backbone.chat.identity
    told = json.dumps(own | {"bench": digest(bench.to_json())}, sort_keys=True)
    if Path(path).exists() and set((found := pd.read_parquet(path))["settings"]) == {told}:
        return found
    results = judge(model, bench).assign(settings=told)
    write_atomically(path, lambda target: results.to_parquet(target, index=False))
    return results


def judge(model: RewardModel, bench: pd.DataFrame) -> pd.DataFrame:
    """Ask a model about every pair, with the chosen response second; a row a pair, in order.

    `correct` follows the leaderboard: of a score 1 or 0, and a tie loses; of a tree the mean of
    both orders (1, 0.5 or 0); of verdicts, which are asked for in both orders, their mean.
    `preference` (1 is right) and `probability` are for the chosen response in this order, `swapped`
    is the probability of the rejected one where that stands second. `rewards` and `scores` are of
    the rejected, then the chosen response.
    """
    texts = (bench[name].tolist() for name in ("prompt", "rejected", "chosen"))
    told = pd.DataFrame(map(dict, model.compare_many(*texts)))
    results = bench[["id", "subset", "problem"]].join(told.drop(columns=["path", "effective_rule"]))
    if not np.isfinite(told["probability"]).all():
        raise ValueError("scores are not finite; load the model in bfloat16 or float32")
    right = "probability" if model.kind == "verdict" else "preference"
    results["swapped"], results["correct"] = 1 - told["probability"], told[right].astype(float)
    if model.kind == "decision-tree":
        results["correct"] = results["correct"].where(told["swap_flips"], 0.5)
        results["swapped"] = model.tree.probability(-np.array(told["differences"].tolist()))
    return results


def section_scores(results: pd.DataFrame) -> pd.Series:
    """Score the sections and overall in percent; nan where a section has no pairs.

    A section is the mean of its subsets' accuracies, by `WEIGHTS`, overall the plain mean of the
    four. `results` has a row a pair: `subset`, and `correct` (1, 0 or between).

    >>> results = pd.DataFrame({"subset": ["math-prm", "hep-go", "hep-go"], "correct": [1, 1, 0]})
    >>> section_scores(results).round(1).to_dict()
    {'Chat': nan, 'Chat Hard': nan, 'Safety': nan, 'Reasoning': 92.9, 'overall': nan}
    """
    if results.empty or not results["correct"].between(0, 1).all():
        raise ValueError("expected correct from 0 to 1 in each row; drop pairs that nobody judged")
    accuracy = results.groupby("subset")["correct"].mean()
    return accuracy @ _weights(accuracy.index)


def section_intervals(results: pd.DataFrame, **options: int) -> dict[str, Interval]:
    """Give `section_scores` where there are pairs, with intervals; options are `bootstrap`'s.

    Whole problems are drawn: what is related stays together, also over subsets. A resample that
    lacks a subset is left out, where the subset counts.
    """
    asked = pd.get_dummies(results["subset"], dtype=float)
    values = np.hstack([asked.mul(results["correct"], axis=0), asked])
    return {
        section: bootstrap(values, results["problem"], lambda m, w=w: _score(m, w), **options)
        for section, w in _weights(asked).dropna(axis=1).items()
    }


@np.errstate(invalid="ignore")
def _score(means, weights):
    right, asked = np.split(means, 2, axis=-1)
    return np.where(weights, right / asked, 0) @ weights.to_numpy()


def _weights(subsets):
    if unknown := set(subsets) - set(WEIGHTS.index):
        raise ValueError(f"expected subsets among {', '.join(WEIGHTS.index)}; found {unknown}")
    table = 100 * WEIGHTS.loc[list(subsets)] / WEIGHTS.loc[list(subsets)].sum()
    return table.assign(overall=table.mean(axis=1, skipna=False))
