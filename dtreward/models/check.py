"""Check a reward model before it is downloaded: does it hold what the catalogue assumes?"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import constants, metadata_load

from dtreward.models.catalogue import CATALOGUE, find_entry
from dtreward.models.checkpoint_folder import ADAPTER, find_folder
from dtreward.models.findings import Fact, ModelCheck
from dtreward.models.names import HUB_ERRORS, not_given, refuse_no_name
from dtreward.models.remote import Outline, fetch_outline, licence_of

if TYPE_CHECKING:
    from dtreward.models.load_checkpoint import Judgement


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
        folder, commit = find_folder(repo, revision)
        return _check_outline(repo, _outline_of(folder, commit))
    with tempfile.TemporaryDirectory(prefix="dtreward-") as scratch:
        return _check_outline(repo, _fetch(repo, revision, Path(scratch)))


def _fetch(repo: str, revision: str | None, folder: Path) -> Outline:
    """Fetch an outline from the hub; what the hub does not give is told in one sentence."""
    try:
        return fetch_outline(repo, revision, folder)
    except HUB_ERRORS as error:
        raise not_given(repo, error, revision) from None


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
    from dtreward.models.load_checkpoint import judge  # imports torch

    if (outline.folder / ADAPTER).exists():
        return _check_adapter(name, outline)
    return _check_judged(name, outline, judge(name, outline.folder), {outline.folder: name})


def _check_adapter(name: str, outline: Outline) -> ModelCheck:
    """Check an adapter with its base model, of which only an outline is fetched, too."""
    from dtreward.models.adapter import read_adapter  # import torch
    from dtreward.models.load_checkpoint import judge

    with tempfile.TemporaryDirectory(prefix="dtreward-") as scratch:
        try:
            adapter = read_adapter(outline.folder)
            base = _outline_of_base(adapter.base, adapter.revision, Path(scratch))
        except (ValueError, FileNotFoundError) as error:
            raise type(error)(f"{error}".replace(str(outline.folder), name)) from None
        judgement = judge(name, base.folder, adapter)
        both = replace(
            outline,
            sizes=base.sizes | outline.sizes,
            requests=outline.requests + base.requests,
            received=outline.received + base.received,
            whole_vocabulary=outline.whole_vocabulary and base.whole_vocabulary,
        )
        # Both as they are written in reasons: an adapter's folder is resolved.
        names = {adapter.folder: name, outline.folder: name, base.folder: adapter.base}
        found = _check_judged(name, both, judgement, names)
    text = f"LoRA of rank {adapter.rank}, scale {adapter.scale:g}, merged into {adapter.base}"
    return replace(found, facts=(Fact("adapter", text), *found.facts))


def _outline_of_base(base: str, revision: str | None, scratch: Path) -> Outline:
    """Outline an adapter's base model: a folder, or one of the hub or its cache."""
    if Path(base).is_dir():
        return _outline_of(Path(base), "")
    try:
        refuse_no_name(base)
        if constants.HF_HUB_OFFLINE:
            return _outline_of(*find_folder(base, revision))
        return _fetch(base, revision, scratch)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"it is an adapter to {base}: {error}; if that model is elsewhere, say where in "
            f"base_model_name_or_path of its {ADAPTER}"
        ) from None


def _check_judged(
    name: str, outline: Outline, judgement: Judgement, names: dict[Path, str]
) -> ModelCheck:
    """Set what a model's files say beside what was published.

    Args:
        names: of models, by the folders that stand in reasons: what is wrong is the model, and
            not the folder of its outline, which is gone soon.
    """
    from dtreward.models.facts import facts_of

    for step, problem in judgement.problems.items():
        for folder, model in names.items():
            problem = problem.replace(str(folder), model)
        judgement.problems[step] = problem
    facts = tuple(facts_of(judgement, outline))
    decides = "" if judgement.problems else judgement.decides
    return ModelCheck(name, outline.commit, facts, decides, outline.requests, outline.received)
