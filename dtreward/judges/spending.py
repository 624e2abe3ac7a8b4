"""What questions cost: before they are asked, while they are, and afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dtreward.files import digest
from dtreward.judges.judge import TEMPLATE, Judge
from dtreward.judges.question import PairQuestion
from dtreward.judges.reply import Answer, guess_tokens
from dtreward.judges.store import both_orders, stored_answers

COLUMNS = ["requests", "input tokens", "output tokens", "money"]


class Limits(NamedTuple):
    """Most requests, tokens and money of a run; 0 means any number."""

    requests: int = 0
    tokens: int = 0
    money: int | float = 0.0


class Spent(NamedTuple):
    """What was asked of a judge, and what it cost; money is 0.0 where prices are not known."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: int | float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens of questions and answers."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True)
class Collected:
    """What one `collect` did; a question is a pair in one order.

    Attributes:
        requests: requests sent, repeats included.
        tokens: tokens of questions and answers, counted by the endpoints or else guessed.
        stored: questions answered now.
        missing: for each judge, questions without an answer, errors among them.
        stopped: why it ended early or left a judge out; "" if it did not.
        spent: for each judge, requests, tokens and money.
        silent: judges that were left out because none of their first replies gives a verdict.
    """

    requests: int
    tokens: int
    stored: int
    missing: dict[str, int]
    stopped: str
    spent: dict[str, Spent] = field(default_factory=dict)
    silent: tuple[str, ...] = ()


class Spending:
    """Counts what a run costs, and reserves what is under way, so that no limit is overrun.

    A question's tokens are guessed before it is sent. Where an endpoint counts more of them than
    was guessed, or more of an answer than it was allowed, later requests reserve as much more.

    Attributes:
        by_judge: what each judge has cost.
    """

    def __init__(self, limits: Limits, judges: Sequence[Judge]) -> None:
        unpriced = [judge.name for judge in judges if limits.money and not judge.has_prices]
        if unpriced:
            raise ValueError(
                f"max_money needs prices; {', '.join(unpriced)} has none: give input_price and "
                "output_price (money for a million tokens; 0 for a server of your own)"
            )
        self.limits = limits
        self.by_judge = {judge.name: Spent() for judge in judges}
        self.reserved = 0.0
        self.dearest = dict.fromkeys(self.by_judge, 1.0)  # of what was counted to what was expected
        self.refused_for_money = False

    def reserve(self, judge: Judge, input_tokens: int, output_tokens: int) -> float | None:
        """Count one more request if no limit forbids it, and give the money reserved for it.

        None where it may not be sent.
        """
        price = judge.money(input_tokens, output_tokens) * self.dearest[judge.name]
        if self.limits.money and self._money() + self.reserved + price > self.limits.money:
            self.refused_for_money = True
        if self.reasons():
            return None
        self.reserved += price
        spent = self.by_judge[judge.name]
        self.by_judge[judge.name] = spent._replace(requests=spent.requests + 1)
        return price

    def settle(self, judge: Judge, reserved: float, answer: Answer) -> None:
        """Count what a request cost in the place of what was reserved for it."""
        self.reserved -= reserved
        answered = answer.output_tokens
        asked = answer.prompt_tokens or max(0, answer.tokens - answered)
        price = judge.money(asked, answered)
        if reserved:
            dearest = self.dearest[judge.name]
            self.dearest[judge.name] = max(dearest, dearest * price / reserved)
        spent = self.by_judge[judge.name]
        self.by_judge[judge.name] = Spent(
            spent.requests,
            spent.input_tokens + asked,
            spent.output_tokens + answered,
            spent.money + price,
        )

    def reasons(self) -> list[str]:
        """Say which budgets are spent."""
        reasons = []
        requests = sum(spent.requests for spent in self.by_judge.values())
        tokens = sum(spent.tokens for spent in self.by_judge.values())
        if 0 < self.limits.requests <= requests:
            reasons.append(f"the budget of {self.limits.requests:,} requests is spent")
        if 0 < self.limits.tokens <= tokens:
            reasons.append(f"the budget of {self.limits.tokens:,} tokens is spent")
        if self.refused_for_money:
            reasons.append(
                f"the budget of {self.limits.money:g} is spent but for {self._left():.2g}, and one "
                "more request could cost more than that"
            )
        return reasons

    def _money(self) -> float:
        return sum(spent.money for spent in self.by_judge.values())

    def _left(self) -> float:
        return max(0.0, self.limits.money - self._money())


def expected_cost(
    store: str | Path,
    pairs: pd.DataFrame,
    judges: Sequence[Judge],
    *,
    template: str = TEMPLATE,
) -> pd.DataFrame:
    """Estimate what `collect` will ask and what it can cost at most, by judge.

    Tokens of questions are guessed, one for four bytes; each answer is counted with all tokens that
    it is allowed. Repeats after faults are not counted.

    Returns:
        requests, input tokens, output tokens, money (missing where prices are not known), indexed
        by judge.
    """
    question = PairQuestion(template)
    tokens = {}
    for orders in both_orders(pairs):
        for texts in orders:
            tokens[digest(*texts)] = guess_tokens(question.render(texts))
    stored = stored_answers(store, judges, template=template)
    answered = stored[stored["state"] != "error"]
    rows = {}
    for judge in judges:
        known = set(answered["shown"][answered["judge"] == judge.name])
        asked = [count for shown, count in tokens.items() if shown not in known]
        output = len(asked) * int(judge.max_tokens)
        rows[judge.name] = _row(judge, Spent(len(asked), sum(asked), output))
    return _table(rows)


def cost_table(judges: Sequence[Judge], spent: Mapping[str, Spent]) -> pd.DataFrame:
    """Give what a run did cost, in the columns of `expected_cost`.

    Example:
        >>> judge = Judge("J", "m", "openai", input_price=2.0, output_price=8.0)
        >>> cost_table([judge], {"J": Spent(1, 1_000_000, 500_000)}).loc["J"].tolist()
        [1.0, 1000000.0, 500000.0, 6.0]
    """
    return _table({judge.name: _row(judge, spent[judge.name]) for judge in judges})


def cost_record(table: pd.DataFrame) -> dict[str, dict[str, int | float | None]]:
    """Give a table of costs as it is recorded, by judge; None is money that is not known."""
    return table.astype(object).where(table.notna(), None).T.to_dict()


def _row(judge: Judge, spent: Spent) -> list[int | float | None]:
    money = judge.money(spent.input_tokens, spent.output_tokens) if judge.has_prices else None
    return [spent.requests, spent.input_tokens, spent.output_tokens, money]


def _table(rows: Mapping[str, list[int | float | None]]) -> pd.DataFrame:
    table = pd.DataFrame.from_dict(dict(rows), orient="index", columns=COLUMNS)
    return table.astype({"money": float}).rename_axis("judge")
