"""Write a decision-tree reward model as a checkpoint that plain transformers loads."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoTokenizer

from dtreward.conversation import PLAIN_TEMPLATE
from dtreward.files import write_json
from dtreward.models.card import make_card, write_card
from dtreward.models.checkpoint import TREE
from dtreward.models.checkpoint_folder import INDEX, WEIGHTS, read_config, weight_files
from dtreward.models.decoders import CLASSIFIER, class_prefix, has_classifier
from dtreward.models.head_names import HEAD_PREFIXES, plain_name
from dtreward.tree.tree import PreferenceTree

# The code of an exported model; it is copied into each checkpoint.
MODELING = Path(__file__).with_name("checkpoint_files") / "modeling_decision_tree_reward_model.py"
IN_FILE = ("Llama", "Gemma2")  # the decoders whose models the file has
# The model of another decoder, which is added to the copy.
FURTHER_MODEL = """

{imports}


class {prefix}ForDecisionTreeRewardModel(DecisionTreeRewardMixin, {bases}):
    \"\"\"The model with this backbone.\"\"\"
"""
COPIED = ("*token*.json", "tokenizer.model", "*.jinja", "LICENSE*", "NOTICE*")
# Some versions of transformers store paths of the machine that saved the folder under the first
# three keys; the last one is the number of the backbone's old labels.
DROPPED_KEYS = ("_name_or_path", "name_or_path", "special_tokens_map_file", "num_labels")


def export_checkpoint(  # noqa: PLR0913
    folder: str | Path,
    *,
    backbone_folder: str | Path,
    weight: Float[np.ndarray, "attributes hidden"],
    bias: Float[np.ndarray, " attributes"],
    attributes: Sequence[str],
    tree: PreferenceTree,
    card: Mapping[str, Any],
    bos: Literal["", "one", "none"] = "",
) -> Path:
    """Write a decision-tree checkpoint that `load` reads, and plain transformers too.

    The checkpoint is built beside its place and then renamed, so that it is whole or absent. An
    older decision-tree checkpoint in `folder` is replaced with all files in it; any other content
    is an error. The backbone's tensors are not changed, and shards without a change are linked.

    Args:
        backbone_folder: any checkpoint of the backbone; its own head or `lm_head` is left out.
        weight, bias: the head: rewards are weight @ features + bias.
        attributes: names of the rewards, in the order of the head's rows.
        tree: over the same attributes.
        card: values of the model card by the names of `ModelCard`: `name`, `base_model`, and
            perhaps `datasets`, `description`, `demo`, `results`, `license`, `license_name` and
            `license_link`. Without `license`, the card takes the licence of the backbone's
            README.md, or "unknown".
        bos: the rule for the first token by which the features were made, recorded as `bos_rule`;
            "" for what `load` takes by default.

    Raises:
        ValueError: if the parts do not belong together, or if `card` has other keys.
        FileExistsError: if `folder` holds anything but a decision-tree checkpoint.
    """
    folder = Path(folder)
    backbone = Path(backbone_folder)
    config = read_config(backbone)
    _check_parts(config, weight, bias, tuple(attributes), tree)
    if folder.exists() and not (folder / TREE).exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is no decision-tree checkpoint; choose another folder")
    model_card = make_card(card, backbone)
    head = {
        "score.weight": torch.tensor(weight).float(),
        "score.bias": torch.tensor(bias).float(),
    }
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write_weights(partial, backbone, head)
        _copy_files(partial, backbone)
        _write_code(partial / MODELING.name, config["model_type"])
        rule = bos or _default_bos(backbone, config)
        write_json(partial / "config.json", _tree_config(config, attributes, rule))
        _drop_keys(partial)
        tree.save(partial / TREE)
        write_card(partial, model_card, tree)
        _replace_folder(folder, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _check_parts(
    config: Mapping[str, Any],
    weight: np.ndarray,
    bias: np.ndarray,
    attributes: tuple[str, ...],
    tree: PreferenceTree,
) -> None:
    """Raise a ValueError where head, tree and backbone do not belong together."""
    shape = (len(attributes), config["hidden_size"])
    if weight.shape != shape or bias.shape != shape[:1] or tree.attributes != attributes:
        raise ValueError(
            f"expected weight {shape}, bias {shape[:1]} and a tree over {attributes}; "
            f"came {weight.shape}, {bias.shape} and a tree over {tree.attributes}"
        )


def _default_bos(backbone: Path, config: Mapping[str, Any]) -> str:
    """Give the rule that `load` takes: the recorded one, else one BOS where the tokenizer has one."""
    if "bos_rule" in config:
        return config["bos_rule"]
    tokenizer = AutoTokenizer.from_pretrained(backbone, trust_remote_code=False)
    return "none" if tokenizer.bos_token_id is None else "one"


def _tree_config(config: Mapping[str, Any], attributes: Sequence[str], bos: str) -> dict[str, Any]:
    """Make the checkpoint's config.json out of the backbone's."""
    class_name = f"{class_prefix(config['model_type'])}ForDecisionTreeRewardModel"
    return {
        **config,
        "architectures": [class_name],
        "bos_rule": bos,
        "auto_map": {"AutoModelForSequenceClassification": f"{MODELING.stem}.{class_name}"},
        "id2label": {str(row): attribute for row, attribute in enumerate(attributes)},
        "label2id": {attribute: row for row, attribute in enumerate(attributes)},
    }


def _write_weights(partial: Path, backbone: Path, head: Mapping[str, torch.Tensor]) -> None:
    """Write the backbone's tensors in as many files as it has, and the head into the last."""
    files = weight_files(backbone)
    weight_map = {}
    for path in files:
        name = path.name if len(files) > 1 else WEIGHTS
        added = head if path == files[-1] else {}
        tensor_names = _write_shard(partial / name, path, added)
        weight_map |= dict.fromkeys(tensor_names, name)
    if len(files) > 1:
        write_json(partial / INDEX, {"metadata": {}, "weight_map": weight_map})


def _write_shard(target: Path, source: Path, added: Mapping[str, torch.Tensor]) -> list[str]:
    """Write one file of tensors without the backbone's own head; return the tensors' names.

    Args:
        added: tensors to write into the same file, by name.
    """
    with safe_open(source, "pt") as file:
        stored_names = list(file.keys())
        stored_as = {}  # by the name that the tensor gets
        for name in stored_names:
            inner_name = plain_name(name)
            if not inner_name.startswith(HEAD_PREFIXES):
                # A backbone saved without its task has no "model." before its tensors' names.
                new_name = f"model.{inner_name.removeprefix('model.')}"
                stored_as[new_name] = name
        is_unchanged = not added and list(stored_as) == stored_names
        is_linked = is_unchanged and _link(target, source)
        if not is_linked:
            tensors = dict(added)
            for new_name, name in stored_as.items():
                tensors[new_name] = file.get_tensor(name)
            save_file(tensors, target, {"format": "pt"})
            target.chmod(0o644)  # safetensors writes for the owner alone
    return [*stored_as, *added]


def _link(target: Path, source: Path) -> bool:
    """Make a second name for a file, and say whether the file system allows it."""
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system
        return False
    return True


def _copy_files(partial: Path, backbone: Path) -> None:
    """Copy the tokenizer and licence of the backbone."""
    for pattern in COPIED:
        for path in backbone.glob(pattern):
            shutil.copyfile(path, partial / path.name)
    if not _has_chat_template(partial):
        (partial / "chat_template.jinja").write_text(PLAIN_TEMPLATE, encoding="utf-8")


def _write_code(target: Path, model_type: str) -> None:
    """Copy the code of the exported model, and add the class of a decoder that it does not have."""
    code = MODELING.read_text(encoding="utf-8")
    prefix = class_prefix(model_type)
    if prefix not in IN_FILE:
        bases = [f"{prefix}{CLASSIFIER}"]
        imports = f"from transformers import {prefix}{CLASSIFIER}  # noqa: E402"
        if not has_classifier(model_type):
            bases = [f"Generic{CLASSIFIER}", f"{prefix}PreTrainedModel"]
            imports = (
                f"from transformers import {bases[1]}  # noqa: E402\n"
                f"from transformers.modeling_layers import {bases[0]}  # noqa: E402"
            )
        code += FURTHER_MODEL.format(imports=imports, prefix=prefix, bases=", ".join(bases))
    target.write_text(code, encoding="utf-8")


def _has_chat_template(folder: Path) -> bool:
    """Say whether a tokenizer has a template; else its features were read with the plain one."""
    if (folder / "chat_template.jinja").exists():
        return True
    settings = folder / "tokenizer_config.json"
    return settings.exists() and bool(json.loads(settings.read_text()).get("chat_template"))


def _drop_keys(partial: Path) -> None:
    """Remove keys from the configuration files that are wrong for the new checkpoint."""
    for path in partial.glob("*config.json"):
        settings = json.loads(path.read_text(encoding="utf-8"))
        kept = {key: value for key, value in settings.items() if key not in DROPPED_KEYS}
        write_json(path, kept)


def _replace_folder(folder: Path, partial: Path) -> None:
    """Rename the finished folder to its place; an older checkpoint there is deleted."""
    aside = folder.with_name(f".{folder.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        os.rename(folder, aside)
    os.rename(partial, folder)
    shutil.rmtree(aside, ignore_errors=True)
