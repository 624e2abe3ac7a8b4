"""What every bench is: items, sections, and how results become scores."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from dtreward.benches.scoring import OTHER, Parts, expect_judged
from dtreward.models.comparison import RewardModel
from dtreward.models.ensemble import Ensemble
from dtreward.stats import Interval

NoVerdict = Literal["wrong", "half"]  # what an order without a verdict counts


@dataclass(frozen=True, eq=False)
class Bench(ABC):
    """Items whose better response is known, and the rules by which answers become scores.

    Attributes:
        name: as people call it.
        repository: of the data set on the hub.
        unit: what one item is.
        sections: the scores beside "overall", in order.
        items: a row an item, with id, subset, problem (a number that related items share), prompt,
            chosen and rejected: a text each, or a list of texts.
        revision: the commit that the items are of; "" where they are of a file.
    """

    name: ClassVar[str]
    repository: ClassVar[str]
    unit: ClassVar[str]
    sections: ClassVar[tuple[str, ...]]
    items: pd.DataFrame = field(repr=False)
    revision: str = ""

    @abstractmethod
    def judge(self, model: RewardModel, items: pd.DataFrame) -> pd.DataFrame:
        """Ask a model about some items; give a row an item, in order."""

    @abstractmethod
    def weigh(
        self, model: Ensemble, by_member: Mapping[str, pd.DataFrame], items: pd.DataFrame
    ) -> pd.DataFrame:
        """Give an ensemble's results from those of its members."""

    @abstractmethod
    def parts(self, results: pd.DataFrame, *, no_verdict: NoVerdict = "wrong") -> Parts:
        """Say what the scores of results are made of; each item was read."""

    @abstractmethod
    def section_of(self, subsets: pd.Series) -> pd.Series:
        """Give the section of each subset; `OTHER` for one that the bench does not know."""

    def scores(self, results: pd.DataFrame, *, no_verdict: NoVerdict = "wrong") -> pd.Series:
        """Score sections and overall in percent; nan where there is nothing to score.

        Args:
            results: those of `evaluate`, without the items that the model could not read.
            no_verdict: what counts where a judge or critic gave no verdict in an order: "wrong"
                (nothing), or "half", the half point of reward-bench's code. A model that never
                gave a verdict has no score, by either rule.
        """
        expect_judged(results)
        scores = self.parts(results, no_verdict=no_verdict).scores()
        return scores * np.nan if never_decides(results) else scores

    def intervals(
        self,
        results: pd.DataFrame,
        *,
        no_verdict: NoVerdict = "wrong",
        level: float = 0.95,
        **options: int,
    ) -> dict[str, Interval]:
        """Give the scores that there are, each with its interval over problems, in percent.

        Args:
            results: those of `evaluate`, without the items that the model could not read.
            no_verdict: as for `scores`.
            level: of the intervals.
            options: `resamples` and `seed` of `stats.bootstrap`.
        """
        expect_judged(results)
        if never_decides(results):
            return {}
        parts = self.parts(results, no_verdict=no_verdict)
        return parts.intervals(results["problem"], level=level, **options)

    def coverage(self) -> pd.DataFrame:
        """Count subsets, items and problems of each section."""
        by_section = self.items.groupby(self.section_of(self.items["subset"]))
        counts = by_section.agg(
            subsets=("subset", "nunique"), items=("id", "size"), problems=("problem", "nunique")
        )
        named = [section for section in (*self.sections, OTHER) if section in counts.index]
        return counts.loc[named].rename(columns={"items": self.unit})


def never_decides(results: pd.DataFrame) -> bool:
    """Say whether a model gave no verdict at all.

    >>> never_decides(pd.DataFrame({"no_verdict": [1.0, 1.0]}))
    True
    """
    if "no_verdict" not in results:
        return False
    return bool(len(results) and results["no_verdict"].eq(1).all())


def share_without_verdict(results: pd.DataFrame) -> float:
    """Give the share of questions, over all orders, that a judge or critic left without a verdict.

    It is 0 for models that score, and for the items that were read alone.

    >>> share_without_verdict(pd.DataFrame({"no_verdict": [0.0, 0.5], "unread": ["", ""]}))
    0.25
    """
    if "no_verdict" not in results:
        return 0.0
    read = results.loc[results["unread"] == "", "no_verdict"]
    return float(read.mean()) if len(read) else 0.0


def draw_items(items: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    """Draw so many problems of each subset, with all of their items; 0 draws all.

    Example:
        >>> items = pd.DataFrame({"subset": ["a", "a", "a"], "problem": [1, 1, 2]})
        >>> len(draw_items(items, 0, 0)), draw_items(items, 1, 1)["problem"].nunique()
        (3, 1)
    """
    if not limit:
        return items.reset_index(drop=True)
    random = np.random.default_rng(seed)
    kept = []
    for _, rows in items.groupby("subset", sort=False):
        problems = rows["problem"].unique()
        drawn = random.permutation(problems)[:limit]
        kept.append(rows[rows["problem"].isin(drawn)])
    return pd.concat(kept).sort_index().reset_index(drop=True)


def expect_items(items: pd.DataFrame, columns: list[str], source: str) -> None:
    """Refuse a table that lacks a column, or in which an item comes twice.

    Raises:
        ValueError: that names the columns or rows.
    """
    missing = [name for name in columns if name not in items]
    if missing:
        raise ValueError(
            f"{source}: missing {missing}; expected the columns {columns}, found {list(items)}"
        )
    if items.empty:
        raise ValueError(f"{source}: has no rows")
    repeated = items.index[items["id"].duplicated()]
    if len(repeated):
        first = items.loc[repeated[0], "id"]
        raise ValueError(f"{source}: row {repeated[0]} repeats the id {first}; remove one of both")


def expect_texts(items: pd.DataFrame, source: str, *, several: int = 0) -> pd.DataFrame:
    """Check lists of responses, and give them as plain lists of texts.

    Args:
        several: how many texts `chosen` and `rejected` hold each; 0 allows any number above none.

    Raises:
        ValueError: that names the first row whose lists are not so.
    """
    plain = items.copy()
    for column in ("chosen", "rejected"):
        lists = [list(cell) if not isinstance(cell, str) else [cell] for cell in items[column]]
        for row, texts in zip(items.index, lists, strict=True):
            is_right = len(texts) == several if several else len(texts) > 0
            if not is_right or not all(isinstance(text, str) for text in texts):
                wanted = f"{several} texts" if several else "at least one text"
                raise ValueError(
                    f"{source}: row {row}, column {column}: expected a list of {wanted}, found "
                    f"{len(texts)} values: {texts!r:.80}"
                )
        plain[column] = pd.Series(lists, index=items.index, dtype=object)
    return plain
