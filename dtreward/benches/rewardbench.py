"""RewardBench: its pairs, what a reward model says of each, and the leaderboard's scores."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from huggingface_hub import snapshot_download
from tqdm.auto import tqdm

from dtreward.files import digest, write_atomically
from dtreward.models.comparison import RewardModel
from dtreward.models.ensemble import Ensemble
from dtreward.published import PUBLISHED
from dtreward.stats import Interval, alike_interval, bootstrap

REWARDBENCH = "allenai/reward-bench"
REVISION = "168d848cdbbea9764fae4a544dc9ca1e6cca4931"
COLUMNS = ["id", "prompt", "chosen", "chosen_model", "rejected", "rejected_model", "subset"]
TOLD = ["preference", "probability", "swapped", "swap_flips", "attributes", "rewards"]
TOLD += ["differences", "scores", "unread"]  # what is kept of a comparison
# (subsets, sections): a subset's number of pairs, but math-prm counts as much as all code.
WEIGHTS = pd.read_csv(PUBLISHED / "rewardbench_weights.csv", index_col="subset").fillna(0)


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


def evaluate(
    model: RewardModel, bench: pd.DataFrame, path: str | Path, *, part: int = 64
) -> pd.DataFrame:
    """Give what `judge` says, read from `path` where that is of this model and bench.

    Else it is written there, `part` pairs at a time into a folder beside it: a run that is killed
    goes on where it was, to the same result. Of an ensemble the folder keeps what each member says,
    and the scores are scaled and weighed at the end, over all pairs. `settings`, the same JSON in
    each row, is the model's identity and a digest of the bench; under others nothing is read.

    Raises:
        ValueError: if not one pair could be read; with the reason of the first.
    """
    path, told = Path(path), {"model": model.identity, "bench": digest(bench.to_json())}
    settings, folder = json.dumps(told, sort_keys=True), path.with_suffix(".parts")

    def in_parts(bench: pd.DataFrame) -> pd.DataFrame:
        parts, ask = [], partial(judge, model)
        for at in tqdm(range(0, len(bench), part), unit=" parts", leave=False):
            rows, file = bench.iloc[at : at + part], folder / f"{at:06d}.parquet"
            parts.append(_stored(file, settings, rows, ask))
        return pd.concat(parts, ignore_index=True)

    if isinstance(model, Ensemble):
        files = {name: folder / f"{name.replace('/', '_')}.parquet" for name in model.members}
        each = {n: evaluate(model.members[n], bench, files[n], part=part) for n in files}
        results = _stored(path, settings, bench, partial(_weighed, model, each))
    else:
        results = _stored(path, settings, bench, in_parts)
        shutil.rmtree(folder, ignore_errors=True)
    if (results["unread"] != "").all():
        path.unlink()  # the reason may be mended outside of the settings
        raise ValueError(f"none of {len(bench)} pairs could be read: {results['unread'].iloc[0]}")
    return results


def judge(model: RewardModel, bench: pd.DataFrame) -> pd.DataFrame:
    """Ask a model about every pair, with the chosen response second; a row a pair, in order.

    `correct` follows the leaderboard: of a score 1 or 0, and a tie loses; of a tree the mean of
    both orders (1, 0.5 or 0); of verdicts, which are asked for in both orders, their mean.
    `preference` (1 is right) and `probability` are for the chosen response in this order, `swapped`
    is the probability of the rejected one where that stands second. `rewards` and `scores` are of
    the rejected, then the chosen response. `unread` is "", or why the model could not read the pair
    (too long, blank, a score that is no number): such a row has no numbers, and is nowhere counted.
    """
    if isinstance(model, Ensemble):
        return _weighed(model, {n: judge(m, bench) for n, m in model.members.items()}, bench)
    texts = [bench[name].tolist() for name in ("prompt", "rejected", "chosen")]
    return _results(model.kind, bench, _compare(model, texts))


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


def section_intervals(
    results: pd.DataFrame, *, level: float = 0.95, **options: int
) -> dict[str, Interval]:
    """Give `section_scores` where there are pairs, with intervals; options are `bootstrap`'s.

    Whole problems are drawn: what is related stays together, also over subsets. A resample that
    lacks a subset is left out, where the subset counts. Where all pairs of a section count alike
    (all right, say) the interval is `stats.alike_interval`, which has a width: of Clopper and
    Pearson, for as many trials as problems if all weigh the same.
    """
    asked = pd.get_dummies(results["subset"], dtype=float)
    values, found = np.hstack([asked.mul(results["correct"], axis=0), asked]), {}
    for section, w in _weights(asked).dropna(axis=1).items():
        parts = asked @ (w / asked.sum()) / 100  # of the score, a pair's
        if len(alike := results["correct"][parts > 0].unique()) > 1:
            score = partial(_score, weights=w.to_numpy())
            found[section] = bootstrap(values, results["problem"], score, level=level, **options)
        else:
            share = parts.groupby(results["problem"]).sum().max()
            one = alike_interval(float(alike[0]), float(share), level=level)
            found[section] = Interval(*(100 * end for end in one.as_dict().values()))
    return found


@np.errstate(invalid="ignore")
def _score(means, weights):
    right, asked = np.split(means, 2, axis=-1)
    return np.where(weights, right / asked, 0) @ weights


def _compare(model, texts):
    """Compare pairs; one that cannot be read says why. It is found by halves: the others go on."""
    try:
        return [_row(each) for each in model.compare_many(*texts)]
    except ValueError as error:
        if len(texts[0]) == 1:
            return [{"unread": " ".join(f"{error}".split()) or "ValueError"}]
    half = len(texts[0]) // 2
    halves = [each[:half] for each in texts], [each[half:] for each in texts]
    return [row for part in halves for row in _compare(model, part)]


def _row(each):
    if not np.isfinite(np.hstack([each.probability, each.scores or [], *each.rewards])).all():
        return {"unread": "scores are not finite; load the model in bfloat16 or float32"}
    swapped = 1 - each.probability
    if each.tree is not None:
        swapped = float(each.tree.probability(-np.array([each.differences]))[0])
    return dict(each) | {"swapped": swapped, "unread": ""}


def _weighed(model, members, bench):
    """Results of an ensemble, from its members', scaled over the pairs that all of them read."""
    reasons = zip(*(each["unread"] for each in members.values()), strict=True)
    unread = [next(filter(None, row), "") for row in reasons]
    said = pd.DataFrame({name: each["scores"].array for name, each in members.items()})
    said = said[np.array(unread) == ""]
    if said.isna().any(axis=None):
        raise ValueError(f"members must give scores to be weighed, one of {list(said)} does not")
    scores = {name: np.array([*map(list, each)], float).ravel() for name, each in said.items()}
    pairs = iter(model.compare_scores(scores))
    rows = [{"unread": why} if why else _row(next(pairs)) for why in unread]
    return _results(model.kind, bench, rows)


def _results(kind, bench, rows):
    told = pd.DataFrame(rows, bench.index, TOLD)
    told = told.astype(dict.fromkeys(TOLD[:4], float))
    told["correct"] = told["probability" if kind == "verdict" else "preference"]
    if kind == "decision-tree":
        told["correct"] = told["correct"].where(told["swap_flips"] != 0, 0.5)
    return bench[["id", "subset", "problem"]].join(told)


def _stored(path, settings, bench, make):
    """Read the results of these settings, or make and write them; in one form either way."""
    try:
        found = pd.read_parquet(path)
        if len(found) == len(bench) and set(found.get("settings", [])) == {settings}:
            return found
    except (OSError, ValueError):  # absent or damaged
        pass
    made = make(bench).assign(settings=settings)
    write_atomically(path, lambda target: made.to_parquet(target, index=False))
    return pd.read_parquet(path)


def _weights(subsets):
    if unknown := set(subsets) - set(WEIGHTS.index):
        raise ValueError(f"expected subsets among {', '.join(WEIGHTS.index)}; found {unknown}")
    table = 100 * WEIGHTS.loc[list(subsets)] / WEIGHTS.loc[list(subsets)].sum()
    return table.assign(overall=table.mean(axis=1, skipna=False))
