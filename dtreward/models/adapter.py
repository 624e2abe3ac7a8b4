"""A LoRA adapter: the small matrices that training added to a model, merged into it on load."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from dtreward.files import digest, file_digest
from dtreward.models.checkpoint import check_head_tensors, read_head
from dtreward.models.checkpoint_folder import ADAPTER, read_object, value_head_file
from dtreward.models.head_names import head_prefixes

WEIGHTS = "adapter_model.safetensors"
PICKLED_WEIGHTS = "adapter_model.bin"
WRAPPER = "base_model.model."  # before all names of the model inside peft's
LORA = re.compile(r"(?P<module>.+)\.lora_(?P<half>[AB])\.weight")
# Entries of adapter_config.json that `read_adapter` looks at.
READ = (
    "base_model_name_or_path",
    "bias",
    "init_lora_weights",
    "lora_alpha",
    "peft_type",
    "r",
    "revision",
    "use_rslora",
)
# Those that do not change what the matrices mean. Any other entry must be empty or false.
WITHOUT_EFFECT = (
    "auto_mapping",
    "ensure_weight_tying",
    "exclude_modules",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_version",
    "qalora_group_size",
    "target_modules",
    "task_type",
)
# Starts from which the base model stays as it is; PiSSA and its like change it.
PLAIN_STARTS = (True, False, None, "gaussian", "orthogonal")


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter's folder, and what its configuration says.

    Attributes:
        base: hub id or folder of the model that it was trained on.
        revision: of the base model on the hub; None for the newest.
        rank: rows of each A, columns of each B.
        scale: W + scale * B A is the merged matrix.
    """

    folder: Path
    base: str
    revision: str | None
    rank: int
    scale: float

    @property
    def identity(self) -> str:
        """Digest of all that the adapter changes."""
        files = [self.folder / ADAPTER, self.folder / WEIGHTS]
        return digest(*map(file_digest, files))


def read_adapter(folder: Path) -> Adapter:
    """Read an adapter's configuration.

    The scale is lora_alpha / r, or lora_alpha / sqrt(r) with `use_rslora`.

    Source: peft, tuners/lora/config.py and tuners/lora/layer.py.

    Raises:
        ValueError: for another kind of adapter than plain LoRA, or an option that is not known
            here, such as `use_dora`; the message names it.
    """
    config = read_object(folder / ADAPTER)
    if config.get("peft_type") != "LORA":
        raise ValueError(
            f"{folder} is an adapter of type {config.get('peft_type')!r}; LORA is merged on load, "
            "others are not: merge it with peft and save the whole model"
        )
    for name, value in config.items():
        _check_entry(folder, name, value)
    rank = config.get("r")
    alpha = config.get("lora_alpha")
    base = config.get("base_model_name_or_path")
    is_number = isinstance(alpha, int | float) and math.isfinite(alpha)
    if type(rank) is not int or rank < 1 or not is_number or not isinstance(base, str) or not base:
        raise ValueError(
            f"{folder}: {ADAPTER} has r {rank!r}, lora_alpha {alpha!r} and base_model_name_or_path "
            f"{base!r}; expected two numbers and a model: fetch it again, or correct it"
        )
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return Adapter(folder.resolve(), base, config.get("revision"), rank, scale)


def read_adapter_head(adapter: Adapter, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Read the head that was trained beside the adapter, in float64.

    It is among the adapter's tensors (`modules_to_save`) or, from LLaMA-Factory, in a file beside.

    Args:
        config: the base model's config.json.

    Raises:
        ValueError: if there is none, if it is not finite, or if there are tensors that are neither
            the head's nor LoRA's.
    """
    prefixes = head_prefixes(config)
    tensors = _read_tensors(adapter)
    head = {name: tensor for name, tensor in tensors.items() if name.startswith(prefixes)}
    left_over = [name for name in tensors if name not in head and not LORA.fullmatch(name)]
    if left_over:
        raise ValueError(
            f"{adapter.folder}: {WEIGHTS} has {', '.join(left_over[:3])}, which are neither a "
            "head's nor LoRA's; merge it with peft and save the whole model"
        )
    beside = value_head_file(adapter.folder)
    if beside:
        return check_head_tensors(adapter.folder, head) | read_head(beside, prefixes=prefixes)
    if not head:
        raise ValueError(
            f"{adapter.folder} is an adapter without a head, so the head that it was trained with "
            'is lost: train it again with modules_to_save=["score"]'
        )
    return check_head_tensors(adapter.folder, head)


def merge_adapter(transformer: nn.Module, adapter: Adapter) -> None:
    """Add the adapter's matrices to the weights of a transformer, rounded once.

    Raises:
        ValueError: if half of a pair is missing, or if one does not fit the transformer.
    """
    for module, pair in _read_pairs(adapter).items():
        weight = _weight_of(transformer, adapter, module, pair)
        wide = torch.promote_types(weight.dtype, torch.float32)
        first, second = (pair[half].to(weight.device, wide) for half in ("A", "B"))
        with torch.no_grad():
            weight.copy_(weight.to(wide) + adapter.scale * (second @ first))


def check_adapter(transformer: nn.Module, adapter: Adapter) -> None:
    """Check that an adapter's matrices fit a transformer, whose weights may be without values.

    Raises:
        ValueError: as `merge_adapter`.
    """
    for module, pair in _read_pairs(adapter).items():
        _weight_of(transformer, adapter, module, pair)


def _read_pairs(adapter: Adapter) -> dict[str, dict[str, torch.Tensor]]:
    """Read the matrices "A" and "B" by the module that they change."""
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in _read_tensors(adapter).items():
        match = LORA.fullmatch(name)
        if match:
            module = match["module"].removeprefix("model.")
            halves.setdefault(module, {})[match["half"]] = tensor
    if not halves:
        raise ValueError(f"{adapter.folder}: {WEIGHTS} has no LoRA matrices; fetch it again")
    return halves


def _check_entry(folder: Path, name: str, value: Any) -> None:
    """Refuse an entry of the configuration that changes what the matrices mean."""
    if name == "bias":
        is_known = value in (None, "none")
    elif name == "init_lora_weights":
        is_known = value in PLAIN_STARTS
    else:
        is_known = name in READ or name in WITHOUT_EFFECT or not value
    if not is_known:
        raise ValueError(
            f"{folder}: {ADAPTER} has {name} {value!r}, which is not merged here; merge it with "
            "peft and save the whole model"
        )


def _read_tensors(adapter: Adapter) -> dict[str, torch.Tensor]:
    """Read all tensors, by their names in the base model."""
    path = adapter.folder / WEIGHTS
    if not path.exists() and (adapter.folder / PICKLED_WEIGHTS).exists():
        raise ValueError(
            f"{adapter.folder} has {PICKLED_WEIGHTS}, a pickle, which is not read; save the adapter "
            "again with peft's save_pretrained(), which writes safetensors"
        )
    try:
        with safe_open(path, "pt") as file:
            return {name.removeprefix(WRAPPER): file.get_tensor(name) for name in list(file.keys())}
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is absent or not whole ({error}); fetch it again") from error


def _weight_of(
    transformer: nn.Module, adapter: Adapter, module: str, pair: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """Find the weight that a pair of matrices is added to, and check that all three fit."""
    try:
        weight = transformer.get_submodule(module).weight
    except AttributeError:
        raise ValueError(
            f"{adapter.folder} changes {module}, which {adapter.base} does not have; correct "
            f"base_model_name_or_path in {ADAPTER}"
        ) from None
    shapes = {half: tuple(tensor.shape) for half, tensor in sorted(pair.items())}
    expected = {"A": (adapter.rank, weight.shape[-1]), "B": (weight.shape[0], adapter.rank)}
    if shapes != expected:
        raise ValueError(
            f"{adapter.folder}: the matrices for {module} have shapes {shapes}, expected {expected}"
            f" for rank {adapter.rank} and {adapter.base}; fetch both again"
        )
    if not all(tensor.isfinite().all() for tensor in pair.values()):
        raise ValueError(
            f"{adapter.folder}: matrices for {module} hold nan or infinity; fetch it again"
        )
    return weight
