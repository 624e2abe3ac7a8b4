"""The last hidden states of a frozen backbone: in memory, or as resumable shards on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn
from tqdm.auto import tqdm

from dtreward.conversation import ChatTokenizer, Conversations
from dtreward.record import digest, write_atomically, write_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Backbone:
    """A transformer without its head, the tokenizer that feeds it, and what names both.

    `transformer` returns `last_hidden_state` after its final norm; it is put into evaluation mode.
    `identity` holds all that changes those states: model, revision, digest of the weights, dtype,
    attention, device, versions. Features on disk are keyed by it.
    """

    transformer: nn.Module
    chat: ChatTokenizer
    identity: dict[str, str]

    def __post_init__(self) -> None:
        self.transformer.eval()

    @property
    def hidden_size(self) -> int:
        """Number of values in one hidden state."""
        return self.transformer.config.hidden_size

    @property
    def wide_dtype(self) -> torch.dtype:
        """Number format of what is computed from hidden states: float32, or float64 as they are."""
        return torch.promote_types(self.transformer.dtype, torch.float32)

    @property
    def device(self) -> torch.device:
        """Where the transformer is, and token ids go."""
        return next(self.transformer.parameters()).device


def hidden_states(
    backbone: Backbone,
    token_ids: Sequence[tuple[int, ...]],
    positions: Sequence[tuple[int, ...]],
) -> Float[np.ndarray, "responses positions hidden"]:
    """Run the backbone over conversations and return its hidden states at some of each one's tokens.

    After the final norm, in float32 (float64 of a float64 backbone), rows in the order given. Each
    conversation is computed alone, so a row does not depend on the others, to the bit; a CPU
    computes as many side by side as it has threads, one thread each.
    """

    @torch.inference_mode()
    def states(ids: tuple[int, ...], read: tuple[int, ...]) -> np.ndarray:
        input_ids = torch.tensor([ids], device=backbone.device)
        output = backbone.transformer(input_ids=input_ids, use_cache=False)
        return output.last_hidden_state[0, list(read)].to(wide).cpu().numpy()

    wide = backbone.wide_dtype
    if backbone.device.type != "cpu":
        found = list(map(states, token_ids, positions))
    else:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(threads) as pool:
                found = list(pool.map(states, token_ids, positions))
        finally:
            torch.set_num_threads(threads)
    empty = np.empty((0, 1, backbone.hidden_size), np.float32)
    return np.stack(found) if found else empty


def last_hidden_states(
    backbone: Backbone, token_ids: Sequence[tuple[int, ...]]
) -> Float[np.ndarray, "responses hidden"]:
    """Give each conversation's `hidden_states` at its last token, at `len(ids) - 1`, whatever its id."""
    return hidden_states(backbone, token_ids, [(len(ids) - 1,) for ids in token_ids])[:, 0]


def extract_features(
    backbone: Backbone,
    conversations: Conversations,
    folder: str | Path,
    *,
    shard_size: int = 256,
    progress: bool = True,
) -> dict[str, Any]:
    """Write the features of conversations to shards in `folder`, and return the manifest.

    Rows are in the order given. May be killed at any moment: a shard is whole or absent, and the
    next call makes only those that are absent or damaged. All conversations are tokenized first,
    so that one that is refused is refused before hours of work.

    Raises:
        ValueError: if `folder` holds features of another key; the message names what differs.
    """
    folder = Path(folder)
    own = {"conversations": _texts(conversations), "shard_size": str(shard_size)}
    key = backbone.identity | backbone.chat.identity | own
    if (folder / MANIFEST).exists():
        there = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("key", {})
        fields = [name for name in sorted({*there, *key}) if there.get(name) != key.get(name)]
        if told := [f"{name} {there.get(name)!r}, now {key.get(name)!r}" for name in fields]:
            other = f"{folder} holds features made otherwise: {'; '.join(told)}"
            raise ValueError(f"{other}; choose another folder, or delete it")
    tokens = [backbone.chat.token_ids(*conversation) for conversation in conversations]
    cut, length = sum(each.cut > 0 for each in tokens), sum(len(each.ids) for each in tokens)
    manifest = {"key": key, "rows": len(tokens), "hidden": backbone.hidden_size, "shards": {}}
    manifest |= {"tokens": length, "conversations_cut": cut}
    write_json(folder / MANIFEST, manifest)
    for leftover in [*folder.glob(".*.safetensors"), *folder.glob(".manifest.*.json")]:
        leftover.unlink()  # of a run that was killed
    with tqdm(total=len(tokens), unit=" responses", disable=not progress) as bar:
        for name, rows in _shards(len(tokens), shard_size):
            ids = [each.ids for each in tokens[rows]]
            features = _read_shard(folder / name, key, len(ids))
            if features is None:
                features = last_hidden_states(backbone, ids).astype(np.float32)
                header = {"digest": _digest(features, key)}
                write = partial(save_file, {"features": features}, metadata=header)
                write_atomically(folder / name, write)
            manifest["shards"][name] = _digest(features, key)
            bar.update(len(ids))
    write_json(folder / MANIFEST, manifest)
    return manifest


def read_features(
    folder: str | Path, conversations: Conversations | None = None
) -> Float[np.ndarray, "responses hidden"]:
    """Read the features that `extract_features` wrote, and verify every shard.

    Raises:
        ValueError: if extraction has not finished, a shard is damaged, or the features are not of
            exactly `conversations` in this order, where given.
    """
    if not (path := Path(folder, MANIFEST)).exists():
        raise ValueError(f"expected features in {folder}, found no manifest; run extract_features")
    manifest, folder = json.loads(path.read_text(encoding="utf-8")), path.parent
    key, rows = manifest["key"], manifest["rows"]
    if conversations is not None and _texts(conversations) != key["conversations"]:
        other = f"the {rows} features in {folder} are of other conversations than those given"
        raise ValueError(f"{other}; give theirs, in their order, or extract to another folder")
    features = np.empty((rows, manifest["hidden"]), dtype=np.float32)
    for name, place in _shards(rows, int(key["shard_size"])):
        shard = _read_shard(folder / name, key, len(features[place]))
        if shard is None or _digest(shard, key) != manifest["shards"].get(name):
            raise ValueError(f"{folder / name} is missing or damaged; run extract_features again")
        features[place] = shard
    return features


def _texts(conversations: Conversations) -> str:
    return digest(*(text for conversation in conversations for text in conversation))


def _shards(rows: int, size: int) -> list[tuple[str, slice]]:
    starts = range(0, rows, size)
    return [(f"{n:05d}.safetensors", slice(at, at + size)) for n, at in enumerate(starts)]


def _digest(features: np.ndarray, key: Mapping[str, str]) -> str:
    return digest(json.dumps(key, sort_keys=True), str(features.shape), features.tobytes())


def _read_shard(path: Path, key: Mapping[str, str], rows: int) -> np.ndarray | None:
    try:
        with safe_open(path, framework="numpy") as file:
            features, header = file.get_tensor("features"), file.metadata()
    except (OSError, SafetensorError):  # absent or damaged
        return None
    whole = len(features) == rows and header == {"digest": _digest(features, key)}
    return features if whole else None
