"""The extraction ladder: how fast each way of reading a backbone is, measured in one run.

python -m dtreward.benchmark llama-3.1-8b extraction_llama-3.1-8b.json
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import (
    AutoModel,
    Gemma2Config,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen3Config,
)

from dtreward.engine.attention import KERNELS, choose, prepare, why_not
from dtreward.engine.backbone import Backbone
from dtreward.engine.float8 import to_fp8
from dtreward.engine.forward import last_hidden_states, last_positions, run_packs
from dtreward.engine.packing import check_size
from dtreward.files import write_json

FEWEST_PAIRS = 4  # that a sample may have
CHECKED = 120  # conversations whose features are compared to the bit, and with those of float8
PRODUCTS = 20  # matrix products that are timed together
GIB = 2**30
LLAMA = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def _llama(hidden_size: int, intermediate_size: int, layers: int, factor: float) -> LlamaConfig:
    """Give a shape of Llama-3.1 or 3.2; `factor` stretches its positions."""
    return LlamaConfig(
        vocab_size=128256,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=131072,
        rope_parameters=LLAMA | {"factor": factor},
        bos_token_id=128000,
        eos_token_id=128009,
    )


def _llama_8b() -> LlamaConfig:
    return _llama(4096, 14336, layers=32, factor=8.0)


def _llama_1b() -> LlamaConfig:
    return _llama(2048, 8192, layers=16, factor=32.0)


def _qwen_8b() -> Qwen3Config:
    return Qwen3Config(
        vocab_size=151936,
        hidden_size=4096,
        intermediate_size=12288,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40960,
        rms_norm_eps=1e-6,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
    )


def _mistral_7b() -> MistralConfig:
    return MistralConfig(
        vocab_size=32768,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        sliding_window=None,
        max_position_embeddings=32768,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
    )


def _gemma_27b() -> Gemma2Config:
    return Gemma2Config(
        vocab_size=256000,
        hidden_size=4608,
        intermediate_size=36864,
        num_hidden_layers=46,
        num_attention_heads=32,
        num_key_value_heads=16,
        head_dim=128,
        query_pre_attn_scalar=144,
        sliding_window=4096,
        max_position_embeddings=8192,
    )


def _tiny_gemma() -> Gemma2Config:
    return Gemma2Config(
        vocab_size=1024,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        query_pre_attn_scalar=32,
        sliding_window=4096,
        max_position_embeddings=8192,
    )


def _tiny_llama() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=1024,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
    )


SHAPES: dict[str, Callable[[], PretrainedConfig]] = {
    "llama-3.1-8b": _llama_8b,
    "gemma-2-27b": _gemma_27b,
    "qwen3-8b": _qwen_8b,
    "mistral-7b": _mistral_7b,
    "llama-3.2-1b": _llama_1b,
    "tiny-gemma-2": _tiny_gemma,
    "tiny-llama": _tiny_llama,
}


@dataclass(frozen=True)
class Rung:
    """One way of reading conversations, as it was measured.

    Attributes:
        rung: what was done.
        attention: the kernel, or transformers' name of its attention.
        batch: conversations of a padded batch.
        fill: share of the packs' tokens that are not filling.
        shared: whether shared prompts were computed once.
        conversations: number of conversations that were read.
        tokens: of these conversations.
        seconds: that it took.
        tokens_per_second: of the conversations.
        effective_mfu: products for all tokens, as a share of what the device could have computed
            in this time; can pass 1, because shared prompts count for each conversation.
        hardware_mfu: the same of what was computed, filling and padding included.
        memory_gib: most memory of the GPU; None on a CPU.
    """

    rung: str
    attention: str
    batch: int | None
    fill: float | None
    shared: bool | None
    conversations: int
    tokens: int
    seconds: float
    tokens_per_second: float
    effective_mfu: float
    hardware_mfu: float
    memory_gib: float | None

    def to_record(self) -> dict[str, Any]:
        """Give what is known of the rung, as the result's file holds it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class _Way:
    """One way of reading conversations, before it is timed.

    Attributes:
        name: what is done.
        attention: the kernel, or transformers' name of its attention.
        computed: tokens that are computed, filling and padding included.
        batch, fill, shared: see `Rung`.
    """

    name: str
    attention: str
    computed: int
    batch: int | None = None
    fill: float | None = None
    shared: bool | None = None


def sample_conversations(
    pairs: int, vocabulary: int, *, seed: int = 1, prompt_mean: float = 204.0, longest: int = 4096
) -> tuple[list[np.ndarray], list[int]]:
    """Draw token ids of pairs with HelpSteer2-like lengths; also the prompt's number of each.

    Prompts are lognormal with sigma 0.9, 12 to 2,000 tokens, responses with mean 338 and sigma 0.7,
    8 to 1,500 (Llama-3.1 tokens, estimated from HelpSteer2's bytes).

    Example:
        >>> ids, prompts = sample_conversations(2, 1000)
        >>> prompts, bool((ids[0][:12] == ids[1][:12]).all())
        ([0, 0, 1, 1], True)
    """
    generator = np.random.default_rng(seed)

    def lengths(mean: float, sigma: float, low: int, high: int, count: int) -> np.ndarray:
        drawn = generator.lognormal(np.log(mean) - sigma**2 / 2, sigma, count)
        return np.clip(drawn, low, high).astype(int)

    prompt_lengths = lengths(prompt_mean, 0.9, 12, 2000, pairs)
    response_lengths = lengths(338.0, 0.7, 8, 1500, 2 * pairs).reshape(-1, 2)
    token_ids = []
    prompts = []
    for number in range(pairs):
        prompt = generator.integers(10, vocabulary, prompt_lengths[number], dtype=np.int32)
        for response_length in response_lengths[number]:
            response = generator.integers(10, vocabulary, response_length, dtype=np.int32)
            token_ids.append(np.concatenate([prompt, response])[:longest])
            prompts.append(number)
    return token_ids, prompts


def matrix_peak(device: torch.device, dtype: torch.dtype, *, warm: float = 12.0) -> float:
    """Measure the rate of large matrix products in TFLOP/s.

    Args:
        warm: seconds of products before those that count: a device slows down under load.
    """
    size = 8192 if device.type == "cuda" else 1024
    first = torch.randn(size, size, device=device, dtype=dtype)
    second = torch.randn(size, size, device=device, dtype=dtype)
    rates = []
    started = time.perf_counter()
    while time.perf_counter() - started < warm or len(rates) < 5:
        _, seconds = _timed(lambda: [first @ second for _ in range(PRODUCTS)], device)
        rates.append(PRODUCTS * 2 * size**3 / seconds / 1e12)
    return float(np.median(rates[-5:]))


class Ladder:
    """Times ways of reading conversations with one backbone, each once, after its own warm-up.

    The backbone has random weights.

    Args:
        config: the backbone's shape.
        size: tokens of a pack.
    """

    def __init__(
        self, config: PretrainedConfig, device: torch.device, dtype: torch.dtype, size: int
    ) -> None:
        torch.manual_seed(0)
        with torch.device(device):
            self.transformer = AutoModel.from_config(config, dtype=dtype).eval()
        self.config = config
        self.device = device
        self.dtype = dtype
        self.size = size
        self.on_gpu = device.type == "cuda"
        parameters = sum(parameter.numel() for parameter in self.transformer.parameters())
        self.parameters = parameters - self.transformer.get_input_embeddings().weight.numel()
        self.rungs: list[Rung] = []
        self.kernels: dict[str, tuple[str, str]] = {}
        self.peak = matrix_peak(device, dtype, warm=12.0 if self.on_gpu else 0.5)

    def backbone(self, kernel: str, compiled: str = "no") -> Backbone:
        """Give the transformer as `extract_features` uses it, with one attention kernel."""
        self.transformer.config._attn_implementation = "packed"
        if kernel not in self.kernels:
            self.kernels[kernel] = choose(self.config, self.device, self.dtype, kernel)
        return Backbone(
            self.transformer,
            chat=None,
            identity={"compiled": compiled},
            pack_tokens=self.size,
            kernels=self.kernels[kernel],
        )

    def unfit_kernels(self) -> dict[str, str | None]:
        """Say of each kernel of this device why it cannot be used; None if it can."""
        kernels = KERNELS if self.on_gpu else ("plain",)
        return {kernel: why_not(kernel, self.config, self.device, self.dtype) for kernel in kernels}

    def padded(
        self, name: str, ids: list[np.ndarray], attention: str, batch: int, order: list[int]
    ) -> None:
        """Time padded batches, or one conversation at a time, as transformers runs them.

        Args:
            attention: transformers' name of its attention.
            order: in which the conversations are put into batches.
        """
        self.transformer.config._attn_implementation = attention
        batches = []
        for start in range(0, len(ids), batch):
            batches.append([ids[row] for row in order[start : start + batch]])
        computed = sum(len(part) * max(map(len, part)) for part in batches)
        self._read_padded(batches[:2], batch)
        way = _Way(name, attention, computed, batch=batch)
        self._time(way, ids, lambda: self._read_padded(batches, batch))

    def packed(
        self, name: str, ids: list[np.ndarray], prompts: list[int] | None, backbone: Backbone
    ) -> None:
        """Time packs as `extract_features` runs them."""
        plans = backbone.plans(ids, prompts)
        positions = last_positions(ids)
        run_packs(backbone, plans[:3], ids, positions)
        used = sum(unit.tokens for plan in plans for unit in plan.units)
        computed = sum(plan.size for plan in plans)
        way = _Way(
            name,
            backbone.kernels[0],
            computed,
            fill=used / computed,
            shared=prompts is not None,
        )
        self._time(way, ids, lambda: run_packs(backbone, plans, ids, positions))

    @torch.inference_mode()
    def _read_padded(self, batches: list[list[np.ndarray]], batch: int) -> None:
        """Compute the last hidden states of padded batches, and bring them to the CPU."""
        for part in batches:
            length = max(map(len, part))
            rows = np.stack([np.pad(ids, (0, length - len(ids))) for ids in part])
            mask = np.stack([np.arange(length) < len(ids) for ids in part])
            inputs = {"input_ids": torch.from_numpy(rows).long().to(self.device)}
            if batch > 1:
                inputs["attention_mask"] = torch.from_numpy(mask).long().to(self.device)
            states = self.transformer(**inputs, use_cache=False).last_hidden_state
            last = mask.sum(1) - 1
            states[torch.arange(len(part)), torch.from_numpy(last)].float().cpu()

    def _time(self, way: _Way, ids: list[np.ndarray], run: Callable[[], Any]) -> None:
        """Time one way of reading conversations; add the rung, and print it."""
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        _, seconds = _timed(run, self.device)
        tokens = sum(map(len, ids))
        # Two operations a parameter and token, in seconds of the fastest products.
        cost = 2 * self.parameters / self.peak / 1e12
        rung = Rung(
            rung=way.name,
            attention=way.attention,
            batch=way.batch,
            fill=way.fill,
            shared=way.shared,
            conversations=len(ids),
            tokens=tokens,
            seconds=seconds,
            tokens_per_second=tokens / seconds,
            effective_mfu=tokens * cost / seconds,
            hardware_mfu=way.computed * cost / seconds,
            memory_gib=_peak_memory(self.device),
        )
        self.rungs.append(rung)
        print(
            f"{rung.rung:58} {rung.tokens_per_second:9,.0f} tokens/s, "
            f"effective {rung.effective_mfu:.2f}, hardware {rung.hardware_mfu:.2f}",
            flush=True,
        )


def climb(ladder: Ladder, pairs: int, few: int, growth: int = 0) -> dict[str, Any]:
    """Measure every rung; the slow ones, of padded batches, on the first `few` pairs.

    Args:
        growth: a last rung reads so many times the pairs; 0: there is none.

    Returns:
        what the result's file holds of the rungs: `rungs`, `bit_for_bit`, `kernels_left_out`, and
        `growth` and `fp8_relative_change` where they are measured.
    """
    ids, prompts = sample_conversations(pairs, ladder.config.vocab_size, longest=ladder.size)
    _climb_padded(ladder, ids[: 2 * few])
    unfit = ladder.unfit_kernels()
    fit = [kernel for kernel, reason in unfit.items() if reason is None]
    backbone = _climb_packed(ladder, fit, ids, prompts)
    prepare(ladder.transformer, compiled=ladder.on_gpu)
    compiled = "layers compiled, " if ladder.on_gpu else ""
    name = f"packed, prompts shared, {compiled}last layer pruned"
    ladder.packed(name, ids, prompts, backbone)
    bits = bit_for_bit(backbone, ids, prompts)
    more = {}
    if growth:
        more |= grow(ladder, backbone, pairs, growth)
    if ladder.on_gpu:
        more["fp8_relative_change"] = _climb_fp8(ladder, f"{name}, fp8", ids, prompts, backbone)
    left_out = {kernel: reason for kernel, reason in unfit.items() if reason is not None}
    rungs = [rung.to_record() for rung in ladder.rungs]
    return {"rungs": rungs, "bit_for_bit": bits, "kernels_left_out": left_out, **more}


def _climb_padded(ladder: Ladder, ids: list[np.ndarray]) -> None:
    """Measure the rungs of padded batches."""
    soft_capped = getattr(ladder.config, "attn_logit_softcapping", None)
    attention = "eager" if soft_capped else "sdpa"  # sdpa has no soft-cap
    order = list(range(len(ids)))
    by_length = sorted(order, key=lambda row: len(ids[row]))
    ladder.padded("one conversation at a time", ids, attention, 1, order)
    ladder.padded("padded batches of 8, unsorted", ids, attention, 8, order)
    ladder.padded("padded batches of 16, sorted by length", ids, attention, 16, by_length)


def _climb_packed(
    ladder: Ladder, kernels: list[str], ids: list[np.ndarray], prompts: list[int]
) -> Backbone:
    """Measure packs with each kernel, and on a GPU with compiled layers; give the last backbone."""
    backbone = ladder.backbone(kernels[0])
    ladder.packed("packed", ids, None, backbone)
    for kernel in reversed(kernels):
        if kernel != "plain" or len(kernels) == 1:
            ladder.packed("packed, prompts shared", ids, prompts, ladder.backbone(kernel))
    if ladder.on_gpu:
        prepare(ladder.transformer, compiled=True, pruned=False)
        backbone = ladder.backbone(kernels[0], compiled="layers")
        ladder.packed("packed, layers compiled", ids, None, backbone)
        ladder.packed("packed, prompts shared, layers compiled", ids, prompts, backbone)
    return backbone


def _climb_fp8(
    ladder: Ladder, name: str, ids: list[np.ndarray], prompts: list[int], backbone: Backbone
) -> float:
    """Turn the ladder's transformer to float8, and measure it; give the features' relative change."""
    some = ids[:CHECKED]
    their_prompts = prompts[:CHECKED]
    before = last_hidden_states(backbone, some, their_prompts)
    to_fp8(ladder.transformer)
    gc.collect()
    torch.cuda.empty_cache()
    ladder.packed(name, ids, prompts, backbone)
    after = last_hidden_states(backbone, some, their_prompts)
    return float(np.linalg.norm(after - before) / np.linalg.norm(before))


def bit_for_bit(backbone: Backbone, ids: list[np.ndarray], prompts: list[int]) -> dict[str, bool]:
    """Say whether features are the same bits, whatever lies beside a conversation."""
    read = partial(last_hidden_states, backbone)
    some = ids[:CHECKED]
    their_prompts = prompts[:CHECKED]
    first = read(some, their_prompts)
    order = np.random.default_rng(0).permutation(len(some))
    mixed = read([some[row] for row in order], [their_prompts[row] for row in order])
    half = CHECKED // 2
    return {
        "in another order and other packs": np.array_equal(first[order], mixed),
        "without shared prompts": np.array_equal(first, read(some)),
        "with other neighbours": np.array_equal(
            first[:half], read(some[:half], their_prompts[:half])
        ),
        "another conversation differs": bool((first[0] != first[2]).any()),
    }


def grow(ladder: Ladder, backbone: Backbone, pairs: int, times: int) -> dict[str, Any]:
    """Time reading `pairs` and `times` as many, planning included; memory is the GPU's."""
    growth = []
    for count in (pairs, times * pairs):
        ids, prompts = sample_conversations(count, ladder.config.vocab_size, longest=ladder.size)
        if ladder.on_gpu:
            torch.cuda.reset_peak_memory_stats()
        read = partial(last_hidden_states, backbone, ids, prompts)
        _, seconds = _timed(read, ladder.device)
        growth.append(
            {
                "pairs": count,
                "tokens": sum(map(len, ids)),
                "seconds": seconds,
                "memory_gib": _peak_memory(ladder.device),
            }
        )
    return {"growth": growth}


def measure(
    shape: str, *, pairs: int = 500, few: int = 500, pack_tokens: int = 0, growth: int = 0
) -> dict[str, Any]:
    """Climb the ladder with random weights of one of `SHAPES`, and say on what it was measured."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    size = pack_tokens or (16384 if device.type == "cuda" else 1024)
    ladder = Ladder(SHAPES[shape](), device, dtype, size)
    return {
        "shape": shape,
        "weights": "random",
        "pairs": pairs,
        "pack_tokens": size,
        "dtype": str(dtype).removeprefix("torch."),
        "peak_tflops": ladder.peak,
        "parameters_without_embedding": ladder.parameters,
        "machine": machine(device),
        "few": few,
        **climb(ladder, pairs, few, growth),
    }


def machine(device: torch.device) -> dict[str, str]:
    """Name the device and the versions that a measurement depends on."""
    described = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    for package in ("fa3-fwd", "flash-attn"):
        try:
            described[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return described


def _timed(run: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """Call a function, and give what it returns and the seconds until the device is idle again."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    returned = run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return returned, time.perf_counter() - started


def _peak_memory(device: torch.device) -> float | None:
    """Give the most memory of the GPU since it was last reset, in GiB; None on a CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated() / GIB


def main(words: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for, after its words are checked."""
    parser = _parser()
    options = parser.parse_args(words)
    few = min(options.few, options.pairs)
    if few < FEWEST_PAIRS or options.growth < 0:
        parser.error(f"expected {FEWEST_PAIRS} pairs or more, and no growth below 0")
    try:
        check_size(options.pack_tokens or 1024)
        options.path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if options.path.is_dir() or not os.access(options.path.parent, os.W_OK):
        parser.error(f"cannot write to {options.path}: give a file in a folder of your own")
    result = measure(
        options.shape,
        pairs=options.pairs,
        few=few,
        pack_tokens=options.pack_tokens,
        growth=options.growth,
    )
    write_json(options.path, result)


def _parser() -> argparse.ArgumentParser:
    """Define the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("path", type=Path, help="file for the result, JSON")

    def add_number(name: str, default: int, meaning: str) -> None:
        text = f"{meaning} (left out: {default})"
        parser.add_argument(f"--{name}", type=int, default=default, help=text)

    add_number("pairs", 500, f"pairs of the sample, {FEWEST_PAIRS} or more")
    add_number("few", 500, "of them, those that the padded rungs read")
    add_number("pack_tokens", 0, "tokens of one forward pass; 0: 16,384, on a CPU 1,024")
    add_number("growth", 0, "a last rung reads so many times the pairs; 0: there is none")
    return parser


if __name__ == "__main__":
    main()
