"""Features on disk: shards that a stopped run leaves whole and the next run reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import Queue
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load, save
from tqdm.auto import tqdm

from dtreward.conversation import Conversations
from dtreward.engine.backbone import Backbone
from dtreward.engine.forward import is_beyond_window, last_hidden_states, rows_of, shard_features
from dtreward.engine.packing import Plan, TokenIds
from dtreward.files import Store, as_json, digest

MANIFEST = "manifest.json"
FIELDS = {"rows": int, "hidden": int, "key": dict, "shards": dict}


def extract_features(
    backbone: Backbone,
    conversations: Conversations,
    folder: str | Path,
    *,
    shard_size: int = 16,
    devices: Sequence[str] | None = None,
    engine: Literal["local", "ray"] = "local",
    progress: bool = True,
) -> dict[str, Any]:
    """Write the features of conversations to shards in `folder`, and return the manifest.

    May be killed at any moment: a shard is whole or absent, and the next call makes only those that
    are absent or damaged. All conversations are tokenized first, so that one that is refused is
    refused before hours of work. The manifest says whether features of a pack of each kind came out
    bit for bit the same on every device here, and in reverse order without shared prompts.

    Args:
        folder: on this machine, or the fsspec URL of one in an object store ("s3://...").
        shard_size: packs in a shard.
        devices: that share the work; by default every GPU, if the backbone is on the first.
        engine: "ray" shares the work among the nodes of a Ray cluster; the same shards, to the bit.

    Raises:
        ValueError: if `folder` holds features of another key; the message names what differs.
    """
    if engine not in ("local", "ray") or (engine == "ray" and devices):
        wanted = 'engine must be "local", or "ray", which takes no devices'
        raise ValueError(f"{wanted}; came {engine!r}, devices {devices}")
    store = Store(folder)
    own = {"conversations": _texts(conversations), "shard_size": str(shard_size)}
    key = backbone.identity | backbone.chat.identity | own
    if manifest := _read_manifest(store):
        there = manifest["key"]
        fields = [name for name in sorted({*there, *key}) if there.get(name) != key.get(name)]
        if told := [f"{name} {there.get(name)!r}, now {key.get(name)!r}" for name in fields]:
            other = f"{folder} holds features made otherwise: {'; '.join(told)}"
            raise ValueError(f"{other}; choose another folder, or delete it")
    tokens = [backbone.chat.token_ids(*conversation) for conversation in conversations]
    token_ids = [np.array(each.ids, np.int32) for each in tokens]
    cut = sum(each.cut > 0 for each in tokens)
    del tokens  # thirty bytes a token, and hours to go
    plans = backbone.plans(token_ids, [prompt for prompt, _ in conversations])
    length, held = sum(map(len, token_ids)), sum(plan.size for plan in plans)
    computed = sum(unit.tokens for plan in plans for unit in plan.units)
    told = {"rows": len(token_ids), "hidden": backbone.hidden_size, "tokens": length}
    told |= {"conversations_cut": cut, "packs": len(plans)}
    told |= {"tokens_computed": computed, "fill": computed / held if plans else 1.0}
    manifest = {"bit_for_bit": manifest.get("bit_for_bit")} | told | {"key": key, "shards": {}}
    store.write(MANIFEST, as_json(manifest))
    store.remove_leftovers(".*.safetensors", ".manifest.*.json")
    starts, missing = range(0, len(plans), shard_size), {}
    shards = {f"{n:05d}.safetensors": plans[at : at + shard_size] for n, at in enumerate(starts)}
    for name, part in shards.items():
        if found := _read_shard(store, name, key, rows_of(part)):
            manifest["shards"][name] = found[1]
        else:
            missing[name] = part
    copies = [backbone]
    if missing:
        copies = backbone.everywhere(devices, most=len(missing)) if engine == "local" else copies
        ordered = sorted(plans, key=lambda plan: len(plan.conversations))
        kinds = {(plan.size, is_beyond_window(backbone, plan)): plan for plan in ordered}
        manifest["bit_for_bit"] = _repeats(copies, [*kinds.values()], token_ids)
    done = sum(len(token_ids[row]) for name in manifest["shards"] for row in rows_of(shards[name]))
    bar = tqdm(total=length, initial=done, unit=" tokens", unit_scale=True, disable=not progress)
    with bar:
        for name, features in _compute(copies, missing, token_ids, engine):
            rows = rows_of(shards[name])
            tensors = {"features": features, "rows": rows}
            manifest["shards"][name] = _digest(tensors, key)
            header = {"digest": manifest["shards"][name]}
            store.write(name, save(tensors, metadata=header))
            bar.update(sum(len(token_ids[row]) for row in rows))
    manifest["shards"] = {name: manifest["shards"][name] for name in shards}
    store.write(MANIFEST, as_json(manifest))
    return manifest


def read_features(
    folder: str | Path, conversations: Conversations | None = None
) -> Float[np.ndarray, "responses hidden"]:
    """Read the features that `extract_features` wrote, in the conversations' order; verify every shard.

    Raises:
        ValueError: if extraction has not finished, a shard is damaged, or the features are not of
            exactly `conversations` in this order, where given.
    """
    store = Store(folder)
    if not (manifest := _read_manifest(store)):
        raise ValueError(f"expected features in {folder}, found no manifest; run extract_features")
    key, rows = manifest["key"], manifest["rows"]
    if conversations is not None and _texts(conversations) != key.get("conversations"):
        other = f"the {rows} features in {folder} are of other conversations than those given"
        raise ValueError(f"{other}; give theirs, in their order, or extract to another folder")
    features = np.empty((rows, manifest["hidden"]), dtype=np.float32)
    made = np.zeros(rows, bool)
    for name, told in manifest["shards"].items():
        shard = _read_shard(store, name, key)
        if shard is None or shard[1] != told:
            raise ValueError(f"{folder}/{name} is missing or damaged; run extract_features again")
        place = shard[0]["rows"]
        if place.dtype != np.int64 or not ((place >= 0) & (place < rows)).all():
            raise ValueError(f"{folder}/{name} is damaged: it names rows that are not there")
        features[place], made[place] = shard[0]["features"], True
    if not made.all():
        raise ValueError(f"{folder} has not all {rows:,} features; run extract_features again")
    return features


def _compute(
    copies: Sequence[Backbone],
    shards: Mapping[str, Sequence[Plan]],
    token_ids: Sequence[TokenIds],
    engine: str,
) -> Iterator[tuple[str, np.ndarray]]:
    """Compute shards, on one device or side by side on several, and give each when it is ready."""
    if engine == "ray":
        from dtreward.engine.ray import compute_on_cluster

        yield from compute_on_cluster(copies[0], shards, token_ids)
        return
    idle: Queue = Queue()
    for each in copies:
        idle.put(each)

    def shard(name: str) -> tuple[str, np.ndarray]:
        own = idle.get()
        try:
            return name, shard_features(own, shards[name], token_ids)
        finally:
            idle.put(own)

    if idle.qsize() == 1:  # in this thread, where Ctrl-C is heard at once
        yield from map(shard, shards)
        return
    pool = ThreadPoolExecutor(idle.qsize())
    try:
        for done in as_completed([pool.submit(shard, name) for name in shards]):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _repeats(copies: Sequence[Backbone], plans: Sequence[Plan], ids: Sequence[TokenIds]) -> bool:
    """Whether packs give the same bits on all devices, and in reverse without shared prompts.

    All that a device is going to need is compiled by this, in one thread: torch 2.11 cannot compile
    in a thread while layers that are compiled run in another.
    """
    first, *others = (shard_features(each, plans, ids) for each in copies)
    alone = np.float32(last_hidden_states(copies[0], [ids[row] for row in rows_of(plans)[::-1]]))
    return all(np.array_equal(first, each) for each in (*others, alone[::-1]))


def _texts(conversations: Conversations) -> str:
    return digest(*(text for conversation in conversations for text in conversation))


def _digest(tensors: Mapping[str, np.ndarray], key: Mapping[str, Any]) -> str:
    parts = [part for each in tensors.values() for part in (str(each.shape), each.tobytes())]
    return digest(json.dumps(key, sort_keys=True), *parts)


def _read_manifest(store: Store) -> dict[str, Any]:
    data = store.read(MANIFEST)
    try:
        manifest = {} if data is None else json.loads(data)
        if data is not None and {name: type(manifest[name]) for name in FIELDS} != FIELDS:
            raise TypeError(f"expected {FIELDS}")
        return manifest
    except (ValueError, TypeError, LookupError) as error:
        came = f"{store.root}/{MANIFEST} is no manifest of features ({error!r})"
        raise ValueError(f"{came}; choose another folder, or delete this one") from error


def _read_shard(
    store: Store, name: str, key: Mapping[str, Any], rows: np.ndarray | None = None
) -> tuple[dict[str, np.ndarray], str] | None:
    try:
        data = store.read(name) or b""
        found = load(data)
        tensors = {name: found[name] for name in ("features", "rows")}
    except (OSError, SafetensorError, KeyError):  # absent or damaged
        return None
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__")
    told = _digest(tensors, key)
    same = rows is None or np.array_equal(tensors["rows"], rows)
    return (tensors, told) if same and header == {"digest": told} else None
