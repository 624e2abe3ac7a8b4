"""Ask a reward model about every item of a bench, and keep what it says.

`judge` is for pairs: a table with a row a pair and the columns id, subset, problem, prompt, chosen
and rejected. Benches with more responses an item have rules of their own (`responses`).
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from dtreward.benches.bench import Bench
from dtreward.conversation import without_later_entries
from dtreward.engine.tokens import Unread
from dtreward.files import digest, write_atomically
from dtreward.models.comparison import Comparison, Comparisons, RewardModel
from dtreward.models.ensemble import Ensemble
from dtreward.models.head_model import HeadModel

PAIR_COLUMNS = ["id", "subset", "problem"]  # of the bench, repeated in its results
NUMBER_COLUMNS = ["preference", "probability", "swapped", "swap_flips", "no_verdict"]
LIST_COLUMNS = ["attributes", "rewards", "differences", "scores"]
ANSWER_COLUMNS = [*NUMBER_COLUMNS, *LIST_COLUMNS, "unread"]


def evaluate(
    model: RewardModel, bench: Bench | pd.DataFrame, path: str | Path, *, part: int = 64
) -> pd.DataFrame:
    """Give the results of the bench's `judge`, from the file `path` if it holds them already.

    Otherwise asks the model and writes `path`. Until all items are asked, a folder beside it holds
    the results of each `part` items, so that a run that was killed continues and ends with the same
    results. For an ensemble the folder keeps the results of each member, and scores are scaled and
    weighted at the end, over all items.

    Each row has a column `settings`, the same JSON in all rows: the model's identity and a digest
    of the bench. A file with other settings is not read but replaced.

    Args:
        bench: what `load_bench` gives, or a table of pairs: columns id, subset, problem, prompt,
            chosen, rejected.
        path: a Parquet file.
        part: items to ask before the next part is written.

    Raises:
        ValueError: if the model could not read a single item; with the reason for the first.
    """
    path = Path(path)
    items = bench.items if isinstance(bench, Bench) else bench
    settings = _settings(model, bench)
    folder = path.with_suffix(".parts")

    def ask_in_parts() -> pd.DataFrame:
        ask = bench.judge if isinstance(bench, Bench) else judge
        parts = []
        for start in tqdm(range(0, len(items), part), unit=" parts", leave=False):
            rows = items.iloc[start : start + part]
            file = folder / f"{start:06d}.parquet"
            parts.append(_stored(file, settings, len(rows), lambda rows=rows: ask(model, rows)))
        return pd.concat(parts, ignore_index=True)

    if isinstance(model, Ensemble):
        weigh = bench.weigh if isinstance(bench, Bench) else weigh_pairs
        by_member = {}
        for name, member in model.members.items():
            file = folder / f"{name.replace('/', '_')}.parquet"
            by_member[name] = evaluate(member, bench, file, part=part)
        results = _stored(path, settings, len(items), lambda: weigh(model, by_member, items))
    else:
        results = _stored(path, settings, len(items), ask_in_parts)
        shutil.rmtree(folder, ignore_errors=True)
    if (results["unread"] != "").all():
        path.unlink()  # the cause may be mended without a change of settings
        unit = bench.unit if isinstance(bench, Bench) else "pairs"
        reason = results["unread"].iloc[0]
        raise ValueError(f"none of {len(items)} {unit} could be read: {reason}")
    return results


def _settings(model: RewardModel, bench: Bench | pd.DataFrame) -> str:
    """Write all that changes the results; files of earlier versions say the same of RewardBench."""
    items = bench.items if isinstance(bench, Bench) else bench
    identity = {"model": model.identity, "bench": digest(f"{items.to_json()}")}
    if isinstance(bench, Bench) and bench.name != "RewardBench":
        identity["rules"] = bench.name
    return json.dumps(identity, sort_keys=True)


def judge(model: RewardModel, bench: pd.DataFrame) -> pd.DataFrame:
    """Ask a model about every pair, with the chosen response second; give a row a pair, in order.

    `correct` follows RewardBench's leaderboard. For a model that scores it is 1 or 0, and a tie
    counts 0. For a tree it is the mean of both orders (1, 0.5 or 0). Verdicts are asked for in both
    orders, and `correct` is their mean; an order without a verdict counts 0, and `no_verdict` is
    the share of such orders (0, 0.5 or 1).

    The other columns: `preference` (1 means right) and `probability` are for the chosen response,
    which stands second; `swapped` is the probability of the rejected response when that stands
    second. `rewards` and `scores` are of the rejected response, then of the chosen one. `unread` is
    "", or why the model could not read the pair (too long, blank, a score that is not finite); such
    a row has no numbers and is counted nowhere.

    Args:
        bench: columns id, subset, problem, prompt, chosen, rejected; a row a pair.
    """
    if isinstance(model, Ensemble):
        by_member = {name: judge(member, bench) for name, member in model.members.items()}
        return weigh_pairs(model, by_member, bench)
    prompts = bench["prompt"].tolist()
    rejected = bench["rejected"].tolist()
    chosen = bench["chosen"].tolist()
    comparisons = compare_pairs(model, prompts, rejected, chosen)
    return _as_results(model.kind, bench, [_answer(one) for one in comparisons])


def compare_pairs(
    model: RewardModel, prompts: list[str], first: list[str], second: list[str]
) -> Comparisons:
    """Compare pairs; if that fails, halve them until the pair that cannot be read stands alone.

    A pair that cannot be read, or of which a number is not finite, gives an `Unread`.
    """
    try:
        if isinstance(model, HeadModel):
            comparisons = model.compare_many(prompts, first, second, on_error="record")
        else:  # a user's own model may only raise
            comparisons = model.compare_many(prompts, first, second)
        return [_finite(comparison) for comparison in comparisons]
    except ValueError as error:
        if len(prompts) <= 1:
            reason = " ".join(str(error).split())
            return [Unread(0, reason or "ValueError") for _ in prompts]
    half = len(prompts) // 2
    before = compare_pairs(model, prompts[:half], first[:half], second[:half])
    after = compare_pairs(model, prompts[half:], first[half:], second[half:])
    return before + after


def _finite(comparison: Comparison | Unread) -> Comparison | Unread:
    if isinstance(comparison, Unread):
        return comparison
    numbers = [comparison.probability, comparison.scores or [], *comparison.rewards]
    if np.isfinite(np.hstack(numbers)).all():
        return comparison
    return Unread(0, "its probability, scores or rewards are not finite")


def _answer(comparison: Comparison | Unread) -> dict[str, Any]:
    """Give one row of results."""
    if isinstance(comparison, Unread):
        return {"unread": comparison.reason}
    swapped = 1 - comparison.probability
    if comparison.tree is not None:
        differences = np.array([comparison.differences])
        swapped = float(comparison.tree.probability(-differences)[0])
    no_verdict = comparison.no_verdict / 2
    return dict(comparison) | {"swapped": swapped, "no_verdict": no_verdict, "unread": ""}


def weigh_pairs(
    model: Ensemble, by_member: Mapping[str, pd.DataFrame], bench: pd.DataFrame
) -> pd.DataFrame:
    """Give an ensemble's results from its members', scaled over the pairs that all of them read."""
    reasons_by_pair = zip(*(results["unread"] for results in by_member.values()), strict=True)
    unread = [next((why for why in reasons if why), "") for reasons in reasons_by_pair]
    kept = pd.DataFrame({name: results["scores"].array for name, results in by_member.items()})
    kept = kept[np.array(unread) == ""]
    if kept.isna().any(axis=None):
        raise ValueError(
            f"members must give scores to be weighed; at least one of {list(kept)} gives none: "
            "leave it out of the ensemble"
        )
    scores = {}
    for name, pairs in kept.items():
        scores[name] = np.array([list(pair) for pair in pairs], float).ravel()
    comparisons = iter(model.compare_scores(scores))
    rows = [{"unread": why} if why else _answer(next(comparisons)) for why in unread]
    return _as_results(model.kind, bench, rows)


def _as_results(kind: str, bench: pd.DataFrame, rows: list[dict[str, Any]]) -> pd.DataFrame:
    answers = pd.DataFrame(rows, bench.index, ANSWER_COLUMNS)
    answers = answers.astype(dict.fromkeys(NUMBER_COLUMNS, float))
    if kind == "verdict":
        # An order without a verdict is half of one of two in the probability, and nothing here.
        answers["correct"] = answers["probability"] - answers["no_verdict"] / 2
    else:
        answers["correct"] = answers["preference"]
    if kind == "decision-tree":
        # Where swapping does not flip the preference, one of the two orders is right.
        answers["correct"] = answers["correct"].where(answers["swap_flips"] != 0, 0.5)
    return bench[PAIR_COLUMNS].join(answers)


def _stored(path: Path, settings: str, rows: int, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Read results with these settings, or make and write them; both ways give equal tables."""
    try:
        stored = pd.read_parquet(path)
    except (OSError, ValueError):  # the file is absent or damaged
        stored = pd.DataFrame()
    found = set(stored.get("settings", []))
    if len(stored) == rows and found in ({settings}, {_written_earlier(settings)}):
        if "no_verdict" in stored:
            return stored
        # Files of earlier versions do not say where a judge gave no verdict; its answers are kept.
        if json.loads(settings)["model"].get("kind") != "verdict":
            return stored.assign(no_verdict=np.where(stored["unread"] == "", 0.0, np.nan))
    made = make().assign(settings=settings)
    write_atomically(path, lambda target: made.to_parquet(target, index=False))
    return pd.read_parquet(path)


def _written_earlier(settings: str) -> str:
    """Give settings as earlier versions wrote them."""
    return json.dumps(without_later_entries(json.loads(settings)), sort_keys=True)
