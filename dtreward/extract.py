"""The last hidden states of a frozen backbone: in memory, or as resumable shards on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor
from tqdm.auto import tqdm

from dtreward.backbone import Backbone
from dtreward.conversation import Conversations
from dtreward.packing import Pack, Plan, TokenIds, lay_out
from dtreward.record import Store, as_json, digest

MANIFEST = "manifest.json"
FIELDS = {"rows": int, "hidden": int, "key": dict, "shards": dict}


def hidden_states(
    backbone: Backbone,
    token_ids: Sequence[TokenIds],
    positions: Sequence[Sequence[int]],
    prompts: Sequence[Hashable] | None = None,
) -> Float[np.ndarray, "responses positions hidden"]:
    """Run the backbone over conversations and return its hidden states at some of each one's tokens.

    After the final norm, in float32 (float64 of a float64 backbone), rows in the order given. All
    lie in packs of `backbone.pack_tokens`; a row does not depend on the others, to the bit.

    Args:
        positions: as many of every conversation.
        prompts: conversations of one prompt share what they begin with, and are computed faster.
    """
    plans = backbone.plans(token_ids, prompts)
    count = len(positions[0]) if len(positions) else 1
    kind = torch.empty(0, dtype=backbone.wide_dtype).numpy().dtype
    found = np.empty((len(token_ids), count, backbone.hidden_size), kind)
    for plan, states in zip(plans, run_packs(backbone, plans, token_ids, positions), strict=True):
        found[plan.conversations] = states
    return found


def last_hidden_states(
    backbone: Backbone, token_ids: Sequence[TokenIds], prompts: Sequence[Hashable] | None = None
) -> Float[np.ndarray, "responses hidden"]:
    """Give each conversation's `hidden_states` at its last token, at `len(ids) - 1`, whatever its id."""
    return hidden_states(backbone, token_ids, last_positions(token_ids), prompts)[:, 0]


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
        if found := _read_shard(store, name, key, _rows(part)):
            manifest["shards"][name] = found[1]
        else:
            missing[name] = part
    copies = [backbone]
    if missing:
        copies = backbone.everywhere(devices, most=len(missing)) if engine == "local" else copies
        ordered = sorted(plans, key=lambda plan: len(plan.conversations))
        kinds = {(plan.size, _is_beyond(backbone, plan)): plan for plan in ordered}
        manifest["bit_for_bit"] = _repeats(copies, [*kinds.values()], token_ids)
    done = sum(len(token_ids[row]) for name in manifest["shards"] for row in _rows(shards[name]))
    bar = tqdm(total=length, initial=done, unit=" tokens", unit_scale=True, disable=not progress)
    with bar:
        for name, features in _compute(copies, missing, token_ids, engine):
            rows = _rows(shards[name])
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


@torch.inference_mode()
def _forward(backbone: Backbone, plan: Plan, pack: Mapping[str, Tensor]) -> Tensor:
    """Give the states of one pack that are read, shape (rows, hidden), on the backbone's device."""
    given = dict(pack, kernel=backbone.kernels[_is_beyond(backbone, plan)], use_cache=False)
    ids, places = (given.pop(name)[None] for name in ("token_ids", "position_ids"))
    output = backbone.transformer(input_ids=ids, position_ids=places, **given)
    states = output.last_hidden_state[0]
    return states[pack["rows"]] if len(states) == plan.size else states  # or pruned already


def run_packs(
    backbone: Backbone,
    plans: Sequence[Plan],
    token_ids: Sequence[TokenIds],
    positions: Sequence[Sequence[int]],
) -> list[np.ndarray]:
    """Compute packs: of each the states that are read, shape (conversations, positions, hidden).

    The next one is laid out while the GPU works; a CPU computes as many as it has threads.
    """

    def ready(plan: Plan) -> tuple[Plan, dict[str, Tensor], int]:
        return plan, *_arrays(lay_out(plan, token_ids, positions), backbone.device)

    def states(plan: Plan, pack: Mapping[str, Tensor], reads: int) -> Tensor:
        return _forward(backbone, plan, pack)[:reads].to(backbone.wide_dtype)

    def shaped(found: Tensor) -> np.ndarray:
        return found.numpy().reshape(-1, len(positions[0]), found.shape[-1])

    if backbone.device.type == "cpu":
        with _threads() as pool:
            return list(pool.map(lambda plan: shaped(states(*ready(plan))), plans))
    # All devices, windows, kernels and pack sizes share one code object. It is a thread's setting.
    torch._dynamo.config.recompile_limit = max(256, torch._dynamo.config.recompile_limit)
    kept = []
    with ThreadPoolExecutor(1) as pool:
        for pack in _ahead(pool, ready, plans):
            found = states(*pack)
            host = torch.empty(found.shape, dtype=found.dtype, pin_memory=True)
            kept.append(host.copy_(found, non_blocking=True))
    torch.cuda.synchronize(backbone.device)
    return [shaped(each) for each in kept]


def _arrays(pack: Pack, device: torch.device) -> tuple[dict[str, Tensor], int]:
    arrays = {k: torch.from_numpy(v) for k, v in vars(pack).items() if isinstance(v, np.ndarray)}
    if device.type == "cuda":
        arrays = {k: v.pin_memory().to(device, non_blocking=True) for k, v in arrays.items()}
    return arrays | {"longest": torch.tensor(pack.longest)}, pack.reads


def _ahead(pool: ThreadPoolExecutor, prepare: Callable, items: Iterable) -> Iterator:
    """Prepare the next of the items on another thread while this one is used."""
    waiting = None
    for item in [*items, None]:
        ready, waiting = waiting, item and pool.submit(prepare, item)
        if ready:
            yield ready.result()


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """One thread a pack: sums are then in one order, whatever the machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def _compute(
    copies: Sequence[Backbone],
    shards: Mapping[str, Sequence[Plan]],
    token_ids: Sequence[TokenIds],
    engine: str,
) -> Iterator[tuple[str, np.ndarray]]:
    """Compute shards, on one device or side by side on several, and give each when it is ready."""
    if engine == "ray":
        from dtreward.extract_ray import compute_on_cluster

        yield from compute_on_cluster(copies[0], shards, token_ids, shard_features)
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


def shard_features(
    backbone: Backbone, plans: Sequence[Plan], token_ids: Sequence[TokenIds]
) -> Float[np.ndarray, "responses hidden"]:
    """Compute one shard's features, rows in the order in which its packs hold them."""
    found = run_packs(backbone, plans, token_ids, last_positions(token_ids))
    return np.concatenate(found)[:, 0].astype(np.float32)


def _repeats(copies: Sequence[Backbone], plans: Sequence[Plan], ids: Sequence[TokenIds]) -> bool:
    """Whether packs give the same bits on all devices, and in reverse without shared prompts.

    All that a device is going to need is compiled by this, in one thread: torch 2.11 cannot compile
    in a thread while layers that are compiled run in another.
    """
    first, *others = (shard_features(each, plans, ids) for each in copies)
    alone = np.float32(last_hidden_states(copies[0], [ids[row] for row in _rows(plans)[::-1]]))
    return all(np.array_equal(first, each) for each in (*others, alone[::-1]))


def _is_beyond(backbone: Backbone, plan: Plan) -> bool:
    """By the conversation's own length, never its company's: those beyond the window lie alone."""
    return len(plan.conversations) == 1 and plan.units[0].tokens > (backbone.window or plan.size)


def last_positions(token_ids: Sequence[TokenIds]) -> list[tuple[int]]:
    return [(len(ids) - 1,) for ids in token_ids]


def _texts(conversations: Conversations) -> str:
    return digest(*(text for conversation in conversations for text in conversation))


def _rows(plans: Sequence[Plan]) -> np.ndarray:
    return np.array([row for plan in plans for row in plan.conversations], np.int64)


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
