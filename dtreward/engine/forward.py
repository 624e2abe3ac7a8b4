"""Read packs of conversations with a backbone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtreward.engine.attention import Taps
from dtreward.engine.backbone import FINAL, Backbone
from dtreward.engine.packing import Pack, Plan, TokenIds, lay_out

# Torch stops compiling a code object after so many versions of it, and all devices, windows,
# kernels and sizes of packs share one.
RECOMPILE_LIMIT = 256


@dataclass(frozen=True)
class _Input:
    """A pack's arrays (`packing.Pack`) as tensors on the backbone's device."""

    token_ids: Tensor
    position_ids: Tensor
    query_offsets: Tensor
    key_offsets: Tensor
    keys: Tensor
    rows: Tensor
    longest: Tensor  # in the CPU's memory, so that reading it does not wait for the GPU
    reads: int


def hidden_states(
    backbone: Backbone,
    token_ids: Sequence[TokenIds],
    positions: Sequence[Sequence[int]],
    prompts: Sequence[Hashable] | None = None,
) -> Float[np.ndarray, "responses positions hidden"]:
    """Run the backbone over conversations and return its hidden states at some of their tokens.

    The states are those of the backbone's first layer to read, by default after the final norm.
    They are in float32 (float64 of a float64 backbone), in the order of the conversations. The
    conversations are computed in packs of `backbone.pack_tokens`; a conversation's states do not
    depend on the others, to the bit.

    Args:
        positions: of each conversation, the tokens whose states are returned: equally many of each.
        prompts: one for each conversation; what conversations of equal prompts begin with in
            common is computed only once.
    """
    return states_by_layer(backbone, token_ids, positions, prompts)[:, :, 0]


def states_by_layer(
    backbone: Backbone,
    token_ids: Sequence[TokenIds],
    positions: Sequence[Sequence[int]],
    prompts: Sequence[Hashable] | None = None,
) -> Float[np.ndarray, "responses positions layers hidden"]:
    """Return the states of `hidden_states` for each of `backbone.layers`, from one forward pass."""
    plans = backbone.plans(token_ids, prompts)
    count = len(positions[0]) if len(positions) else 1
    dtype = torch.empty(0, dtype=backbone.wide_dtype).numpy().dtype
    states = np.empty((len(token_ids), count, len(backbone.layers), backbone.hidden_size), dtype)
    packs = run_packs(backbone, plans, token_ids, positions)
    for plan, pack_states in zip(plans, packs, strict=True):
        states[plan.conversations] = pack_states
    return states


def last_hidden_states(
    backbone: Backbone, token_ids: Sequence[TokenIds], prompts: Sequence[Hashable] | None = None
) -> Float[np.ndarray, "responses hidden"]:
    """Return each conversation's hidden state at its last token, also where that is a pad token."""
    return hidden_states(backbone, token_ids, last_positions(token_ids), prompts)[:, 0]


def run_packs(
    backbone: Backbone,
    plans: Sequence[Plan],
    token_ids: Sequence[TokenIds],
    positions: Sequence[Sequence[int]],
    done: Callable[[Plan], None] | None = None,
) -> list[np.ndarray]:
    """Compute packs; return the states of each that are read.

    A GPU computes one pack after the other, and the next is laid out meanwhile. A CPU computes as
    many packs at once as it has threads.

    Args:
        done: is called in this thread with each pack that a CPU has computed. A GPU does not call
            it, because waiting for each pack would leave the GPU idle.

    Returns:
        an array for each plan, shape (conversations, positions, layers, hidden).
    """

    def prepare(plan: Plan) -> tuple[Plan, _Input]:
        return plan, _to_device(lay_out(plan, token_ids, positions), backbone.device)

    if backbone.device.type == "cpu":
        packs = _run_on_cpu(backbone, plans, prepare, done)
    else:
        packs = _run_on_gpu(backbone, plans, prepare)
    count = len(positions[0]) if plans else 0
    return [states.numpy().reshape(-1, count, *states.shape[1:]) for states in packs]


def shard_features(
    backbone: Backbone,
    plans: Sequence[Plan],
    token_ids: Sequence[TokenIds],
    done: Callable[[Plan], None] | None = None,
) -> Float[np.ndarray, "responses *layers hidden"]:
    """Compute one shard's features, in the order in which its packs hold the conversations.

    Args:
        done: as `run_packs` takes it.

    Returns:
        shape (responses, hidden); (responses, layers, hidden) if the backbone reads several layers.
    """
    packs = run_packs(backbone, plans, token_ids, last_positions(token_ids), done)
    return as_features(np.concatenate(packs)[:, 0])


def as_features(
    states: Float[np.ndarray, "responses layers hidden"],
) -> Float[np.ndarray, "responses *layers hidden"]:
    """Give the last tokens' states as shards hold them: in float32, a single layer without its axis."""
    if states.shape[1] == 1:
        states = states[:, 0]
    return states.astype(np.float32)


def is_beyond_window(backbone: Backbone, plan: Plan) -> bool:
    """Whether a pack needs the kernel for conversations beyond the model's sliding window.

    Depends on a conversation's length alone, not on its neighbours in the pack: conversations
    beyond the window have a pack of their own.
    """
    window = backbone.window
    if not window or len(plan.conversations) > 1:
        return False
    return plan.units[0].tokens > window


def last_positions(token_ids: Sequence[TokenIds]) -> list[tuple[int]]:
    """Give the position of each conversation's last token, as `hidden_states` takes positions."""
    return [(len(ids) - 1,) for ids in token_ids]


def rows_of(plans: Sequence[Plan]) -> np.ndarray:
    """List the indices of the conversations of some packs, in the order of their features."""
    return np.array([row for plan in plans for row in plan.conversations], np.int64)


def _run_on_cpu(
    backbone: Backbone,
    plans: Sequence[Plan],
    prepare: Callable[[Plan], tuple[Plan, _Input]],
    done: Callable[[Plan], None] | None,
) -> list[Tensor]:
    """Compute packs side by side, one on each thread."""

    def compute(plan: Plan) -> Tensor:
        return _states(backbone, *prepare(plan))

    packs = []
    with _one_thread_a_pack() as pool:
        for plan, states in zip(plans, pool.map(compute, plans), strict=True):
            packs.append(states)
            if done is not None:
                done(plan)
    return packs


def _run_on_gpu(
    backbone: Backbone, plans: Sequence[Plan], prepare: Callable[[Plan], tuple[Plan, _Input]]
) -> list[Tensor]:
    """Compute packs one after the other; wait for the GPU only once, at the end."""
    # This setting belongs to a thread, so it is set here and not at import.
    limit = max(RECOMPILE_LIMIT, torch._dynamo.config.recompile_limit)
    torch._dynamo.config.recompile_limit = limit
    packs = []
    with ThreadPoolExecutor(1) as pool:
        for plan, pack in _ahead(pool, prepare, plans):
            states = _states(backbone, plan, pack)
            host = torch.empty(states.shape, dtype=states.dtype, pin_memory=True)
            packs.append(host.copy_(states, non_blocking=True))
    torch.cuda.synchronize(backbone.device)
    return packs


def _states(backbone: Backbone, plan: Plan, pack: _Input) -> Tensor:
    """Compute one pack's states that are read, shape (reads, layers, hidden), without the filling."""
    return _forward(backbone, plan, pack)[: pack.reads].to(backbone.wide_dtype)


@torch.inference_mode()
def _forward(backbone: Backbone, plan: Plan, pack: _Input) -> Tensor:
    """Compute the states of a pack's `rows`, shape (rows, layers, hidden), on the backbone's device."""
    within_window, beyond_window = backbone.kernels
    taps = Taps(layer for layer in backbone.layers if layer != FINAL)
    optional = {"taps": taps} if taps.states else {}
    output = backbone.transformer(
        input_ids=pack.token_ids[None],
        position_ids=pack.position_ids[None],
        query_offsets=pack.query_offsets,
        key_offsets=pack.key_offsets,
        keys=pack.keys,
        rows=pack.rows,
        longest=pack.longest,
        kernel=beyond_window if is_beyond_window(backbone, plan) else within_window,
        use_cache=False,
        **optional,
    )
    states = output.last_hidden_state[0]
    is_pruned = len(states) != plan.size  # the last layer computed only the rows
    states_of = {FINAL: states if is_pruned else states[pack.rows], **taps.states}
    return torch.stack([states_of[layer].to(states.device) for layer in backbone.layers], dim=1)


def _to_device(pack: Pack, device: torch.device) -> _Input:
    """Send a pack's arrays to the backbone's device, without waiting for a GPU."""

    def send(array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(array)
        if device.type == "cuda":
            return tensor.pin_memory().to(device, non_blocking=True)
        return tensor

    return _Input(
        token_ids=send(pack.token_ids),
        position_ids=send(pack.position_ids),
        query_offsets=send(pack.query_offsets),
        key_offsets=send(pack.key_offsets),
        keys=send(pack.keys),
        rows=send(pack.rows),
        longest=torch.tensor(pack.longest),
        reads=pack.reads,
    )


def _ahead(pool: ThreadPoolExecutor, prepare: Callable[[Any], Any], items: Iterable) -> Iterator:
    """Give each item prepared, while the one after it is prepared on another thread."""
    waiting = None
    for item in items:
        following = pool.submit(prepare, item)
        if waiting is not None:
            yield waiting.result()
        waiting = following
    if waiting is not None:
        yield waiting.result()


@contextmanager
def _one_thread_a_pack() -> Iterator[ThreadPoolExecutor]:
    """Make torch use one thread a pack, so that it adds in the same order on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
