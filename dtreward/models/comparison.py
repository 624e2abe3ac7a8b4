"""What any reward model says of two responses, with its reasons, and how it is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from dtreward.conversation import Conversations
from dtreward.engine.backbone import Backbone
from dtreward.tree.nodes import Step
from dtreward.tree.page import tree_html
from dtreward.tree.tree import PreferenceTree

Texts = Sequence[str]
COLUMNS = ("response 1", "response 2", "difference")


@dataclass(frozen=True, eq=False)
class Comparison(Mapping[str, Any]):
    """What a reward model says of two responses, and why; a field is also readable by its key.

    Values are plain Python. `preference` is 0 for response 1, 1 for response 2; `probability` is
    response 2's; `differences` are response 2 minus response 1. `path` and `effective_rule` are
    the tree's, in words. `swap_flips`: swapping the responses flips the preference, as it should.
    `scores`: one number a response, or None where the model gives none.
    """

    attributes: list[str]
    rewards: list[list[float]]
    differences: list[float]
    preference: int
    probability: float
    path: tuple[Step, ...]
    effective_rule: tuple[str, ...]
    swap_flips: bool
    scores: list[float] | None = None
    tree: PreferenceTree | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        rewards: Float[np.ndarray, "2 attributes"],
        *,
        attributes: Sequence[str],
        scores: Float[np.ndarray, 2] | None = None,
        tree: PreferenceTree | None = None,
    ) -> Comparison:
        """Compare two responses by the tree on their rewards; without one, by the larger score.

        Example:
            >>> rewards, scores = np.array([[1.0], [1.0]]), np.array([1.0, 1.0])
            >>> Comparison.of(rewards, attributes=["score"], scores=scores).probability
            0.5
        """
        rewards = rewards.astype(float)
        difference = rewards[1] - rewards[0]
        orders = np.stack([difference, -difference])
        if tree is None:  # Bradley-Terry: the sigmoid of the difference, without overflow
            gap = float(scores[1]) - float(scores[0])
            probability = np.exp(-np.logaddexp(0.0, [-gap, gap]))
            decisions, path = [gap > 0, gap < 0], ()
            rule = ("response 2 iff score difference > 0",)
        else:
            probability, decisions = tree.probability(orders), tree.predict(orders)
            path, rule = tree.path(difference), tree.effective_rule().rule_sentences()
        decision, swapped = (int(each) for each in decisions)
        told = rewards.tolist(), difference.tolist(), decision, float(probability[0])
        scores = None if scores is None else scores.tolist()
        return cls(list(attributes), *told, path, rule, decision != swapped, scores, tree)

    @classmethod
    def of_verdicts(cls, given: float, swapped: float, told: Sequence[str] = ()) -> Comparison:
        """Compare by the verdicts in both orders: 0.0 for the response shown first, 0.5 for none.

        >>> Comparison.of_verdicts(1.0, 0.0).preference, Comparison.of_verdicts(0.0, 0.0).probability
        (1, 0.5)
        """
        probability, flips = (given + 1 - swapped) / 2, abs(given - swapped) == 1
        rule = ("response 2 iff the verdicts of both orders, averaged, name it", *told)
        return cls([], [[], []], [], int(probability > 0.5), probability, (), rule, flips)

    def __getitem__(self, key: str) -> Any:
        if key not in list(self):
            raise KeyError(f"{key!r} is none of {', '.join(self)}")
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in fields(self) if each.name != "tree")

    def __len__(self) -> int:
        return len(fields(self)) - 1

    def __str__(self) -> str:
        verdict, table, reasons = self.words()
        shown = [table.to_string(float_format="{:.2f}".format), ""] * (not table.empty)
        return "\n".join([verdict, "", *shown, *reasons])

    def _repr_html_(self) -> str:
        verdict, table, reasons = self.words()
        picture = tree_html(self.tree, path=self.path) if self.tree else ""
        points = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
        table = "" if table.empty else table.to_html(float_format="{:.2f}".format)
        return f"<p><b>{verdict}</b></p>{table}{picture}<ul>{points}</ul>"

    def words(self) -> tuple[str, pd.DataFrame, list[str]]:
        """Give the verdict, a table of rewards and differences by attribute, and the reasons."""
        share = self.probability if self.preference else 1 - self.probability
        verdict = f"Response {self.preference + 1} is preferred (probability {share:.1%})."
        columns = [*self.rewards, self.differences]
        table = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)), index=self.attributes)
        rule = f"In effect: {'; '.join(self.effective_rule)}."
        swap = "flips" if self.swap_flips else "does not flip"
        swap = f"Swapping the responses {swap} the preference."
        return verdict, table, [*(step.sentence for step in self.path), rule, swap]


Comparisons = list[Comparison]


class RewardModel(ABC):
    """Anything that says which of two responses is better; `kind` says by what."""

    kind: str

    @property
    def identity(self) -> dict[str, Any]:
        """All that changes what it says, as JSON and without secrets: kept results are keyed by it."""
        came = f"{type(self).__name__} does not say what makes its answers"
        raise NotImplementedError(f"{came}; give it a property `identity`, a dict")

    @abstractmethod
    def compare_many(self, prompts: Texts, responses1: Texts, responses2: Texts) -> Comparisons:
        """Compare many pairs, with the same result for each as `compare`."""

    def compare(
        self, prompt: str, response1: str, response2: str, tokenizer: Any = None, device: Any = None
    ) -> Comparison:
        """Say which of two responses is preferred, and why; a probability of 0.5 gives preference 0.

        The original's callers pass `tokenizer` and `device`: a ValueError if they are not the
        model's. So is a model of several attributes without a tree to decide by.
        """
        backbone: Backbone | None = getattr(self, "backbone", None)  # an ensemble has several
        own = backbone and backbone.chat.tokenizer
        if own and tokenizer is not None and tokenizer.get_vocab() != own.get_vocab():
            raise ValueError("tokenizer is not this model's; leave it out: compare has its own")
        here = backbone.device if backbone else torch.device(device or "cpu")
        if device is not None and torch.device(device).type != here.type:
            raise ValueError(f"model is on {here}, compare was given {device}; give it to load()")
        return self.compare_many([prompt], [response1], [response2])[0]

    def scores(self, conversations: Conversations) -> Float[np.ndarray, " responses"]:
        """Score each (prompt, response), more is better; a ValueError of models that do not."""
        raise ValueError(f"a model of the kind {self.kind} gives no scores; use compare_many()")


def conversations_of(prompts: Texts, responses1: Texts, responses2: Texts) -> list[tuple[str, str]]:
    """List the conversations of pairs: response 1, then response 2 of each."""
    if isinstance(prompts, str) or len({*map(len, (prompts, responses1, responses2))}) != 1:
        raise ValueError("expected three lists of texts, of one length; for one pair: compare()")
    triples = zip(prompts, responses1, responses2, strict=True)
    return [(prompt, each) for prompt, *both in triples for each in both]
