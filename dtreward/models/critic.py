"""A language model as a reward model: it writes which of two responses is better."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dtreward.conversation import Tokenized, messages
from dtreward.engine.backbone import Backbone
from dtreward.models.comparison import Comparison, Comparisons, RewardModel, Texts, conversations_of

# What Skywork-Critic is asked, in our words; theirs are on its model card, for template=.
TEMPLATE = Path(__file__).with_name("critic.txt").read_text("utf-8").strip()


@dataclass(frozen=True, eq=False)
class Critic(RewardModel):
    """A language model that writes which response is better, [[A]] or [[B]], asked in both orders.

    Where the two verdicts name different responses, or one cannot be read, the probability is 0.5
    or between. `template` holds {prompt}, {first} and {second}. Of a question that is too long, the
    start of the user's prompt is cut if the model was loaded so: never the instruction, never a
    response; `effective_rule` then says how much.
    """

    backbone: Backbone  # its transformer is a causal language model
    template: str = TEMPLATE
    max_tokens: int = 8
    kind = "verdict"

    @property
    def identity(self) -> dict[str, Any]:
        """What makes its answers: backbone and tokenizer, what is asked, and how much it writes."""
        own = {"kind": self.kind, "template": self.template, "max_tokens": self.max_tokens}
        return own | {"backbone": self.backbone.identity | self.backbone.chat.identity}

    def compare_many(self, prompts: Texts, responses1: Texts, responses2: Texts) -> Comparisons:
        """Compare many pairs, with the same result for each as `compare`."""
        found, conversations = [], conversations_of(prompts, responses1, responses2)
        for (prompt, one), (_, two) in zip(conversations[::2], conversations[1::2], strict=True):
            cut = self.question(prompt, one, two).cut
            told = [f"{cut} tokens of the prompt cut"] * (cut > 0)
            said = self.verdict(prompt, one, two), self.verdict(prompt, two, one)
            found.append(Comparison.of_verdicts(*said, told))
        return found

    def question(self, prompt: str, first: str, second: str) -> Tokenized:
        """Tokenize what is asked; a ValueError of texts that are blank, or too long to be asked."""
        turns, _ = (messages(prompt, each or "")[:-1] for each in (first, second))
        shown = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
        parts = {"prompt": shown if turns[1:] else prompt, "first": first, "second": second}
        before, _, after = self.template.partition("{prompt}")
        texts = before.format(**parts), parts["prompt"], after.format(**parts)
        return self.backbone.chat.request_ids(*texts)

    @torch.inference_mode()
    def verdict(self, prompt: str, first: str, second: str) -> float:
        """Ask once, greedily: 0.0 for the response shown first, 1.0 for the other, 0.5 if unread."""
        ids = self.question(prompt, first, second).ids
        given = torch.tensor([ids], device=self.backbone.device)
        options = {"do_sample": False, "max_new_tokens": self.max_tokens}
        options["attention_mask"] = torch.ones_like(given)
        written = self.backbone.transformer.generate(given, **options)
        text = self.backbone.chat.tokenizer.decode(written[0, len(ids) :])
        return 0.0 if "[[A]]" in text else 1.0 if "[[B]]" in text else 0.5
