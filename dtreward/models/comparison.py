"""What any reward model says of two responses, with its reasons, and how it is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from html import escape
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from dtreward.conversation import Conversations
from dtreward.engine.backbone import Backbone
from dtreward.engine.tokens import Unread
from dtreward.tree.nodes import Step
from dtreward.tree.page import tree_html
from dtreward.tree.tree import PreferenceTree

Texts = Sequence[Any]  # texts; what is none is refused with its row
OnError = Literal["error", "record"]
Prompts = Sequence[Any]  # texts, or lists of chat messages
COLUMNS = ("response 1", "response 2", "difference")


@dataclass(frozen=True, eq=False)
class Comparison(Mapping[str, Any]):
    """What a reward model says of two responses, and why.

    Every field is also readable by its key: `comparison["rewards"]`. Values are plain Python.

    Attributes:
        preference: 0 if response 1 is preferred, 1 if response 2 is.
        probability: the probability of response 2, that is, that response 2 is the better one.
            The printed text gives the probability of the preferred response instead.
        differences: response 2 minus response 1, one value an attribute.
        path: the steps through the tree; empty without a tree.
        effective_rule: the rule that decides, in sentences.
        swap_flips: whether swapping the responses flips the preference, as it should.
        scores: one number a response, or None where the model gives none.
        tokens_cut: how many tokens were cut from the start of the prompt, for each response; 0
            where the model read all of it.
        no_verdict: in how many of both orders a model that writes verdicts gave none.
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
    tokens_cut: list[int] = field(default_factory=lambda: [0, 0])
    no_verdict: int = 0
    tree: PreferenceTree | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        rewards: Float[np.ndarray, "2 attributes"],
        *,
        attributes: Sequence[str],
        scores: Float[np.ndarray, 2] | None = None,
        tree: PreferenceTree | None = None,
        tokens_cut: Sequence[int] = (0, 0),
    ) -> Comparison:
        """Compare two responses by the tree on their rewards; without one, by the larger score.

        Example:
            >>> rewards, scores = np.array([[1.0], [1.0]]), np.array([1.0, 1.0])
            >>> Comparison.of(rewards, attributes=["score"], scores=scores).probability
            0.5
        """
        rewards = rewards.astype(float)
        difference = rewards[1] - rewards[0]
        if tree is None:
            if scores is None:
                raise ValueError("expected scores, or a tree on the rewards, to compare by")
            gap = float(scores[1]) - float(scores[0])
            # Bradley-Terry: the sigmoid of the difference, without overflow.
            probability = np.exp(-np.logaddexp(0.0, -gap))
            preference = int(gap > 0)
            swapped = int(gap < 0)
            path = ()
            rule = ("response 2 iff score difference > 0",)
        else:
            orders = np.stack([difference, -difference])
            probability = tree.probability(orders)[0]
            preference, swapped = (int(decision) for decision in tree.predict(orders))
            path = tree.path(difference)
            rule = tree.effective_rule().rule_sentences()
        return cls(
            attributes=list(attributes),
            rewards=rewards.tolist(),
            differences=difference.tolist(),
            preference=preference,
            probability=float(probability),
            path=path,
            effective_rule=rule,
            swap_flips=preference != swapped,
            scores=None if scores is None else scores.tolist(),
            tokens_cut=list(tokens_cut),
            tree=tree,
        )

    @classmethod
    def of_verdicts(cls, given: float | None, swapped: float | None, cut: int = 0) -> Comparison:
        """Compare by the verdicts in both orders.

        An order without a verdict is counted in `no_verdict`, and as 0.5 in the probability.

        Args:
            given: the verdict in the order given: 0.0 for the response shown first, 1.0 for the
                other, 0.5 for a tie; None for no verdict.
            swapped: the verdict with response 2 shown first, in the same way.
            cut: tokens that were cut from the start of the prompt.

        Example:
            >>> Comparison.of_verdicts(1.0, 0.0).preference
            1
            >>> Comparison.of_verdicts(0.0, 0.0).probability
            0.5
            >>> one = Comparison.of_verdicts(1.0, None)
            >>> one.probability, one.no_verdict
            (0.75, 1)
        """
        no_verdict = [given, swapped].count(None)
        given = 0.5 if given is None else given
        swapped = 0.5 if swapped is None else swapped
        probability = (given + 1 - swapped) / 2
        rule = "response 2 iff the verdicts of both orders, averaged, name it"
        return cls(
            attributes=[],
            rewards=[[], []],
            differences=[],
            preference=int(probability > 0.5),
            probability=probability,
            path=(),
            effective_rule=(rule,),
            swap_flips=abs(given - swapped) == 1,
            tokens_cut=[cut, cut],
            no_verdict=no_verdict,
        )

    def __getitem__(self, key: str) -> Any:
        if key not in list(self):
            raise KeyError(f"{key!r} is none of {', '.join(self)}")
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return (field.name for field in fields(self) if field.name != "tree")

    def __len__(self) -> int:
        return len(fields(self)) - 1

    def __str__(self) -> str:
        verdict, table, reasons = self.words()
        lines = [verdict, ""]
        if not table.empty:
            lines += [table.to_string(float_format="{:.2f}".format), ""]
        return "\n".join(lines + reasons)

    def _repr_html_(self) -> str:
        verdict, table, reasons = self.words()
        page = f"<p><b>{verdict}</b></p>"
        if not table.empty:
            page += table.to_html(float_format="{:.2f}".format)
        if self.tree:
            page += tree_html(self.tree, path=self.path)
        points = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
        return f"{page}<ul>{points}</ul>"

    @property
    def verdict(self) -> str:
        """Say which response is preferred, and how probable it is that this one is better.

        Example:
            >>> Comparison.of_verdicts(0.0, 1.0).verdict
            'Response 1 is preferred (100.0 % probable that response 1 is better).'
        """
        preferred = f"response {self.preference + 1}"
        share = self.probability if self.preference == 1 else 1 - self.probability
        probable = f"{100 * share:.1f} % probable that {preferred} is better"
        return f"{preferred.capitalize()} is preferred ({probable})."

    def words(self) -> tuple[str, pd.DataFrame, list[str]]:
        """Give the verdict, a table of rewards and differences by attribute, and the reasons."""
        columns = [*self.rewards, self.differences]
        table = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)), index=self.attributes)
        reasons = [step.sentence for step in self.path]
        reasons.append(f"In effect: {'; '.join(self.effective_rule)}.")
        flips = "flips" if self.swap_flips else "does not flip"
        reasons.append(f"Swapping the responses {flips} the preference.")
        if self.no_verdict:
            orders = "either order" if self.no_verdict == 2 else "one of both orders"
            reasons.append(f"The model gave no verdict in {orders}.")
        if any(self.tokens_cut):
            first, second = self.tokens_cut
            reasons.append(
                f"The prompt was too long: {first} tokens of the prompt cut at its start for "
                f"response 1, {second} for response 2."
            )
        return self.verdict, table, reasons


Comparisons = list[Comparison | Unread]


class RewardModel(ABC):
    """Anything that says which of two responses is better.

    Attributes:
        attributes: names of the rewards; none where it gives a score or a verdict alone.
        demo: whether it belongs to the demo world, and says nothing about real conversations.
    """

    attributes: tuple[str, ...] = ()
    demo: bool = False

    @property
    def kind(self) -> str:
        """What decides: "decision-tree", "score", "verdict", or "multi-attribute" without a tree."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say what decides: give it `kind`"
        )

    @property
    def identity(self) -> dict[str, Any]:
        """All that changes its answers, as JSON without secrets; kept results are keyed by it."""
        raise NotImplementedError(
            f"{type(self).__name__} does not say what makes its answers; "
            "give it a property `identity` that returns a dict"
        )

    @abstractmethod
    def compare_many(
        self,
        prompts: Prompts,
        responses1: Texts,
        responses2: Texts,
        *,
        on_error: OnError = "error",
    ) -> Comparisons:
        """Compare many pairs, with the same result for each as `compare`.

        On a GPU that holds to rounding: a short pair alone is read in a smaller pack. With
        `load(pack_tokens=...)` it holds bit for bit.

        Args:
            on_error: of a pair that cannot be read: an "error" that names its row, or "record",
                which gives an `Unread` in its place.
        """

    def compare(
        self, prompt: Any, response1: str, response2: str, tokenizer: Any = None, device: Any = None
    ) -> Comparison:
        """Say which of two responses is preferred, and why.

        `probability` of the result is that of response 2; exactly 0.5 gives preference 0.

        On a GPU a short pair is read in the smallest pack that holds it; see `pack_tokens` of
        `load`, which can fix the size.

        Args:
            prompt: a text, or a list of chat messages {"role": ..., "content": ...}, a system turn
                included; see `dtreward.conversation.messages`.
            response1: the first answer to it.
            response2: the other answer.
            tokenizer, device: accepted because the original's callers pass them; they must be
                the model's own.

        Raises:
            ValueError: if `tokenizer` or `device` is not the model's, or if a model of several
                attributes has no tree to decide by.
        """
        # A model without one backbone, such as an ensemble, has neither tokenizer nor device.
        backbone: Backbone | None = getattr(self, "backbone", None)
        own_tokenizer = backbone.chat.tokenizer if backbone and backbone.chat else None
        if (
            own_tokenizer is not None
            and tokenizer is not None
            and tokenizer.get_vocab() != own_tokenizer.get_vocab()
        ):
            raise ValueError("tokenizer is not this model's; leave it out: compare has its own")
        own_device = backbone.device if backbone else torch.device(device or "cpu")
        if device is not None and torch.device(device).type != own_device.type:
            message = f"model is on {own_device}, compare was given {device}; give it to load()"
            raise ValueError(message)
        (comparison,) = self.compare_many([prompt], [response1], [response2])
        if isinstance(comparison, Comparison):
            return comparison
        raise ValueError(comparison.reason)

    def scores(self, conversations: Conversations) -> Float[np.ndarray, " responses"]:
        """Score each (prompt, response); more is better.

        Raises:
            ValueError: if the model gives no scores.
        """
        raise ValueError(f"a model of the kind {self.kind} gives no scores; use compare_many()")


def conversations_of(
    prompts: Prompts, responses1: Texts, responses2: Texts
) -> list[tuple[Any, Any]]:
    """List the conversations of pairs: response 1, then response 2 of each.

    Example:
        >>> conversations_of(["2 + 2?"], ["4"], ["5"])
        [('2 + 2?', '4'), ('2 + 2?', '5')]
    """
    lengths = {len(prompts), len(responses1), len(responses2)}
    if isinstance(prompts, str) or len(lengths) != 1:
        raise ValueError("expected three lists of texts, of one length; for one pair: compare()")
    conversations = []
    for prompt, response1, response2 in zip(prompts, responses1, responses2, strict=True):
        conversations.append((prompt, response1))
        conversations.append((prompt, response2))
    return conversations


def unread_pairs(unread: Mapping[int, str]) -> dict[int, str]:
    """Give the pairs that cannot be read, and why, from the conversations that cannot.

    Example:
        >>> unread_pairs({2: "the prompt is blank", 3: "the prompt is blank", 5: "too long"})
        {1: 'the prompt is blank', 2: 'response 2: too long'}
    """
    reasons: dict[int, str] = {}
    for conversation in sorted(unread):
        pair, second = divmod(conversation, 2)
        reason = unread[conversation]
        if second and unread.get(conversation - 1) == reason:
            reasons[pair] = reason  # it is the prompt's fault
            continue
        reason = f"response {second + 1}: {reason}"
        reasons[pair] = f"{reasons[pair]}; {reason}" if pair in reasons else reason
    return reasons
