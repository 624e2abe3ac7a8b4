"""A reward model made of others: MetaMetrics-RM-v1.0 (meta-metrics/metametrics, arXiv 2410.02381)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from dtreward.conversation import Conversations
from dtreward.models.comparison import Comparison, Comparisons, RewardModel, Texts, conversations_of

# The five members with a weight, by hub id; transformers 5 has no InternLM2.
WEIGHTS = {
    "Skywork/Skywork-Reward-Llama-3.1-8B": 1.0,
    "internlm/internlm2-7b-reward": 0.54822,
    "internlm/internlm2-1_8b-reward": 0.22149,
    "Ray2333/GRM-Llama3-8B-rewardmodel-ft": 0.21878,
    "Ray2333/GRM-Gemma-2B-rewardmodel-ft": 0.11442,
}
AVAILABLE = {name: weight for name, weight in WEIGHTS.items() if "internlm2" not in name}


@dataclass(frozen=True, eq=False)
class Ensemble(RewardModel):
    """MetaMetrics: the score is the sum of other models' scores, each scaled to 0 to 1 and weighted.

    `limits` gives the smallest and largest score of each member on calibration data; without them
    those of the responses that are scored together, as the authors' own script has it.
    """

    members: Mapping[str, RewardModel]
    weights: Mapping[str, float]
    limits: Mapping[str, tuple[float, float]] | None = None
    kind = "score"

    @property
    def identity(self) -> dict[str, Any]:
        """What makes its answers: weights, limits, and the identity of each member."""
        own = {"kind": self.kind, "weights": dict(self.weights), "limits": self.limits}
        return own | {"members": {name: each.identity for name, each in self.members.items()}}

    def scores(self, conversations: Conversations) -> Float[np.ndarray, " responses"]:
        """Score each (prompt, response), more is better."""
        return self.weigh({name: each.scores(conversations) for name, each in self.members.items()})

    def weigh(self, scores: Mapping[str, np.ndarray]) -> Float[np.ndarray, " responses"]:
        """Combine scores that are there already, of the members by name."""
        if missing := set(self.weights) - set(scores):
            lacking = f"scores of {sorted(missing)} are missing"
            raise ValueError(f"{lacking}; give them, or other weights")
        total = 0.0
        for name, weight in self.weights.items():
            values = np.asarray(scores[name], float)
            own = values.min(initial=np.inf), values.max(initial=-np.inf)
            low, high = self.limits[name] if self.limits else own
            total = total + weight * (values - low) / ((high - low) or 1.0)  # all alike: 0
        return total

    def compare_many(self, prompts: Texts, responses1: Texts, responses2: Texts) -> Comparisons:
        """Compare many pairs; without `limits`, a pair's scores depend on the others."""
        conversations = conversations_of(prompts, responses1, responses2)
        return self.compare_scores({n: m.scores(conversations) for n, m in self.members.items()})

    def compare_scores(self, scores: Mapping[str, np.ndarray]) -> list[Comparison]:
        """Compare by scores that are there already, response 1 and 2 of each pair in turn."""
        pairs = self.weigh(scores).reshape(-1, 2)
        return [Comparison.of(pair[:, None], attributes=["score"], scores=pair) for pair in pairs]
