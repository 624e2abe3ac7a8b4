"""Load a reward model by name, hub id or folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

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
    PreTrainedModel,
)

from dtreward.conversation import ChatTokenizer
from dtreward.engine.attention import choose, prepare
from dtreward.engine.backbone import Backbone
from dtreward.engine.packing import check_size
from dtreward.files import digest, file_digest
from dtreward.models import checkpoint, ensemble
from dtreward.models.catalogue import Known, known
from dtreward.models.comparison import RewardModel
from dtreward.models.critic import Critic
from dtreward.models.ensemble import Ensemble
from dtreward.models.head_model import HeadModel
from dtreward.models.heads import PREFIXES, make_head, named_rows
from dtreward.tree.tree import PreferenceTree

IGNORED = [f"^{re.escape(prefix)}" for prefix in PREFIXES]  # heads are read apart
BACKBONES = {
    kind.config_class.model_type: type(
        kind.__name__, (kind,), {"_keys_to_ignore_on_load_unexpected": IGNORED}
    )
    for kind in (LlamaModel, GemmaModel, Gemma2Model)
}
WRITERS = {
    kind.config_class.model_type: kind
    for kind in (LlamaForCausalLM, GemmaForCausalLM, Gemma2ForCausalLM)
}
READS = ("next token", "verdict")
DTYPES = ("float64", "float32", "bfloat16", "float16")


def load(
    name: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    attention: str | None = None,
    revision: str | None = None,
    reads: str | None = None,
    bos: Literal["one", "none"] | None = None,
    pack_tokens: int | None = None,
    max_length: int | None = None,
    too_long: Literal["error", "cut_prompt_start"] = "error",
    attributes: Sequence[str] | None = None,
    tree: PreferenceTree | None = None,
) -> RewardModel:
    """Load a reward model from a folder or the hub; runs none of its code and unpickles nothing.

    Args:
        name: a folder, a hub id such as "RLHFlow/Decision-Tree-Reward-Llama-3.1-8B", or a name of
            the leaderboard (`catalogue.KNOWN`).
        device: CUDA where there is one, else the CPU; "auto" spreads the layers over all GPUs.
        dtype: of the backbone, float64 to float16: float32 on the CPU, else the checkpoint's. The head is float32, or
            float64 beside a float64 backbone.
        attention: a kernel of `dtreward.engine.attention`: by default the first that works here.
        reads: of a language model without a reward model's head: "next token" (the logit of token
            0 is the score) or "verdict" (it writes [[A]] or [[B]]); the catalogue knows its own.
        bos: "one" or "none"; by default what the checkpoint records, else "one".
        pack_tokens: tokens of one forward pass; rewards are bit for bit the same for one value of it.
            By default 1,024 on the CPU and 4,096 on a GPU, for a few pairs; 16,384 for many.
        max_length: most tokens of a conversation: 4,096, or what the model takes if that is less.
        too_long: what becomes of a longer one: an "error", or "cut_prompt_start" (recorded).
        attributes: names of the head's rows, for a checkpoint that does not name them.
        tree: decides in place of the checkpoint's own.

    Raises:
        ValueError: if a tensor is missing, unexpected or wrongly shaped, or the checkpoint is of
            a kind not known; the message names it.
        MemoryError: if the weights need more memory than is free.
    """
    if reads and reads not in READS:
        raise ValueError(f"reads must be one of {READS}, or None for a head, came {reads!r}")
    row, is_folder = known(name) or Known(str(name)), bool(name) and Path(name).is_dir()
    options = {"device": device, "dtype": dtype, "attention": attention, "bos": bos}
    options |= {"max_length": max_length, "too_long": too_long, "pack_tokens": pack_tokens}
    if row.reads == "scores":
        if revision or reads or attributes or tree:
            raise ValueError(f"{name} is several: revision, reads, attributes, tree are each one's")
        members = {member: load(member, **options) for member in ensemble.AVAILABLE}
        return Ensemble(members, ensemble.AVAILABLE)
    if row.reads and not (row.repo or is_folder):
        raise ValueError(f'{name}: {row.note}; load(folder, reads="verdict") loads yours')
    reads, found = reads or row.reads, name if is_folder else row.repo
    folder, commit = checkpoint.find_folder(found, revision, pickled=reads == "verdict")
    config = checkpoint.read_config(folder)
    options |= {"name": folder.resolve().name if is_folder else row.repo, "commit": commit}
    place = str(folder.resolve()) if is_folder else row.repo
    backbone = _backbone(place, folder, writes=reads == "verdict", **options)
    if reads == "verdict":
        return Critic(backbone)
    files = checkpoint.weight_files(folder)
    tensors = checkpoint.read_head(files, backbone.wide_dtype, next_token=reads == "next token")
    head = make_head(tensors, config, attributes or (() if named_rows(config) else row.attributes))
    own = None if tree else checkpoint.read_tree(folder, head.attributes, row.tree)
    if own and "score.bias" not in tensors:
        advice = "fetch it again; if it never had one, pass its tree as tree="
        raise ValueError(f"{folder} has a tree, but its head lacks score.bias: {advice}")
    tree = tree or own
    if tree is not None and tree.attributes != head.attributes:
        raise ValueError(f"tree is over {tree.attributes}, the model's are {head.attributes}")
    return HeadModel(backbone, head, tree)


def _backbone(place: str, here: Path | None, *, writes: bool, **options: Any) -> Backbone:
    """Load the transformer, with its language model's head if it `writes`, and its tokenizer."""
    folder = here or checkpoint.find_folder(place, options["commit"] or None, pickled=writes)[0]
    config = checkpoint.read_config(folder)
    device, kind = _device(options["device"]), config["model_type"]
    files = checkpoint.weight_files(folder, pickled=writes)
    stored = config.get("dtype") or config.get("torch_dtype") or "float32"
    dtype = options["dtype"] or ("float32" if device.type == "cpu" else stored)
    if str(dtype).removeprefix("torch.") not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}, came {dtype!r}")
    dtype, stored = (getattr(torch, str(each).removeprefix("torch.")) for each in (dtype, stored))
    size = sum(path.stat().st_size for path in files) * dtype.itemsize / stored.itemsize
    spread = options["device"] == "auto" and torch.cuda.device_count() > 1
    _check_memory(folder.name, size, device, spread)
    given = {"dtype": dtype, "device_map": "auto" if spread else {"": device}}
    given |= {"use_safetensors": files[0].suffix == ".safetensors"}
    shape = BACKBONES[kind].config_class(**config)
    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
    chosen = {"bos": options["bos"] or config.get("bos_rule", "one")}
    most = shape.max_position_embeddings
    chosen |= {"max_length": options["max_length"] or min(4096, most)}
    if chosen["max_length"] > most:
        raise ValueError(f"max_length {chosen['max_length']} is above the model's {most} positions")
    chat = ChatTokenizer(tokenizer, **chosen, too_long=options["too_long"])
    if writes:
        packs, given["attn_implementation"] = {}, "eager" if kind == "gemma2" else "sdpa"
        attention = {"attention": given["attn_implementation"]}
    else:
        room = options["pack_tokens"]
        check_size(room := (1024 if device.type == "cpu" else 4096) if room is None else room)
        packs = {"kernels": choose(shape, device, dtype, options["attention"]), "pack_tokens": room}
        given["attn_implementation"], compiled = "packed", device.type == "cuda" and not spread
        attention = {"attention": "+".join(dict.fromkeys(packs["kernels"]))}
        attention |= {"pack_tokens": str(room), "compiled": "layers" if compiled else "no"}
    transformer = _transformer(folder, (WRITERS if writes else BACKBONES)[kind], given)
    if packs:
        prepare(transformer, compiled=compiled)
    weights = options["commit"] or digest(*map(file_digest, [folder / "config.json", *files]))
    identity = {"model": options["name"], "revision": options["commit"], "weights": weights}
    identity |= attention
    identity |= {"dtype": str(transformer.dtype).removeprefix("torch."), "device": device.type}
    identity |= {"torch": torch.__version__, "transformers": transformers.__version__}
    again = partial(_backbone, place, None, writes=writes, **options)
    return Backbone(transformer, chat, identity, **packs, again=again)


def _device(name: str | torch.device | None) -> torch.device:
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device="cuda" if str(name) == "auto" else name).device
    except (RuntimeError, AssertionError) as error:
        told = f"device {str(name)!r} is not here: {error}".partition("\n")[0]
        raise ValueError(f'{told}; give "cpu" or one that is') from None


def _check_memory(name: str, size: float, device: torch.device, spread: bool) -> None:
    places, free = [device], psutil.virtual_memory().available
    if device.type == "cuda":
        places = range(torch.cuda.device_count()) if spread else places
        free = sum(torch.cuda.mem_get_info(place)[0] for place in places)
    there = f"{len(places)} GPUs" if spread else device
    need = f"{name}: weights of {size / 1e9:,.1f} GB, {free / 1e9:,.1f} GB free on {there}"
    if size > free:
        advice = 'take a larger device, device="auto" over several GPUs, or a smaller dtype='
        raise MemoryError(f"{need}; {advice}")
    if size > 1e9:
        print(need, flush=True)  # before minutes of loading


def _transformer(
    folder: Path, kind: type[PreTrainedModel], options: Mapping[str, Any]
) -> PreTrainedModel:
    # Shapes that do not match are raised below, with all else that is wrong. A pickled shard is
    # only opened as tensors (weights_only), and only of a language model that writes.
    strict = {"ignore_mismatched_sizes": True, "output_loading_info": True, "weights_only": True}
    try:
        transformer, found = kind.from_pretrained(folder, **options, **strict)
    except UnpicklingError:  # torch's own message tells how to run what is in the file
        came = f"a .bin file of {folder} holds more than tensors; none of it was run"
        raise ValueError(f"{came}; do not trust it: take a checkpoint in safetensors") from None
    if wrong := {problem: sorted(map(str, names)) for problem, names in found.items() if names}:
        advice = "fetch it again, or mend its config.json"
        raise ValueError(f"tensors of {folder} are not those of its config.json; {advice}: {wrong}")
    return transformer
