"""A small folder for each reward model of the leaderboard: real names everywhere, random weights.

File, tensor and configuration names, tokenizers and chat templates are those of the published
repositories as far as they are known; sizes are small. Nothing here knows the package.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from replicas import FIVE, TREE
from safetensors.torch import save_file
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

HIDDEN, LAYERS, HEADS, KEY_HEADS = 32, 2, 4, 2
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Replica:
    """A published repository in small, and how its authors read it.

    Args:
        repo: hub id.
        family: "llama", "gemma", "gemma2", "qwen2" or "qwen3".
        template: a key of `TEMPLATES`.
        reading: "linear", "two layers", "gated", "normal" or "next token".
        rows: of the head: attributes, or objectives.
        quantiles: of each objective.
        gate: places of the gate's linear layers and of its batch norms.
        config: keys beside the backbone's.
        names: names of the rows in the configuration.
    """

    repo: str
    family: str
    template: str
    reading: str
    architecture: str
    rows: int = 1
    bias: bool = False
    quantiles: int = 1
    gate: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    transform: bool = False
    config: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ("LABEL_0",)
    tree: bool = False
    code: str = ""
    shards: int = 2
    head_dtype: torch.dtype = torch.bfloat16

    def make(self, parent: Path) -> Path:
        """Write the folder `parent`/owner/name."""
        folder = parent / self.repo
        tokenizer = write_tokenizer(folder, self.family, self.template)
        config = backbone_config(self.family, tokenizer) | {"architectures": [self.architecture]}
        config |= {"id2label": {str(n): name for n, name in enumerate(self.names)}} | self.config
        config |= {"label2id": {name: n for n, name in enumerate(self.names)}}
        if self.code:
            config["auto_map"] = {"AutoModelForSequenceClassification": self.code}
            (folder / f"{self.code.split('.')[0]}.py").write_text("raise SystemExit('code ran')")
        generator = torch.Generator().manual_seed(zlib.crc32(self.repo.encode()))
        tensors = backbone_tensors(config, generator) | self.head(generator)
        (folder / "config.json").write_text(json.dumps(config, indent=2))
        if self.tree:
            (folder / "decision_tree.json").write_text(json.dumps(TREE))
        if self.reading == "next token":
            write_generation_config(folder, config, do_sample=False)
        write_safetensors(folder, tensors, self.shards)
        return folder

    def head(self, generator: torch.Generator) -> Tensors:
        """Draw the head's tensors, in the order of the published index files."""

        def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
            return (torch.randn(*shape, generator=generator) * scale).to(self.head_dtype)

        if self.reading == "linear":
            biases = {"score.bias": draw(self.rows)} if self.bias else {}
            return {"score.weight": draw(self.rows, HIDDEN)} | biases
        if self.reading == "two layers":
            first = {"score.0.weight": draw(HIDDEN, HIDDEN), "score.0.bias": draw(HIDDEN)}
            return first | {"score.2.weight": draw(1, HIDDEN), "score.2.bias": draw(1)}
        if self.reading == "normal":
            tensors = {"score.weight": draw(2 * self.rows, HIDDEN)}
            for place, outputs in ((0, HIDDEN), (2, HIDDEN), (4, self.rows)):
                name = f"weights.fc.{place}"
                tensors[f"{name}.weight"] = draw(outputs, HIDDEN, scale=HIDDEN**-0.5)
                tensors[f"{name}.bias"] = draw(outputs)
            return tensors
        if self.reading != "gated":  # a language model's
            return {"lm_head.weight": draw(vocabulary(self.family), HIDDEN)}
        tensors, wide = {}, self.config["gating_hidden_dim"]
        linear, norms = self.gate
        for place in linear:
            last, shape = place == linear[-1], (wide, HIDDEN if place == 0 else wide)
            name = f"gating.layers.{place}"
            shape = (self.rows, wide) if last else shape
            tensors[f"{name}.weight"] = draw(*shape, scale=shape[1] ** -0.5)
            if last or not norms:
                tensors[f"{name}.bias"] = draw(self.rows if last else wide)
        for place in norms:
            name = f"gating.layers.{place}"
            tensors |= {f"{name}.{part}": draw(wide) for part in ("weight", "bias", "running_mean")}
            tensors[f"{name}.running_var"] = draw(wide).abs() + 0.5
            tensors[f"{name}.num_batches_tracked"] = torch.tensor(1000)
        tensors["gating.logit_scale"] = draw(1) + 2
        tensors["regression_layer.weight"] = draw(self.rows * self.quantiles, HIDDEN)
        if self.transform:  # as ArmoRM's: identity, minus shares of the rows that stand for length
            tensors["reward_transform_matrix"] = torch.eye(self.rows)
            tensors["reward_transform_matrix"][4] -= draw(self.rows, scale=0.3).float()
        return tensors


def _gated(repo: str, family: str, template: str, **options: Any) -> Replica:
    config = {"gating_hidden_dim": 12, "gating_n_hidden": 3} | options.pop("config")
    return Replica(repo, family, template, "gated", config=config, **options)


def _classifier(repo: str, family: str, template: str) -> Replica:
    names = {"llama": "Llama", "gemma": "Gemma", "gemma2": "Gemma2"}
    names |= {"qwen2": "Qwen2", "qwen3": "Qwen3"}
    return Replica(repo, family, template, "linear", f"{names[family]}ForSequenceClassification")


def _tree(repo: str, family: str, architecture: str) -> Replica:
    """The heads of the two models with a tree: one row an attribute, and biases."""
    names, head = {"names": FIVE, "tree": True}, {"rows": 5, "bias": True}
    code = f"modeling_decision_tree_reward_model.{architecture}"
    template = "llama-3, no BOS" if family == "llama" else "gemma, no BOS"
    return Replica(repo, family, template, "linear", architecture, code=code, **head, **names)


# By their names on the leaderboard. TextEval has nothing public, MetaMetrics has members.
REPLICAS = {
    "Decision-Tree-Reward-Gemma-2-27B": _tree(
        "RLHFlow/Decision-Tree-Reward-Gemma-2-27B", "gemma2", "Gemma2ForDecisionTreeRewardModel"
    ),
    "INF-QRM-Llama3.1-70B": Replica(
        "infly/INF-ORM-Llama3.1-70B",
        "llama",
        "llama-3.1",
        "two layers",
        "INFORMForSequenceClassification",
        shards=3,
    ),
    "Decision-Tree-Reward-Llama-3.1-8B": _tree(
        "RLHFlow/Decision-Tree-Reward-Llama-3.1-8B", "llama", "LlamaForDecisionTreeRewardModel"
    ),
    "QRM-Gemma-2-27B": _gated(
        "nicolinho/QRM-Gemma-2-27B",
        "gemma2",
        "gemma",
        architecture="Gemma2ForQuantileSequenceClassification",
        code="modeling_custom.Gemma2ForQuantileSequenceClassification",
        rows=5,
        quantiles=19,
        gate=((0, 4, 8, 11), (2, 6, 10)),  # dropout at 3 and 7
        config={"num_objectives": 5, "num_quantiles": 19, "gating_temperature": 1},
        head_dtype=torch.float32,
    ),
    "Skywork-Reward-Gemma-2-27B-v0.2": _classifier(
        "Skywork/Skywork-Reward-Gemma-2-27B-v0.2", "gemma2", "gemma, no BOS"
    ),
    "Llama-3.1-Nemotron-70B-Reward": Replica(
        "nvidia/Llama-3.1-Nemotron-70B-Reward-HF",
        "llama",
        "llama-3.1",
        "next token",
        "LlamaForCausalLM",
        shards=3,
    ),
    "Skywork-Reward-Gemma-2-27B": _classifier(
        "Skywork/Skywork-Reward-Gemma-2-27B", "gemma2", "gemma"
    ),
    "QRM-Llama3.1-8B-v2": _gated(
        "nicolinho/QRM-Llama3.1-8B-v2",
        "llama",
        "llama-3, no BOS",
        architecture="LlamaForRewardModelWithGating",
        code="modeling_custom.LlamaForRewardModelWithGating",
        rows=5,
        quantiles=19,
        gate=((0, 3, 6, 9), (2, 5, 8)),
        config={"num_objectives": 5, "num_quantiles": 19, "gating_temperature": 5.0},
        head_dtype=torch.float32,
    ),
    "Skywork-Reward-Llama-3.1-8B-v0.2": _classifier(
        "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2", "llama", "llama-3, no BOS"
    ),
    "ArmoRM-Llama3-8B-v0.1": _gated(
        "RLHFlow/ArmoRM-Llama3-8B-v0.1",
        "llama",
        "llama-3",
        architecture="LlamaForRewardModelWithGating",
        code="modeling_custom.LlamaForRewardModelWithGating",
        rows=19,
        gate=((0, 1, 2, 3), ()),
        transform=True,
        config={"num_objectives": 19, "gating_temperature": 10},
        names=tuple(f"LABEL_{place}" for place in range(19)),
        head_dtype=torch.float32,
    ),
}
# What people have run since.
URM = "URM-LLaMa-3.1-8B"
NEWER = {
    URM: Replica(
        f"LxzGordon/{URM}",
        "llama",
        "llama-3.1",
        "normal",
        "LlamaForSequenceClassificationWithNormal_Weights",
        rows=5,
        code="modeling_custom.LlamaForSequenceClassificationWithNormal_Weights",
        names=tuple(f"LABEL_{place}" for place in range(10)),
        head_dtype=torch.float16,
    ),
}
NEWER |= {
    name: _classifier(f"Skywork/{name}", "llama", template)
    for name, template in (
        ("Skywork-Reward-V2-Llama-3.1-8B", "llama-3, no BOS"),
        ("Skywork-Reward-V2-Llama-3.1-8B-40M", "llama-3, no BOS"),
        ("Skywork-Reward-V2-Llama-3.2-1B", "llama-3.1"),
        ("Skywork-Reward-V2-Llama-3.2-3B", "llama-3.1"),
    )
}
NEWER |= {
    f"Skywork-Reward-V2-Qwen3-{size}": _classifier(
        f"Skywork/Skywork-Reward-V2-Qwen3-{size}", "qwen3", "qwen3"
    )
    for size in ("0.6B", "1.7B", "4B", "8B")
}
NEWER |= {
    name: Replica(
        f"nvidia/{name}", "llama", "llama-3.1", "next token", "LlamaForCausalLM", shards=3
    )
    for name in ("Llama-3.3-Nemotron-70B-Reward", "Llama-3.3-Nemotron-70B-Reward-Multilingual")
}
NEWER |= {
    f"Qwen-{version}-Nemotron-32B-Reward": _classifier(
        f"nvidia/Qwen-{version}-Nemotron-32B-Reward", family, family
    )
    for version, family in (("3", "qwen3"), ("2.5", "qwen2"))
}
# Of MetaMetrics' five members, those that are plain score heads.
MEMBERS = {
    repo: _classifier(repo, family, template)
    for repo, family, template in (
        ("Skywork/Skywork-Reward-Llama-3.1-8B", "llama", "llama-3, no BOS"),
        ("Ray2333/GRM-Llama3-8B-rewardmodel-ft", "llama", "llama-3"),
        ("Ray2333/GRM-Gemma-2B-rewardmodel-ft", "gemma", "gemma"),
    )
}
CRITIC = "Skywork/Skywork-Critic-Llama-3.1-70B"


# Tokenizers and chat templates

TURN = "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + '<|eot_id|>' }}"
ASK = "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
DATE = (
    "{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}"
    "{{ bos_token + '<|start_header_id|>system<|end_header_id|>\n\n' }}"
    "{{ 'Cutting Knowledge Date: December 2023\n' }}"
    "{{ 'Today Date: ' + date_string + '\n\n' + '<|eot_id|>' }}"
)
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}{% if m['role'] == 'assistant' %}{% set role = 'model' %}"
    "{% else %}{% set role = m['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\n' + m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
# Qwen writes no BOS; Qwen3 opens the last response with an empty thought.
QWEN = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}THOUGHT"
    "{{ m['content'] | trim + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
THOUGHT = (
    "{% if loop.last and m['role'] == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
)
LOOP = "{% for m in messages %}" + TURN + "{% endfor %}" + ASK
TEMPLATES = {
    "llama-3": "{{ bos_token }}" + LOOP,
    "llama-3, no BOS": LOOP,
    "llama-3.1": DATE + LOOP,
    "gemma": "{{ bos_token }}" + GEMMA,
    "gemma, no BOS": GEMMA,
    "qwen2": QWEN.replace("THOUGHT", ""),
    "qwen3": QWEN.replace("THOUGHT", THOUGHT),
}
LLAMA_SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    *(f"<|reserved_special_token_{number}|>" for number in (0, 1)),
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_2|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
LLAMA_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_MERGES = [("Ċ", "Ċ"), ("[", "["), ("]", "]"), ("Ġ", "Ġ")]
QWEN_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
GEMMA_SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>")


def qwen_core() -> Tokenizer:
    """Byte-level BPE as Llama's, without a BOS; the special tokens stand last."""
    return byte_level_core(QWEN_SPECIAL)


def byte_level_core(special: tuple[str, ...]) -> Tokenizer:
    """Byte-level BPE; "\\n\\n", "[[" and "]]" are one token, and the special tokens stand last."""
    vocab = {byte: n for n, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab |= {left + right: len(vocab) + n for n, (left, right) in enumerate(LLAMA_MERGES)}
    core = Tokenizer(models.BPE(vocab, LLAMA_MERGES, ignore_merges=True))
    split = pre_tokenizers.Split(Regex(LLAMA_PATTERN), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(each, special=True) for each in special])
    return core


def llama_core() -> Tokenizer:
    """Byte-level BPE, with a BOS before each text."""
    core = byte_level_core(LLAMA_SPECIAL)
    bos = (LLAMA_SPECIAL[0], core.token_to_id(LLAMA_SPECIAL[0]))
    core.post_processor = processors.TemplateProcessing(
        single=f"{bos[0]} $A", pair=f"{bos[0]} $A {bos[0]} $B", special_tokens=[bos]
    )
    return core


def gemma_core() -> Tokenizer:
    """BPE with a fallback to bytes; control tokens stand first, at the ids of the real one."""
    vocab = {token: place for place, token in enumerate(GEMMA_SPECIAL)}
    vocab |= {f"<unused{place - 7}>": place for place in range(len(vocab), 106)}
    pieces = ["\n", "\n\n", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    pieces += [chr(byte) for byte in range(33, 127)]
    for token in ("<start_of_turn>", "<end_of_turn>", *pieces):
        vocab[token] = len(vocab)
    core = Tokenizer(
        models.BPE(vocab, [("\n", "\n")], byte_fallback=True, fuse_unk=True, unk_token="<unk>")
    )
    core.normalizer = normalizers.Replace(" ", "▁")
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    special = (*GEMMA_SPECIAL, "<start_of_turn>", "<end_of_turn>")
    core.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in special])
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 2)]
    )
    return core


def vocabulary(family: str) -> int:
    """Count the tokens."""
    return core_of(family).get_vocab_size()


def core_of(family: str) -> Tokenizer:
    """Make a family's tokenizer."""
    if family.startswith("qwen"):
        return qwen_core()
    return llama_core() if family == "llama" else gemma_core()


def write_tokenizer(folder: Path, family: str, template: str) -> Tokenizer:
    """Write the tokenizer's three files, the chat template inside its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    core = core_of(family)
    if family.startswith("qwen"):
        kind = "Qwen2Tokenizer"
        special = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    elif family == "llama":
        kind = "PreTrainedTokenizerFast"
        special = {"bos_token": LLAMA_SPECIAL[0], "eos_token": "<|eot_id|>"}
        special |= {"pad_token": "<|finetune_right_pad_id|>"}
    else:
        kind = "GemmaTokenizer"
        special = {"bos_token": "<bos>", "eos_token": "<eos>"}
        special |= {"pad_token": "<pad>", "unk_token": "<unk>"}
    core.save(str(folder / "tokenizer.json"))
    settings = special | {"tokenizer_class": kind, "clean_up_tokenization_spaces": False}
    settings |= {"chat_template": TEMPLATES[template], "model_max_length": 131072}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    return core


# Backbones


def backbone_config(family: str, tokenizer: Tokenizer) -> dict[str, Any]:
    """The keys of the published configurations; bfloat16 weights, as most of them have."""
    config = {
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": 48,
        "max_position_embeddings": 8192,
        "model_type": family,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KEY_HEADS,
        "rms_norm_eps": 1e-05,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.45.2",
        "use_cache": True,
        "vocab_size": tokenizer.get_vocab_size(),
    }
    if family == "llama":
        scaling = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0}
        scaling |= {"original_max_position_embeddings": 64, "rope_type": "llama3"}
        config |= {"hidden_act": "silu", "mlp_bias": False, "pretraining_tp": 1}
        config |= {"rope_scaling": scaling, "rope_theta": 500000.0, "tie_word_embeddings": False}
        tokens = ("<|begin_of_text|>", "<|eot_id|>", "<|finetune_right_pad_id|>")
    elif family.startswith("qwen"):
        config |= {"hidden_act": "silu", "rope_theta": 1000000.0, "tie_word_embeddings": False}
        config |= {"use_sliding_window": False}
        config |= {"head_dim": 12} if family == "qwen3" else {}
        tokens = ("<|endoftext|>", "<|im_end|>", "<|endoftext|>")
    else:
        config |= {"head_dim": 12, "hidden_act": "gelu_pytorch_tanh", "rope_theta": 10000.0}
        config |= {"hidden_activation": "gelu_pytorch_tanh"}
        tokens = ("<bos>", "<eos>", "<pad>")
    if family == "gemma2":  # so small a window and a cap that both are at work in short texts
        config |= {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 30.0}
        config |= {"cache_implementation": "hybrid", "query_pre_attn_scalar": 9}
        config |= {"sliding_window": 16, "sliding_window_size": 16}
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return config | dict(zip(names, map(tokenizer.token_to_id, tokens), strict=True))


def backbone_tensors(config: dict[str, Any], generator: torch.Generator) -> Tensors:
    """Random weights large enough that attention is sharp."""

    def draw(*shape: int, scale: float = 0.3, mean: float = 0.0) -> torch.Tensor:
        return (torch.randn(*shape, generator=generator) * scale + mean).to(torch.bfloat16)

    hidden, wide = config["hidden_size"], config["intermediate_size"]
    each = config.get("head_dim", hidden // config["num_attention_heads"])
    queries, keys = (each * config[f"num_{kind}_heads"] for kind in ("attention", "key_value"))
    shapes = {f"self_attn.{name}_proj": (keys, hidden) for name in "kv"}
    shapes |= {"self_attn.q_proj": (queries, hidden), "self_attn.o_proj": (hidden, queries)}
    shapes |= {"mlp.gate_proj": (wide, hidden), "mlp.up_proj": (wide, hidden)}
    shapes |= {"mlp.down_proj": (hidden, wide)}
    norms = ["input_layernorm", "post_attention_layernorm"]
    norms += ["pre_feedforward_layernorm", "post_feedforward_layernorm"] * (
        config["model_type"] == "gemma2"
    )
    family = config["model_type"]
    around = float(not family.startswith("gemma"))  # Gemma's norms multiply by one plus these
    if family == "qwen3":
        norms += ["self_attn.q_norm", "self_attn.k_norm"]
    lengths = {name: each if name.startswith("self_attn") else hidden for name in norms}
    tensors = {"model.embed_tokens.weight": draw(config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}"
        tensors |= {f"{prefix}.{name}.weight": draw(*shape) for name, shape in shapes.items()}
        tensors |= {
            f"{prefix}.{name}.weight": draw(length, scale=0.1, mean=around)
            for name, length in lengths.items()
        }
        if family == "qwen2":
            rows = {"q": queries, "k": keys, "v": keys}
            tensors |= {f"{prefix}.self_attn.{n}_proj.bias": draw(rows[n]) for n in rows}
    return tensors | {"model.norm.weight": draw(hidden, scale=0.1, mean=around)}


# Files


def split(tensors: Tensors, shards: int, stem: str, suffix: str) -> dict[str, Tensors]:
    """Deal the tensors to files by their published names, the last ones to the last file."""
    names, parts = list(tensors), {}
    for shard in range(shards):
        part = names[shard * len(names) // shards : (shard + 1) * len(names) // shards]
        name = f"{stem}-{shard + 1:05d}-of-{shards:05d}{suffix}"
        parts[name] = {each: tensors[each].contiguous() for each in part}
    return parts


def write_index(path: Path, parts: dict[str, Tensors]) -> None:
    """Write the file that says which shard has which tensor."""
    size = sum(tensor.nbytes for part in parts.values() for tensor in part.values())
    where = {name: file for file, part in parts.items() for name in part}
    path.write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": where}))


def write_safetensors(folder: Path, tensors: Tensors, shards: int) -> None:
    """Write shards and their index."""
    parts = split(tensors, shards, "model", ".safetensors")
    for name, part in parts.items():
        save_file(part, folder / name, metadata={"format": "pt"})
    write_index(folder / "model.safetensors.index.json", parts)


def write_generation_config(folder: Path, config: dict[str, Any], **options: Any) -> None:
    """Write a language model's defaults."""
    settings = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    (folder / "generation_config.json").write_text(json.dumps(settings | options))


# A critic whose weights are set by hand, so that it knows which response is better

BETTER, WORSE = "+", "-"


def make_critic(parent: Path, *, opening: str = "[[", shards: int = 3) -> Path:
    """Write Skywork-Critic's folder of .bin shards; it prefers the response that has a plus sign.

    It writes "[[A]]" if the first "+" of the request stands before the first "-", "[[B]]" if after,
    "[[A]]" if there is neither; with `opening` "]]" it writes what is no verdict.

    One axis of the hidden state a token, and two more. Queries and keys are zero, so attention is a
    mean over all that came before. Layer 0 leaves on the first spare axis the mean of +1 a plus and
    -1 a minus: between the two signs it has the sign of the first. Layer 1 leaves the mean of that
    on the second. The language model's head says which token follows which, and lets the second
    spare axis choose between A and B.
    """
    folder = parent / CRITIC
    tokenizer = write_tokenizer(folder, "llama", "llama-3.1")
    size = tokenizer.get_vocab_size()
    hidden = size + 2
    sizes = {"hidden_size": hidden, "head_dim": 4, "intermediate_size": 4}
    config = backbone_config("llama", tokenizer) | sizes
    config |= {"num_attention_heads": 1, "num_key_value_heads": 1}
    config |= {"architectures": ["LlamaForCausalLM"], "torch_dtype": "float32"}
    tensors = backbone_tensors(config, torch.Generator())
    for name, tensor in tensors.items():
        tensors[name] = torch.full(tensor.shape, float(name.endswith("norm.weight")))
    tensors["model.embed_tokens.weight"][:, :size] = torch.eye(size)
    attention = "model.layers.{}.self_attn.{}_proj.weight".format
    tensors[attention(0, "v")][0, tokenizer.token_to_id(BETTER)] = 1.0
    tensors[attention(0, "v")][0, tokenizer.token_to_id(WORSE)] = -1.0
    tensors[attention(0, "o")][size, 0] = 1.0
    tensors[attention(1, "v")][0, size] = 1.0
    tensors[attention(1, "o")][size + 1, 0] = 10.0
    follows = torch.zeros(size, hidden)
    chain = [("ĊĊ", opening), ("A", "]]"), ("B", "]]"), ("]]", "<|eot_id|>")]
    for before, after in chain:
        follows[tokenizer.token_to_id(after), tokenizer.token_to_id(before)] = 100.0
    for token, sign in (("A", 1.0), ("B", -1.0)):
        row = follows[tokenizer.token_to_id(token)]
        row[:size] = -100.0
        row[tokenizer.token_to_id("[[")], row[size + 1] = 100.0, sign
    tensors["lm_head.weight"] = follows
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    write_generation_config(folder, config, do_sample=True, temperature=0.6, top_p=0.9)
    parts = split(tensors, shards, "pytorch_model", ".bin")
    for name, part in parts.items():
        torch.save(part, folder / name)
    write_index(folder / "pytorch_model.bin.index.json", parts)
    return folder
