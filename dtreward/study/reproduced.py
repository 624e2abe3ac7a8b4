"""Set the published numbers beside those that a study has recomputed from the same data set.

A published value is rounded: it lies in an interval if a value does that is rounded to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations, combinations_with_replacement
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Real, Shaped

from dtreward.benches.published_scores import COLUMNS as SCORES
from dtreward.pairs.frame import differences, response_index, responses
from dtreward.pairs.votes import merge_votes
from dtreward.published import PUBLISHED
from dtreward.stats import Interval, accuracy_interval, resampled_rows, resampled_sums
from dtreward.tree.tree import TREES, Differences, PreferenceTree

COLUMNS = [
    "kind",
    "number",
    "published",
    "reproduced",
    "low",
    "high",
    "difference",
    "inside",
    "note",
]
ENDS = (0.025, 0.975)  # of the resamples, for an interval of 95 %


@dataclass(frozen=True)
class Votes:
    """The pairs that one judge decided.

    Attributes:
        differences: response 2 minus response 1, a column for each published attribute.
        preference: 0 (response 1) or 1 (response 2) of each pair.
        prompts: of each pair.
    """

    differences: Differences
    preference: Int[np.ndarray, " pairs"]
    prompts: Shaped[np.ndarray, " pairs"]


def votes_of_judges(
    frame: pd.DataFrame, judges: pd.DataFrame, attributes: Sequence[str]
) -> dict[str, Votes]:
    """Gather what each judge decided, and people ("Human") on the pairs that judges were asked about.

    Args:
        frame: pairs as notebook 01 writes them.
        judges: verdicts as notebook 06 writes them.
        attributes: columns of the differences; a missing rating counts as no difference.
    """
    pairs = merge_votes(frame, attributes)
    votes = judges.pivot(index="pair", columns="judge", values="preference")
    votes["Human"] = pairs["preference"].loc[votes.index]
    decided = {}
    for judge in votes:
        preference = votes[judge].dropna().astype(int)
        own = pairs.loc[preference.index]
        values = differences(own, attributes, missing=0.0)
        decided[judge] = Votes(values, preference.to_numpy(), own["prompt_id"].to_numpy())
    return decided


def votes_on_rewards(
    frame: pd.DataFrame, rewards: pd.DataFrame, attributes: Sequence[str]
) -> Votes:
    """Gather people's preferences, with the differences of the rewards that a model predicts.

    Args:
        frame: pairs as notebook 01 writes them.
        rewards: as notebook 03 writes them.
    """
    is_decided = frame["preference"].notna().to_numpy()
    index = response_index(frame, responses(frame, attributes))[is_decided]
    values = rewards[list(attributes)].to_numpy()
    decided = frame[is_decided]
    preference = decided["preference"].to_numpy(int)
    prompts = decided["prompt_id"].to_numpy()
    return Votes(values[index[:, 1]] - values[index[:, 0]], preference, prompts)


def half_unit(printed: str) -> float:
    """Give half a unit of the last digit of a printed number: how far rounding may have moved it.

    Example:
        >>> half_unit("0.98"), half_unit("71.8"), half_unit("3.1e-05")
        (0.005, 0.05, 5e-07)
    """
    return float(Decimal(5).scaleb(Decimal(printed).as_tuple().exponent - 1))


def compare_ratings(frame: pd.DataFrame, *, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Compare the share of each rating, and the correlations of ratings, with the published ones.

    Intervals are 95 % bootstraps over prompts.

    Args:
        frame: pairs of HelpSteer2, as notebook 01 writes them; a response that lacks a rating is
            left out.

    Returns:
        A row a number: kind, number (which one), published, reproduced, low, high, difference
        (reproduced minus published), inside (whether the published value lies in the interval),
        note.
    """
    shares = pd.read_csv(PUBLISHED / "rating_distribution.csv", index_col="attribute", dtype=str)
    attributes = list(shares.index)
    rated = responses(frame, attributes).dropna(subset=attributes)
    prompts = rated["prompt_id"].to_numpy()
    printed = shares.stack()
    is_so = np.column_stack([rated[name] == float(rating) for name, rating in printed.index])
    intervals = _ratio_intervals(is_so, np.ones_like(is_so), prompts, resamples, seed)
    rows = []
    for ((name, rating), text), interval in zip(printed.items(), intervals, strict=True):
        rows.append(_row("share of a rating", f"{name} {rating}", text, interval))
    known = pd.read_csv(PUBLISHED / "correlation.csv", index_col="attribute", dtype=str)
    couples = list(combinations(attributes, 2))
    intervals = _correlations(rated[attributes].to_numpy(float), prompts, resamples, seed)
    for (one, other), interval in zip(couples, intervals, strict=True):
        row = _row("correlation of ratings", f"{one} and {other}", known.loc[one, other], interval)
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def compare_judges(judges: pd.DataFrame, importances: pd.DataFrame) -> pd.DataFrame:
    """Compare the consistency of each judge, and the importances of its trees, with the published.

    Args:
        judges: as notebook 07 writes them: judge, consistency, consistency_low, consistency_high.
        importances: as notebook 07 writes them: judge, attribute, importance (the mean over its
            resampled trees), low, high (the range of 95 % of them).

    Returns:
        Rows as `compare_ratings` gives them, of the judges that were published, too.
    """
    rows = []
    consistency = pd.read_csv(PUBLISHED / "consistency.csv", index_col="judge", dtype=str)
    for one in judges.to_dict("records"):
        if one["judge"] in consistency.index:
            ends = [100 * one[f"consistency{end}"] for end in ("", "_low", "_high")]
            printed = consistency.loc[one["judge"], "consistency_pct"]
            rows.append(_row("consistency, %", one["judge"], printed, Interval(*ends)))
    known = pd.read_csv(PUBLISHED / "importances.csv", index_col="judge", dtype=str)
    for one in importances.to_dict("records"):
        if one["judge"] in known.index and one["attribute"] in known:
            printed = known.loc[one["judge"], one["attribute"]]
            interval = Interval(one["importance"], one["low"], one["high"])
            rows.append(
                _row("importance", f"{one['judge']}, {one['attribute']}", printed, interval)
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def compare_tree(
    name: str,
    votes: Votes,
    *,
    bootstraps: int = 100,
    min_leaf: int = 10,
    resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the numbers of a published tree with those of the same pairs and of a tree of our own.

    The shares of the pairs and of preferences are those of our pairs at the nodes of the published
    tree. A threshold is that of our tree, at the same place, if it asks for the same attribute; its
    interval is the range of 95 % of the trees on resampled prompts that ask for it there.

    Args:
        name: of a published tree.
        votes: the pairs that its judge decided.
        bootstraps: trees on resampled prompts.
        min_leaf: fewest pairs in a leaf of our trees.

    Returns:
        Rows as `compare_ratings` gives them.
    """
    tree = PreferenceTree.published(name)
    places = list(_printed_nodes(json.loads(TREES.read_text(encoding="utf-8"))[name]))
    passes = _passed_nodes(tree, votes.differences)
    prefers = passes & (votes.preference == 1)[:, None]
    options = (votes.prompts, resamples, seed)
    shares = _ratio_intervals(passes, np.ones_like(passes), *options)
    preferences = _ratio_intervals(prefers, passes, *options)
    fits = _fits(tree, votes, bootstraps, min_leaf, seed)
    rows = []
    for node, (place, printed) in enumerate(places):
        where = tree.conditions()[node] or "all pairs"
        if tree.is_split[node]:
            rows.append(_threshold_row(name, where, place, printed, fits))
        if node:
            kind = f"tree of {name}, % of pairs"
            rows.append(_row(kind, where, printed["share_pct"], _in_percent(shares[node])))
        kind = f"tree of {name}, prefers response 2"
        rows.append(_row(kind, where, printed["value"][1], preferences[node]))
    return pd.DataFrame(rows, columns=COLUMNS)


def compare_scores(board: pd.DataFrame) -> pd.DataFrame:
    """Compare the scores on RewardBench of the models whose measured score may be compared.

    Args:
        board: as notebook 09 writes it, with a row "difference" of each such model.

    Returns:
        Rows as `compare_ratings` gives them.
    """
    published = pd.read_csv(PUBLISHED / "leaderboard.csv", index_col="model", dtype=str)
    by_row = board.set_index(["model", "row"])
    rows = []
    for model in board.loc[board["row"] == "difference", "model"]:
        measured = by_row.loc[(model, "measured")]
        compared = by_row.loc[(model, "difference"), SCORES].dropna().index
        note = "mean of both orders" if (model, "chosen second") in by_row.index else ""
        for section in compared:
            printed = published.loc[model, section.lower().replace(" ", "_")]
            ends = measured[[section, f"{section} low", f"{section} high"]].astype(float)
            rows.append(
                _row("score on RewardBench", f"{model}, {section}", printed, Interval(*ends), note)
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Write a table of compared numbers for people, an interval in one cell.

    Args:
        table: rows as `compare_ratings` gives them.
    """
    numbers = table[["published", "reproduced", "low", "high", "difference"]]
    written = numbers.map(lambda value: "–" if np.isnan(value) else f"{value:.4g}")
    text = table[["kind", "number"]].copy()
    text["published"] = written["published"]
    text["reproduced"] = written["reproduced"]
    text["difference"] = written["difference"]
    text["95 % interval"] = "[" + written["low"] + ", " + written["high"] + "]"
    text["published lies in it"] = table["inside"].map({True: "yes", False: "no"})
    text["note"] = table["note"]
    return text.replace({"95 % interval": {"[–, –]": "–"}})


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Count by kind how many published numbers lie in the interval of what was reproduced.

    Returns:
        A row a kind, in order: numbers, inside, largest difference (its size).
    """
    by_kind = table.assign(size=table["difference"].abs()).groupby("kind", sort=False)
    columns = {"numbers": ("number", "size"), "inside": ("inside", "sum")}
    columns["largest difference"] = ("size", "max")
    return by_kind.agg(**columns).astype({"inside": int})


def _row(
    kind: str, number: str, printed: Any, interval: Interval, note: str = ""
) -> dict[str, Any]:
    text = str(printed)
    value = float(text)
    slack = half_unit(text)
    return {
        "kind": kind,
        "number": number,
        "published": value,
        "reproduced": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "difference": interval.estimate - value,
        "inside": bool(interval.low - slack <= value <= interval.high + slack),
        "note": note,
    }


def _in_percent(interval: Interval) -> Interval:
    return Interval(100 * interval.estimate, 100 * interval.low, 100 * interval.high)


def _printed_nodes(root: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Mapping]]:
    """Give each node of a published tree, in preorder, with its place: "LR" is left, then right."""
    yield place, root
    if "attribute" in root:
        yield from _printed_nodes(root["left"], f"{place}L")
        yield from _printed_nodes(root["right"], f"{place}R")


def _passed_nodes(
    tree: PreferenceTree, differences: Differences
) -> Bool[np.ndarray, "pairs nodes"]:
    """Mark the nodes that each pair passes, its leaf and the root among them."""
    passes = np.zeros((len(differences), len(tree.feature)), bool)
    passes[np.arange(len(differences)), tree.apply(differences)] = True
    for node in reversed(tree.splits):
        passes[:, node] = passes[:, tree.left[node]] | passes[:, tree.right[node]]
    return passes


def _fits(
    tree: PreferenceTree, votes: Votes, bootstraps: int, min_leaf: int, seed: int
) -> list[PreferenceTree]:
    """Fit our own tree to all pairs, and one to each resample of prompts, responses as given."""
    everything = np.arange(len(votes.preference))
    fits = []
    for rows in (everything, *resampled_rows(votes.prompts, bootstraps, seed=seed)):
        if len(np.unique(votes.preference[rows])) == 2:
            grown = PreferenceTree.fit(
                votes.differences[rows],
                votes.preference[rows],
                attributes=tree.attributes,
                min_leaf=min_leaf,
                seed=seed,
            )
            fits.append(grown)
    return fits


def _threshold_row(
    name: str, where: str, place: str, printed: Mapping[str, Any], fits: Sequence[PreferenceTree]
) -> dict[str, Any]:
    """Compare one threshold; the note says how many resampled trees ask for the same attribute."""
    attribute = printed["attribute"]
    ours, *resampled = [_question_at(tree, place) for tree in fits]
    same = [threshold for asked, threshold in resampled if asked == attribute]
    is_same = ours[0] == attribute
    low, high = np.quantile(same, ENDS).tolist() if same else (np.nan, np.nan)
    interval = Interval(ours[1] if is_same else np.nan, low, high)
    note = f"{len(same)} of {len(resampled)} resampled trees ask for {attribute} here"
    if not is_same:
        note = f"ours asks for {ours[0]}; {note}"
    kind = f"tree of {name}, threshold"
    row = _row(kind, f"{where}: {attribute}", printed["threshold"], interval, note)
    return row | {"inside": row["inside"] and is_same}


def _question_at(tree: PreferenceTree, place: str) -> tuple[str, float]:
    """Give attribute and threshold of the split at a place; ("nothing", nan) if there is none."""
    node = 0
    for turn in place:
        if not tree.is_split[node]:
            return "nothing", np.nan
        node = tree.left[node] if turn == "L" else tree.right[node]
    if not tree.is_split[node]:
        return "nothing", np.nan
    return tree.attributes[tree.feature[node]], float(tree.threshold[node])


def _ratio_intervals(
    part: Bool[np.ndarray, "rows columns"],
    whole: Bool[np.ndarray, "rows columns"],
    prompts: Shaped[np.ndarray, " rows"],
    resamples: int,
    seed: int,
) -> list[Interval]:
    """Give the share of the marked rows of `whole` that `part` marks, column by column.

    All are over the same resamples. A column that marks rows of fewer than two prompts has no
    interval, and no estimate.
    """
    sums = resampled_sums(np.hstack([part, whole]).astype(float), prompts, resamples, seed=seed)
    count = part.shape[1]
    with np.errstate(invalid="ignore"):  # a resample may have no row of a column
        draws = sums[:, :count] / sums[:, count:]
    intervals = []
    for column in range(count):
        values = part[whole[:, column], column].astype(float)
        of_prompts = prompts[whole[:, column]]
        if len(np.unique(of_prompts)) < 2:
            interval = Interval(np.nan, np.nan, np.nan)
        elif np.ptp(values) == 0:  # no bootstrap; the interval has a width nevertheless
            interval = accuracy_interval(values, of_prompts)
        else:
            low, high = np.nanquantile(draws[:, column], ENDS).tolist()
            interval = Interval(float(values.mean()), low, high)
        intervals.append(interval)
    return intervals


def _correlations(
    values: Float[np.ndarray, "rows columns"],
    prompts: Shaped[np.ndarray, " rows"],
    resamples: int,
    seed: int,
) -> list[Interval]:
    """Give Pearson's correlation of every two columns, in the order of `itertools.combinations`."""
    centred = values - values.mean(axis=0)
    count = values.shape[1]
    places = list(combinations_with_replacement(range(count), 2))
    products = [centred[:, one] * centred[:, other] for one, other in places]
    moments = np.column_stack([np.ones(len(values)), centred, *products])
    sums = resampled_sums(moments, prompts, resamples, seed=seed)
    means = np.vstack([moments.mean(axis=0), sums / sums[:, :1]])  # the data, then the resamples
    covariance = {}
    for number, (one, other) in enumerate(places):
        together = means[:, 1 + one] * means[:, 1 + other]
        covariance[one, other] = means[:, 1 + count + number] - together
    return [_correlation(covariance, *couple) for couple in combinations(range(count), 2)]


def _correlation(
    covariance: Mapping[tuple[int, int], Real[np.ndarray, " draws"]], one: int, other: int
) -> Interval:
    """Give the correlation of the data, which come first, with the range of 95 % of the others."""
    with np.errstate(invalid="ignore", divide="ignore"):  # a column may be constant
        spread = np.sqrt(covariance[one, one] * covariance[other, other])
        draws = covariance[one, other] / spread
    if not np.isfinite(draws[1:]).any():
        return Interval(np.nan, np.nan, np.nan)
    low, high = np.nanquantile(draws[1:], ENDS).tolist()
    return Interval(float(draws[0]), low, high)
