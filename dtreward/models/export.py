"""Write a decision-tree reward model as a checkpoint that plain transformers loads."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import yaml
from huggingface_hub import metadata_load
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file

from dtreward.figures import draw_architecture, save_figure
from dtreward.files import write_json
from dtreward.models.checkpoint import (
    COPIED,
    FAMILIES,
    INDEX,
    PATHS,
    SHIPPED,
    TREE,
    WEIGHTS,
    read_config,
    weight_files,
)
from dtreward.models.heads import HEAD_PREFIXES
from dtreward.published import PUBLISHED
from dtreward.tree.figure import draw_tree
from dtreward.tree.tree import PreferenceTree

MODELING = SHIPPED / "modeling_decision_tree_reward_model.py"
LEADERBOARD = PUBLISHED / "leaderboard.csv"
CARD = SHIPPED / "model_card.md"
LICENCE = ("license", "license_name", "license_link")


def export_checkpoint(
    folder: str | Path,
    *,
    backbone_folder: str | Path,
    weight: Float[np.ndarray, "attributes hidden"],
    bias: Float[np.ndarray, " attributes"],
    attributes: Sequence[str],
    tree: PreferenceTree,
    card: Mapping[str, Any],
    bos: Literal["one", "none"] = "one",
) -> Path:
    """Write a decision-tree checkpoint that `load` reads, and plain transformers too.

    It appears whole, built beside its place; only another such checkpoint is replaced, with all
    that is in it. The backbone's tensors are kept as they are; shards without a change are linked.

    Args:
        backbone_folder: any checkpoint of the backbone; a head or `lm_head` of it is left out.
        weight, bias: the head: rewards are weight @ features + bias.
        card: `name`, `base_model`; perhaps `datasets`, `description`, `demo` (True: of the demo
            world), `results` (rows of a table, each a mapping), and `license`, `license_name`,
            `license_link`: by default those in the front matter of the backbone's README.md, and
            a licence that is nowhere named is "unknown".
        bos: the rule by which the features were made; recorded as `bos_rule`.

    Raises:
        ValueError: for parts that do not belong together, or other keys of `card`.
        FileExistsError: if `folder` holds anything but such a checkpoint.
    """
    folder, backbone, attributes = Path(folder), Path(backbone_folder), tuple(attributes)
    config = read_config(backbone)
    shape = (len(attributes), config["hidden_size"])
    if weight.shape != shape or bias.shape != shape[:1] or tree.attributes != attributes:
        came = f"{weight.shape}, {bias.shape} and a tree over {tree.attributes}"
        wanted = f"weight {shape}, bias {shape[:1]} and a tree over {attributes}"
        raise ValueError(f"expected {wanted}; came {came}")
    if folder.exists() and not (folder / TREE).exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is no decision-tree checkpoint; choose another folder")
    card = _complete(card, backbone)
    name = f"{FAMILIES[config['model_type']]}ForDecisionTreeRewardModel"
    config |= {"architectures": [name], "bos_rule": bos}
    config |= {"auto_map": {"AutoModelForSequenceClassification": f"{MODELING.stem}.{name}"}}
    config |= {"id2label": {str(place): each for place, each in enumerate(attributes)}}
    config |= {"label2id": {each: place for place, each in enumerate(attributes)}}
    partial, aside = (folder.with_name(f".{folder.name}.{what}") for what in ("partial", "aside"))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        head = {"score.weight": torch.tensor(weight), "score.bias": torch.tensor(bias)}
        _write_weights(partial, backbone, {name: each.float() for name, each in head.items()})
        for path in {path for pattern in COPIED for path in backbone.glob(pattern)} | {MODELING}:
            shutil.copyfile(path, partial / path.name)
        write_json(partial / "config.json", config)
        for path in partial.glob("*config.json"):
            settings = json.loads(path.read_text(encoding="utf-8"))
            write_json(path, {key: value for key, value in settings.items() if key not in PATHS})
        tree.save(partial / TREE)
        _write_card(partial, card, tree)
        shutil.rmtree(aside, ignore_errors=True)
        if folder.exists():
            os.rename(folder, aside)
        os.rename(partial, folder)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write_weights(partial: Path, backbone: Path, head: dict[str, torch.Tensor]) -> None:
    files, where = weight_files(backbone), {}
    for path in files:
        target = partial / (path.name if len(files) > 1 else WEIGHTS)
        with safe_open(path, "pt") as file:
            stored = list(file.keys())
            kept = [name for name in stored if not name.startswith(HEAD_PREFIXES)]
            # A backbone saved without its task has no "model." before its tensors' names.
            names = {f"model.{name.removeprefix('model.')}": name for name in kept}
            tensors = head if path == files[-1] else {}
            if not tensors and list(names) == stored:
                with suppress(OSError):  # another file system: copied below
                    os.link(path.resolve(), target)
            if not target.exists():
                tensors = tensors | {new: file.get_tensor(old) for new, old in names.items()}
                save_file(tensors, target, {"format": "pt"})
                target.chmod(0o644)  # safetensors writes for the owner alone
        where |= dict.fromkeys([*names, *tensors], target.name)
    if len(files) > 1:
        write_json(partial / INDEX, {"metadata": {}, "weight_map": where})


def _complete(card: Mapping[str, Any], backbone: Path) -> dict[str, Any]:
    """Check the card, give it the backbone's licence, and name a folder without its path."""
    legal = {*LICENCE, "name", "base_model", "datasets", "description", "demo", "results"}
    if (absent := {"name", "base_model"} - set(card)) or set(card) - legal:
        raise ValueError(f"card lacks {sorted(absent)}, or has other keys than {sorted(legal)}")
    readme, base = backbone / "README.md", Path(card["base_model"])
    if "license" not in card:
        found = (metadata_load(readme) if readme.exists() else {}) or {}
        card = dict(card) | {"license": "unknown"} | {k: found[k] for k in LICENCE if k in found}
    return dict(card) | ({"base_model": base.resolve().name} if base.is_dir() else {})


def _write_card(folder: Path, card: Mapping[str, Any], tree: PreferenceTree) -> None:
    figure, ax = plt.subplots(figsize=(6.75, 1.6))
    base = card["base_model"].split("/")[-1]
    draw_architecture(ax, backbone=base, attributes=tree.attributes)
    drawn = draw_tree(tree, effective=True, title=card["name"])
    for name, each in {"architecture": figure, "tree": drawn.figure}.items():
        save_figure(each, folder / name)[0].unlink()  # the PDF
        plt.close(each)
    metadata = {key: card[key] for key in (*LICENCE, "base_model", "datasets") if key in card}
    metadata |= {"library_name": "transformers", "pipeline_tag": "text-classification"}
    terms = card["license"] if card["license"] != "other" else card.get("license_name", "other")
    template = CARD.read_text(encoding="utf-8")
    if not card.get("demo"):
        template = re.sub(r"> \*\*Demo world.*\n\n", "", template)
    text = template.format(
        metadata=yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True),
        name=card["name"],
        description=f"{card['description']}\n\n" if card.get("description") else "",
        base_model=card["base_model"],
        license=f"[{terms}]({card['license_link']})" if "license_link" in card else terms,
        attributes=", ".join(tree.attributes),
        rule="\n".join(f"- {sentence}" for sentence in tree.effective_rule().rule_sentences()),
        results=_markdown(pd.DataFrame(card.get("results", []))) or "Not given.",
        leaderboard=_markdown(pd.read_csv(LEADERBOARD, dtype=str)),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _markdown(frame: pd.DataFrame) -> str:
    rows = [frame.columns, ["---"] * len(frame.columns), *frame.itertuples(index=False)]
    return "" if frame.empty else "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)
