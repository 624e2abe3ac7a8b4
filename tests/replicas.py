"""Tiny checkpoint folders of the Llama and Gemma-2 architectures, with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import Gemma2Config, Gemma2Model, LlamaConfig, LlamaModel, PreTrainedTokenizerFast

FIVE = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
SLIDING_WINDOW = 16  # so that a few words already exceed Gemma's
HIDDEN = 32

LLAMA_TEMPLATE = (
    "{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
)
GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>"
    "{{ 'model' if message['role'] == 'assistant' else 'user' }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
)
SPECIALS = {
    "llama": (
        "<|begin_of_text|>",
        "<|eot_id|>",
        "<|pad|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
    ),
    "gemma2": ("<bos>", "<end_of_turn>", "<pad>", "<start_of_turn>"),
}


def make_tokenizer(architecture: str) -> PreTrainedTokenizerFast:
    """Byte-level, so that any text has tokens; the special tokens stand last in the vocabulary."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({byte: place for place, byte in enumerate(alphabet)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    bos, end, pad, *others = SPECIALS[architecture]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=bos,
        eos_token=end,
        pad_token=pad,
        additional_special_tokens=others,
    )
    tokenizer.chat_template = LLAMA_TEMPLATE if architecture == "llama" else GEMMA_TEMPLATE
    return tokenizer


def make_backbone(architecture: str, tokenizer: PreTrainedTokenizerFast, *, seed: int = 0):
    """Random weights large enough that attention is sharp and Gemma's soft-cap bends it."""
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.4,
        "max_position_embeddings": 4096,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(seed)
    if architecture == "llama":
        return LlamaModel(LlamaConfig(**shape))
    # As in the 27B model, heads are not hidden_size / heads wide, and the scale is not theirs.
    gemma = {"head_dim": 12, "query_pre_attn_scalar": 9, "sliding_window": SLIDING_WINDOW}
    return Gemma2Model(Gemma2Config(**shape, **gemma, attn_logit_softcapping=2.0))


def make_replica(
    folder: Path,
    architecture: str = "llama",
    *,
    rows: int = 1,
    bias: bool = False,
    tree: bool = False,
    shards: int = 1,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Path:
    """Write a checkpoint folder with the file, tensor and configuration names of the real ones.

    `rows=0` leaves the head out, `rows=1` is a Skywork score head, `rows=5, bias=True, tree=True`
    a decision-tree model. More than one shard puts the head, as the real ones do, into the last.
    """
    tokenizer = make_tokenizer(architecture)
    backbone = make_backbone(architecture, tokenizer, seed=seed)
    tensors = {f"model.{name}": tensor for name, tensor in backbone.state_dict().items()}
    if rows:
        tensors["score.weight"] = torch.randn(rows, HIDDEN)
    if rows and bias:
        tensors["score.bias"] = torch.randn(rows)
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    _save_weights(folder, tensors, shards)
    config = backbone.config.to_dict() | {"dtype": str(dtype).removeprefix("torch.")}
    task = "ForSequenceClassification"
    config["architectures"] = [("Llama" if architecture == "llama" else "Gemma2") + task]
    names = (
        dict(enumerate(FIVE)) if rows == 5 else {place: f"LABEL_{place}" for place in range(rows)}
    )
    config["id2label"] = {str(place): name for place, name in names.items()}
    config["label2id"] = {name: place for place, name in names.items()}
    (folder / "config.json").write_text(json.dumps(config))
    if tree:
        (folder / "decision_tree.json").write_text(json.dumps(TREE))
    return folder


def make_decision_tree_replica(folder: Path, architecture: str = "llama", **options) -> Path:
    """Write a five-row head with bias, and a tree that uses two attributes."""
    return make_replica(folder, architecture, rows=5, bias=True, tree=True, **options)


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Read every tensor of a checkpoint folder, whichever file it is in."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            tensors |= {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return tensors


def write_tensors(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Replace the tensors of a folder that has one weight file."""
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _save_weights(folder: Path, tensors: dict[str, torch.Tensor], shards: int) -> None:
    if shards == 1:
        return write_tensors(folder, tensors)
    names, where = list(tensors), {}
    for shard in range(shards):
        path = folder / f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        part = names[shard * len(names) // shards : (shard + 1) * len(names) // shards]
        save_file({name: tensors[name] for name in part}, path, metadata={"format": "pt"})
        where |= dict.fromkeys(part, path.name)
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _node(attribute, threshold, left, right, value, share) -> dict:
    return {
        "attribute": attribute,
        "threshold": threshold,
        "left": left,
        "right": right,
        "value": value,
        "share": share,
    }


# Preorder. The split on verbosity changes the probability, never the decision.
TREE = {
    "format": "dtreward-preference-tree",
    "version": 1,
    "attributes": list(FIVE),
    "nodes": [
        _node("helpfulness", 0.03, 1, 2, [0.5, 0.5], 1.0),
        _node(None, None, None, None, [0.85, 0.15], 0.5),
        _node("verbosity", -0.25, 3, 4, [0.15, 0.85], 0.5),
        _node(None, None, None, None, [0.3, 0.7], 0.125),
        _node(None, None, None, None, [0.1, 0.9], 0.375),
    ],
}
