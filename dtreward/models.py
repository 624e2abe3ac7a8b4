"""Reward models: load one without running its code, and compare two responses with the reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import transformers
from jaxtyping import Float
from torch import nn
from transformers import AutoTokenizer, Gemma2Model, LlamaModel
from transformers.utils import is_flash_attn_2_available

from dtreward import checkpoint, draw
from dtreward.checkpoint import export_checkpoint
from dtreward.conversation import ChatTokenizer, Conversations
from dtreward.extract import Backbone, last_hidden_states
from dtreward.record import digest, file_digest
from dtreward.tree import PreferenceTree, Step

__all__ = ["Comparison", "RewardModel", "export_checkpoint", "load"]
COLUMNS = ("response 1", "response 2", "difference")


@dataclass(frozen=True, eq=False)
class Comparison(Mapping[str, Any]):
    """What a reward model says of two responses, and why; a field is also readable by its key.

    Values are plain Python. `preference` is 0 for response 1, 1 for response 2; `probability` is
    response 2's; `differences` are response 2 minus response 1. `path` and `effective_rule` are
    the tree's, in words. `swap_flips`: swapping the responses flips the preference, as it should.
    """

    attributes: list[str]
    rewards: list[list[float]]
    differences: list[float]
    preference: int
    probability: float
    path: tuple[Step, ...]
    effective_rule: tuple[str, ...]
    swap_flips: bool
    tree: PreferenceTree | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        rewards: Float[np.ndarray, "2 attributes"],
        *,
        attributes: Sequence[str],
        tree: PreferenceTree | None = None,
    ) -> Comparison:
        """Compare two responses by their rewards; without a tree, by the larger single score.

        Example:
            >>> Comparison.of(np.array([[1.0], [1.0]]), attributes=["score"]).probability
            0.5
        """
        rewards = rewards.astype(float)
        difference = rewards[1] - rewards[0]
        orders = np.stack([difference, -difference])
        if tree is None:  # Bradley-Terry: the sigmoid of the difference, without overflow
            probability = np.exp(-np.logaddexp(0.0, -orders[:, 0]))
            decisions, path = orders[:, 0] > 0, ()
            rule = (f"response 2 iff {attributes[0]} difference > 0",)
        else:
            probability, decisions = tree.probability(orders), tree.predict(orders)
            path, rule = tree.path(difference), tree.effective_rule().rule_sentences()
        decision, swapped = (int(each) for each in decisions)
        told = rewards.tolist(), difference.tolist(), decision, float(probability[0])
        return cls(list(attributes), *told, path, rule, decision != swapped, tree)

    def __getitem__(self, key: str) -> Any:
        if key not in list(self):
            raise KeyError(f"{key!r} is none of {', '.join(self)}")
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in fields(self) if each.name != "tree")

    def __len__(self) -> int:
        return len(fields(self)) - 1

    def __str__(self) -> str:
        verdict, table, reasons = self._words()
        return "\n".join([verdict, "", table.to_string(float_format="{:.2f}".format), "", *reasons])

    def _repr_html_(self) -> str:
        verdict, table, reasons = self._words()
        picture = draw.tree_svg(self.tree, path=self.path) if self.tree else ""
        points = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
        table = table.to_html(float_format="{:.2f}".format)
        return f"<p><b>{verdict}</b></p>{table}{picture}<ul>{points}</ul>"

    def _words(self) -> tuple[str, pd.DataFrame, list[str]]:
        share = self.probability if self.preference else 1 - self.probability
        verdict = f"Response {self.preference + 1} is preferred (probability {share:.1%})."
        columns = [*self.rewards, self.differences]
        table = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)), index=self.attributes)
        rule = f"In effect: {'; '.join(self.effective_rule)}."
        swap = "flips" if self.swap_flips else "does not flip"
        swap = f"Swapping the responses {swap} the preference."
        return verdict, table, [*(step.sentence for step in self.path), rule, swap]


@dataclass(frozen=True, eq=False)
class RewardModel:
    """A frozen backbone, a linear head of one row an attribute, and perhaps a tree that decides."""

    backbone: Backbone
    attributes: tuple[str, ...]
    weight: Float[np.ndarray, "attributes hidden"]
    bias: Float[np.ndarray, " attributes"]
    tree: PreferenceTree | None = None

    @property
    def kind(self) -> Literal["decision-tree", "multi-attribute", "score"]:
        """What decides: the tree, nothing so far, or the larger score (Bradley-Terry)."""
        if self.tree is not None:
            return "decision-tree"
        return "score" if len(self.attributes) == 1 else "multi-attribute"

    def features(self, conversations: Conversations) -> Float[np.ndarray, "responses hidden"]:
        """Return the last token's final hidden state of each (prompt, response)."""
        tokens = [self.backbone.chat.token_ids(*each).ids for each in conversations]
        return last_hidden_states(self.backbone, tokens)

    def rewards(self, conversations: Conversations) -> Float[np.ndarray, "responses attributes"]:
        """Predict the attributes of each (prompt, response), in float32."""
        # Row by row: a product of whole matrices rounds a row by how many stand beside it.
        rows = [self.weight @ state + self.bias for state in self.features(conversations)]
        return np.array(rows, dtype=np.float32).reshape(-1, len(self.attributes))

    def compare(
        self, prompt: str, response1: str, response2: str, tokenizer: Any = None, device: Any = None
    ) -> Comparison:
        """Say which of two responses is preferred, and why; a tie gives preference 0.

        The original's callers pass `tokenizer` and `device`: a ValueError if they are not the
        model's. So is a model of several attributes without a tree to decide by.
        """
        chat, here = self.backbone.chat, self.backbone.device
        if tokenizer is not None and tokenizer.get_vocab() != chat.tokenizer.get_vocab():
            raise ValueError("tokenizer is not this model's; leave it out: compare has its own")
        if device is not None and torch.device(device).type != here.type:
            raise ValueError(f"model is on {here}, compare was given {device}; give it to load()")
        return self.compare_many([prompt], [response1], [response2])[0]

    def compare_many(
        self, prompts: Sequence[str], responses1: Sequence[str], responses2: Sequence[str]
    ) -> list[Comparison]:
        """Compare many pairs, with the same result for each as `compare`."""
        if self.kind == "multi-attribute":
            trees = 'PreferenceTree.load(path) or PreferenceTree.published("Human")'
            came = f"model has {len(self.attributes)} attributes and no tree to decide by"
            raise ValueError(f"{came}; pass tree= to load(), such as {trees}")
        if isinstance(prompts, str) or len({*map(len, (prompts, responses1, responses2))}) != 1:
            raise ValueError(
                "expected three lists of texts, of one length; for one pair: compare()"
            )
        triples = zip(prompts, responses1, responses2, strict=True)
        conversations = [(prompt, each) for prompt, *both in triples for each in both]
        pairs = self.rewards(conversations).reshape(-1, 2, len(self.attributes))
        return [Comparison.of(both, attributes=self.attributes, tree=self.tree) for both in pairs]


def load(
    name: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    attention: str | None = None,
    revision: str | None = None,
    bos: Literal["one", "none"] | None = None,
    max_length: int | None = None,
    too_long: Literal["error", "cut_prompt_start"] = "error",
    attributes: Sequence[str] | None = None,
    tree: PreferenceTree | None = None,
) -> RewardModel:
    """Load a reward model from a folder or the hub; runs none of its code and unpickles nothing.

    Args:
        name: a folder, or a hub id such as "RLHFlow/Decision-Tree-Reward-Llama-3.1-8B".
        device: CUDA where there is one, else the CPU.
        dtype: of the backbone: float32 on the CPU, else the checkpoint's. The head is float32.
        attention: "eager", "sdpa" or "flash_attention_2"; by default "sdpa" for Llama,
            else "eager". Gemma-2 refuses "sdpa", which drops its soft-cap in some versions.
        bos: "one" or "none"; by default what the checkpoint records, else "one".
        max_length: most tokens of a conversation: 4,096, or what the model takes if that is less.
        too_long: what becomes of a longer one: an "error", or "cut_prompt_start" (recorded).
        attributes: names of the head's rows, for a checkpoint that does not name them.
        tree: decides in place of the checkpoint's own.

    Raises:
        ValueError: if a tensor is missing, unexpected or wrongly shaped, or the checkpoint is of
            a kind not known; the message names it.
    """
    folder, commit = checkpoint.find_folder(name, revision)
    config, files = checkpoint.read_config(folder), checkpoint.weight_files(folder)
    weight, bias = checkpoint.read_head(files, config["hidden_size"])
    attributes = checkpoint.read_attributes(config, len(weight), attributes or ())
    if tree is None and (tree := checkpoint.read_tree(folder, attributes)) and bias is None:
        advice = "fetch it again; if it never had one, pass its tree as tree="
        raise ValueError(f"{folder} has a tree, but its head lacks score.bias: {advice}")
    bias = np.zeros(len(weight), np.float32) if bias is None else bias
    if tree is not None and tree.attributes != attributes:
        raise ValueError(f"tree is over {tree.attributes}, the model's attributes are {attributes}")
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = dtype or (torch.float32 if device.type == "cpu" else "auto")
    attention = _attention(attention, config["model_type"], device)
    options = {"dtype": dtype, "attn_implementation": attention, "device_map": {"": device}}
    transformer = _transformer(folder, config["model_type"], options)
    weights = commit or digest(*map(file_digest, [folder / "config.json", *files]))
    model = str(name) if commit else folder.resolve().name
    identity = {"model": model, "revision": commit, "weights": weights, "attention": attention}
    identity |= {"dtype": str(transformer.dtype).removeprefix("torch."), "device": device.type}
    identity |= {"torch": torch.__version__, "transformers": transformers.__version__}
    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
    bos = bos or config.get("bos_rule", "one")
    max_length = max_length or min(4096, transformer.config.max_position_embeddings)
    chat = ChatTokenizer(tokenizer, bos=bos, max_length=max_length, too_long=too_long)
    return RewardModel(Backbone(transformer, chat, identity), attributes, weight, bias, tree)


def _attention(name: str | None, model_type: str, device: torch.device) -> str:
    name = name or ("sdpa" if model_type == "llama" else "eager")
    legal = ["eager", "flash_attention_2"] + ["sdpa"] * (model_type == "llama")
    if name not in legal:
        raise ValueError(f"attention for {model_type} must be one of {legal}, came {name!r}")
    if name == "flash_attention_2" and not is_flash_attn_2_available():
        # Without the package, transformers would fetch a kernel from the hub and run it.
        raise ValueError("flash_attention_2 needs CUDA and the flash-attn package; use 'eager'")
    return name


class _Llama(LlamaModel):
    _keys_to_ignore_on_load_unexpected = (r"^score\.",)  # the head, which is read apart


class _Gemma2(Gemma2Model):
    _keys_to_ignore_on_load_unexpected = (r"^score\.",)


def _transformer(folder: Path, model_type: str, options: Mapping[str, Any]) -> nn.Module:
    # Shapes that do not match are raised below, with all else that is wrong.
    strict = {"use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}
    kind = {"llama": _Llama, "gemma2": _Gemma2}[model_type]
    transformer, found = kind.from_pretrained(folder, **options, **strict)
    if wrong := {problem: sorted(map(str, names)) for problem, names in found.items() if names}:
        raise ValueError(f"tensors of {folder} are not those of its config.json: {wrong}")
    return transformer
