"""A backbone with a head, and perhaps a tree, as a reward model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from dtreward.conversation import Conversations
from dtreward.engine.backbone import FINAL, Backbone
from dtreward.engine.forward import hidden_states, last_hidden_states
from dtreward.engine.tokens import (
    TokenizedRows,
    Unread,
    check_on_error,
    not_finite,
    refuse_unread,
    tokenize,
)
from dtreward.files import digest
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
from dtreward.models.heads import Head
from dtreward.tree.tree import PreferenceTree


@dataclass(frozen=True)
class _Readings:
    """What backbone and head say of conversations; nan for those that cannot be read.

    Attributes:
        cut: tokens cut from the start of each prompt.
        unread: why a conversation has no numbers, by its row.
    """

    rewards: Float[np.ndarray, "responses attributes"]
    scores: Float[np.ndarray, " responses"]
    cut: list[int]
    unread: dict[int, str]


def _refuse_or_warn(unread: Mapping[int, str], rows: int, on_error: OnError, what: str) -> None:
    """Refuse rows that cannot be read, or warn that they have no `what`, with the reasons."""
    if on_error == "error":
        refuse_unread(unread, rows)
    elif unread:
        reasons = "; ".join(f"row {row}: {why}" for row, why in sorted(unread.items()))
        message = f"no {what} of {len(unread)} rows: {reasons}"
        warnings.warn(message, stacklevel=4)


@dataclass(frozen=True, eq=False)
class HeadModel(RewardModel):
    """A frozen backbone, the head on it, and perhaps a tree that decides on the head's rewards.

    Attributes:
        normalisation: mean and standard deviation of the scores in training, where OpenRLHF
            recorded them. They are only recorded here, too: the training compared scores as they
            are, so that their probabilities are those of scores that are not normalised.
        demo: whether its card says that it belongs to the demo world.
    """

    backbone: Backbone
    head: Head
    tree: PreferenceTree | None = None
    normalisation: tuple[float, float] | None = None
    demo: bool = False  # ty: ignore[incompatible-attribute-override]

    def __post_init__(self) -> None:
        layer = self.backbone.layers[0]
        if layer != FINAL:
            raise ValueError(
                "a head reads the last layer after the final norm, and this backbone reads layer "
                f"{layer}; give it as `load` made it, or `reading([-1])`"
            )

    @property
    def attributes(self) -> tuple[str, ...]:  # ty: ignore[incompatible-property-override]
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
        identity = {
            "kind": self.kind,
            "attributes": self.attributes,
            "head": digest(self.head.identity_text(), *contents),
            "tree": None if self.tree is None else self.tree.to_dict(),
            "backbone": self.backbone.identity | self.backbone.require_chat().identity,
        }
        if self.normalisation:
            mean, std = self.normalisation
            identity["normalisation"] = {"mean": mean, "std": std, "applied": False}
        return identity

    def features(
        self, conversations: Conversations, *, on_error: OnError = "error"
    ) -> Float[np.ndarray, "responses hidden"]:
        """Compute the last token's final hidden state of each (prompt, response).

        Args:
            on_error: of a conversation that cannot be read, or whose features are not finite: an
                "error" that names its row, or "record": its features are nan (see `scores`).
        """
        check_on_error(on_error)
        rows = tokenize(self.backbone, conversations)
        read = rows.readable
        states = last_hidden_states(
            self.backbone, [rows.ids[row] for row in read], [rows.prompts[row] for row in read]
        )
        features = np.full((len(conversations), self.backbone.hidden_size), np.nan, states.dtype)
        features[read] = states
        self._note_not_finite(rows.unread, read, features, "its features are")
        _refuse_or_warn(rows.unread, len(conversations), on_error, "features")
        return features

    def rewards(
        self, conversations: Conversations, *, on_error: OnError = "error"
    ) -> Float[np.ndarray, "responses attributes"]:
        """Predict the attributes of each (prompt, response).

        Args:
            on_error: of a conversation that cannot be read: an "error", or "record" (see `scores`).
        """
        return self._readings(conversations, on_error).rewards

    def scores(
        self, conversations: Conversations, *, on_error: OnError = "error"
    ) -> Float[np.ndarray, " responses"]:
        """Score each (prompt, response); more is better.

        Args:
            on_error: of a conversation that cannot be read, or whose score is not finite: an
                "error" that names its row, or "record": its score is nan, and a warning names its
                row and the reason.

        Raises:
            ValueError: if the head predicts several rewards and no score.
        """
        if not self.head.scored:
            return super().scores(conversations)
        return self._readings(conversations, on_error).scores

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
            on_error: of a pair that cannot be read, or whose rewards are not finite: an "error"
                that names its row, or "record", which gives an `Unread` in its place.

        Raises:
            ValueError: if the model has several attributes and no tree to decide by.
        """
        if self.kind == "multi-attribute":
            raise ValueError(
                f"model has {len(self.attributes)} attributes and no tree to decide by; pass tree= "
                'to load(), such as PreferenceTree.load(path) or PreferenceTree.published("Human")'
            )
        check_on_error(on_error)
        conversations = conversations_of(prompts, responses1, responses2)
        readings = self._read(conversations)
        unread = unread_pairs(readings.unread)
        if on_error == "error":
            refuse_unread(unread, len(prompts))
        comparisons = []
        for row in range(len(prompts)):
            if row in unread:
                comparisons.append(Unread(row, unread[row]))
                continue
            comparisons.append(self._comparison(readings, slice(2 * row, 2 * row + 2)))
        return comparisons

    def _comparison(self, readings: _Readings, pair: slice) -> Comparison:
        """Compare the two conversations of a pair."""
        return Comparison.of(
            readings.rewards[pair],
            attributes=self.attributes,
            scores=readings.scores[pair] if self.head.scored else None,
            tree=self.tree,
            tokens_cut=readings.cut[pair],
        )

    def _readings(self, conversations: Conversations, on_error: OnError) -> _Readings:
        """Read conversations; refuse those that cannot be read, or warn of them."""
        check_on_error(on_error)
        readings = self._read(conversations)
        _refuse_or_warn(readings.unread, len(conversations), on_error, "score")
        return readings

    def _read(self, conversations: Conversations) -> _Readings:
        """Run backbone and head over all conversations that can be read."""
        rows = tokenize(self.backbone, conversations)
        positions = self._positions(rows)
        read = list(positions)
        states = hidden_states(
            self.backbone,
            [rows.ids[row] for row in read],
            list(positions.values()),
            [rows.prompts[row] for row in read],
        )
        rewards = np.full((len(conversations), len(self.attributes)), np.nan, states.dtype)
        scores = np.full(len(conversations), np.nan, states.dtype)
        # One response at a time: in a product of whole matrices, the rounding of a row depends on
        # the number of rows.
        for row, state in zip(read, states, strict=True):
            of_row, score = self.head(torch.from_numpy(state))
            rewards[row] = of_row.numpy()
            scores[row] = score
        numbers = np.column_stack([rewards, scores]) if self.head.scored else rewards
        self._note_not_finite(rows.unread, read, numbers, "its rewards or score are")
        unread = dict(sorted(rows.unread.items()))
        rewards[list(unread)] = np.nan
        scores[list(unread)] = np.nan
        return _Readings(rewards, scores, rows.cut, unread)

    def _note_not_finite(
        self,
        unread: dict[int, str],
        read: Sequence[int],
        numbers: Float[np.ndarray, "responses numbers"],
        what: str,
    ) -> None:
        """Add to `unread` those of the rows read whose numbers are not finite."""
        dtype = str(self.backbone.transformer.dtype).removeprefix("torch.")
        is_finite = np.asarray(np.isfinite(numbers).all(axis=1))
        for row in read:
            if not is_finite[row]:
                unread[row] = not_finite(what, dtype)

    def _positions(self, rows: TokenizedRows) -> dict[int, tuple[int, ...]]:
        """Find the tokens whose states the head reads: the last, and for a gate the prompt's end.

        A conversation without the gate's marker is noted among those that cannot be read.
        """
        positions = {}
        for row in rows.readable:
            last = len(rows.ids[row]) - 1
            if not self.head.gated:
                positions[row] = (last,)
                continue
            try:
                positions[row] = (
                    last,
                    self.backbone.require_chat().prompt_end(rows.ids[row].tolist()),
                )
            except ValueError as error:
                rows.unread[row] = str(error)
        return positions
