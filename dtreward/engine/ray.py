"""Shards of features, computed by the nodes of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dtreward.engine.backbone import Backbone
from dtreward.engine.forward import shard_features
from dtreward.engine.packing import Plan, TokenIds


class Worker:
    """An actor with its own copy of the backbone; one that is not the caller's is an error."""

    def __init__(self, again: Callable, identity: dict, work: Any) -> None:
        import ray

        self.backbone = again(device=identity["device"])
        own = self.backbone.identity
        fields = [name for name in sorted({*identity, *own}) if identity.get(name) != own.get(name)]
        if told := [f"{name} {identity.get(name)!r}, here {own.get(name)!r}" for name in fields]:
            came = f"this node loads another backbone than the caller's: {'; '.join(told)}"
            raise ValueError(f"{came}; install the same versions and place the same files there")
        self.shards, tokens, starts = ray.get(work)
        self.token_ids = np.split(tokens, starts)

    def __call__(self, row: Mapping[str, str]) -> dict[str, Any]:
        """Compute the shard of this name."""
        made = shard_features(self.backbone, self.shards[row["name"]], self.token_ids)
        return {"name": row["name"], "features": made}


def compute_on_cluster(
    backbone: Backbone,
    shards: Mapping[str, Sequence[Plan]],
    token_ids: Sequence[TokenIds],
) -> Iterator[tuple[str, np.ndarray]]:
    """Let one actor a GPU (a CPU, of a backbone on the CPU) compute shards; give each when it is ready.

    Joins the cluster that this process is in or RAY_ADDRESS names, else starts one here. An actor
    or node that dies is replaced, and its shards are computed again.

    Raises:
        ValueError: if the backbone was not made by `load`, or is spread over several GPUs.
        RuntimeError: if the cluster has no device of the backbone's kind.
    """
    try:
        import ray.data
    except ImportError as error:
        raise ImportError('engine="ray" needs Ray: pip install "dtreward[ray]"') from error
    if backbone.again is None or backbone.spread:
        raise ValueError('engine="ray" needs a model of load(..., device=one GPU or "cpu")')
    if not shards:
        return
    if not ray.is_initialized():
        ray.init()
    kind = "CPU" if backbone.device.type == "cpu" else "GPU"
    count = min(int(ray.cluster_resources().get(kind, 0)), len(shards))
    if not count:
        raise RuntimeError(f"the Ray cluster has no free {kind}; add a node, or load(..., device=)")
    starts = np.cumsum([len(ids) for ids in token_ids])[:-1]
    work = ray.put((dict(shards), np.concatenate(token_ids), starts))
    ray.data.DataContext.get_current().enable_progress_bars = False
    names = ray.data.from_items([{"name": n} for n in shards], override_num_blocks=len(shards))
    done = names.map(
        Worker,
        fn_constructor_args=(backbone.again, backbone.identity, work),
        compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=2),
        **{f"num_{kind.lower()}s": 1},
    )
    for batch in done.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
        yield from zip(batch["name"].tolist(), batch["features"], strict=True)
