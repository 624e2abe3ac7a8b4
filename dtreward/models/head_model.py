"""A backbone with a head, and a tree where it has one, as a reward model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from dtreward.conversation import Conversations
from dtreward.engine.backbone import Backbone
from dtreward.engine.forward import hidden_states, last_hidden_states
from dtreward.files import digest
from dtreward.models.comparison import Comparison, Comparisons, RewardModel, Texts, conversations_of
from dtreward.models.heads import Head
from dtreward.tree.tree import PreferenceTree


@dataclass(frozen=True, eq=False)
class HeadModel(RewardModel):
    """A frozen backbone, the head on it, and perhaps a tree that decides on the head's rewards."""

    backbone: Backbone
    head: Head
    tree: PreferenceTree | None = None

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the rewards."""
        return self.head.attributes

    @property
    def kind(self) -> Literal["decision-tree", "multi-attribute", "score"]:
        """What decides: the tree, nothing so far, or the larger score (Bradley-Terry)."""
        if self.tree is not None:
            return "decision-tree"
        return "score" if self.head.scored else "multi-attribute"

    @property
    def identity(self) -> dict[str, Any]:
        """What makes its answers: backbone, tokenizer, head and tree."""
        tensors = [*self.head.parameters(), *self.head.buffers()]
        head = digest(str(self.head), *(each.detach().numpy().tobytes() for each in tensors))
        own = {"kind": self.kind, "attributes": self.attributes, "head": head}
        own |= {"tree": self.tree and self.tree.to_dict()}
        return own | {"backbone": self.backbone.identity | self.backbone.chat.identity}

    def features(self, conversations: Conversations) -> Float[np.ndarray, "responses hidden"]:
        """Return the last token's final hidden state of each (prompt, response)."""
        prompts = [prompt for prompt, _ in conversations]
        return last_hidden_states(self.backbone, self._token_ids(conversations), prompts)

    def rewards(self, conversations: Conversations) -> Float[np.ndarray, "responses attributes"]:
        """Predict the attributes of each (prompt, response)."""
        return self._read(conversations)[0]

    def scores(self, conversations: Conversations) -> Float[np.ndarray, " responses"]:
        """Score each (prompt, response), more is better; a ValueError of models that do not."""
        return self._read(conversations)[1] if self.head.scored else super().scores(conversations)

    def compare_many(self, prompts: Texts, responses1: Texts, responses2: Texts) -> Comparisons:
        """Compare many pairs, with the same result for each as `compare`."""
        if self.kind == "multi-attribute":
            trees = 'PreferenceTree.load(path) or PreferenceTree.published("Human")'
            came = f"model has {len(self.attributes)} attributes and no tree to decide by"
            raise ValueError(f"{came}; pass tree= to load(), such as {trees}")
        rewards, scores = self._read(conversations_of(prompts, responses1, responses2))
        pairs, told = rewards.reshape(-1, 2, len(self.attributes)), scores.reshape(-1, 2)
        told = told if self.head.scored else [None] * len(pairs)
        shared = {"attributes": self.attributes, "tree": self.tree}
        both = zip(pairs, told, strict=True)
        return [Comparison.of(pair, scores=scores, **shared) for pair, scores in both]

    def _token_ids(self, conversations: Conversations) -> list[tuple[int, ...]]:
        return [self.backbone.chat.token_ids(*each).ids for each in conversations]

    def _read(self, conversations: Conversations) -> tuple[np.ndarray, np.ndarray]:
        ids, chat = self._token_ids(conversations), self.backbone.chat
        ends = [(chat.prompt_end(each),) if self.head.gated else () for each in ids]
        places = [(len(each) - 1, *end) for each, end in zip(ids, ends, strict=True)]
        # One by one: a product of whole matrices rounds a row by how many stand beside it.
        states = hidden_states(self.backbone, ids, places, [prompt for prompt, _ in conversations])
        read = [self.head(torch.from_numpy(each)) for each in states]
        rewards = np.array([each.numpy() for each, _ in read]).reshape(-1, len(self.attributes))
        return rewards, np.array([score for _, score in read], rewards.dtype)
