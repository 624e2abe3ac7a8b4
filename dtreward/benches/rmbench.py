"""RM-Bench: is the right response preferred also where the wrong one is the fancier text?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from dtreward.benches.bench import Bench, NoVerdict, draw_items, expect_items, expect_texts
from dtreward.benches.responses import judge_responses, right_against_wrong, weigh_responses
from dtreward.benches.scoring import OTHER, Parts
from dtreward.models.comparison import RewardModel
from dtreward.models.ensemble import Ensemble
from dtreward.stats import Interval, alike_interval

COLUMNS = ["id", "prompt", "chosen", "rejected", "domain"]
STYLES = ("concise", "detailed", "detailed, Markdown")  # of three right, three wrong responses
DOMAINS = ("chat", "math", "code", "safety")
DIFFICULTIES = ("easy", "normal", "hard")
SAFETY = ("safety-refuse", "safety-response")  # two files, pooled row by row


@dataclass(frozen=True, eq=False)
class RMBench(Bench):
    """Three right and three wrong responses to a prompt, each in three styles.

    All nine pairs of a right and a wrong response are compared. *Hard* pairs have the plainer text
    right (above the diagonal), *easy* ones the fancier, *normal* ones have one style. A domain's
    score is the mean of all nine; overall, and each difficulty, is the plain mean of the domains.
    A tie of scores is wrong. A tree, a judge and a critic are asked in both orders, and the mean
    counts: the authors publish no rule for these.

    Source: Liu and others (2024), arXiv 2410.16184; scripts/utils.py of THU-KEG/RM-Bench.
    """

    name = "RM-Bench"
    repository = "THU-KEG/RM-Bench"
    unit = "prompts"
    sections = (*DOMAINS, *DIFFICULTIES)

    def judge(self, model: RewardModel, items: pd.DataFrame) -> pd.DataFrame:
        """Ask about the nine pairs of each prompt; `correct` is the share that is right."""
        return _counted(judge_responses(model, items, right_against_wrong))

    def weigh(
        self, model: Ensemble, by_member: Mapping[str, pd.DataFrame], items: pd.DataFrame
    ) -> pd.DataFrame:
        """Give an ensemble's results from those of its members."""
        return _counted(weigh_responses(model, by_member, items, right_against_wrong))

    def parts(self, results: pd.DataFrame, *, no_verdict: NoVerdict = "wrong") -> Parts:
        """Make each difficulty of each domain a part; difficulties are of the domains there are."""
        values = _parts_of(results, self.section_of(results["subset"]), no_verdict)
        domains = [name for name in DOMAINS if f"{name} easy" in values]
        weights = pd.DataFrame(0.0, index=values.columns, columns=[*self.sections, "overall"])
        for name in DOMAINS:
            weights[name] = 100 / 3 * weights.index.str.startswith(f"{name} ")
        is_known = weights[list(DOMAINS)].sum(axis=1) > 0
        for name in DIFFICULTIES:
            of_level = weights.index.str.endswith(f" {name}") & is_known
            weights[name] = 100 / max(1, len(domains)) * of_level
        weights["overall"] = 100 / (3 * len(DOMAINS)) * is_known
        if f"{OTHER} easy" in values:
            weights[OTHER] = 100 / 3 * weights.index.str.startswith(OTHER)
        absent = [name for name in DOMAINS if name not in domains]
        weights[absent] = np.nan
        if absent:
            weights["overall"] = np.nan
        if not domains:
            weights[list(DIFFICULTIES)] = np.nan
        return Parts(values, weights)

    def section_of(self, subsets: pd.Series) -> pd.Series:
        """Give the domain of each subset; `OTHER` for one that RM-Bench does not have."""
        domain = subsets.where(~subsets.isin(SAFETY), "safety")
        return domain.where(domain.isin(DOMAINS), OTHER)

    def style_effect(
        self, results: pd.DataFrame, *, level: float = 0.95, **options: int
    ) -> dict[str, Interval]:
        """Say how much a model prefers the fancier text: easy minus hard, in points.

        0 means that style does not matter, for or against. Given for each domain and for all: the
        plain mean of the domains there are.

        Args:
            results: those of `evaluate`, without the prompts that the model could not read.
            level: of the intervals, over problems.
            options: `resamples` and `seed` of `stats.bootstrap`.
        """
        values = self.parts(results).values
        domains = [name for name in DOMAINS if f"{name} easy" in values]
        weights = pd.DataFrame(0.0, index=values.columns, columns=[*domains, "all"])
        for name in domains:
            weights.loc[f"{name} easy", [name, "all"]] = [100.0, 100 / len(domains)]
            weights.loc[f"{name} hard", [name, "all"]] = [-100.0, -100 / len(domains)]
        estimates = Parts(values, weights).scores()
        effects: dict[str, Interval] = {}
        for name in map(str, estimates.index):
            estimate = float(estimates[name])
            used = values.loc[:, weights[name] != 0].dropna(how="all")
            problems = results["problem"][used.index]
            alone = Parts(values.loc[used.index], weights[[name]])
            effects |= alone.intervals(problems, level=level, **options)
            if effects[name].low == effects[name].high:  # style changes no prompt, or all alike
                alike = alike_interval(1.0, 1 / problems.nunique(), level=level)
                most = 200 * (1 - alike.low)  # of easy and of hard
                low = max(-100.0, estimate - most)
                effects[name] = Interval(estimate, low, min(100.0, estimate + most))
        return effects


def style_matrix(results: pd.DataFrame) -> Float[np.ndarray, "3 3"]:
    """Give the share of prompts where each right style (rows) beats each wrong style, in percent.

    Args:
        results: those of `evaluate`, without the prompts that the model could not read.
    """
    return 100 * np.stack([np.array(won, float) for won in results["won"]]).mean(axis=0).reshape(
        3, 3
    )


def read_rmbench(table: pd.DataFrame, source: str, limit: int, seed: int) -> pd.DataFrame:
    """Turn RM-Bench's rows into items; those with the same prompt are related (`problem`).

    Raises:
        ValueError: for other columns, or a row without three right and three wrong texts.
    """
    items = table.copy()
    if "domain" in items and "id" in items:  # ids count in each file of a domain
        items["id"] = items["domain"].astype(str) + "/" + items["id"].astype(str)
    expect_items(items, COLUMNS, source)
    items = expect_texts(items, source, several=len(STYLES))
    items["subset"] = items["domain"]
    items["problem"] = items["prompt"].factorize()[0]
    columns = ["id", "subset", "problem", "prompt", "chosen", "rejected"]
    return draw_items(items[columns], limit, seed)


def _by_difficulty(won: Sequence[float] | Float[np.ndarray, " 9"]) -> list[float]:
    """Give the mean below, on and above the diagonal: easy, normal and hard.

    >>> _by_difficulty([1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0])
    [1.0, 1.0, 0.0]
    """
    square = np.array(won, float).reshape(3, 3)  # rows: styles of the right response
    below = square[np.tril_indices(3, -1)]
    above = square[np.triu_indices(3, 1)]
    return [float(part.mean()) for part in (below, np.diag(square), above)]


def _counted(results: pd.DataFrame) -> pd.DataFrame:
    is_read = results["unread"] == ""
    shares = [
        np.mean(won) if read else np.nan for won, read in zip(results["won"], is_read, strict=True)
    ]
    return results.assign(correct=np.array(shares, float))


def _parts_of(results: pd.DataFrame, domains: pd.Series, no_verdict: NoVerdict) -> pd.DataFrame:
    """Give the share of easy, normal and hard pairs that is right, in columns of each domain."""
    column = "won"
    is_verdict = results["scores"].isna() & results["rewards"].isna()
    if no_verdict == "half" and is_verdict.all():
        column = "probability"  # an order without a verdict is half a point in it
    levels = np.array([_by_difficulty(won) for won in results[column]])
    names = [name for name in (*DOMAINS, OTHER) if (domains == name).any()]
    columns = {}
    for name in names:
        for place, level in enumerate(DIFFICULTIES):
            columns[f"{name} {level}"] = np.where(domains == name, levels[:, place], np.nan)
    return pd.DataFrame(columns, index=results.index)
