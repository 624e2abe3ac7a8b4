"""Tables on what several models say of the same pairs.

Results are those of `evaluation.judge`: a row a pair, `unread` is "" where the model has read it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from dtreward.benches.bench import share_without_verdict
from dtreward.benches.candidates import rows_read
from dtreward.benches.rewardbench import WEIGHTS, sections_of_subsets
from dtreward.stats import (
    FEWEST_PROMPTS,
    Interval,
    accuracy_interval,
    difference_test,
    holm,
    mean_interval,
    paired_test,
    rates_by_group,
)

TESTS = ["p McNemar (Holm)", "p by problem (Holm)"]
EQUAL = "p equal (Holm)"
NOT_SAID = "–"


def overview(
    results: Mapping[str, pd.DataFrame],
    kinds: Mapping[str, str],
    cut: Mapping[str, int | None],
    failed: Mapping[str, str],
) -> pd.DataFrame:
    """Say of each row how it decides, how often it is right, and what it could not read, as text.

    Args:
        results: of models and baselines by name.
        kinds: what each model decides by; other rows are baselines.
        cut: pairs whose prompt was cut, by model.
        failed: why a model could not be asked, by name.
    """
    rows = {}
    for name, found in results.items():
        read = rows_read(found)
        kind = kinds.get(name, "baseline")
        right_second = None if kind == "verdict" else read["preference"].mean()
        flips = read["swap_flips"].mean() if name in kinds else None
        rows[name] = {
            "decided by": kind,
            "right, of all pairs": _share(read["correct"].mean()),
            "right, chosen second": _share(right_second),  # a verdict is of both orders
            "flips when swapped": _share(flips),
            "ties": f"{read['probability'].eq(0.5).sum():,}",
            "no verdict": f"{share_without_verdict(found):.1%}" if kind == "verdict" else NOT_SAID,
            "prompt cut": NOT_SAID if cut.get(name) is None else f"{cut[name]:,}",
            "not read": f"{len(found) - len(read):,}",
        }
    for name, reason in failed.items():
        rows[name] = {"decided by": f"failed: {reason}"}
    return pd.DataFrame.from_dict(rows, orient="index").fillna(NOT_SAID)


def _share(value: float | None) -> str:
    return NOT_SAID if value is None else f"{value:.3f}"


def compare_rows(
    results: Mapping[str, pd.DataFrame],
    names: Sequence[str],
    *,
    margin: float,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Test of each two rows whether one is right more often, over the pairs that both have read.

    Two tests ask for a difference. The first is McNemar's on `preference`, every pair independent;
    the second is the paired bootstrap by problem on `correct`. A third one, also by problem, asks
    for equality within the margin: that no difference was found is none. Each is corrected by
    Holm's method for the number of pairs of rows. Two rows with fewer than two problems in common
    are left out.

    Args:
        results: by name, all of the same bench.
        names: the rows to compare, in order.
        margin: the largest difference that counts as equal, in percentage points.
        resamples: of intervals; the tests by problem take at least 80 for each two rows, so that
            p-values can be small enough to survive the correction.

    Returns:
        Columns row, minus, points (row minus minus, in percentage points), interval (95 %), the
        three p-values, firm (both tests find a difference, of one sign), and outcome: "better" or
        "worse" (firm), "equal" (within the margin) or "cannot tell", which is also said of fewer
        than 20 problems.
    """
    pairs_of_rows = list(combinations(names, 2))
    options = {"resamples": max(resamples, 80 * len(pairs_of_rows)), "seed": seed}
    rows = []
    for name, other in pairs_of_rows:
        common = (results[name]["unread"] == "") & (results[other]["unread"] == "")
        one = results[name][common]
        two = results[other][common]
        if one["problem"].nunique() > 1:
            tested = _compare_two(one, two, margin / 100, options)
            rows.append({"row": name, "minus": other} | tested)
    columns = ["row", "minus", "points", "interval", *TESTS, EQUAL, "firm", "problems"]
    table = pd.DataFrame(rows, columns=columns)
    table[[*TESTS, EQUAL]] = table[[*TESTS, EQUAL]].apply(holm)
    is_enough = table.pop("problems") >= FEWEST_PROMPTS
    table["firm"] &= (table[TESTS] <= 0.05).all(axis=1) & is_enough
    table["outcome"] = "cannot tell"
    table.loc[(table[EQUAL] <= 0.05) & is_enough, "outcome"] = "equal"
    table.loc[table["firm"] & (table["points"] > 0), "outcome"] = "better"
    table.loc[table["firm"] & (table["points"] < 0), "outcome"] = "worse"
    return table


def _compare_two(
    one: pd.DataFrame, two: pd.DataFrame, margin: float, options: Mapping[str, int]
) -> dict[str, Any]:
    """Test two rows on the pairs that both have read; `firm` says if both differences agree."""
    each_alone = np.arange(len(one))
    few = {"resamples": 2, "seed": 0}  # the interval of this test is not shown
    mcnemar = paired_test(one["preference"], two["preference"], each_alone, **few)
    by_problem = (one["correct"], two["correct"], one["problem"])
    bootstrap = paired_test(*by_problem, **options)
    gain = bootstrap.difference
    return {
        "points": 100 * gain.estimate,
        "interval": f"[{100 * gain.low:.1f}, {100 * gain.high:.1f}]",
        TESTS[0]: mcnemar.p_value,
        TESTS[1]: bootstrap.p_value,
        EQUAL: difference_test(*by_problem, margin=margin, **options).p_equal,
        "firm": mcnemar.difference.estimate * gain.estimate > 0,
        "problems": one["problem"].nunique(),
    }


def compared_with(compared: pd.DataFrame, name: str, other: str) -> str:
    """Say how a row does beside another one: "better", "worse", "equal" or "cannot tell".

    Args:
        compared: the table of `compare_rows`; two rows that are not in it cannot be told apart.

    >>> compared = pd.DataFrame({"row": ["a"], "minus": ["b"], "outcome": ["better"]})
    >>> compared_with(compared, "a", "b"), compared_with(compared, "b", "a")
    ('better', 'worse')
    """
    opposite = {"better": "worse", "worse": "better"}
    for row in compared.to_dict("records"):
        if (row["row"], row["minus"]) == (name, other):
            return row["outcome"]
        if (row["row"], row["minus"]) == (other, name):
            return opposite.get(row["outcome"], row["outcome"])
    return "cannot tell"


def subset_rates(results: Mapping[str, pd.DataFrame], **options: int) -> pd.DataFrame:
    """Give the share that each row has right of each subset, with its interval by problem.

    Args:
        results: by name, all of the same bench.
        options: `resamples` and `seed` of `stats.rates_by_group`.

    Returns:
        The columns of `stats.rates_by_group` (p: is the share that of the row's other subsets?),
        group being called subset, prompts problems and estimate share, and row and section; in
        RewardBench's order, and other subsets after its own.
    """
    tables = []
    for name, found in results.items():
        read = rows_read(found)
        rates = rates_by_group(read["correct"], read["subset"], read["problem"], **options)
        tables.append(rates.assign(row=name, section=sections_of_subsets(rates["group"])))
    table = pd.concat(tables, ignore_index=True)
    table = table.rename(columns={"group": "subset", "prompts": "problems", "estimate": "share"})
    places = {subset: place for place, subset in enumerate(WEIGHTS.index)}
    return table.sort_values("subset", key=lambda names: names.map(places), kind="stable")


@dataclass(frozen=True)
class Decisions:
    """Decisions of a tree beside those of a simpler rule, for each pair in both orders.

    Args:
        tree: name of the tree's model.
        beside: name of the rule.
        tree_decides: whether it prefers the response shown second, columns chosen second and
            rejected second.
        rule_decides: the same of the rule.
        problems: of each pair.
    """

    tree: str
    beside: str
    tree_decides: Bool[np.ndarray, "pairs 2"]
    rule_decides: Bool[np.ndarray, "pairs 2"]
    problems: pd.Series

    @property
    def differ(self) -> Bool[np.ndarray, "pairs 2"]:
        """Whether tree and rule decide differently."""
        return self.tree_decides != self.rule_decides

    def counts(self) -> dict[str, str | int]:
        """Count the decisions, those that differ, and who is right on these."""
        right = np.array([True, False])  # the chosen response is shown second, then first
        differ = int(self.differ.sum())
        tree_right = int(((self.tree_decides == right) & self.differ).sum())
        return {
            "tree": self.tree,
            "beside": self.beside,
            "decisions": self.tree_decides.size,
            "differ": differ,
            "tree right": tree_right,
            "other right": differ - tree_right,
        }

    def share_interval(self, **options: float) -> Interval:
        """Give the share of decisions that differ, with its interval by problem."""
        by_pair = pd.Series(self.differ.mean(axis=1))
        return accuracy_interval(by_pair, self.problems, **options)


def tree_decisions(
    results: Mapping[str, pd.DataFrame], tree: str, base: str | None = None
) -> list[Decisions]:
    """Set a tree beside the rule that the larger reward of its first attribute is preferred.

    Where results of the model that the tree was made from are there, the tree is set beside that
    too, and all decisions are on the pairs that both have read.

    Args:
        results: by name, all of the same bench.
        base: name of the model that the tree was made from.
    """
    read = rows_read(results[tree])
    base_results = results.get(base)
    if base_results is not None:
        read = read[base_results["unread"][read.index] == ""]
    decides = _decides(read)
    lead = np.array([differences[0] for differences in read["differences"]])
    first_attribute = read["attributes"].iloc[0][0]
    rule = np.column_stack([lead > 0, -lead > 0])
    found = [Decisions(tree, first_attribute, decides, rule, read["problem"])]
    if base_results is not None:
        base_decides = _decides(base_results.loc[read.index])
        found.append(Decisions(tree, base, decides, base_decides, read["problem"]))
    return found


def _decides(results: pd.DataFrame) -> Bool[np.ndarray, "pairs 2"]:
    return results[["probability", "swapped"]].to_numpy(float) > 0.5


def coin_control(
    read: Mapping[str, pd.DataFrame], pairs: int, *, coins: int = 20, resamples: int, seed: int
) -> pd.DataFrame:
    """Let a coin choose the right response of each pair, and see whether a model is still better.

    Args:
        read: results of the pairs that each model has read, by name; rows are numbered as the
            bench's.
        pairs: of the bench.
        coins: how often all pairs are drawn anew.

    Returns:
        For each model, `above half`: coins whose interval lies above one half; and `mean share
        right`.
    """
    random = np.random.default_rng(seed)
    above = dict.fromkeys(read, 0)
    shares: dict[str, list[float]] = {name: [] for name in read}
    for _ in range(coins):
        heads = random.random(pairs) < 0.5
        for name, results in read.items():
            correct = _flipped(results["correct"], heads[results.index])
            interval = mean_interval(correct, results["problem"], resamples=resamples, seed=seed)
            above[name] += int(interval.low > 0.5)
            shares[name].append(interval.estimate)
    means = {name: np.mean(estimates) for name, estimates in shares.items()}
    return pd.DataFrame({"above half": above, "mean share right": means})


def _flipped(correct: pd.Series, heads: Bool[np.ndarray, " pairs"]) -> Float[np.ndarray, " pairs"]:
    return np.where(heads, correct, 1 - correct)


def both_orders(
    read: pd.DataFrame,
) -> tuple[Float[np.ndarray, " decisions"], Int[np.ndarray, " decisions"], pd.Series]:
    """Give probability of response 2, whether it is the chosen one, and problem, in both orders.

    Each pair comes twice, so that the chosen response stands second as often as first.
    """
    probability = np.concatenate([read["probability"], read["swapped"]])
    second_is_chosen = np.repeat([1, 0], len(read))
    problems = pd.concat([read["problem"], read["problem"]], ignore_index=True)
    return probability, second_is_chosen, problems
