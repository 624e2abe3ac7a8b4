"""A reward model made of others: MetaMetrics-RM-v1.0 (meta-metrics/metametrics, arXiv 2410.02381)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from dtreward.conversation import Conversations
from dtreward.engine.tokens import Unread, check_on_error, refuse_unread
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

# Weights of MetaMetrics' five members, by hub id.
WEIGHTS = {
    "Skywork/Skywork-Reward-Llama-3.1-8B": 1.0,
    "internlm/internlm2-7b-reward": 0.54822,
    "internlm/internlm2-1_8b-reward": 0.22149,
    "Ray2333/GRM-Llama3-8B-rewardmodel-ft": 0.21878,
    "Ray2333/GRM-Gemma-2B-rewardmodel-ft": 0.11442,
}
# Transformers 5 has no InternLM2.
AVAILABLE = {name: weight for name, weight in WEIGHTS.items() if "internlm2" not in name}


@dataclass(frozen=True, eq=False)
class Ensemble(RewardModel):
    """A model whose score is a weighted sum of other models' scores, each scaled to 0 to 1.

    Args:
        members: the models, by name.
        weights: of the members, by name.
        limits: smallest and largest score of each member on calibration data, by name. Without
            them, the smallest and largest among the responses that are scored together are used,
            as in the authors' own script.
    """

    members: Mapping[str, RewardModel]
    weights: Mapping[str, float]
    limits: Mapping[str, tuple[float, float]] | None = None
    kind = "score"

    @property
    def identity(self) -> dict[str, Any]:
        """All that changes its answers: weights, limits, and the identity of each member."""
        return {
            "kind": self.kind,
            "weights": dict(self.weights),
            "limits": self.limits,
            "members": {name: member.identity for name, member in self.members.items()},
        }

    def scores(
        self, conversations: Conversations, *, on_error: OnError = "error"
    ) -> Float[np.ndarray, " responses"]:
        """Score each (prompt, response); more is better.

        Args:
            on_error: of a conversation that a member cannot read: an "error", or "record", which
                scores it nan and the others without it.
        """
        check_on_error(on_error)
        scores = self._member_scores(conversations, on_error)
        unread = _unread(scores)
        if on_error == "error":
            refuse_unread(unread, len(conversations))
        kept = [row for row in range(len(conversations)) if row not in unread]
        whole = np.full(len(conversations), np.nan)
        whole[kept] = self.weigh({name: own[kept] for name, own in scores.items()})
        return whole

    def weigh(self, scores: Mapping[str, np.ndarray]) -> Float[np.ndarray, " responses"]:
        """Combine scores that the members have given already.

        Args:
            scores: by the member's name; each of shape (responses,).

        Raises:
            ValueError: if a member's scores are missing.

        Example:
            >>> Ensemble({}, {"a": 1.0, "b": 0.5}).weigh(
            ...     {"a": np.array([0.0, 2.0]), "b": np.array([3.0, 1.0])}
            ... )
            array([0.5, 1. ])
        """
        missing = sorted(set(self.weights) - set(scores))
        if missing:
            raise ValueError(f"scores of {missing} are missing; give them, or other weights")
        total = np.zeros(())
        for name, weight in self.weights.items():
            values = np.asarray(scores[name], float)
            if self.limits:
                low, high = self.limits[name]
            else:
                low = values.min(initial=np.inf)
                high = values.max(initial=-np.inf)
            span = high - low
            if span == 0:
                span = 1.0  # all scores are the same: the member adds 0
            total = total + weight * (values - low) / span
        return total

    def compare_many(
        self,
        prompts: Prompts,
        responses1: Texts,
        responses2: Texts,
        *,
        on_error: OnError = "error",
    ) -> Comparisons:
        """Compare many pairs; without `limits`, a pair's scores depend on the other pairs.

        Args:
            on_error: of a pair that a member cannot read: an "error", or "record", which gives an
                `Unread` in its place, and compares the others without it.
        """
        check_on_error(on_error)
        conversations = conversations_of(prompts, responses1, responses2)
        scores = self._member_scores(conversations, on_error)
        unread = unread_pairs(_unread(scores))
        if on_error == "error":
            refuse_unread(unread, len(prompts))
        kept = [row for row in range(len(prompts)) if row not in unread]
        both = [place for row in kept for place in (2 * row, 2 * row + 1)]
        compared = self.compare_scores({name: own[both] for name, own in scores.items()})
        comparisons: Comparisons = [Unread(row, why) for row, why in unread.items()]
        for row, comparison in zip(kept, compared, strict=True):
            comparisons.insert(row, comparison)
        return comparisons

    def compare_scores(self, scores: Mapping[str, np.ndarray]) -> Comparisons:
        """Compare pairs by scores that the members have given already.

        Args:
            scores: by the member's name; each holds response 1 and 2 of every pair in turn.
        """
        pairs = self.weigh(scores).reshape(-1, 2)
        return [Comparison.of(pair[:, None], attributes=["score"], scores=pair) for pair in pairs]

    def _member_scores(
        self, conversations: Conversations, on_error: OnError
    ) -> dict[str, np.ndarray]:
        # A user's own member may not have the option, which it needs only to go on.
        options = {"on_error": on_error} if on_error == "record" else {}
        return {
            name: np.asarray(member.scores(conversations, **options), float)
            for name, member in self.members.items()
        }


def _unread(scores: Mapping[str, np.ndarray]) -> dict[int, str]:
    """Name the members without a score, by the row of the conversation."""
    members: dict[int, list[str]] = {}
    for name, own in scores.items():
        for row in np.flatnonzero(np.isnan(own)).tolist():
            members.setdefault(row, []).append(name)
    return {row: f"no score of {', '.join(names)}" for row, names in sorted(members.items())}
