"""Attention over packs, behind transformers' `AttentionInterface`: one law, several kernels."""

import inspect
from collections.abc import Callable
from functools import cache
from importlib import import_module
from itertools import pairwise
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from dtreward.engine.packing import lay_out, plan_packs


class Segments(NamedTuple):
    """Which keys each segment's queries see: a pack's arrays (`packing.Pack`), on the device.

    Segment s asks with tokens `query_offsets[s]` to `query_offsets[s + 1]`, and its keys are the tokens
    `keys[key_offsets[s]:key_offsets[s + 1]]`; `longest` is the most tokens of one.
    """

    query_offsets: Tensor
    key_offsets: Tensor
    keys: Tensor
    longest: int


KERNELS = ("flash_attn", "fa3_fwd", "varlen_attn", "flex", "plain")  # in the order of choice
TILE = 64  # queries that `plain` computes together
BLOCK = 128  # of flex


def plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Segments,
    scale: float,
    softcap: float,
    window: int,
) -> Tensor:
    """Compute the attention of a pack exactly, in plain PyTorch; the law for all other kernels.

    A conversation's queries are computed in tiles that start at multiples of 64 of its own
    positions, so no product's shape, and no rounding, depends on its neighbours or on sharing.

    Args:
        query: shape (tokens, heads, width).
        key, value: shape (tokens, key heads, width).
        segments: the pack's; the dummy, which is the last, gives zeros.
        scale, softcap: of scores; softcap 0 means none.
        window: how many tokens back a query sees, its own included; 0 means all.
    """
    found, groups = torch.zeros_like(query), query.shape[1] // key.shape[1]
    wide = torch.promote_types(query.dtype, torch.float32)
    query, key, value = (each.to(wide) for each in (query, key, value))
    spans = (pairwise(each.tolist()) for each in segments[:2])
    for (asks, stop), (first, last) in list(zip(*spans, strict=True))[:-1]:
        length, count = last - first, stop - asks
        if not count:
            continue
        own, room = segments.keys[first:last], -(-length // TILE) * TILE
        padded = (0, 0, 0, 0, 0, room - length)
        k, v = (functional.pad(each[own], padded).transpose(0, 1) for each in (key, value))
        places = torch.arange(room, device=query.device)
        skipped = (length - count) // TILE * TILE
        before = length - count - skipped
        q = functional.pad(query[asks:stop], (0, 0, 0, 0, before, room - length))
        for at in range(skipped, room, TILE):
            tile = q[at - skipped : at - skipped + TILE].unflatten(1, (-1, groups))
            scores = tile.permute(1, 2, 0, 3).flatten(1, 2) @ k[:, : at + TILE].mT * scale
            if softcap:
                scores = softcap * torch.tanh(scores / softcap)
            back = places[at : at + TILE, None] - places[: at + TILE]
            hidden = (back < 0) | ((back >= window) if window else False)
            scores = scores.masked_fill(hidden.repeat(groups, 1), -torch.inf)
            states = (scores.softmax(-1) @ v[:, : at + TILE]).unflatten(1, (groups, TILE))
            low, high = max(0, before + skipped - at), min(TILE, length - at)
            start = asks + at - skipped - before
            states = states.flatten(0, 1).transpose(0, 1)
            found[start + low : start + high] = states[low:high].to(found)
    return found


def fa3_fwd(query, key, value, segments, scale, softcap, window):
    """FlashAttention-3, forward only (the package fa3-fwd): Hopper, 16 bit; no window."""
    import_module("fa3_fwd._C")
    asks, shows, keys, _ = segments
    most = len(query)  # a bound that depends on nothing but the pack's size
    offsets = {"cu_seqlens_q": asks, "cu_seqlens_k": shows}
    bounds = {"max_seqlen_q": most, "max_seqlen_k": most, "num_splits": 1}
    options = {"softmax_scale": scale, "is_causal": True, "softcap": softcap}
    return torch.ops.fa3_fwd.fwd(query, key[keys], value[keys], **offsets, **bounds, **options)[0]


def flash_attn(query, key, value, segments, scale, softcap, window):
    """FlashAttention-2 (the package flash-attn): 16 bit, soft-cap and window."""
    run = import_module("flash_attn").flash_attn_varlen_func
    asks, shows, keys, longest = segments
    options = {"softmax_scale": scale, "causal": True, "softcap": softcap}
    options["window_size"] = (window - 1 if window else -1, 0)
    return run(query, key[keys], value[keys], asks, shows, longest, longest, **options)


def varlen_attn(query, key, value, segments, scale, softcap, window):
    """FlashAttention-2 as torch ships it: 16 bit, CUDA, a window, no soft-cap."""
    run = import_module("torch.nn.attention.varlen").varlen_attn
    asks, shows, keys, longest = segments
    options = {"scale": scale, "window_size": (window - 1 if window else -1, 0)}
    if "enable_gqa" in inspect.signature(run).parameters:  # 2.11 groups heads without being told
        options["enable_gqa"] = True
    return run(query, key[keys], value[keys], asks, shows, longest, longest, **options)


def flex(query, key, value, segments, scale, softcap, window):
    """torch's flex attention: any device and dtype, soft-cap and window; masks by blocks."""
    from torch.nn.attention.flex_attention import BlockMask

    query_offsets, key_offsets, keys, _ = segments
    tokens, room = len(query), len(keys)
    places = torch.arange(room, device=query.device)
    segment = torch.searchsorted(query_offsets[1:], places[:tokens], right=True)
    owner = torch.searchsorted(key_offsets[1:], places, right=True)
    ends = query_offsets[1:][segment]
    limit = key_offsets[1:][segment] - (ends - places[:tokens]) + 1  # keys before this are seen

    columns = -(-room // BLOCK)
    firsts = torch.arange(0, tokens, BLOCK, device=query.device)
    lasts = (firsts + BLOCK - 1).clamp(max=tokens - 1)
    low, high = key_offsets[segment[firsts]] // BLOCK, (limit[lasts] - 1) // BLOCK
    shown = (low[:, None] + torch.arange(columns, device=query.device)).clamp(max=columns - 1)
    # Not from_kv_blocks: it also makes the mask's transpose, which only a backward pass reads.
    unread = ("full_kv_num_blocks", "full_kv_indices", "q_num_blocks", "q_indices")
    mask = BlockMask(
        seq_lengths=(tokens, room),
        kv_num_blocks=(high - low + 1)[None, None].to(torch.int32),
        kv_indices=shown[None, None].to(torch.int32),
        **dict.fromkeys([*unread, "full_q_num_blocks", "full_q_indices"]),
        BLOCK_SIZE=(BLOCK, BLOCK),
        mask_mod=lambda batch, head, q, k: (
            (k < limit[q]) & (owner[k] == segment[q]) & (k >= limit[q] - (window or room))
        ),
    )
    packed = (each.transpose(0, 1)[None] for each in (query, key[keys], value[keys]))
    cap = (lambda score, *_: softcap * torch.tanh(score / softcap)) if softcap else None
    options = {"scale": scale, "block_mask": mask, "enable_gqa": True}
    found = _flex(query.is_cuda)(*packed, score_mod=cap, **options)
    return found[0].transpose(0, 1)


@cache
def _flex(compiled: bool) -> Callable[..., Tensor]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False) if compiled else flex_attention


@torch.library.custom_op("dtreward::packed_attention", mutates_args=())
def packed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_offsets: Tensor,
    key_offsets: Tensor,
    keys: Tensor,
    longest: Tensor,
    scale: float,
    softcap: float,
    window: int,
    kernel: str,
) -> Tensor:
    """Run one kernel: opaque to the compiler, so that no number in a pack makes it compile again."""
    segments = Segments(query_offsets, key_offsets, keys, int(longest))
    return globals()[kernel](query, key, value, segments, scale, softcap, window).contiguous()


@packed_attention.register_fake
def _(query, key, value, *rest):
    return torch.empty(query.shape, dtype=query.dtype, device=query.device)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    scaling: float,
    kernel: str,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **given: Any,
) -> tuple[Tensor, None]:
    """What transformers calls in each layer, with the pack's arrays as keyword arguments."""
    packed = (each[0].transpose(0, 1) for each in (query, key, value))
    offsets = (given[name] for name in Segments._fields)
    options = (scaling, softcap or 0.0, sliding_window or 0, kernel)
    return packed_attention(*packed, *offsets, *options)[None], None


AttentionInterface.register("packed", attend)  # a name that gets no mask from transformers


def last_layer(
    layer: nn.Module,
    hidden_states: Tensor,
    *,
    position_embeddings: tuple[Tensor, Tensor],
    rows: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Forward of the last decoder layer: keys and values of all tokens, all else of `rows` only."""
    told = options | {"position_embeddings": position_embeddings}
    if rows is None:
        return type(layer).forward(layer, hidden_states, **told)
    own, cos_sin = layer.self_attn, position_embeddings
    normed, kept = layer.input_layernorm(hidden_states), hidden_states[:, rows]

    def heads(project: nn.Module, states: Tensor) -> Tensor:
        return project(states).unflatten(-1, (-1, own.head_dim)).transpose(1, 2)

    asked = heads(own.q_proj, normed[:, rows])
    key, value = (heads(project, normed) for project in (own.k_proj, own.v_proj))
    asked, _ = apply_rotary_pos_emb(asked, asked, *(each[:, rows] for each in cos_sin))
    _, key = apply_rotary_pos_emb(key, key, *cos_sin)
    query = asked.new_zeros(1, asked.shape[1], key.shape[2], own.head_dim)
    query[:, :, rows] = asked
    gemma = {"softcap": getattr(own, "attn_logit_softcapping", None)}
    gemma["sliding_window"] = getattr(own, "sliding_window", None)
    states, _ = attend(own, query, key, value, scaling=own.scaling, **gemma, **options)
    states = own.o_proj(states[:, rows].flatten(2))
    if not hasattr(layer, "pre_feedforward_layernorm"):  # Llama, Gemma
        kept = kept + states
        return kept + layer.mlp(layer.post_attention_layernorm(kept))
    kept = kept + layer.post_attention_layernorm(states)
    return kept + layer.post_feedforward_layernorm(layer.mlp(layer.pre_feedforward_layernorm(kept)))


def prepare(transformer: PreTrainedModel, *, compiled: bool, pruned: bool = True) -> None:
    """Make a loaded transformer ready for packs: its last layer pruned, its layers compiled."""
    if pruned:
        layer = transformer.layers[-1]
        # accelerate, which spreads layers over GPUs, has put its own forward around this one.
        name = "_old_forward" if hasattr(layer, "_old_forward") else "forward"
        setattr(layer, name, MethodType(last_layer, layer))
    for layer in transformer.layers if compiled else ():
        layer.compile(dynamic=False)


def choose(
    config: PretrainedConfig, device: torch.device, dtype: torch.dtype, asked: str | None = None
) -> tuple[str, str]:
    """Choose the first kernel that is there and passes its self-test, and one for windows.

    The second serves conversations beyond the model's sliding window (Gemma-2: 4,096 tokens); it
    is the first one unless that has no window.

    Raises:
        ValueError: if `asked` cannot be used; the message says why, and what can.
    """
    if asked and asked not in KERNELS:
        raise ValueError(f"attention must be one of {KERNELS}, came {asked!r}")
    order = (asked,) if asked else KERNELS if device.type == "cuda" else ("plain",)
    place, windowed = (config, device, dtype), bool(getattr(config, "sliding_window", None))

    def fails(kernel: str, window: int) -> str | None:
        return why_not(kernel, *place) or (why_not(kernel, *place, window) if window else None)

    unfit = {}
    for kernel in order:
        window = 64 if windowed and kernel != "fa3_fwd" else 0
        if not unfit.setdefault(kernel, fails(kernel, window)):
            break
    else:
        told = "; ".join(f"{name}: {reason}" for name, reason in unfit.items())
        raise ValueError(f"attention {told}; leave it out, and the best that works is taken")
    if not windowed or kernel != "fa3_fwd":
        return kernel, kernel
    return kernel, next(each for each in ("flash_attn", "flex", "plain") if not fails(each, 64))


def why_not(
    kernel: str, config: PretrainedConfig, device: torch.device, dtype: torch.dtype, window: int = 0
) -> str | None:
    """Say why a kernel cannot be used, or None: it agrees with `plain` in float32 on a small pack."""
    softcap = getattr(config, "attn_logit_softcapping", None) or 0.0
    short = dtype in (torch.bfloat16, torch.float16)
    if kernel in ("flash_attn", "fa3_fwd", "varlen_attn") and not (short and device.type == "cuda"):
        return f"needs a GPU and 16 bit numbers, not {dtype} on {device.type}"
    if kernel == "varlen_attn" and softcap:
        return "has no soft-cap, which this model needs"
    try:
        error = self_test(kernel, config, device, dtype, softcap, window)
    except Exception as problem:  # noqa: BLE001 (a foreign kernel; another one can do it)
        return f"{type(problem).__name__}: {problem}"[:300]
    # Rounding of 16 bit numbers was measured at 0.0008, with soft-cap at 0.0018 (H200).
    most = 5e-3 if short else 1e-5
    return None if error < most else f"its self-test differs by {error:.1e}, more than {most:.0e}"


def self_test(
    kernel: str,
    config: PretrainedConfig,
    device: torch.device,
    dtype: torch.dtype,
    softcap: float,
    window: int = 0,
) -> float:
    """Measure a kernel's relative error against `plain` in float32, on shared and single prompts."""
    ids = [[1] * 77 + [own] * rest for own, rest in ((2, 123), (3, 253), (4, 13))] + [[9] * 17]
    (plan,) = plan_packs(ids, 1024, [0, 0, 0, 1])
    pack = lay_out(plan, ids, [(0,)] * 4)
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    generator = torch.Generator().manual_seed(0)
    shapes = [(1024, each, width) for each in (heads, *[config.num_key_value_heads] * 2)]
    packed = [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]
    arrays = (pack.query_offsets, pack.key_offsets, pack.keys)
    segments = Segments(*(torch.from_numpy(each).to(device) for each in arrays), pack.longest)
    options = (segments, width**-0.5, softcap, window)
    given = globals()[kernel](*packed, *options)
    exact = plain(*(each.float() for each in packed), *options)
    used = int(pack.query_offsets[-2])  # what follows is the dummy
    error = (given.float() - exact)[:used].norm() / exact[:used].norm()
    return float(error.nan_to_num(torch.inf))
