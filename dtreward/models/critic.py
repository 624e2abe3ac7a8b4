"""A language model as a reward model: it writes which of two responses is better."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dtreward.conversation import Tokenized, messages, prompt_text
from dtreward.engine.backbone import Backbone
from dtreward.engine.tokens import Unread, check_on_error
from dtreward.judges.reading import verdict
from dtreward.models.comparison import (
    Comparison,
    Comparisons,
    OnError,
    Prompts,
    RewardModel,
    Texts,
    conversations_of,
)

# The project's own question. Skywork-Critic's authors give theirs on its model card; it can be
# passed as template=.
TEMPLATE = Path(__file__).with_name("critic.txt").read_text("utf-8").strip()


@dataclass(frozen=True, eq=False)
class Critic(RewardModel):
    """A language model that writes which response is better, [[A]] or [[B]], asked in both orders.

    The probability of a comparison is the mean of both verdicts: 0.5 if they contradict each
    other, and 0.25 or 0.75 if only one of them can be read; `no_verdict` counts those that cannot.

    If a question is too long and the model was loaded with too_long="cut_prompt_start", only the
    start of the user's prompt is cut, not the instruction and not a response. `tokens_cut` then
    gives the number of tokens that were cut.

    Args:
        backbone: its transformer is a causal language model.
        template: what is asked; holds {prompt}, {first} and {second}.
        max_tokens: number of tokens that the model may write.
    """

    backbone: Backbone
    template: str = TEMPLATE
    max_tokens: int = 8
    kind = "verdict"

    @property
    def identity(self) -> dict[str, Any]:
        """All that changes its answers: backbone, tokenizer, question, and length of the answer."""
        return {
            "kind": self.kind,
            "template": self.template,
            "max_tokens": self.max_tokens,
            "backbone": self.backbone.identity | self.backbone.require_chat().identity,
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
            on_error: of a pair that cannot be read: an "error" that names its row, or "record",
                which gives an `Unread` in its place.
        """
        check_on_error(on_error)
        conversations = conversations_of(prompts, responses1, responses2)
        comparisons: Comparisons = []
        for row, ((prompt, first), (_, second)) in enumerate(
            zip(conversations[::2], conversations[1::2], strict=True)
        ):
            try:
                comparisons.append(self._comparison(prompt_text(prompt), first, second))
            except ValueError as error:
                if on_error == "error":
                    where = f"row {row}: " if len(prompts) > 1 else ""
                    raise ValueError(f"{where}{error}") from None
                comparisons.append(Unread(row, f"{error}"))
        return comparisons

    def _comparison(self, prompt: str, first: str, second: str) -> Comparison:
        """Compare the two responses of a pair by the verdicts in both orders."""
        cut = self.question(prompt, first, second).cut
        in_order = self.verdict(prompt, first, second)
        swapped = self.verdict(prompt, second, first)
        return Comparison.of_verdicts(in_order, swapped, cut)

    def question(self, prompt: str, first: str, second: str) -> Tokenized:
        """Tokenize what is asked about two responses, in the order in which they are shown.

        Raises:
            ValueError: if a text is blank, or if the question is too long.
        """
        *turns, _ = messages(prompt, first or "")
        messages(prompt, second or "")  # raises for a blank text
        shown_prompt = prompt
        if len(turns) > 1:
            shown_prompt = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
        before, _, after = self.template.partition("{prompt}")
        texts = {"prompt": shown_prompt, "first": first, "second": second}
        return self.backbone.require_chat().request_ids(
            before.format(**texts), shown_prompt, after.format(**texts)
        )

    @torch.inference_mode()
    def verdict(self, prompt: str, first: str, second: str) -> float | None:
        """Ask once, without sampling, which response is better.

        Returns:
            0.0 for the response shown first, 1.0 for the other, None if the answer names neither.
        """
        ids = self.question(prompt, first, second).ids
        inputs = torch.tensor([ids], device=self.backbone.device)
        writer: Any = self.backbone.transformer  # a causal language model
        written = writer.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            do_sample=False,
            max_new_tokens=self.max_tokens,
        )
        answer = str(self.backbone.require_chat().tokenizer.decode(written[0, len(ids) :]))
        is_cut = written.shape[1] - len(ids) >= self.max_tokens
        return {"A": 0.0, "B": 1.0}.get(verdict(answer, is_cut=is_cut))
