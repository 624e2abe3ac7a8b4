"""A backbone with a head, and perhaps a tree, as a reward model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from dtreward.conversation import Conversations, prompt_text
from dtreward.engine.backbone import Backbone
from dtreward.engine.forward import hidden_states, last_hidden_states
from dtreward.files import digest
from dtreward.models.comparison import (
    Comparison,
    Comparisons,
    Prompts,
    RewardModel,
    Texts,
    conversations_of,
)
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
        """What decides: a tree, the larger score (Bradley-Terry), or nothing ("multi-attribute")."""
        if self.tree is not None:
            return "decision-tree"
        return "score" if self.head.scored else "multi-attribute"

    @property
    def identity(self) -> dict[str, Any]:
        """All that changes its answers: backbone, tokenizer, head and tree."""
        tensors = [*self.head.parameters(), *self.head.buffers()]
        contents = [tensor.detach().numpy().tobytes() for tensor in tensors]
        return {
            "kind": self.kind,
            "attributes": self.attributes,
            "head": digest(self.head.identity_text(), *contents),
            "tree": None if self.tree is None else self.tree.to_dict(),
            "backbone": self.backbone.identity | self.backbone.chat.identity,
        }

    def features(self, conversations: Conversations) -> Float[np.ndarray, "responses hidden"]:
        """Compute the last token's final hidden state of each (prompt, response)."""
        prompts = [prompt_text(prompt) for prompt, _ in conversations]
        return last_hidden_states(self.backbone, self._token_ids(conversations), prompts)

    def rewards(self, conversations: Conversations) -> Float[np.ndarray, "responses attributes"]:
        """Predict the attributes of each (prompt, response)."""
        rewards, _ = self._rewards_and_scores(conversations)
        return rewards

    def scores(self, conversations: Conversations) -> Float[np.ndarray, " responses"]:
        """Score each (prompt, response); more is better.

        Raises:
            ValueError: if the head predicts several rewards and no score.
        """
        if not self.head.scored:
            return super().scores(conversations)
        _, scores = self._rewards_and_scores(conversations)
        return scores

    def compare_many(self, prompts: Prompts, responses1: Texts, responses2: Texts) -> Comparisons:
        """Compare many pairs, with the same result for each as `compare`.

        Raises:
            ValueError: if the model has several attributes and no tree to decide by.
        """
        if self.kind == "multi-attribute":
            raise ValueError(
                f"model has {len(self.attributes)} attributes and no tree to decide by; pass tree= "
                'to load(), such as PreferenceTree.load(path) or PreferenceTree.published("Human")'
            )
        conversations = conversations_of(prompts, responses1, responses2)
        rewards, scores = self._rewards_and_scores(conversations)
        comparisons = []
        for first in range(0, len(rewards), 2):
            pair = slice(first, first + 2)
            comparison = Comparison.of(
                rewards[pair],
                attributes=self.attributes,
                scores=scores[pair] if self.head.scored else None,
                tree=self.tree,
            )
            comparisons.append(comparison)
        return comparisons

    def _token_ids(self, conversations: Conversations) -> list[tuple[int, ...]]:
        chat = self.backbone.chat
        return [chat.token_ids(prompt, response).ids for prompt, response in conversations]

    def _rewards_and_scores(self, conversations: Conversations) -> tuple[np.ndarray, np.ndarray]:
        """Run backbone and head: rewards (responses, attributes) and scores (responses,)."""
        token_ids = self._token_ids(conversations)
        positions = [self._positions(ids) for ids in token_ids]
        prompts = [prompt_text(prompt) for prompt, _ in conversations]
        states = hidden_states(self.backbone, token_ids, positions, prompts)
        # One response at a time: in a product of whole matrices, the rounding of a row depends on
        # the number of rows.
        outputs = [self.head(torch.from_numpy(each)) for each in states]
        rewards = np.array([rewards.numpy() for rewards, _ in outputs])
        rewards = rewards.reshape(-1, len(self.attributes))
        scores = np.array([score for _, score in outputs], rewards.dtype)
        return rewards, scores

    def _positions(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Find the tokens whose states the head reads: the last, and for a gate the prompt's end."""
        last = len(ids) - 1
        if self.head.gated:
            return last, self.backbone.chat.prompt_end(ids)
        return (last,)
