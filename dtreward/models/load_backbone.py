"""Load a checkpoint's transformer and tokenizer, and check all options before reading weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import psutil
import torch
import transformers
from transformers import (
    AutoTokenizer,
    Gemma2ForCausalLM,
    Gemma2Model,
    GemmaForCausalLM,
    GemmaModel,
    LlamaForCausalLM,
    LlamaModel,
    PretrainedConfig,
    PreTrainedModel,
)

from dtreward.conversation import ChatTokenizer
from dtreward.engine.attention import choose, prepare
from dtreward.engine.backbone import Backbone
from dtreward.engine.packing import check_size
from dtreward.files import digest, file_digest
from dtreward.models.checkpoint import find_folder, read_config, weight_files
from dtreward.models.heads import HEAD_PREFIXES

HEAD_TENSORS = [f"^{re.escape(prefix)}" for prefix in HEAD_PREFIXES]  # `load` reads heads itself


def _without_head(model_class: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """Derive a transformer class that does not complain about the tensors of a head."""
    ignored = {"_keys_to_ignore_on_load_unexpected": HEAD_TENSORS}
    return type(model_class.__name__, (model_class,), ignored)


BACKBONES = {
    model_class.config_class.model_type: _without_head(model_class)
    for model_class in (LlamaModel, GemmaModel, Gemma2Model)
}
LANGUAGE_MODELS = {
    model_class.config_class.model_type: model_class
    for model_class in (LlamaForCausalLM, GemmaForCausalLM, Gemma2ForCausalLM)
}
DTYPES = ("float64", "float32", "bfloat16", "float16")
LONGEST = 4096  # tokens of a conversation, unless max_length says otherwise
PACK_TOKENS_CPU = 1024
PACK_TOKENS_GPU = 4096
ANNOUNCED_BYTES = 1e9  # larger weights are announced: loading them takes minutes


@dataclass(frozen=True)
class LoadOptions:
    """How a backbone is loaded: the arguments of `load` that concern it, under the same names."""

    device: str | torch.device | None = None
    dtype: str | torch.dtype | None = None
    attention: str | None = None
    bos: str | None = None
    max_length: int | None = None
    too_long: str = "error"
    pack_tokens: int | None = None


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a backbone: where it is, and how it is named in identities.

    Args:
        location: an absolute folder, or a hub id.
        name: the folder's own name, or the hub id.
        commit: of the hub; "" for a folder.
        writes: whether it is loaded with its language model's head, to write text.
    """

    location: str
    name: str
    commit: str
    writes: bool = False

    def find(self) -> Path:
        """Find the checkpoint's folder on this machine, fetching it where it is absent."""
        folder, _ = find_folder(self.location, self.commit or None, pickled=self.writes)
        return folder


@dataclass(frozen=True)
class Placement:
    """Where a transformer's layers go and in which number format."""

    device: torch.device
    spread: bool  # over all GPUs
    dtype: torch.dtype

    @property
    def device_map(self) -> Any:
        """The argument of that name in `from_pretrained`."""
        return "auto" if self.spread else {"": self.device}


@dataclass(frozen=True)
class Engine:
    """How the transformer computes attention, and the packs that it is given.

    Args:
        implementation: transformers' name of the attention.
        kernels: of the packed attention; none for a language model that writes.
        pack_tokens: tokens of one forward pass; None for a language model that writes.
        compiled: whether layers are compiled.
    """

    implementation: str
    kernels: tuple[str, str] | None = None
    pack_tokens: int | None = None
    compiled: bool = False

    @property
    def identity(self) -> dict[str, str]:
        """What of it changes the hidden states."""
        if self.kernels is None:
            return {"attention": self.implementation}
        return {
            "attention": "+".join(dict.fromkeys(self.kernels)),
            "pack_tokens": str(self.pack_tokens),
            "compiled": "layers" if self.compiled else "no",
        }


def load_backbone(
    checkpoint: Checkpoint, options: LoadOptions, folder: Path | None = None
) -> Backbone:
    """Load the transformer and its tokenizer; all options are checked before weights are read.

    Args:
        folder: where the checkpoint is on this machine; found by `checkpoint.find()` if None.
    """
    folder = folder or checkpoint.find()
    config = read_config(folder)
    files = weight_files(folder, pickled=checkpoint.writes)
    placement = _place(folder.name, config, files, options)
    shape = BACKBONES[config["model_type"]].config_class(**config)
    chat = _load_tokenizer(folder, config, shape, options)
    if checkpoint.writes:
        # Transformers' sdpa drops Gemma-2's soft-cap.
        implementation = "eager" if config["model_type"] == "gemma2" else "sdpa"
        engine = Engine(implementation)
        model_class = LANGUAGE_MODELS[config["model_type"]]
    else:
        engine = _choose_engine(shape, placement, options)
        model_class = BACKBONES[config["model_type"]]
    safetensors = files[0].suffix == ".safetensors"
    transformer = _read_transformer(folder, model_class, placement, engine, safetensors)
    identity = {
        "model": checkpoint.name,
        "revision": checkpoint.commit,
        "weights": checkpoint.commit or _weights_digest(folder, files),
        **engine.identity,
        "dtype": str(transformer.dtype).removeprefix("torch."),
        "device": placement.device.type,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    again = partial(_load_on, checkpoint, options)
    if engine.kernels is None:
        return Backbone(transformer, chat, identity, again=again)
    prepare(transformer, compiled=engine.compiled)
    return Backbone(transformer, chat, identity, engine.pack_tokens, engine.kernels, again)


def _load_on(checkpoint: Checkpoint, options: LoadOptions, device: str) -> Backbone:
    return load_backbone(checkpoint, replace(options, device=device))


def _weights_digest(folder: Path, files: Sequence[Path]) -> str:
    return digest(*map(file_digest, [folder / "config.json", *files]))


def _place(
    name: str, config: dict[str, Any], files: Sequence[Path], options: LoadOptions
) -> Placement:
    """Resolve device and number format, and check that the weights fit into free memory."""
    device = _find_device(options.device)
    stored_name = config.get("dtype") or config.get("torch_dtype") or "float32"
    default = "float32" if device.type == "cpu" else stored_name
    dtype_name = str(options.dtype or default).removeprefix("torch.")
    if dtype_name not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}, came {options.dtype or default!r}")
    dtype = getattr(torch, dtype_name)
    stored = getattr(torch, str(stored_name).removeprefix("torch."))
    spread = options.device == "auto" and torch.cuda.device_count() > 1
    placement = Placement(device, spread, dtype)
    stored_bytes = sum(path.stat().st_size for path in files)
    _check_memory(name, stored_bytes * dtype.itemsize / stored.itemsize, placement)
    return placement


def _find_device(name: str | torch.device | None) -> torch.device:
    if name is None or name == "":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device="cuda" if str(name) == "auto" else name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        message = f'device {str(name)!r} is not here: {reason}; give "cpu" or one that is'
        raise ValueError(message) from None


def _check_memory(name: str, size: float, placement: Placement) -> None:
    """Raise a MemoryError where weights of `size` bytes do not fit."""
    where = str(placement.device)
    if placement.spread:
        count = torch.cuda.device_count()
        where = f"{count} GPUs"
        free = sum(torch.cuda.mem_get_info(gpu)[0] for gpu in range(count))
    elif placement.device.type == "cuda":
        free = torch.cuda.mem_get_info(placement.device)[0]
    else:
        free = psutil.virtual_memory().available
    need = f"{name}: weights of {size / 1e9:,.1f} GB, {free / 1e9:,.1f} GB free on {where}"
    if size > free:
        advice = 'take a larger device, device="auto" over several GPUs, or a smaller dtype='
        raise MemoryError(f"{need}; {advice}")
    if size > ANNOUNCED_BYTES:
        print(need, flush=True)


def _load_tokenizer(
    folder: Path, config: dict[str, Any], shape: PretrainedConfig, options: LoadOptions
) -> ChatTokenizer:
    positions = shape.max_position_embeddings
    max_length = options.max_length or min(LONGEST, positions)
    if max_length > positions:
        raise ValueError(f"max_length {max_length} is above the model's {positions} positions")
    return ChatTokenizer(
        AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False),
        bos=options.bos or config.get("bos_rule", "one"),
        max_length=max_length,
        too_long=options.too_long,
    )


def _choose_engine(shape: PretrainedConfig, placement: Placement, options: LoadOptions) -> Engine:
    """Choose the packed attention's kernels, the size of packs, and whether to compile."""
    pack_tokens = options.pack_tokens
    if pack_tokens is None:
        on_cpu = placement.device.type == "cpu"
        pack_tokens = PACK_TOKENS_CPU if on_cpu else PACK_TOKENS_GPU
    check_size(pack_tokens)
    kernels = choose(shape, placement.device, placement.dtype, options.attention)
    compiled = placement.device.type == "cuda" and not placement.spread
    return Engine("packed", kernels, pack_tokens, compiled)


def _read_transformer(
    folder: Path,
    model_class: type[PreTrainedModel],
    placement: Placement,
    engine: Engine,
    safetensors: bool,
) -> PreTrainedModel:
    """Read the weights; a ValueError names every tensor that is missing, extra or misshapen."""
    # A pickled shard is only opened as tensors (weights_only), and only for a model that writes.
    try:
        transformer, problems = model_class.from_pretrained(
            folder,
            dtype=placement.dtype,
            device_map=placement.device_map,
            use_safetensors=safetensors,
            attn_implementation=engine.implementation,
            ignore_mismatched_sizes=True,  # reported below, with everything else that is wrong
            output_loading_info=True,
            weights_only=True,
        )
    except UnpicklingError:  # torch's own message tells how to run what is in the file
        message = (
            f"a .bin file of {folder} holds more than tensors; none of it was run; "
            "do not trust it: take a checkpoint in safetensors"
        )
        raise ValueError(message) from None
    wrong = {problem: sorted(map(str, names)) for problem, names in problems.items() if names}
    if wrong:
        advice = "fetch it again, or mend its config.json"
        raise ValueError(f"tensors of {folder} are not those of its config.json; {advice}: {wrong}")
    return transformer
