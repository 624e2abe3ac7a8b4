"""Scores computed a second time: transformers in float64, with exact attention, heads by hand from their tensors.

One conversation at a time, in plain words; nothing here knows the package that is tested.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from exact_attention import EXACT
from replicas import read_tensors
from reward_replicas import Replica
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForCausalLM

Turns = Sequence[str]  # user, assistant, user, ..., the response last
MARKERS = {
    "llama": "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "gemma": "<end_of_turn>\n<start_of_turn>model\n",
    "gemma2": "<end_of_turn>\n<start_of_turn>model\n",
}


def text_of(template: str, turns: Turns) -> str:
    """Write a conversation as its template does, one BOS in front, none for Qwen."""
    if template.startswith("qwen"):
        return qwen_text(template, turns)
    llama = template.startswith("llama")
    roles = ("user", "assistant" if llama else "model")
    text = "<|begin_of_text|>" if llama else "<bos>"
    if template == "llama-3.1":
        text += (
            "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
            "Today Date: 26 Jul 2024\n\n<|eot_id|>"
        )
    for place, turn in enumerate(turns):
        role = roles[place % 2]
        if llama:
            text += f"<|start_header_id|>{role}<|end_header_id|>\n\n{turn.strip()}<|eot_id|>"
        else:
            text += f"<start_of_turn>{role}\n{turn.strip()}<end_of_turn>\n"
    return text


def qwen_text(template: str, turns: Turns) -> str:
    """Write a conversation as Qwen does; Qwen3 opens the last response with an empty thought."""
    text = ""
    for place, turn in enumerate(turns):
        role = ("user", "assistant")[place % 2]
        is_last_response = role == "assistant" and place == len(turns) - 1
        thought = "<think>\n\n</think>\n\n" if template == "qwen3" and is_last_response else ""
        text += f"<|im_start|>{role}\n{thought}{turn.strip()}<|im_end|>\n"
    return text


def token_ids(folder: Path, template: str, turns: Turns) -> list[int]:
    """Tokenize a conversation by the tokenizer's file alone."""
    core = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return core.encode(text_of(template, turns), add_special_tokens=False).ids


def prompt_end(folder: Path, family: str, ids: list[int]) -> int:
    """Find the first token of the last header that announces the model, end of turn included."""
    core = Tokenizer.from_file(str(folder / "tokenizer.json"))
    marker = core.encode(MARKERS[family], add_special_tokens=False).ids
    starts = [n for n in range(len(ids)) if ids[n : n + len(marker)] == marker]
    return starts[-1]


def read(
    replica: Replica, folder: Path, turns: Turns, *, pads: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute one conversation's rewards and score, perhaps with pads behind it, masked."""
    ids = token_ids(folder, replica.template, turns)
    pad = json.loads((folder / "config.json").read_text())["pad_token_id"]
    options = {"dtype": torch.float64, "attn_implementation": EXACT}
    inputs = {
        "input_ids": torch.tensor([ids + [pad] * pads]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * pads]),
    }
    last = len(ids) - 1
    with torch.inference_mode():
        if replica.reading == "next token":
            model = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
            rewards = model(**inputs).logits[0, last, :1]
            return rewards, rewards[0]
        model = AutoModel.from_pretrained(folder, **options).eval()
        states = model(**inputs).last_hidden_state[0]
        head = {name: tensor.double() for name, tensor in read_tensors(folder).items()}
        if replica.reading == "linear":
            rewards = head["score.weight"] @ states[last] + head.get("score.bias", 0.0)
            return rewards, rewards[0]
        if replica.reading == "two layers":
            inner = head["score.0.weight"] @ states[last] + head["score.0.bias"]
            rewards = head["score.2.weight"] @ inner.clamp(min=0) + head["score.2.bias"]
            return rewards, rewards[0]
        if replica.reading == "normal":
            means = torch.stack([head["score.weight"][2 * n] @ states[last] for n in range(5)])
            inner = states[last]
            for place in (0, 2):
                layer = f"weights.fc.{place}"
                inner = selu(head[f"{layer}.weight"] @ inner + head[f"{layer}.bias"])
            weights = head["weights.fc.4.weight"] @ inner + head["weights.fc.4.bias"]
            return means, (means * weights).sum()
        quantiles = head["regression_layer.weight"] @ states[last]
        rows = [
            quantiles[n * replica.quantiles : (n + 1) * replica.quantiles].mean()
            for n in range(replica.rows)
        ]
        rewards = torch.stack(rows)
        gate = gate_of(replica, head, states[prompt_end(folder, replica.family, ids)])
        mixed = rewards @ head["reward_transform_matrix"] if replica.transform else rewards
        return rewards, (gate * mixed).sum()


def selu(values: torch.Tensor) -> torch.Tensor:
    """Klambauer et al. (2017), with the constants of their section 2."""
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    return scale * torch.where(values > 0, values, alpha * (values.exp() - 1))


def gate_of(replica: Replica, head: dict, state: torch.Tensor) -> torch.Tensor:
    """Compute the gate's weights: layer by layer, by the places that the replica was made with."""
    linear, norms = replica.gate
    for place in linear[:-1]:
        name = f"gating.layers.{place}"
        state = head[f"{name}.weight"] @ state
        state = (state if norms else state + head[f"{name}.bias"]).clamp(min=0)
        if norms:
            norm = f"gating.layers.{place + 2}"
            scale = (head[f"{norm}.running_var"] + 1e-5).sqrt()
            state = (state - head[f"{norm}.running_mean"]) / scale
            state = state * head[f"{norm}.weight"] + head[f"{norm}.bias"]
    last = f"gating.layers.{linear[-1]}"
    logits = head[f"{last}.weight"] @ state + head[f"{last}.bias"]
    logits = logits / replica.config["gating_temperature"]
    powers = (logits - logits.max()).exp()
    return powers / powers.sum() * head["gating.logit_scale"]
