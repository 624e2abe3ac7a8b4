"""Features on disk: shards that are whole or absent, so that a stopped run can be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import Queue
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.numpy import load, save
from tqdm.auto import tqdm

from dtreward.conversation import Conversations, prompt_text, without_later_entries
from dtreward.engine.backbone import FINAL, LAYERS, Backbone, differing_fields
from dtreward.engine.forward import (
    as_features,
    is_beyond_window,
    last_positions,
    rows_of,
    shard_features,
    states_by_layer,
)
from dtreward.engine.packing import Plan, TokenIds
from dtreward.engine.tokens import Unread, check_on_error, not_finite, refuse_unread, tokenize
from dtreward.files import Store, as_json, digest

MANIFEST = "manifest.json"
FIELDS = {"rows": int, "hidden": int, "key": dict, "shards": dict}  # what a manifest must hold


@dataclass
class _Manifest:
    """What manifest.json says of the features beside it, in the file's order.

    Attributes:
        bit_for_bit: whether the features repeated to the bit (`_repeats`); None if never checked.
        rows: number of conversations.
        hidden: values of one feature vector.
        tokens: of all conversations.
        conversations_cut: how many had the start of their prompt cut.
        packs: number of packs.
        tokens_computed: those of `tokens` that are computed, a shared prompt once.
        fill: share of the packs' room that these take.
        key: all that changes the features.
        shards: each finished shard's digest, by the name of its file.
        unread: the conversations that have no features, and why.
    """

    bit_for_bit: bool | None
    rows: int
    hidden: int
    tokens: int
    conversations_cut: int
    packs: int
    tokens_computed: int
    fill: float
    key: dict[str, str]
    shards: dict[str, str]
    unread: list[Unread]


@dataclass(frozen=True)
class _Recorded:
    """What is read of a manifest that an earlier run wrote; its attributes are those of `_Manifest`.

    Only the four required entries are checked, and they only for their own type: the values in
    `key` and `shards` are whatever the file holds.
    """

    rows: int
    hidden: int
    key: dict[str, Any]
    shards: dict[str, Any]
    bit_for_bit: Any
    unread: list[int]


@dataclass(frozen=True)
class _Shard:
    """A shard as it was read from its file.

    Attributes:
        features: shape (conversations, hidden), or (conversations, layers, hidden) of several.
        rows: indices of the conversations.
        digest: of both (`shard_digest`).
    """

    features: np.ndarray
    rows: np.ndarray
    digest: str


@dataclass(frozen=True)
class _Work:
    """Conversations as token ids, in the packs and shards in which they are computed.

    Attributes:
        unread: why a conversation has no features, by its row; of a row that cannot be read at
            once, and later also of one whose features are not finite.
        dtype: of the backbone.
    """

    token_ids: list[np.ndarray]
    conversations_cut: int
    unread: dict[int, str]
    plans: list[Plan]
    shards: dict[str, list[Plan]]
    dtype: str

    @property
    def tokens(self) -> int:
        """Number of tokens of all conversations."""
        return sum(map(len, self.token_ids))

    def tokens_of(self, name: str) -> int:
        """Count the tokens of one shard's conversations."""
        return sum(map(self.tokens_in, self.shards[name]))

    def tokens_in(self, plan: Plan) -> int:
        """Count the tokens of one pack's conversations, a shared prompt for each of them."""
        return sum(len(self.token_ids[row]) for row in plan.conversations)


def extract_features(  # noqa: PLR0913
    backbone: Backbone,
    conversations: Conversations,
    folder: str | Path,
    *,
    shard_size: int = 16,
    devices: Sequence[str] | None = None,
    engine: Literal["local", "ray"] = "local",
    progress: bool = True,
    on_error: Literal["error", "record"] = "error",
) -> dict[str, Any]:
    """Write the features of conversations to shards in `folder`, and return the manifest.

    The process may be killed at any moment: a shard is whole or absent, and the next call makes
    only the shards that are absent or damaged. All conversations are tokenized first, so that a
    conversation that is refused stops the run before hours of work. The manifest says whether the
    features of a pack of each kind were bit for bit the same on every device of this machine, and
    in reverse order without shared prompts. Every pack has the backbone's `pack_tokens`, also where
    the conversations would fit into a smaller one; only a longer conversation has a larger pack.

    Args:
        folder: on this machine, or the fsspec URL of one in an object store ("s3://...").
        shard_size: packs in a shard.
        devices: that share the work; by default every GPU, if the backbone is on the first.
        engine: "ray" shares the work among the nodes of a Ray cluster; the shards are the same to
            the bit.
        on_error: of a conversation that cannot be read, or whose features are not finite: an
            "error", or "record", which names it under `unread` in the manifest; `read_features`
            then gives nan for it.

    Raises:
        ValueError: if `folder` holds features of another key; the message names what differs. If
            conversations have no features; it names the first row, and why.
    """
    _check_options(engine, devices, on_error)
    backbone = backbone.with_one_size()
    conversations = _as_texts(conversations)
    store = Store(folder)
    key = _key(backbone, conversations, shard_size)
    earlier = _read_manifest(store)
    if earlier is not None:
        key = _agreed_key(folder, earlier.key, key)
    work = _plan_work(backbone, conversations, shard_size, on_error)
    manifest = _new_manifest(backbone, work, key, earlier)
    store.write(MANIFEST, as_json(manifest))
    store.remove_leftovers(".*.safetensors", ".manifest.*.json")
    manifest.shards = _finished(store, work, key, on_error)
    missing = {name: plans for name, plans in work.shards.items() if name not in manifest.shards}
    copies = [backbone]
    if missing:
        if engine == "local":
            copies = backbone.everywhere(devices, most=len(missing))
        plans = _one_of_each_kind(backbone, work.plans)
        manifest.bit_for_bit = _repeats(copies, plans, work.token_ids)
    with _progress_bar(work, manifest, is_shown=progress) as bar:
        for name, features in _compute_told(copies, missing, work, engine, bar):
            rows = rows_of(work.shards[name])
            _note_not_finite(work, features, rows, on_error)
            manifest.shards[name] = _write_shard(store, name, features, rows, key)
    manifest.shards = {name: manifest.shards[name] for name in work.shards}
    manifest.unread = [Unread(row, why) for row, why in sorted(work.unread.items())]
    store.write(MANIFEST, as_json(manifest))
    return asdict(manifest)


def read_features(
    folder: str | Path, conversations: Conversations | None = None, *, layer: int | None = None
) -> Float[np.ndarray, "responses hidden"]:
    """Read the features that `extract_features` wrote, in the conversations' order; check each shard.

    Rows that the extraction recorded as unread are nan.

    Args:
        layer: one of the layers that the backbone read (`layers_of`); None for the first.

    Raises:
        ValueError: if extraction has not finished, if a shard is damaged, if other features are
            not finite, if there are none of `layer`, or if the features are not those of
            `conversations`, in this order, where these are given.
    """
    store = Store(folder)
    manifest = _read_manifest(store)
    if manifest is None:
        raise ValueError(f"expected features in {folder}, found no manifest; run extract_features")
    rows = manifest.rows
    is_other = False
    if conversations is not None:
        is_other = _texts(_as_texts(conversations)) != manifest.key.get("conversations")
    if is_other:
        raise ValueError(
            f"the {rows} features in {folder} are of other conversations than those given; give "
            "theirs, in their order, or extract to another folder"
        )
    place = _place_of(folder, manifest, layer)
    features = np.empty((rows, manifest.hidden), dtype=np.float32)
    is_read = np.zeros(rows, bool)
    for name, recorded in manifest.shards.items():
        shard = _read_shard(store, name, manifest.key)
        if shard is None or shard.digest != recorded:
            raise ValueError(f"{folder}/{name} is missing or damaged; run extract_features again")
        if shard.rows.dtype != np.int64 or not ((shard.rows >= 0) & (shard.rows < rows)).all():
            raise ValueError(f"{folder}/{name} is damaged: it names rows that are not there")
        features[shard.rows] = shard.features if place is None else shard.features[:, place]
        is_read[shard.rows] = True
    is_read[manifest.unread] = True
    if not is_read.all():
        raise ValueError(f"{folder} has not all {rows:,} features; run extract_features again")
    features[manifest.unread] = 0.0
    wrong = _rows_not_finite(features)
    if len(wrong):
        what = f"{folder}: the features of row {wrong[0]} are"
        raise ValueError(not_finite(what, str(manifest.key.get("dtype"))))
    features[manifest.unread] = np.nan
    return features


def layers_of(key: Mapping[str, Any]) -> tuple[int, ...]:
    """Give the layers whose states features hold, from their key; -1 is after the final norm.

    Raises:
        ValueError: if the entry in the key names no layers.

    Example:
        >>> layers_of({"layers": "-1,2,4"}), layers_of({})
        ((-1, 2, 4), (-1,))
    """
    written = str(key.get(LAYERS, FINAL))
    try:
        return tuple(int(layer) for layer in written.split(","))
    except ValueError:
        raise ValueError(
            f'features have the layers {written!r:.40}, expected numbers such as "-1,2,4"; extract '
            "them again"
        ) from None


def shard_digest(features: np.ndarray, rows: np.ndarray, key: Mapping[str, Any]) -> str:
    """Hash a shard's features, the rows that they belong to, and the key they were made with."""
    parts: list[str | bytes] = [json.dumps(key, sort_keys=True)]
    for tensor in (features, rows):
        parts.append(str(tensor.shape))
        parts.append(tensor.tobytes())
    return digest(*parts)


def _place_of(folder: str | Path, manifest: _Recorded, layer: int | None) -> int | None:
    """Find a layer's place in shards of several layers; None in those of one."""
    layers = layers_of(manifest.key)
    if layer is None:
        layer = layers[0]
    if layer not in layers:
        raise ValueError(
            f"{folder} holds features of the layers {', '.join(map(str, layers))}, none of {layer}; "
            "name one of these, or extract that layer"
        )
    return layers.index(layer) if len(layers) > 1 else None


def _check_options(engine: str, devices: Sequence[str] | None, on_error: str) -> None:
    """Refuse an option that does not exist, and devices that the cluster would not heed."""
    check_on_error(on_error)
    if engine not in ("local", "ray"):
        raise ValueError(f'engine must be "local" or "ray", came {engine!r}')
    if engine == "ray" and devices:
        raise ValueError(
            f'engine="ray" takes no devices, came {devices}: it uses those of the cluster; leave '
            "devices out"
        )


def _key(backbone: Backbone, conversations: Conversations, shard_size: int) -> dict[str, str]:
    """Collect all that changes the features or their place on disk."""
    return {
        **backbone.identity,
        **backbone.chat.identity,
        "conversations": _texts(conversations),
        "shard_size": str(shard_size),
    }


def _agreed_key(
    folder: str | Path, stored: Mapping[str, Any], key: dict[str, str]
) -> dict[str, str]:
    """Give the key of an earlier run, which may lack later entries, if it is this run's.

    Raises:
        ValueError: if the features in the folder were made with another key.
    """
    earlier = without_later_entries(key)
    if stored == earlier:
        return earlier
    differences = differing_fields(stored, key, "now")
    if differences:
        raise ValueError(
            f"{folder} holds features that were made with other settings: {differences}; choose "
            "another folder, or delete it"
        )
    return key


def _plan_work(
    backbone: Backbone, conversations: Conversations, shard_size: int, on_error: str
) -> _Work:
    """Tokenize the conversations, and arrange those that can be read in packs and shards."""
    rows = tokenize(backbone, conversations)
    if on_error == "error":
        refuse_unread(rows.unread, len(conversations))
    readable = rows.readable
    found = backbone.plans(
        [rows.ids[row] for row in readable], [rows.prompts[row] for row in readable]
    )
    plans = [_with_rows(plan, readable) for plan in found]
    shards = {}
    for number, start in enumerate(range(0, len(plans), shard_size)):
        shards[f"{number:05d}.safetensors"] = plans[start : start + shard_size]
    conversations_cut = sum(cut > 0 for cut in rows.cut)
    dtype = backbone.identity.get("dtype", "")
    return _Work(rows.ids, conversations_cut, rows.unread, plans, shards, dtype)


def _with_rows(plan: Plan, rows: Sequence[int]) -> Plan:
    """Name the conversations of a plan by their rows, of which some are in no plan."""
    units = []
    for unit in plan.units:
        own = tuple(rows[conversation] for conversation in unit.conversations)
        units.append(replace(unit, conversations=own))
    return replace(plan, units=tuple(units))


def _rows_not_finite(features: np.ndarray) -> np.ndarray:
    """Find the rows of features that hold nan or infinity."""
    values = tuple(range(1, features.ndim))
    return np.flatnonzero(~np.isfinite(features).all(axis=values))


def _note_not_finite(work: _Work, features: np.ndarray, rows: np.ndarray, on_error: str) -> None:
    """Record the conversations of a shard whose features are not finite, or refuse them."""
    reason = not_finite("its features are", work.dtype)
    wrong = dict.fromkeys(rows[_rows_not_finite(features)].tolist(), reason)
    if on_error == "error":
        refuse_unread(wrong, len(work.token_ids))
    work.unread.update(wrong)


def _new_manifest(
    backbone: Backbone, work: _Work, key: dict[str, str], earlier: _Recorded | None
) -> _Manifest:
    """Describe features of which no shard is finished yet."""
    room = sum(plan.size for plan in work.plans)
    computed = sum(unit.tokens for plan in work.plans for unit in plan.units)
    return _Manifest(
        bit_for_bit=None if earlier is None else earlier.bit_for_bit,
        rows=len(work.token_ids),
        hidden=backbone.hidden_size,
        tokens=work.tokens,
        conversations_cut=work.conversations_cut,
        packs=len(work.plans),
        tokens_computed=computed,
        fill=computed / room if room else 1.0,
        key=key,
        shards={},
        unread=[],
    )


def _finished(store: Store, work: _Work, key: Mapping[str, str], on_error: str) -> dict[str, str]:
    """Give the digests of the shards that are already whole on disk, by name."""
    digests = {}
    for name, plans in work.shards.items():
        shard = _read_shard(store, name, key)
        if shard is not None and np.array_equal(shard.rows, rows_of(plans)):
            _note_not_finite(work, shard.features, shard.rows, on_error)
            digests[name] = shard.digest
    return digests


def _progress_bar(work: _Work, manifest: _Manifest, *, is_shown: bool) -> tqdm:
    """Count tokens, of all conversations; those of finished shards are already counted."""
    finished = sum(work.tokens_of(name) for name in manifest.shards)
    return tqdm(
        total=work.tokens,
        initial=finished,
        unit=" tokens",
        unit_scale=True,
        miniters=1,  # else the large step of finished shards would keep the next ones from sight
        disable=not is_shown,
    )


def _compute_told(
    copies: Sequence[Backbone],
    shards: Mapping[str, Sequence[Plan]],
    work: _Work,
    engine: str,
    bar: tqdm,
) -> Iterator[tuple[str, np.ndarray]]:
    """Compute shards, and move the bar with each pack of a CPU, and with each shard elsewhere."""

    def tell(plan: Plan) -> None:
        bar.update(work.tokens_in(plan))

    tokens_done = bar.n
    for name, features in _compute(copies, shards, work.token_ids, engine, tell):
        yield name, features
        tokens_done += work.tokens_of(name)
        bar.update(tokens_done - bar.n)  # what no pack of it has told


def _compute(
    copies: Sequence[Backbone],
    shards: Mapping[str, Sequence[Plan]],
    token_ids: Sequence[TokenIds],
    engine: str,
    done: Callable[[Plan], Any],
) -> Iterator[tuple[str, np.ndarray]]:
    """Compute shards, and give the name and features of each when it is ready.

    Args:
        done: is called with each pack that a single CPU has computed (`run_packs`).
    """
    if engine == "ray":
        from dtreward.engine.ray import compute_on_cluster

        yield from compute_on_cluster(copies[0], shards, token_ids)
    elif len(copies) == 1:  # in this thread, where Ctrl-C is noticed at once
        for name, plans in shards.items():
            yield name, shard_features(copies[0], plans, token_ids, done)
    else:
        yield from _compute_side_by_side(copies, shards, token_ids)


def _compute_side_by_side(
    copies: Sequence[Backbone],
    shards: Mapping[str, Sequence[Plan]],
    token_ids: Sequence[TokenIds],
) -> Iterator[tuple[str, np.ndarray]]:
    """Compute shards on several devices, each of which takes the next when it is idle."""
    idle: Queue[Backbone] = Queue()
    for copy in copies:
        idle.put(copy)

    def compute(name: str) -> tuple[str, np.ndarray]:
        copy = idle.get()
        try:
            return name, shard_features(copy, shards[name], token_ids)
        finally:
            idle.put(copy)

    pool = ThreadPoolExecutor(len(copies))
    try:
        for finished in as_completed([pool.submit(compute, name) for name in shards]):
            yield finished.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _one_of_each_kind(backbone: Backbone, plans: Sequence[Plan]) -> list[Plan]:
    """Choose a plan of each size and attention kernel: the one with the most conversations."""
    chosen = {}
    for plan in sorted(plans, key=lambda plan: len(plan.conversations)):
        chosen[plan.size, is_beyond_window(backbone, plan)] = plan
    return list(chosen.values())


def _repeats(copies: Sequence[Backbone], plans: Sequence[Plan], ids: Sequence[TokenIds]) -> bool:
    """Whether packs give the same bits on all devices, and in reverse without shared prompts.

    This also compiles all that a device will need, in one thread: torch 2.11 cannot compile in a
    thread while compiled layers run in another.
    """
    first, *others = [shard_features(copy, plans, ids) for copy in copies]
    reversed_ids = [ids[row] for row in rows_of(plans)[::-1]]
    unshared = states_by_layer(copies[0], reversed_ids, last_positions(reversed_ids))
    others.append(as_features(unshared[:, 0])[::-1])
    return all(np.array_equal(first, other, equal_nan=True) for other in others)


def _as_texts(conversations: Conversations) -> list[tuple[Any, Any]]:
    """Write prompts of chat messages, and transcripts, as texts, by which features are known."""
    texts = []
    for prompt, response in conversations:
        try:
            text = prompt_text(prompt)
        except ValueError:  # `tokenize` says so, and with its row
            text = prompt
        texts.append((text, response))
    return texts


def _texts(conversations: Conversations) -> str:
    """Hash all texts, in their order."""
    parts = []
    for conversation in conversations:
        # What is no text cannot be read; it is told apart all the same.
        parts += [part if isinstance(part, str) else f"{part!r}" for part in conversation]
    return digest(*(part.encode("utf-8", "surrogatepass") for part in parts))


def _read_manifest(store: Store) -> _Recorded | None:
    """Read the manifest of an earlier run; None if there is none.

    Raises:
        ValueError: if the file is no manifest.
    """
    data = store.read(MANIFEST)
    if data is None:
        return None
    try:
        manifest = json.loads(data)
        types = {name: type(manifest[name]) for name in FIELDS}
        if types != FIELDS:
            raise TypeError(f"expected {FIELDS}, came {types}")
        unread = [int(entry["row"]) for entry in manifest.get("unread", [])]
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(
            f"{store.root}/{MANIFEST} is no manifest of features ({error!r}); choose another "
            "folder, or delete this one"
        ) from error
    return _Recorded(
        rows=manifest["rows"],
        hidden=manifest["hidden"],
        key=manifest["key"],
        shards=manifest["shards"],
        bit_for_bit=manifest.get("bit_for_bit"),
        unread=unread,
    )


def _write_shard(
    store: Store, name: str, features: np.ndarray, rows: np.ndarray, key: Mapping[str, str]
) -> str:
    """Write a shard's file, and give the shard's digest."""
    recorded = shard_digest(features, rows, key)
    tensors = {"features": features, "rows": rows}
    store.write(name, save(tensors, metadata={"digest": recorded}))
    return recorded


def _read_shard(store: Store, name: str, key: Mapping[str, Any]) -> _Shard | None:
    """Read a shard; None if it is absent, damaged, or was made with another key."""
    try:
        data = store.read(name) or b""
        tensors = load(data)
        features = tensors["features"]
        rows = tensors["rows"]
    except (OSError, SafetensorError, KeyError):
        return None
    shard = _Shard(features, rows, shard_digest(features, rows, key))
    if _metadata(data) != {"digest": shard.digest}:
        return None
    return shard


def _metadata(data: bytes) -> Any:
    """Read the metadata in the header of a safetensors file, which `load` does not give.

    The file starts with the length of its header, in eight bytes; the header is JSON.
    """
    header_length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_length])
    return header.get("__metadata__")
