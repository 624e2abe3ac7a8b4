"""Shards of features, computed by the nodes of a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtreward.engine.backbone import Backbone, differing_fields
from dtreward.engine.forward import shard_features
from dtreward.engine.packing import Plan, TokenIds


@dataclass(frozen=True)
class Work:
    """All shards and token ids, put into the cluster's object store once for all workers.

    Attributes:
        shards: the packs of each shard, by its name.
        tokens: of all conversations, one after the other; one array is shared without a copy.
        starts: where in `tokens` each conversation but the first starts.
    """

    shards: dict[str, Sequence[Plan]]
    tokens: np.ndarray
    starts: np.ndarray


class Worker:
    """An actor with its own copy of the backbone.

    Args:
        again: loads the backbone on a device (`Backbone.again`).
        identity: of the caller's backbone.
        work: Ray's reference to `Work`.

    Raises:
        ValueError: if this node loads another backbone than the caller's.
    """

    def __init__(self, again: Callable, identity: dict, work: Any) -> None:
        import ray

        self.backbone = again(device=identity["device"])
        differences = differing_fields(identity, self.backbone.identity, "here")
        if differences:
            raise ValueError(
                f"this node loads another backbone than the caller's: {differences}; install the "
                "same versions and place the same files there"
            )
        fetched = ray.get(work)
        self.shards = fetched.shards
        self.token_ids = np.split(fetched.tokens, fetched.starts)

    def __call__(self, row: Mapping[str, str]) -> dict[str, Any]:
        """Compute the shard of this name."""
        name = row["name"]
        features = shard_features(self.backbone, self.shards[name], self.token_ids)
        return {"name": name, "features": features}


def compute_on_cluster(
    backbone: Backbone,
    shards: Mapping[str, Sequence[Plan]],
    token_ids: Sequence[TokenIds],
) -> Iterator[tuple[str, np.ndarray]]:
    """Compute shards with one actor on each GPU; give the name and features of each when ready.

    Actors of a backbone on the CPU take a CPU each. Joins the cluster that this process is in or
    that RAY_ADDRESS names; otherwise starts one on this machine. An actor or node that dies is
    replaced, and its shards are computed again.

    Raises:
        ImportError: if Ray is not installed.
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
    on_cpu = backbone.device.type == "cpu"
    starts = np.cumsum([len(ids) for ids in token_ids])[:-1]
    actors = _count_actors(len(shards), on_cpu)
    work = ray.put(Work(dict(shards), np.concatenate(token_ids), starts))
    ray.data.DataContext.get_current().enable_progress_bars = False
    names = ray.data.from_items(
        [{"name": name} for name in shards], override_num_blocks=len(shards)
    )
    computed = names.map(
        Worker,
        fn_constructor_args=(backbone.again, backbone.identity, work),
        compute=ray.data.ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
        num_cpus=1 if on_cpu else None,
        num_gpus=None if on_cpu else 1,
    )
    for batch in computed.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
        yield from zip(batch["name"].tolist(), batch["features"], strict=True)


def _count_actors(shards: int, on_cpu: bool) -> int:
    """Count the actors for so many shards: one on each device of the cluster, at most."""
    import ray

    resource = "CPU" if on_cpu else "GPU"
    actors = min(int(ray.cluster_resources().get(resource, 0)), shards)
    if not actors:
        raise RuntimeError(
            f"the Ray cluster has no free {resource}; add a node, or load(..., device=)"
        )
    return actors
