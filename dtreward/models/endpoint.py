"""A judge behind an endpoint as a reward model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from dtreward.conversation import messages, prompt_text
from dtreward.engine.tokens import Unread, check_on_error, refuse_unread
from dtreward.files import digest
from dtreward.judges.ask import collect
from dtreward.judges.judge import TEMPLATE, Judge
from dtreward.judges.spending import Collected
from dtreward.judges.store import both_orders, stored_answers, verdicts
from dtreward.judges.verdict import ORDERS
from dtreward.models.comparison import (
    Comparison,
    Comparisons,
    OnError,
    Prompts,
    RewardModel,
    Texts,
    conversations_of,
    unread_pairs,
)
from dtreward.pairs.columns import TEXTS

VALUES = {"A": 0.0, "B": 1.0}  # the response shown first, the other one
LASTING = ("HTTP 400", "HTTP 413", "HTTP 422")  # the same question would get them again


@dataclass(frozen=True, eq=False)
class JudgeModel(RewardModel):
    """A judge behind an endpoint, asked in both orders which response is better.

    Each answer is kept in `store` as it arrives (`collect`), and no question is asked twice.
    An answer that names neither response is no verdict, as with `Critic`. Where none of the judge's
    first replies is one, it is not asked further, and all is counted as without a verdict.
    """

    judge: Judge
    store: str | Path
    template: str = TEMPLATE
    kind = "verdict"

    @property
    def identity(self) -> dict[str, Any]:
        """All that changes its answers: the model, the question, and a digest of the settings."""
        return {
            "kind": self.kind,
            "judge": self.judge.name,
            "model": self.judge.model,
            "settings": self.judge.settings,
            "template": self.template,
        }

    def compare_many(
        self,
        prompts: Prompts,
        responses1: Texts,
        responses2: Texts,
        *,
        on_error: OnError = "error",
    ) -> Comparisons:
        """Compare many pairs, with the same result for each as `compare`.

        Args:
            on_error: of a pair with a blank text: an "error" that names its row, or "record", which
                gives an `Unread` in its place.

        Raises:
            ValueError: of a blank text, or if all that lacks an answer was refused for good.
            RuntimeError: if questions have no answer now; those that have one are kept.
        """
        check_on_error(on_error)
        conversations = conversations_of(prompts, responses1, responses2)
        texts = {}
        reasons = {}
        for place, (prompt, response) in enumerate(conversations):
            try:
                texts[place // 2] = prompt_text(prompt)
                messages(texts[place // 2], response or "")  # raises for a blank text
            except ValueError as error:
                reasons[place] = f"{error}"
        unread = unread_pairs(reasons)
        if on_error == "error":
            refuse_unread(unread, len(prompts))
        rows = [row for row in range(len(prompts)) if row not in unread]
        asked = [(texts[row], responses1[row], responses2[row]) for row in rows]
        comparisons: Comparisons = [Unread(row, why) for row, why in unread.items()]
        for row, comparison in zip(rows, self._ask(asked), strict=True):
            comparisons.insert(row, comparison)
        return comparisons

    def _ask(self, texts: Sequence[tuple[str, str, str]]) -> list[Comparison]:
        """Ask about pairs that can be read, each a prompt and two responses."""
        pairs = pd.DataFrame(texts, columns=TEXTS)
        pairs["prompt_id"] = pairs.index
        try:
            done = collect(self.store, pairs, [self.judge], template=self.template)
        except ValueError as error:  # no key, or a store in use: not the fault of a pair
            raise RuntimeError(f"{error}") from error
        if done.missing[self.judge.name] and self.judge.name not in done.silent:
            self._raise_missing(pairs, done)
        answers = verdicts(self.store, pairs, [self.judge], template=self.template)
        positions = answers.sort_values("pair")[ORDERS]
        return [
            Comparison.of_verdicts(VALUES.get(given), VALUES.get(swapped))
            for given, swapped in positions.to_numpy().tolist()
        ]

    def _raise_missing(self, pairs: pd.DataFrame, done: Collected) -> NoReturn:
        """Say why questions have no answer: a fault of the pairs, or of the endpoint now."""
        missing = done.missing[self.judge.name]
        shown = {digest(*texts) for orders in both_orders(pairs) for texts in orders}
        stored = stored_answers(self.store, [self.judge], template=self.template)
        is_error = stored["shown"].isin(shown) & (stored["state"] == "error")
        errors = stored[is_error]["text"].tolist()
        is_lasting = len(errors) == missing and all(text.startswith(LASTING) for text in errors)
        reason = done.stopped or " ".join(f"{errors[:1]}".split())
        error = ValueError if is_lasting and not done.stopped else RuntimeError
        raise error(f"{missing} questions have no answer: {reason}; run again to ask them")
