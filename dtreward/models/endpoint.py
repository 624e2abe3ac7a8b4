"""A judge behind an endpoint as a reward model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dtreward.conversation import messages
from dtreward.files import digest
from dtreward.judges.ask import collect
from dtreward.judges.judge import TEMPLATE, Judge
from dtreward.judges.store import stored_answers, verdicts
from dtreward.judges.verdict import ORDERS
from dtreward.models.comparison import Comparison, Comparisons, RewardModel, Texts, conversations_of
from dtreward.pairs.columns import TEXTS

SAID = {"A": 0.0, "B": 1.0}  # the response shown first, the other one
LASTING = ("HTTP 400", "HTTP 413", "HTTP 422")  # what the same question would get again


@dataclass(frozen=True, eq=False)
class JudgeModel(RewardModel):
    """A judge behind an endpoint, asked in both orders which response is better.

    Each answer is kept in `store` as it arrives (`collect`), and no question is asked twice.
    An answer that names neither response counts half, as a critic's does.
    """

    judge: Judge
    store: str | Path
    template: str = TEMPLATE
    kind = "verdict"

    @property
    def identity(self) -> dict[str, Any]:
        """What makes its answers: the model, what it is asked, and a digest of the settings."""
        own = {"kind": self.kind, "judge": self.judge.name, "model": self.judge.model}
        return own | {"settings": self.judge.settings, "template": self.template}

    def compare_many(self, prompts: Texts, responses1: Texts, responses2: Texts) -> Comparisons:
        """Compare many pairs, with the same result for each as `compare`.

        Raises:
            ValueError: of a blank text, or if all that lacks an answer was refused for good.
            RuntimeError: if questions have no answer now; those that have one are kept.
        """
        for prompt, response in conversations_of(prompts, responses1, responses2):
            messages(prompt, response or "")
        pairs = pd.DataFrame(zip(prompts, responses1, responses2, strict=True), columns=TEXTS)
        pairs, asked = pairs.assign(prompt_id=pairs.index), {"template": self.template}
        try:
            done = collect(self.store, pairs, [self.judge], **asked)
        except ValueError as error:  # no key, or a store in use: not the fault of a pair
            raise RuntimeError(f"{error}") from error
        if missing := done.missing[self.judge.name]:
            orders = [pairs[TEXTS], pairs[[TEXTS[0], *TEXTS[:0:-1]]]]
            shown = {digest(*row) for order in orders for row in order.to_numpy()}
            found = stored_answers(self.store, [self.judge], **asked)
            told = found[found["shown"].isin(shown) & (found["state"] == "error")]["text"].tolist()
            lasting = len(told) == missing and all(each.startswith(LASTING) for each in told)
            came = done.stopped or " ".join(f"{told[:1]}".split())
            kind = ValueError if lasting and not done.stopped else RuntimeError
            raise kind(f"{missing} questions have no answer: {came}; run again to ask them")
        found = verdicts(self.store, pairs, [self.judge], **asked).sort_values("pair")
        said = found[ORDERS].replace(SAID).astype(float).fillna(0.5)
        return [Comparison.of_verdicts(*row) for row in said.to_numpy().tolist()]
