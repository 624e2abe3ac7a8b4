"""The reward models that `load` knows by name, and what their files do not say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from dtreward.tree.nodes import ATTRIBUTES

# Names of ArmoRM's rewards in the order of its head's rows, as its model card lists them.
ARMORM = (
    "helpsteer-helpfulness",
    "helpsteer-correctness",
    "helpsteer-coherence",
    "helpsteer-complexity",
    "helpsteer-verbosity",
    "ultrafeedback-overall_score",
    "ultrafeedback-instruction_following",
    "ultrafeedback-truthfulness",
    "ultrafeedback-honesty",
    "ultrafeedback-helpfulness",
    "beavertails-is_safe",
    "prometheus-score",
    "argilla-overall_quality",
    "argilla-judge_lm",
    "code-complexity",
    "code-style",
    "code-explanation",
    "code-instruction-following",
    "code-readability",
)


CLOSE = 0.75  # of two names, at least: much less, and any model of Llama resembles any other


@dataclass(frozen=True)
class CatalogueEntry:
    """One reward model: where it is, and how it is read where its tensors do not tell.

    Args:
        repo: hub id; "" if the model or a part of it is not public. Whatever is loaded under that
            name is a substitute, and is not comparable to the model's published scores.
        reads: "" (a head, recognised by its tensors), "next token" (the logit of token 0 is the
            score), "verdict" (it writes which response is better) or "scores" (a weighted sum of
            other reward models' scores).
        attributes: names of the head's rows, if its configuration does not give them.
        tree: name of its published tree, used if its files have none.
        pooling: which token its head reads, a rule of `dtreward.pooling`; "" asks its files.
        note: a remark for tables.
    """

    repo: str
    reads: str = ""
    attributes: tuple[str, ...] = ()
    tree: str = ""
    note: str = ""
    pooling: str = "last"


def _same_names(owner: str, *names: str, reads: str = "") -> dict[str, CatalogueEntry]:
    """Make a row for each of an owner's models whose name here is its name on the hub."""
    return {name: CatalogueEntry(f"{owner}/{name}", reads=reads) for name in names}


# The study's leaderboard by the names there, ArmoRM, and what people have run since.
CATALOGUE = {
    "Decision-Tree-Reward-Gemma-2-27B": CatalogueEntry(
        "RLHFlow/Decision-Tree-Reward-Gemma-2-27B", tree="Decision-Tree-Reward-Gemma-2-27B"
    ),
    "INF-QRM-Llama3.1-70B": CatalogueEntry(
        "infly/INF-ORM-Llama3.1-70B", note="its own name is INF-ORM"
    ),
    "Decision-Tree-Reward-Llama-3.1-8B": CatalogueEntry(
        "RLHFlow/Decision-Tree-Reward-Llama-3.1-8B", tree="Decision-Tree-Reward-Llama-3.1-8B"
    ),
    "QRM-Gemma-2-27B": CatalogueEntry("nicolinho/QRM-Gemma-2-27B", attributes=ATTRIBUTES),
    "Skywork-Reward-Gemma-2-27B-v0.2": CatalogueEntry("Skywork/Skywork-Reward-Gemma-2-27B-v0.2"),
    "Llama-3.1-Nemotron-70B-Reward": CatalogueEntry(
        "nvidia/Llama-3.1-Nemotron-70B-Reward-HF",
        reads="next token",
        note="published: NeMo's weights",
    ),
    "Skywork-Reward-Gemma-2-27B": CatalogueEntry("Skywork/Skywork-Reward-Gemma-2-27B"),
    "TextEval-Llama3.1-70B": CatalogueEntry(
        "", reads="verdict", note="nothing public: any generative judge"
    ),
    "MetaMetrics-RM-v1.0": CatalogueEntry(
        "",
        reads="scores",
        note="lacks internlm2-7b-reward, internlm2-1_8b-reward: not in transformers 5",
    ),
    "Skywork-Critic-Llama-3.1-70B": CatalogueEntry(
        "Skywork/Skywork-Critic-Llama-3.1-70B",
        reads="verdict",
        note="asked in this project's words",
    ),
    "QRM-Llama3.1-8B-v2": CatalogueEntry("nicolinho/QRM-Llama3.1-8B-v2", attributes=ATTRIBUTES),
    "Skywork-Reward-Llama-3.1-8B-v0.2": CatalogueEntry("Skywork/Skywork-Reward-Llama-3.1-8B-v0.2"),
    "ArmoRM-Llama3-8B-v0.1": CatalogueEntry("RLHFlow/ArmoRM-Llama3-8B-v0.1", attributes=ARMORM),
    "URM-LLaMa-3.1-8B": CatalogueEntry("LxzGordon/URM-LLaMa-3.1-8B", attributes=ATTRIBUTES),
    **_same_names(
        "Skywork",
        "Skywork-Reward-V2-Llama-3.1-8B",
        "Skywork-Reward-V2-Llama-3.1-8B-40M",
        "Skywork-Reward-V2-Llama-3.2-1B",
        "Skywork-Reward-V2-Llama-3.2-3B",
        "Skywork-Reward-V2-Qwen3-0.6B",
        "Skywork-Reward-V2-Qwen3-1.7B",
        "Skywork-Reward-V2-Qwen3-4B",
        "Skywork-Reward-V2-Qwen3-8B",
    ),
    **_same_names(
        "nvidia",
        "Llama-3.3-Nemotron-70B-Reward",
        "Llama-3.3-Nemotron-70B-Reward-Multilingual",
        reads="next token",
    ),
    **_same_names("nvidia", "Qwen-3-Nemotron-32B-Reward", "Qwen-2.5-Nemotron-32B-Reward"),
}


def model_label(model: str | Path) -> str:
    """Name a model in titles, tables and claims: as on the leaderboard, by its id, or by its folder.

    A path is no name: of a folder only its own name is shown, or "<study>/checkpoint" for the
    checkpoint of a study.

    Args:
        model: as given to `load`.

    Example:
        >>> model_label("RLHFlow/ArmoRM-Llama3-8B-v0.1"), model_label("me/My-Reward-Model")
        ('ArmoRM-Llama3-8B-v0.1', 'me/My-Reward-Model')
        >>> model_label("../data/demo"), model_label("../data/demo/checkpoint")
        ('demo', 'demo/checkpoint')
    """
    entry = find_entry(model)
    for name, listed in CATALOGUE.items():
        if listed is entry:
            return name
    if Path(model).is_dir():
        parts = Path(os.path.abspath(model)).parts
        is_hub_id = False
    else:
        parts = Path(model).parts
        is_hub_id = len(parts) == 2 and parts[0] not in ("..", "/")
    if is_hub_id or parts[-1] == "checkpoint":
        return "/".join(parts[-2:])
    return parts[-1]


def near_names(name: str) -> list[str]:
    """Suggest names of the catalogue that are nearly a name, the owner left aside.

    Example:
        >>> near_names("Decision-Tree-Reward-Llama-3.1-8b")
        ['Decision-Tree-Reward-Llama-3.1-8B']
        >>> near_names("RLHFlow/Decision-Tree-Reward-Gemma")
        ['RLHFlow/Decision-Tree-Reward-Gemma-2-27B']
    """
    names = list(CATALOGUE)
    if "/" in name:
        names = [entry.repo for entry in CATALOGUE.values() if entry.repo]
    by_lower = {listed.lower(): listed for listed in names}
    return [by_lower[near] for near in get_close_matches(name.lower(), by_lower, 1, CLOSE)]


def find_entry(name: str | Path) -> CatalogueEntry | None:
    """Find a model by its name on the leaderboard, its hub id, or a folder with either name.

    The owner is part of a hub id: a model of the same name by another owner is another model.

    Args:
        name: as given to `load`. A folder's path does not matter, only the folder's own name.

    Returns:
        the entry, or None if the catalogue has no such model.

    Example:
        >>> find_entry("infly/INF-ORM-Llama3.1-70B") is find_entry("INF-QRM-Llama3.1-70B")
        True
        >>> find_entry("me/INF-ORM-Llama3.1-70B") is None
        True
    """
    is_folder = Path(name).is_dir()
    wanted = Path(name).name if is_folder else str(name)
    for listed_name, entry in CATALOGUE.items():
        names = [listed_name]
        owner, _, repo_name = entry.repo.partition("/")
        if owner and is_folder:
            names.append(repo_name)
        elif owner:
            names.append(entry.repo)
            names.append(f"{owner}/{listed_name}")
        if wanted in names:
            return entry
    return None
