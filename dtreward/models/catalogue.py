"""The reward models that `load` knows by name, and what their files do not say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dtreward.tree.nodes import ATTRIBUTES

ARMORM = (
    *(f"helpsteer-{name}" for name in ATTRIBUTES),
    *(f"ultrafeedback-{name}" for name in ("overall_score", "instruction_following")),
    *(f"ultrafeedback-{name}" for name in ("truthfulness", "honesty", "helpfulness")),
    *("beavertails-is_safe", "prometheus-score", "argilla-overall_quality", "argilla-judge_lm"),
    *("code-complexity", "code-style", "code-explanation", "code-instruction-following"),
    "code-readability",
)


@dataclass(frozen=True)
class Known:
    """One reward model: where it is, and how it is read where its tensors do not tell.

    Args:
        repo: hub id; "" where nothing or not all is public: what is loaded under that name only
            stands in for it, and is not comparable to its published scores.
        reads: "" (a head, by its tensors), "next token" (the logit of token 0 is the score),
            "verdict" (it writes which response is better) or "scores" (of other reward models).
        attributes: names of the head's rows, which the configuration does not give.
        tree: name of its published tree, taken where its files have none.
        note: what a table says beside it.
    """

    repo: str
    reads: str = ""
    attributes: tuple[str, ...] = ()
    tree: str = ""
    note: str = ""


KNOWN = {
    "Decision-Tree-Reward-Gemma-2-27B": Known(
        "RLHFlow/Decision-Tree-Reward-Gemma-2-27B", tree="Decision-Tree-Reward-Gemma-2-27B"
    ),
    "INF-QRM-Llama3.1-70B": Known("infly/INF-ORM-Llama3.1-70B", note="its own name is INF-ORM"),
    "Decision-Tree-Reward-Llama-3.1-8B": Known(
        "RLHFlow/Decision-Tree-Reward-Llama-3.1-8B", tree="Decision-Tree-Reward-Llama-3.1-8B"
    ),
    "QRM-Gemma-2-27B": Known("nicolinho/QRM-Gemma-2-27B", attributes=ATTRIBUTES),
    "Skywork-Reward-Gemma-2-27B-v0.2": Known("Skywork/Skywork-Reward-Gemma-2-27B-v0.2"),
    "Llama-3.1-Nemotron-70B-Reward": Known(
        "nvidia/Llama-3.1-Nemotron-70B-Reward-HF", "next token", note="published: NeMo's weights"
    ),
    "Skywork-Reward-Gemma-2-27B": Known("Skywork/Skywork-Reward-Gemma-2-27B"),
    "TextEval-Llama3.1-70B": Known("", "verdict", note="nothing public: any generative judge"),
    "MetaMetrics-RM-v1.0": Known(
        "", "scores", note="lacks internlm2-7b-reward, internlm2-1_8b-reward: not in transformers 5"
    ),
    "Skywork-Critic-Llama-3.1-70B": Known(
        "Skywork/Skywork-Critic-Llama-3.1-70B", "verdict", note="asked in this project's words"
    ),
    "QRM-Llama3.1-8B-v2": Known("nicolinho/QRM-Llama3.1-8B-v2", attributes=ATTRIBUTES),
    "Skywork-Reward-Llama-3.1-8B-v0.2": Known("Skywork/Skywork-Reward-Llama-3.1-8B-v0.2"),
    "ArmoRM-Llama3-8B-v0.1": Known("RLHFlow/ArmoRM-Llama3-8B-v0.1", attributes=ARMORM),
}


def known(name: str | Path) -> Known | None:
    """Find a model by its name on the leaderboard, its hub id, or a folder called like either.

    Of an id the owner counts, too: another's model of the same name is another model.

    >>> known("infly/INF-ORM-Llama3.1-70B") is known("INF-QRM-Llama3.1-70B")
    True
    """
    is_folder, rows = Path(name).is_dir(), dict(KNOWN)
    for key, row in KNOWN.items():
        owner, _, own = row.repo.partition("/")
        others = [own] if is_folder else [row.repo, f"{owner}/{key}"]
        rows |= dict.fromkeys(others if owner else (), row)
    return rows.get(Path(name).name if is_folder else str(name))
