"""The models that a study evaluates on a bench, opened one by one, and baselines by length."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dtreward.benches.bench import Bench, never_decides
from dtreward.benches.evaluation import evaluate
from dtreward.judges.judge import Judge
from dtreward.models.catalogue import model_label
from dtreward.models.comparison import Comparison, Comparisons, OnError, Prompts, RewardModel, Texts
from dtreward.models.endpoint import JudgeModel
from dtreward.models.head_model import HeadModel
from dtreward.models.loader import load

Entry = str | Mapping[str, Any]  # a folder, hub id or name; or {name, model, endpoint} of a judge


def entry_name(entry: Entry) -> str:
    """Name a model by its `dtreward.models.catalogue.model_label`, or as its judge is named.

    >>> entry_name("data/demo/checkpoint"), entry_name({"name": "GPT-4o", "model": "gpt-4o"})
    ('demo/checkpoint', 'GPT-4o')
    """
    if isinstance(entry, Mapping):
        return entry["name"]
    return model_label(entry)


def open_entry(
    entry: Entry, answers: str | Path, *, revision: str | None = None, **options: Any
) -> RewardModel:
    """Open the reward model of an entry; of a prompt that is too long, the start is cut.

    Args:
        answers: file in which a judge keeps its answers; other models leave it alone.
        revision: commit of a hub id.
        options: `device`, `dtype` and `attention` of `load`.
    """
    if isinstance(entry, Mapping):
        return JudgeModel(Judge(**entry), Path(answers))
    return load(entry, revision=revision, too_long="cut_prompt_start", **options)


def evaluate_or_say_why(
    model: RewardModel, bench: Bench | pd.DataFrame, path: str | Path
) -> pd.DataFrame:
    """Evaluate a model (`evaluate`), and refuse results that no score can be made of.

    Raises:
        ValueError: if it read fewer than two problems, too few for an interval, or never gave a
            verdict; the results are kept.
    """
    results = evaluate(model, bench, path)
    read = rows_read(results)
    if read["problem"].nunique() < 2:
        raise ValueError(f"fewer than two problems could be read: {set(results['unread'])}")
    if never_decides(read):
        raise ValueError(
            f"no verdict: 100 % of the questions about {len(read):,} items; its answers name no "
            "response: see whether max_tokens ends them before their verdict"
        )
    return results


def evaluate_each(
    model: RewardModel, benches: Mapping[str, Bench], folder: Path, file: str
) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """Evaluate a model on several benches; give results by bench, and why others have none.

    Args:
        folder: holds a folder for each bench, in which results are kept.
        file: name of the model's file in each.
    """
    results = {}
    failed = {}
    for title, bench in benches.items():
        path = folder / title.replace("/", "_").replace(" ", "_").lower() / file
        try:
            results[title] = evaluate_or_say_why(model, bench, path)
        except (ValueError, RuntimeError) as error:
            failed[title] = " ".join(f"{error}".split())
    return results, failed


class LongestResponse(RewardModel):
    """The baseline that scores a response by its number of words."""

    kind = "score"

    @property
    def identity(self) -> dict[str, Any]:
        """Its name: nothing else changes its answers."""
        return {"kind": self.kind, "score": "words"}

    def compare_many(
        self,
        prompts: Prompts,
        responses1: Texts,
        responses2: Texts,
        *,
        on_error: OnError = "error",
    ) -> Comparisons:
        """Compare many pairs by their words.

        >>> LongestResponse().compare_many(["?"], ["a b"], ["a"])[0].preference
        0
        """
        comparisons: Comparisons = []
        for one, other in zip(responses1, responses2, strict=True):
            scores = np.array([len(one.split()), len(other.split())], float)
            comparison = Comparison.of(scores[:, None], attributes=["words"], scores=scores)
            comparisons.append(comparison)
        return comparisons


def decided_by(results: pd.DataFrame) -> str:
    """Give the kind of model that the results of `evaluate` are of, such as "decision-tree"."""
    return json.loads(results["settings"].iloc[0])["model"]["kind"]


def rows_read(results: pd.DataFrame) -> pd.DataFrame:
    """Give the rows of the pairs that the model could read.

    >>> rows_read(pd.DataFrame({"correct": [1.0, None], "unread": ["", "blank"]}))["correct"].tolist()
    [1.0]
    """
    return results[results["unread"] == ""]


def count_cut_prompts(model: RewardModel, pairs: pd.DataFrame) -> int | None:
    """Count the pairs whose prompt is cut because it is too long; None where a model cuts nothing.

    Args:
        pairs: columns prompt, chosen, rejected; pairs that the model can read.
    """
    if not isinstance(model, HeadModel):
        return None
    token_ids = model.backbone.chat.token_ids
    count = 0
    for prompt, chosen, rejected in zip(
        pairs["prompt"], pairs["chosen"], pairs["rejected"], strict=True
    ):
        if token_ids(prompt, chosen).cut or token_ids(prompt, rejected).cut:
            count += 1
    return count


def words_longer(bench: pd.DataFrame) -> np.ndarray:
    """Give the words of the chosen response minus the words of the rejected one, shape (pairs,).

    >>> words_longer(pd.DataFrame({"chosen": ["one two three"], "rejected": ["one"]})).tolist()
    [2.0]
    """
    chosen = bench["chosen"].str.split().str.len()
    rejected = bench["rejected"].str.split().str.len()
    return (chosen - rejected).to_numpy(float)


def length_baselines(bench: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Give the results of preferring the longest, and the shortest, response, in words.

    A pair of equal lengths counts half in `correct`, and 0 in `preference`.

    >>> bench = pd.DataFrame({"chosen": ["a b", "a"], "rejected": ["a", "b"]})
    >>> bench = bench.assign(id=0, subset="", problem=0)
    >>> {name: rows["correct"].tolist() for name, rows in length_baselines(bench).items()}
    {'longest response': [1.0, 0.5], 'shortest response': [0.0, 0.5]}
    """
    longer = words_longer(bench)
    baselines = {}
    for name, gap in {"longest response": longer, "shortest response": -longer}.items():
        won = (np.sign(gap) + 1) / 2
        baselines[name] = bench[["id", "subset", "problem"]].assign(
            correct=won, probability=won, preference=np.floor(won), unread=""
        )
    return baselines


def length_parts(
    bench: pd.DataFrame, read: Iterable[pd.DataFrame], *, parts: int = 5, smallest: int = 10
) -> list[np.ndarray]:
    """Cut the pairs, in order of `words_longer`, into parts of equal size; give their row numbers.

    A part is left out where the bench, or one of the results, has fewer than two problems in it: it
    could have no interval.

    Args:
        read: results of the pairs that each model has read.
        parts: how many; fewer if a part had less than `smallest` pairs.

    >>> bench = pd.DataFrame({"chosen": ["a b c", "a", "a b", "a b"], "rejected": ["a"] * 4})
    >>> bench["problem"] = range(4)
    >>> [rows.tolist() for rows in length_parts(bench, [bench], parts=2, smallest=2)]
    [[1, 2], [0, 3]]
    """
    count = min(parts, max(1, len(bench) // smallest))
    ranks = pd.Series(words_longer(bench)).rank(method="first")
    part = pd.qcut(ranks, count, labels=False)
    problems = [bench["problem"], *(results["problem"] for results in read)]
    kept = []
    for rows in part.groupby(part).indices.values():
        if all(column[column.index.isin(rows)].nunique() > 1 for column in problems):
            kept.append(rows)
    return kept
