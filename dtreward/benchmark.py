"""The extraction ladder: how fast each way of reading a backbone is, measured in one run.

python -m dtreward.benchmark llama-3.1-8b extraction_llama-3.1-8b.json
"""

from __future__ import annotations

import argparse
import gc
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModel, Gemma2Config, LlamaConfig, PretrainedConfig

from dtreward.engine.attention import KERNELS, choose, prepare, why_not
from dtreward.engine.backbone import Backbone
from dtreward.engine.float8 import to_fp8
from dtreward.engine.forward import last_hidden_states, last_positions, run_packs
from dtreward.engine.packing import check_size
from dtreward.files import write_json

LLAMA = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0}
LLAMA |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
SHAPES: dict[str, Callable[[], PretrainedConfig]] = {
    "llama-3.1-8b": lambda: LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, max_position_embeddings=131072,
        rope_parameters=LLAMA, bos_token_id=128000, eos_token_id=128009,
    ),
    "gemma-2-27b": lambda: Gemma2Config(
        vocab_size=256000, hidden_size=4608, intermediate_size=36864, num_hidden_layers=46,
        num_attention_heads=32, num_key_value_heads=16, head_dim=128, query_pre_attn_scalar=144,
        sliding_window=4096, max_position_embeddings=8192,
    ),
    "tiny-gemma-2": lambda: Gemma2Config(
        vocab_size=1024, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, query_pre_attn_scalar=32,
        sliding_window=4096, max_position_embeddings=8192,
    ),
    "tiny-llama": lambda: LlamaConfig(
        vocab_size=1024, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096,
    ),
}  # fmt: skip


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
    draw = np.random.default_rng(seed)

    def lengths(mean: float, sigma: float, low: int, high: int, count: int) -> np.ndarray:
        drawn = draw.lognormal(np.log(mean) - sigma**2 / 2, sigma, count)
        return np.clip(drawn, low, high).astype(int)

    prompts = lengths(prompt_mean, 0.9, 12, 2000, pairs)
    responses = lengths(338.0, 0.7, 8, 1500, 2 * pairs).reshape(-1, 2)
    found = []
    for prompt, both in zip(prompts, responses, strict=True):
        shared = draw.integers(10, vocabulary, prompt, dtype=np.int32)
        for response in both:
            own = draw.integers(10, vocabulary, response, dtype=np.int32)
            found.append(np.concatenate([shared, own])[:longest])
    return found, [number for number in range(pairs) for _ in range(2)]


def matrix_peak(device: torch.device, dtype: torch.dtype, *, warm: float = 12.0) -> float:
    """Measure matrix products in TFLOP/s, after `warm` seconds of them: rates sag under load."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    started, rates = time.perf_counter(), []
    while time.perf_counter() - started < warm or len(rates) < 5:
        _, seconds = _timed(lambda: [a @ b for _ in range(20)], device)
        rates.append(20 * 2 * size**3 / seconds / 1e12)
    return float(np.median(rates[-5:]))


class Ladder:
    """Rungs of one backbone on one sample; each is timed once, after a warm-up of its own."""

    def __init__(
        self, config: PretrainedConfig, device: torch.device, dtype: torch.dtype, size: int
    ) -> None:
        torch.manual_seed(0)
        with torch.device(device):
            self.transformer = AutoModel.from_config(config, dtype=dtype).eval()
        self.config, self.device, self.dtype, self.size = config, device, dtype, size
        embedding = self.transformer.get_input_embeddings().weight.numel()
        self.parameters = sum(each.numel() for each in self.transformer.parameters()) - embedding
        self.rungs: list[dict[str, Any]] = []
        self.kernels: dict[str, tuple[str, str]] = {}
        self.peak = matrix_peak(device, dtype, warm=12.0 if device.type == "cuda" else 0.5)

    def backbone(self, kernel: str, compiled: str = "no") -> Backbone:
        """The transformer as `extract` uses it."""
        self.transformer.config._attn_implementation = "packed"
        if kernel not in self.kernels:
            self.kernels[kernel] = choose(self.config, self.device, self.dtype, kernel)
        told = {"compiled": compiled}, self.size, self.kernels[kernel]
        return Backbone(self.transformer, None, *told)

    def rung(self, name: str, ids: list[np.ndarray], run: Callable, held: int, **told: Any) -> None:
        """Time one way of reading conversations and append what it gave."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        _, seconds = _timed(lambda: run(ids), self.device)
        tokens, cost = sum(map(len, ids)), 2 * self.parameters / self.peak / 1e12
        found = {"rung": name, **told, "conversations": len(ids), "tokens": tokens}
        found |= {"seconds": seconds, "tokens_per_second": tokens / seconds}
        found |= {"effective_mfu": tokens * cost / seconds, "hardware_mfu": held * cost / seconds}
        if self.device.type == "cuda":
            found["memory_gib"] = torch.cuda.max_memory_allocated() / 2**30
        self.rungs.append(found)
        print(f"{name:58} {tokens / seconds:9,.0f} tokens/s, effective {found['effective_mfu']:.2f}, "
              f"hardware {found['hardware_mfu']:.2f}", flush=True)  # fmt: skip

    def padded(
        self, name: str, ids: list[np.ndarray], attention: str, batch: int, order: list[int]
    ) -> None:
        """Time padded batches, or one conversation at a time, as transformers runs them."""
        self.transformer.config._attn_implementation = attention
        parts = [[ids[row] for row in order[at : at + batch]] for at in range(0, len(ids), batch)]
        held = sum(len(part) * max(map(len, part)) for part in parts)

        @torch.inference_mode()
        def run(parts: list[list[np.ndarray]]) -> None:
            for part in parts:
                length = max(map(len, part))
                rows = np.stack([np.pad(each, (0, length - len(each))) for each in part])
                mask = np.stack([np.arange(length) < len(each) for each in part])
                given = {"input_ids": torch.from_numpy(rows).long().to(self.device)}
                if batch > 1:
                    given["attention_mask"] = torch.from_numpy(mask).long().to(self.device)
                states = self.transformer(**given, use_cache=False).last_hidden_state
                last = mask.sum(1) - 1
                states[torch.arange(len(part)), torch.from_numpy(last)].float().cpu()

        run(parts[:2])
        self.rung(name, ids, lambda _: run(parts), held, attention=attention, batch=batch)

    def packed(
        self, name: str, ids: list[np.ndarray], prompts: list[int] | None, backbone: Backbone
    ) -> None:
        """Time packs as `extract` runs them."""
        plans, lasts = backbone.plans(ids, prompts), last_positions(ids)
        run_packs(backbone, plans[:3], ids, lasts)
        used = sum(unit.tokens for plan in plans for unit in plan.units)
        held = sum(plan.size for plan in plans)
        told = {"attention": backbone.kernels[0], "fill": used / held}
        told["shared"] = prompts is not None
        run = partial(run_packs, backbone, plans)
        self.rung(name, ids, lambda ids: run(ids, lasts), held, **told)


def climb(ladder: Ladder, pairs: int, few: int, growth: int = 0) -> dict[str, Any]:
    """Measure every rung; the slow ones, of padded batches, on the first `few` pairs."""
    own, place = ladder.transformer, (ladder.config, ladder.device, ladder.dtype)
    ids, prompts = sample_conversations(pairs, ladder.config.vocab_size, longest=ladder.size)
    some, order = ids[: 2 * few], list(range(2 * few))
    gemma = getattr(ladder.config, "attn_logit_softcapping", None)
    plain = "eager" if gemma else "sdpa"  # sdpa has no soft-cap
    ordered = sorted(order, key=lambda row: len(some[row]))
    ladder.padded("one conversation at a time", some, plain, 1, order)
    ladder.padded("padded batches of 8, unsorted", some, plain, 8, order)
    ladder.padded("padded batches of 16, sorted by length", some, plain, 16, ordered)
    kernels = KERNELS if ladder.device.type == "cuda" else ("plain",)
    unfit = {kernel: why_not(kernel, *place) for kernel in kernels}
    there = [kernel for kernel in kernels if not unfit[kernel]]
    backbone = ladder.backbone(there[0])
    ladder.packed("packed", ids, None, backbone)
    for kernel in reversed(there):
        if kernel != "plain" or len(there) == 1:
            ladder.packed("packed, prompts shared", ids, prompts, ladder.backbone(kernel))
    compiled = ladder.device.type == "cuda"
    if compiled:
        prepare(own, compiled=True, pruned=False)
        backbone = ladder.backbone(there[0], compiled="layers")
        ladder.packed("packed, layers compiled", ids, None, backbone)
        ladder.packed("packed, prompts shared, layers compiled", ids, prompts, backbone)
    prepare(own, compiled=compiled)
    what = f"packed, prompts shared, {'layers compiled, ' * compiled}last layer pruned"
    ladder.packed(what, ids, prompts, backbone)
    bits = bit_for_bit(backbone, ids, prompts)
    grown = grow(ladder, backbone, pairs, growth) if growth else {}
    if compiled:
        before = last_hidden_states(backbone, ids[:120], prompts[:120])
        to_fp8(own)
        gc.collect()
        torch.cuda.empty_cache()
        ladder.packed(f"{what}, fp8", ids, prompts, backbone)
        after = last_hidden_states(backbone, ids[:120], prompts[:120])
        change = np.linalg.norm(after - before) / np.linalg.norm(before)
        grown |= {"fp8_relative_change": float(change)}
    left_out = {kernel: reason for kernel, reason in unfit.items() if reason}
    return {"rungs": ladder.rungs, "bit_for_bit": bits, "kernels_left_out": left_out, **grown}


def bit_for_bit(backbone: Backbone, ids: list[np.ndarray], prompts: list[int]) -> dict[str, bool]:
    """Whether features are the same bits, whatever lies beside a conversation."""
    some, own, read = ids[:120], prompts[:120], partial(last_hidden_states, backbone)
    first, mixed = read(some, own), np.random.default_rng(0).permutation(len(some))
    other = read([some[row] for row in mixed], [own[row] for row in mixed])
    return {
        "in another order and other packs": np.array_equal(first[mixed], other),
        "without shared prompts": np.array_equal(first, read(some)),
        "with other neighbours": np.array_equal(first[:60], read(some[:60], own[:60])),
        "another conversation differs": bool((first[0] != first[2]).any()),
    }


def grow(ladder: Ladder, backbone: Backbone, pairs: int, times: int) -> dict[str, Any]:
    """Time reading `pairs` and `times` as many, planning included; memory is the GPU's."""
    found = []
    for count in (pairs, times * pairs):
        ids, prompts = sample_conversations(count, ladder.config.vocab_size, longest=ladder.size)
        if ladder.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        _, seconds = _timed(
            lambda ids=ids, prompts=prompts: last_hidden_states(backbone, ids, prompts),
            ladder.device,
        )
        memory = torch.cuda.max_memory_allocated() / 2**30 if ladder.device.type == "cuda" else None
        tokens = sum(map(len, ids))
        found.append({"pairs": count, "tokens": tokens, "seconds": seconds, "memory_gib": memory})
    return {"growth": found}


def measure(
    shape: str, *, pairs: int = 500, few: int = 500, pack_tokens: int = 0, growth: int = 0
) -> dict[str, Any]:
    """Climb the ladder with random weights of one of `SHAPES`, and say on what it was measured."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    size = pack_tokens or (16384 if device.type == "cuda" else 1024)
    ladder = Ladder(SHAPES[shape](), device, dtype, size)
    told = {"shape": shape, "weights": "random", "pairs": pairs, "pack_tokens": size}
    told |= {"dtype": str(dtype).removeprefix("torch."), "peak_tflops": ladder.peak}
    told |= {"parameters_without_embedding": ladder.parameters, "machine": machine(device)}
    return told | {"few": few} | climb(ladder, pairs, few, growth)


def machine(device: torch.device) -> dict[str, str]:
    """Name the device and the versions that a measurement depends on."""
    found = {"torch": torch.__version__, "transformers": transformers.__version__}
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    for package in ("fa3-fwd", "flash-attn"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {"device": name} | found


def _timed(run: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    found = run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return found, time.perf_counter() - started


def main(words: Sequence[str] | None = None) -> None:
    """Measure what the command line asks for; what is wrong with it is said before."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("path", type=Path, help="file for the result, JSON")
    for name, usual, told in (
        ("pairs", 500, "pairs of the sample, 4 or more"),
        ("few", 500, "of them, those that the padded rungs read"),
        ("pack_tokens", 0, "tokens of one forward pass; 0: 16,384, on a CPU 1,024"),
        ("growth", 0, "a last rung reads so many times the pairs; 0: there is none"),
    ):
        parser.add_argument(
            f"--{name}", type=int, default=usual, help=f"{told} (left out: {usual})"
        )
    options = vars(parser.parse_args(words))
    path, few = options.pop("path"), min(options["few"], options["pairs"])
    if few < 4 or options["growth"] < 0:
        parser.error("expected 4 pairs or more, and no growth below 0")
    try:
        check_size(options["pack_tokens"] or 1024)
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        parser.error(f"cannot write to {path}: give a file in a folder of your own")
    write_json(path, measure(**options | {"few": few}))


if __name__ == "__main__":
    main()
