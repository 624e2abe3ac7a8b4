"""Read packs of conversations with a backbone."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtreward.engine.backbone import Backbone
from dtreward.engine.packing import Pack, Plan, TokenIds, lay_out


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


@torch.inference_mode()
def _forward(backbone: Backbone, plan: Plan, pack: Mapping[str, Tensor]) -> Tensor:
    """Give the states of one pack that are read, shape (rows, hidden), on the backbone's device."""
    given = dict(pack, kernel=backbone.kernels[is_beyond_window(backbone, plan)], use_cache=False)
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


def shard_features(
    backbone: Backbone, plans: Sequence[Plan], token_ids: Sequence[TokenIds]
) -> Float[np.ndarray, "responses hidden"]:
    """Compute one shard's features, rows in the order in which its packs hold them."""
    found = run_packs(backbone, plans, token_ids, last_positions(token_ids))
    return np.concatenate(found)[:, 0].astype(np.float32)


def is_beyond_window(backbone: Backbone, plan: Plan) -> bool:
    """By the conversation's own length, never its company's: those beyond the window lie alone."""
    return len(plan.conversations) == 1 and plan.units[0].tokens > (backbone.window or plan.size)


def last_positions(token_ids: Sequence[TokenIds]) -> list[tuple[int]]:
    return [(len(ids) - 1,) for ids in token_ids]


def rows_of(plans: Sequence[Plan]) -> np.ndarray:
    return np.array([row for plan in plans for row in plan.conversations], np.int64)
