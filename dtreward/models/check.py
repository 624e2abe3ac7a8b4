"""Check a reward model before it is downloaded: does it hold what the catalogue assumes?"""

from __future__ import annotations

import tempfile
from pathlib import Path

from huggingface_hub import constants, metadata_load

from dtreward.models.catalogue import CATALOGUE, find_entry
from dtreward.models.findings import ModelCheck
from dtreward.models.names import HUB_ERRORS, not_given, refuse_no_name
from dtreward.models.remote import Outline, fetch_outline, licence_of


def check_model(name: str, revision: str | None = None) -> ModelCheck:
    """Check one model, from its folder, the hub, or the hub's cache where the hub is switched off.

    Of a model on the hub only small files and the headers of weights are read.

    Args:
        name: as given to `load`.
        revision: commit, branch or tag of a model on the hub.

    Raises:
        FileNotFoundError: if there is no such model; ValueError: if it has no repository.

    Example:
        >>> check = check_model("data/demo")
        >>> check.decides, check.requests, check.refused
        ('decision-tree', 0, False)
    """
    entry = find_entry(name)
    if Path(name).is_dir():
        return _check_outline(name, _outline_of(Path(name), ""))
    if entry is not None and not entry.repo:
        raise ValueError(f"{name} has no repository of its own: {entry.note}; give that of a model")
    repo = name if entry is None else entry.repo
    refuse_no_name(repo)
    if constants.HF_HUB_OFFLINE or Path(repo).exists():
        from dtreward.models.checkpoint_folder import find_folder  # imports torch

        folder, commit = find_folder(repo, revision)
        return _check_outline(repo, _outline_of(folder, commit))
    with tempfile.TemporaryDirectory(prefix="dtreward-") as scratch:
        try:
            outline = fetch_outline(repo, revision, Path(scratch))
        except HUB_ERRORS as error:
            raise not_given(repo, error, revision) from None
        return _check_outline(repo, outline)


def leaderboard() -> list[str]:
    """List the hub ids of the leaderboard, members of an ensemble among them.

    Example:
        >>> names = leaderboard()
        >>> names[0], "" in names
        ('RLHFlow/Decision-Tree-Reward-Gemma-2-27B', False)
    """
    from dtreward.models import ensemble  # imports torch

    names = []
    for entry in CATALOGUE.values():
        names += ensemble.AVAILABLE if entry.reads == "scores" else [entry.repo]
    return list(dict.fromkeys(filter(None, names)))


def _outline_of(folder: Path, commit: str) -> Outline:
    """Describe a folder that is here as the outline of one on the hub."""
    card = folder / "README.md"
    try:
        licence = licence_of((metadata_load(card) if card.is_file() else None) or {})
    except ValueError:
        licence = ""
    for ending in (".safetensors", ".bin"):
        sizes = {path.name: path.stat().st_size for path in sorted(folder.glob(f"*{ending}"))}
        if sizes:
            break
    return Outline(folder, commit, licence, sizes)


def _check_outline(name: str, outline: Outline) -> ModelCheck:
    """Let `load` judge the files, and set what they say beside what was published."""
    from dtreward.models.facts import facts_of  # import torch
    from dtreward.models.load_checkpoint import judge

    judgement = judge(name, outline.folder)
    # What is wrong is the model, and not the folder of its outline, which is gone soon.
    for step, problem in judgement.problems.items():
        judgement.problems[step] = problem.replace(str(outline.folder), name)
    facts = tuple(facts_of(judgement, outline))
    decides = "" if judgement.problems else judgement.decides
    return ModelCheck(name, outline.commit, facts, decides, outline.requests, outline.received)
