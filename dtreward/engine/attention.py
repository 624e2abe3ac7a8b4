"""Attention over packs, behind transformers' `AttentionInterface`: one definition, several kernels."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, PretrainedConfig, PreTrainedModel
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from dtreward.engine.experts import tile_experts
from dtreward.engine.packing import lay_out, plan_packs


class Segments(NamedTuple):
    """Which keys each segment's queries see: a pack's arrays (`packing.Pack`), on the device.

    The queries of segment s are the tokens from `query_offsets[s]` to `query_offsets[s + 1]`; its
    keys are the tokens `keys[key_offsets[s]:key_offsets[s + 1]]`. `longest` is the number of keys
    of the longest segment. `read` are the tokens whose states are read, so that `plain` may leave the
    tiles of others out; None for all.
    """

    query_offsets: Tensor
    key_offsets: Tensor
    keys: Tensor
    longest: int
    read: Tensor | None = None


@dataclass(frozen=True)
class _Scoring:
    """How scores are made: scaled, soft-capped (0: not), and within a window of keys (0: of all)."""

    scale: float
    softcap: float
    window: int


KERNELS = ("flash_attn", "fa3_fwd", "varlen_attn", "flex", "plain")  # in the order of choice
# Keywords of transformers that change nothing in a pack without padding, and this package's own.
IGNORED = ("dropout", "is_causal", "output_attentions", "position_ids", "rows", "taps", "use_cache")
WINDOWED = ("flash_attn", "flex", "plain")  # those with soft-cap and window, in the same order
SIXTEEN_BIT = ("flash_attn", "fa3_fwd", "varlen_attn")  # those of 16 bit numbers on a GPU
TEST_WINDOW = 64  # of the self-test, where a model has a sliding window
TILE = 64  # queries that `plain` computes together
BLOCK = 128  # tokens of a block in the mask of `flex`


def plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Segments,
    scale: float,
    softcap: float,
    window: int,
) -> Tensor:
    """Compute the attention of a pack exactly, in plain PyTorch; defines what all kernels compute.

    A conversation's queries are computed in tiles that start at multiples of 64 of its own
    positions. So the shape of each product, and with it the rounding, depends neither on the
    neighbours in the pack nor on whether a prompt is shared.

    Args:
        query: shape (tokens, heads, width).
        key, value: shape (tokens, key heads, width).
        segments: of the pack. The last, which is the dummy, gets zeros, and so do tiles in which
            no query is read.
        scale: factor of the scores.
        softcap: of the scores; 0 means none.
        window: how many tokens back a query sees, its own included; 0 means all.
    """
    states = torch.zeros_like(query)
    wide_dtype = torch.promote_types(query.dtype, torch.float32)
    query = query.to(wide_dtype)
    key = key.to(wide_dtype)
    value = value.to(wide_dtype)
    scoring = _Scoring(scale, softcap, window)
    query_offsets = segments.query_offsets.tolist()
    key_offsets = segments.key_offsets.tolist()
    is_read = torch.ones(len(query), dtype=torch.bool)
    if segments.read is not None:
        is_read.zero_()[segments.read] = True
    for segment in range(len(query_offsets) - 2):
        queries = slice(query_offsets[segment], query_offsets[segment + 1])
        keys = segments.keys[key_offsets[segment] : key_offsets[segment + 1]]
        if queries.stop > queries.start:
            parts = (states[queries], query[queries], key[keys], value[keys])
            _fill_conversation(*parts, is_read[queries], scoring)
    return states


def _fill_conversation(
    states: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    is_read: Tensor,
    scoring: _Scoring,
) -> None:
    """Write one conversation's attention into `states`.

    Args:
        states: to be filled, shape (queries, heads, width).
        query: of the conversation's last tokens, shape (queries, heads, width).
        key, value: of all its tokens, shape (tokens, key heads, width).
        is_read: whether the state of each query is read.
    """
    length = len(key)
    first_query = length - len(query)
    first_tile = first_query // TILE * TILE
    room = -(-length // TILE) * TILE  # the length, rounded up to whole tiles
    used = slice(first_query - first_tile, length - first_tile)  # of the tiles
    key = functional.pad(key.transpose(0, 1), (0, 0, 0, room - length))
    value = functional.pad(value.transpose(0, 1), (0, 0, 0, room - length))
    grouped = query.unflatten(1, (len(key), -1)).permute(1, 2, 0, 3)
    tiles = query.new_zeros(*grouped.shape[:2], room - first_tile, query.shape[2])
    tiles[:, :, used] = grouped
    for start in range(first_tile, room, TILE):
        stop = start + TILE
        tile = tiles[:, :, start - first_tile : stop - first_tile]
        if is_read[max(start - first_query, 0) : stop - first_query].any():
            tile.copy_(_attend_tile(tile, key[:, :stop], value[:, :stop], scoring))
        else:
            tile.zero_()
    states.copy_(tiles[:, :, used].permute(2, 0, 1, 3).flatten(1, 2))


def _attend_tile(query: Tensor, key: Tensor, value: Tensor, scoring: _Scoring) -> Tensor:
    """Compute the attention of one tile of queries to the keys up to its last query.

    Scores are changed in place: on a CPU, new arrays cost as much as the products.

    Args:
        query: shape (key heads, groups, tile, width).
        key, value: shape (key heads, keys, width).

    Returns:
        shape (key heads, groups, tile, width).
    """
    scores = (query.flatten(1, 2) @ key.mT).mul_(scoring.scale)
    if scoring.softcap:
        scores.div_(scoring.softcap).tanh_().mul_(scoring.softcap)
    _hide(scores.unflatten(1, query.shape[1:3]), scoring.window)
    return (scores.softmax(-1) @ value).unflatten(1, query.shape[1:3])


def _hide(scores: Tensor, window: int) -> None:
    """Hide from each query the keys after it, and those before its window (0: none).

    Args:
        scores: of a tile's queries, of which the last has the last key's place; changed in place,
            shape (key heads, groups, tile, keys).
    """
    tile, keys = scores.shape[2:]
    after = torch.ones(tile, tile, dtype=torch.bool, device=scores.device).triu(1)
    scores[..., -tile:].masked_fill_(after, -torch.inf)
    if window and keys > window:
        places = torch.ones(tile, keys, dtype=torch.bool, device=scores.device)
        scores.masked_fill_(places.tril(keys - tile - window), -torch.inf)


def fa3_fwd(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Segments,
    scale: float,
    softcap: float,
    window: int,
) -> Tensor:
    """Run FlashAttention-3, forward only (the package fa3-fwd): Hopper, 16 bit; has no window."""
    import_module("fa3_fwd._C")
    longest = len(query)  # a bound that depends on the pack's size alone
    output = torch.ops.fa3_fwd.fwd(
        query,
        key[segments.keys],
        value[segments.keys],
        cu_seqlens_q=segments.query_offsets,
        cu_seqlens_k=segments.key_offsets,
        max_seqlen_q=longest,
        max_seqlen_k=longest,
        num_splits=1,
        softmax_scale=scale,
        is_causal=True,
        softcap=softcap,
    )
    return output[0]


def flash_attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Segments,
    scale: float,
    softcap: float,
    window: int,
) -> Tensor:
    """Run FlashAttention-2 (the package flash-attn): 16 bit, soft-cap and window."""
    flash_attn_varlen_func = import_module("flash_attn").flash_attn_varlen_func
    return flash_attn_varlen_func(
        query,
        key[segments.keys],
        value[segments.keys],
        segments.query_offsets,
        segments.key_offsets,
        segments.longest,
        segments.longest,
        softmax_scale=scale,
        causal=True,
        softcap=softcap,
        window_size=_flash_window(window),
    )


def varlen_attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Segments,
    scale: float,
    softcap: float,
    window: int,
) -> Tensor:
    """Run FlashAttention-2 as torch ships it: 16 bit, CUDA, a window; has no soft-cap."""
    if softcap:
        raise ValueError(f"varlen_attn has no soft-cap, and the layer has one of {softcap}")
    torch_varlen_attn = import_module("torch.nn.attention.varlen").varlen_attn
    # torch 2.11 groups heads without being asked; later versions want the argument.
    grouping = {}
    if "enable_gqa" in inspect.signature(torch_varlen_attn).parameters:
        grouping["enable_gqa"] = True
    return torch_varlen_attn(
        query,
        key[segments.keys],
        value[segments.keys],
        segments.query_offsets,
        segments.key_offsets,
        segments.longest,
        segments.longest,
        scale=scale,
        window_size=_flash_window(window),
        **grouping,
    )


def _flash_window(window: int) -> tuple[int, int]:
    """Give a window as flash attention takes it: tokens before and after the query; -1 means all."""
    before = window - 1 if window else -1
    return before, 0


def flex(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    segments: Segments,
    scale: float,
    softcap: float,
    window: int,
) -> Tensor:
    """Run torch's flex attention: any device and dtype, soft-cap and window; masks by blocks."""
    flex_attention = _flex_attention(query.is_cuda)
    output = flex_attention(
        query.transpose(0, 1)[None],
        key[segments.keys].transpose(0, 1)[None],
        value[segments.keys].transpose(0, 1)[None],
        score_mod=_soft_capping(softcap),
        scale=scale,
        block_mask=_block_mask(segments, len(query), window),
        enable_gqa=True,
    )
    return output[0].transpose(0, 1)


def _block_mask(segments: Segments, tokens: int, window: int) -> Any:
    """Describe to flex attention which of the gathered keys each of the pack's tokens sees.

    Args:
        tokens: of the pack.
        window: how many tokens back a query sees, its own included; 0 means all.
    """
    from torch.nn.attention.flex_attention import BlockMask

    room = len(segments.keys)
    device = segments.keys.device
    reach = window or room
    query_ends = segments.query_offsets[1:]
    key_ends = segments.key_offsets[1:]
    places = torch.arange(room, device=device)
    segment = torch.searchsorted(query_ends, places[:tokens], right=True)  # of each query
    owner = torch.searchsorted(key_ends, places, right=True)  # each key's segment
    ends = query_ends[segment]
    limit = key_ends[segment] - (ends - places[:tokens]) + 1  # keys before this place are seen
    block_starts = torch.arange(0, tokens, BLOCK, device=device)
    block_ends = (block_starts + BLOCK - 1).clamp(max=tokens - 1)
    low = segments.key_offsets[segment[block_starts]] // BLOCK
    high = (limit[block_ends] - 1) // BLOCK
    columns = -(-room // BLOCK)
    shown = (low[:, None] + torch.arange(columns, device=device)).clamp(max=columns - 1)
    # Not from_kv_blocks: it also makes the mask's transpose, which only a backward pass reads.
    return BlockMask(
        seq_lengths=(tokens, room),
        kv_num_blocks=(high - low + 1)[None, None].to(torch.int32),
        kv_indices=shown[None, None].to(torch.int32),
        full_kv_num_blocks=None,
        full_kv_indices=None,
        q_num_blocks=None,
        q_indices=None,
        full_q_num_blocks=None,
        full_q_indices=None,
        BLOCK_SIZE=(BLOCK, BLOCK),
        mask_mod=lambda batch, head, q, k: (  # not a def: see _soft_capping
            (k < limit[q]) & (owner[k] == segment[q]) & (k >= limit[q] - reach)
        ),
    )


def _soft_capping(softcap: float) -> Callable[..., Tensor] | None:
    """Give the function by which flex attention caps scores; None if it does not."""
    if not softcap:
        return None
    # Not a def: the tests wrap each def in type checks, which torch.compile cannot trace.
    return lambda score, *_: softcap * torch.tanh(score / softcap)


@cache
def _flex_attention(compiled: bool) -> Callable[..., Tensor]:
    """Import flex attention; compile it for a GPU, once."""
    from torch.nn.attention.flex_attention import flex_attention

    if compiled:
        return torch.compile(flex_attention, dynamic=False)
    return flex_attention


def _kernel(name: str) -> Callable[..., Tensor]:
    """Find one of `KERNELS`: the function of this name in this module."""
    return globals()[name]


@torch.library.custom_op("dtreward::packed_attention", mutates_args=())
def packed_attention(  # noqa: PLR0913
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
    read: Tensor | None,
) -> Tensor:
    """Run one kernel; the compiler does not look inside, so no number in a pack makes it recompile.

    Args:
        longest: one integer, in the CPU's memory.
        read: tokens whose states are read; None for all.
    """
    segments = Segments(query_offsets, key_offsets, keys, int(longest), read)
    return _kernel(kernel)(query, key, value, segments, scale, softcap, window).contiguous()


@packed_attention.register_fake
def _(query, key, value, *rest):
    """Tell the compiler the shape of the output."""
    return torch.empty(query.shape, dtype=query.dtype, device=query.device)


def attend(  # noqa: PLR0913
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: None,
    *,
    query_offsets: Tensor,
    key_offsets: Tensor,
    keys: Tensor,
    longest: Tensor,
    kernel: str,
    read: Tensor | None = None,
    scaling: float,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **ignored: Any,
) -> tuple[Tensor, None]:
    """Compute a layer's attention; transformers calls this, with a pack's arrays as keywords.

    Args:
        query, key, value: shape (1, heads, tokens, width).
        kernel: one of `KERNELS`.
        read: tokens whose states are read; None for all.
        ignored: keywords that change nothing here (`IGNORED`).

    Returns:
        the states, shape (1, tokens, heads, width), and no weights.

    Raises:
        TypeError: if the layer passes something else, such as the sinks of gpt-oss (`s_aux`).
    """
    unknown = [name for name in ignored if name not in IGNORED and ignored[name] is not None]
    if unknown or attention_mask is not None or ignored.get("is_causal") is False:
        names = ", ".join(unknown or ["a mask, or is_causal=False"])
        raise TypeError(f"its attention takes {names}, which packed attention does not compute")
    states = packed_attention(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        query_offsets,
        key_offsets,
        keys,
        longest,
        scaling,
        softcap or 0.0,
        sliding_window or 0,
        kernel,
        read,
    )
    return states[None], None


AttentionInterface.register("packed", attend)  # a name for which transformers makes no mask


def last_layer(
    layer: nn.Module,
    hidden_states: Tensor,
    *,
    position_embeddings: tuple[Tensor, Tensor],
    rows: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Compute the last decoder layer: keys and values of all tokens, everything else of `rows` only.

    Args:
        layer: built like those of Llama, Qwen3, Gemma-2 or Gemma-3 (`law.check` tells whether it
            is).
        hidden_states: shape (1, tokens, hidden).
        position_embeddings: cosines and sines of the rotary embedding.
        rows: tokens whose states are read; None for all, by the layer's own forward.

    Returns:
        the layer's output, shape (1, rows, hidden).
    """
    if rows is None:
        return type(layer).forward(
            layer, hidden_states, position_embeddings=position_embeddings, **options
        )
    normed = layer.input_layernorm(hidden_states)
    kept = hidden_states[:, rows]
    states = _attention_of_rows(layer.self_attn, normed, position_embeddings, rows, options)
    if hasattr(layer, "pre_feedforward_layernorm"):  # Gemma-2, Gemma-3
        kept = kept + layer.post_attention_layernorm(states)
        mlp = layer.mlp(layer.pre_feedforward_layernorm(kept))
        return kept + layer.post_feedforward_layernorm(mlp)
    kept = kept + states
    return kept + layer.mlp(layer.post_attention_layernorm(kept))


class Taps:
    """What inner layers put out at the tokens that are read, kept during one forward pass.

    It is no tensor, list or dict: of these, accelerate hands a layer on another GPU a copy.

    Attributes:
        states: by the number of a layer, from 1, shape (rows, hidden); None before it has run.
    """

    def __init__(self, layers: Iterable[int]) -> None:
        self.states: dict[int, Tensor | None] = dict.fromkeys(layers)

    @torch.compiler.disable
    def keep(self, number: int, hidden_states: Tensor, rows: Tensor) -> None:
        """Keep the states of layer `number` at `rows`, if they are to be read."""
        if number in self.states:
            self.states[number] = hidden_states[0, rows]


def tapped_layer(
    layer: nn.Module,
    hidden_states: Tensor,
    *,
    rows: Tensor | None = None,
    taps: Taps | None = None,
    **options: Any,
) -> Tensor:
    """Compute an inner decoder layer, and hand its states to `taps` if there are any."""
    output = type(layer).forward(layer, hidden_states, rows=rows, **options)
    if taps is not None:
        taps.keep(layer.self_attn.layer_idx + 1, output, rows)
    return output


def tap_layers(transformer: PreTrainedModel, layers: Iterable[int]) -> None:
    """Make some inner layers, counted from 1, hand their states to `Taps`."""
    for number in layers:
        _replace_forward(transformer.layers[number - 1], tapped_layer)


def _replace_forward(layer: nn.Module, forward: Callable[..., Tensor]) -> None:
    """Let a layer be computed by `forward(layer, ...)`."""
    # accelerate, which spreads layers over GPUs, has put its own forward around the layer's.
    name = "_old_forward" if hasattr(layer, "_old_forward") else "forward"
    setattr(layer, name, MethodType(forward, layer))


def _attention_of_rows(
    attention: nn.Module,
    normed: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    rows: Tensor,
    options: dict[str, Any],
) -> Tensor:
    """Compute a layer's attention of some tokens to all, shape (1, rows, hidden)."""
    cos, sin = position_embeddings
    asked = _by_heads(attention.q_proj(normed[:, rows]), attention.head_dim)
    key = _by_heads(attention.k_proj(normed), attention.head_dim)
    if hasattr(attention, "q_norm"):  # Qwen3, Gemma-3
        asked = attention.q_norm(asked)
        key = attention.k_norm(key)
    value = _by_heads(attention.v_proj(normed), attention.head_dim)
    asked, _ = apply_rotary_pos_emb(asked, asked, cos[:, rows], sin[:, rows])
    _, key = apply_rotary_pos_emb(key, key, cos, sin)
    # Kernels take a query for each token of the pack; those that nobody reads are zeros.
    query = asked.new_zeros(1, asked.shape[1], key.shape[2], attention.head_dim)
    query[:, :, rows] = asked
    states, _ = attend(
        attention,
        query,
        key,
        value,
        scaling=attention.scaling,
        softcap=getattr(attention, "attn_logit_softcapping", None),
        sliding_window=_window_of(attention),
        read=rows if rows.device.type == "cpu" else None,  # no kernel of a GPU asks
        **options,
    )
    return attention.o_proj(states[:, rows].flatten(2))


def _window_of(attention: nn.Module) -> int | None:
    """Give a layer's sliding window; Mistral's layers have that of the configuration."""
    if hasattr(attention, "sliding_window"):
        return attention.sliding_window
    return getattr(attention.config, "sliding_window", None)


def _by_heads(states: Tensor, head_dim: int) -> Tensor:
    """Reshape projected states to (1, heads, tokens, width)."""
    return states.unflatten(-1, (-1, head_dim)).transpose(1, 2)


def prepare(transformer: PreTrainedModel, *, compiled: bool, pruned: bool = True) -> None:
    """Make a loaded transformer ready for packs: prune its last layer, and compile its layers.

    Args:
        pruned: whether `last_layer` computes the last layer; else it computes all tokens.
    """
    if transformer.device.type == "cpu":
        tile_experts(transformer)
    if pruned:
        _replace_forward(transformer.layers[-1], last_layer)
    if compiled:
        for layer in transformer.layers:
            layer.compile(dynamic=False)


def choose(
    config: PretrainedConfig, device: torch.device, dtype: torch.dtype, asked: str | None = None
) -> tuple[str, str]:
    """Choose the first kernel that is installed and passes its self-test, and one for windows.

    The second serves conversations beyond the model's sliding window (Gemma-2: 4,096 tokens). It
    is the first one again, unless that has no window.

    Args:
        asked: the kernel to use; None chooses, on a CPU always "plain".

    Raises:
        ValueError: if `asked` cannot be used; the message says why, and what can.
    """
    check_kernel(asked)
    candidates = KERNELS if device.type == "cuda" else ("plain",)
    if asked:
        candidates = (asked,)
    windowed = bool(getattr(config, "sliding_window", None))
    place = (config, device, dtype)
    kernel = _first_that_works(candidates, place, windowed)
    if windowed and kernel == "fa3_fwd":
        return kernel, _first_that_works(WINDOWED, place, windowed)
    return kernel, kernel


def check_kernel(asked: str | None) -> None:
    """Refuse a name that no kernel has; None and "" choose one.

    Example:
        >>> check_kernel("flash")
        Traceback (most recent call last):
        ...
        ValueError: attention must be one of ('flash_attn', 'fa3_fwd', 'varlen_attn', 'flex', 'plain'), came 'flash'
    """
    if asked and asked not in KERNELS:
        raise ValueError(f"attention must be one of {KERNELS}, came {asked!r}")


def _first_that_works(
    kernels: tuple[str, ...],
    place: tuple[PretrainedConfig, torch.device, torch.dtype],
    windowed: bool,
) -> str:
    """Choose the first kernel that passes its self-tests, also that of a window if it has one."""
    reasons = {}
    for kernel in kernels:
        reason = why_not(kernel, *place)
        if reason is None and windowed and kernel != "fa3_fwd":
            reason = why_not(kernel, *place, TEST_WINDOW)
        if reason is None:
            return kernel
        reasons[kernel] = reason
    listed = "; ".join(f"{kernel}: {reason}" for kernel, reason in reasons.items())
    raise ValueError(f"attention {listed}; leave it out, and the best that works is taken")


def why_not(
    kernel: str, config: PretrainedConfig, device: torch.device, dtype: torch.dtype, window: int = 0
) -> str | None:
    """Say why a kernel cannot be used; None if it agrees with `plain` in float32 on a small pack."""
    softcap = getattr(config, "attn_logit_softcapping", None) or 0.0
    is_short = dtype in (torch.bfloat16, torch.float16)
    if kernel in SIXTEEN_BIT and not (is_short and device.type == "cuda"):
        return f"needs a GPU and 16 bit numbers, not {dtype} on {device.type}"
    if kernel == "varlen_attn" and softcap:
        return "has no soft-cap, which this model needs"
    try:
        error = self_test(kernel, config, device, dtype, softcap, window)
    except Exception as problem:  # noqa: BLE001 (any failure of a kernel means: try the next)
        return f"{type(problem).__name__}: {problem}"[:300]
    # Rounding of 16 bit numbers was measured at 0.0008, with soft-cap at 0.0018 (H200).
    most = 5e-3 if is_short else 1e-5
    if error < most:
        return None
    return f"its self-test differs by {error:.1e}, more than {most:.0e}"


def self_test(
    kernel: str,
    config: PretrainedConfig,
    device: torch.device,
    dtype: torch.dtype,
    softcap: float,
    window: int = 0,
) -> float:
    """Measure a kernel's relative error against `plain` in float32, on shared and single prompts."""
    ids = [[1] * 77 + [2] * 123, [1] * 77 + [3] * 253, [1] * 77 + [4] * 13, [9] * 17]
    (plan,) = plan_packs(ids, 1024, [0, 0, 0, 1])
    pack = lay_out(plan, ids, [(0,)] * len(ids))
    segments = Segments(
        torch.from_numpy(pack.query_offsets).to(device),
        torch.from_numpy(pack.key_offsets).to(device),
        torch.from_numpy(pack.keys).to(device),
        pack.longest,
    )
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    generator = torch.Generator().manual_seed(0)

    def draw(heads: int) -> Tensor:
        return torch.randn((plan.size, heads, width), generator=generator).to(device, dtype)

    query = draw(heads)
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    key = draw(key_heads)
    value = draw(key_heads)
    options = (segments, width**-0.5, softcap, window)
    states = _kernel(kernel)(query, key, value, *options).float()
    exact = plain(query.float(), key.float(), value.float(), *options)
    used = int(pack.query_offsets[-2])  # what follows is the dummy
    error = (states - exact)[:used].norm() / exact[:used].norm()
    return float(error.nan_to_num(torch.inf))
