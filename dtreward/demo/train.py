"""Train the demo world's backbone: a Llama of under three million parameters that reads arithmetic.

    python -m dtreward.demo.train --out FOLDER --device cuda

A GPU takes some minutes. Two CPU cores would take days for the same, and take minutes for
`--steps 100 --pairs 16`. Training shows only families of training, never the study's. Each step
adds up three losses: the next token of the answers (so that the model learns to compute);
Bradley-Terry losses on judges' preferences (the score head of people is kept, the others are thrown
away); and marks, which say what written results are wrong. Marks are read two layers below the top,
so that the last token can still add them up.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from dtreward.demo.batches import JUDGES, Batch, Bucket, batches, train_tokenizer
from dtreward.demo.probe import missed_goals, probe_report
from dtreward.files import write_json
from dtreward.record import provenance

REPORTS = 100  # of a training run
README = """\
---
license: apache-2.0
library_name: transformers
---

# The demo world's backbone

A small Llama, trained by `python -m dtreward.demo.train` on arithmetic text that the project
makes itself: on the next token, on judges' preferences, and with an auxiliary loss that marks wrong
results. It exists so that the study runs on any machine; it is not a result about language models.
"""


@dataclass(frozen=True)
class Training:
    """What a training run was given.

    Args:
        steps: optimizer steps; each sees `pairs` fresh pairs.
        learning_rate: its peak, after a warm-up of 5 % of the steps; then a cosine to zero.
        language, preferences, marks: weights of the three losses; preferences' is for each judge.
        buckets: parts of a batch by length, padded each to its own.
        disguised: share of a prompt's words that give way to made-up ones.
    """

    steps: int = 8000
    pairs: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    hidden: int = 192
    layers: int = 6
    language: float = 1.0
    preferences: float = 0.5
    marks: float = 1.0
    buckets: int = 4
    disguised: float = 0.2
    seed: int = 0


class Learner(nn.Module):
    """The backbone with its score head, and what is thrown away: other judges' heads, the marks'."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, training: Training) -> None:
        super().__init__()
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=training.hidden,
            intermediate_size=512 * training.hidden // 192,
            num_hidden_layers=training.layers,
            num_attention_heads=training.hidden // 32,
            num_key_value_heads=max(training.hidden // 64, 1),
            head_dim=32,
            max_position_embeddings=1024,
            num_labels=1,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            use_cache=False,
        )
        self.model = LlamaForSequenceClassification._from_config(config, attn_implementation="sdpa")
        self.others = nn.Linear(training.hidden, len(JUDGES) - 1, bias=False)
        self.marks = nn.Sequential(nn.LayerNorm(training.hidden), nn.Linear(training.hidden, 1))
        self.weights = training

    def forward(self, batch: Batch, device: str) -> dict[str, torch.Tensor]:
        """Give mean losses of a batch: "language", "marks", one a judge, and the "total"."""
        last = []
        language = []
        marks = []
        for bucket in batch.buckets:
            losses_of_tokens, losses_of_marks, last_states = self._read(bucket, device)
            language.append(losses_of_tokens)
            marks.append(losses_of_marks)
            last.append(last_states)
        losses = {"language": torch.cat(language).mean(), "marks": torch.cat(marks).mean()}
        rows = np.argsort(np.concatenate([bucket.rows for bucket in batch.buckets]))
        losses |= self._judged(torch.cat(last)[_to(rows, device)], batch.votes)
        weights = dict.fromkeys(JUDGES, self.weights.preferences)
        weights |= {"language": self.weights.language, "marks": self.weights.marks}
        losses["total"] = sum(weights[name] * loss for name, loss in losses.items())
        return losses

    def _read(self, bucket: Bucket, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Give the losses of the answers' tokens and of the marks, and each last token's state."""
        ids = bucket.ids.astype(np.int64)
        width = ids.shape[1]
        wrong = bucket.marks.ravel()
        # Right padding under a causal mask: what comes later is never seen, so no mask is given.
        output = self.model.model(_to(ids, device), output_hidden_states=True, use_cache=False)
        states = output.last_hidden_state.flatten(0, 1)
        ends = np.arange(len(ids)) * width + bucket.length - 1
        last = states[_to(ends, device)]

        place = np.arange(width)
        is_answer = (place >= bucket.answer[:, None]) & (place < bucket.length[:, None] - 1)
        answers = np.flatnonzero(is_answer)
        logits = F.linear(states[_to(answers, device)], self.model.model.embed_tokens.weight)
        targets = _to(ids.ravel()[answers + 1], device)
        language = F.cross_entropy(logits.float(), targets, reduction="none")

        marked = np.flatnonzero(wrong >= 0)
        below = output.hidden_states[-3].flatten(0, 1)[_to(marked, device)]
        found = self.marks(below).squeeze(-1).float()
        true = _to(wrong[marked], device).float()
        marks = F.binary_cross_entropy_with_logits(found, true, reduction="none")
        return language, marks, last

    def _judged(self, last: torch.Tensor, votes: np.ndarray) -> dict[str, torch.Tensor]:
        """Give each judge's mean loss over the pairs that it has voted on."""
        with torch.autocast(last.device.type, enabled=False):
            last = last.float()
            scores = torch.cat([self.model.score(last), self.others(last)], dim=1)
            differences = scores[len(votes) :] - scores[: len(votes)]
            cast = _to(votes >= 0, last.device).float()
            preferred = _to(votes, last.device).float()
            losses = F.binary_cross_entropy_with_logits(differences, preferred, reduction="none")
            means = (losses * cast).sum(dim=0) / cast.sum(dim=0).clamp(min=1)
        return dict(zip(JUDGES, means, strict=True))


def _to(values: np.ndarray, device: Any) -> torch.Tensor:
    return torch.from_numpy(values).to(device, non_blocking=True)


def train(
    training: Training,
    *,
    device: str = "cpu",
    workers: int = 2,
    start: Path | None = None,
    report: Callable[[Mapping[str, float]], object] = lambda losses: None,
) -> tuple[LlamaForSequenceClassification, PreTrainedTokenizerFast, list[dict[str, float]]]:
    """Train tokenizer and backbone; the same settings make the same ones on the same CPU.

    Args:
        device: a torch device; on a GPU the arithmetic is bfloat16 where autocast says so.
        workers: processes that write pairs.
        start: folder of an earlier run, whose tokenizer and backbone this one goes on from.
        report: called a hundred times with the step and the mean losses since the last report.

    Returns:
        model (float32, on the CPU), tokenizer, and all that was reported.
    """
    torch.manual_seed(training.seed)
    learner, tokenizer = _learner(training, start)
    learner.to(device)
    on_gpu = device != "cpu"
    optimizer, schedule = _optimizer(learner, training, fused=on_gpu)
    made = batches(
        tokenizer,
        training.steps,
        pairs=training.pairs,
        buckets=training.buckets,
        disguised=training.disguised,
        seed=training.seed,
        workers=workers,
    )
    every = max(training.steps // REPORTS, 1)
    history = []
    since = []
    for step, batch in enumerate(made, start=1):
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=on_gpu):
            losses = learner(batch, device)
        optimizer.zero_grad(set_to_none=True)
        losses["total"].backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        since.append(torch.stack([loss.detach() for loss in losses.values()]))
        if step % every == 0:
            means = torch.stack(since).mean(dim=0).tolist()
            since = []
            history.append({"step": step} | dict(zip(losses, means, strict=True)))
            report(history[-1])
    return learner.model.float().cpu(), tokenizer, history


def _learner(training: Training, start: Path | None) -> tuple[Learner, PreTrainedTokenizerFast]:
    """Make tokenizer and backbone, new or those of an earlier run."""
    if start is None:
        tokenizer = train_tokenizer(seed=training.seed)
        return Learner(tokenizer, training), tokenizer
    tokenizer = AutoTokenizer.from_pretrained(start)
    learner = Learner(tokenizer, training)
    earlier = LlamaForSequenceClassification.from_pretrained(start, dtype=torch.float32)
    learner.model.load_state_dict(earlier.state_dict())
    return learner, tokenizer


def _optimizer(
    learner: Learner, training: Training, *, fused: bool
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Make the optimizer, and its learning rate: a warm-up, then a cosine to zero."""
    optimizer = torch.optim.AdamW(
        learner.parameters(),
        lr=training.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=training.weight_decay,
        fused=fused,
    )
    warm_up = max(training.steps // 20, 1)

    def share_of_the_peak(step: int) -> float:
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / training.steps)
        return min((step + 1) / warm_up, cosine)

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, share_of_the_peak)


def write_backbone(
    folder: str | Path,
    model: LlamaForSequenceClassification,
    tokenizer: PreTrainedTokenizerFast,
    record: Mapping[str, Any],
) -> Path:
    """Write a backbone's folder, whole or not at all: bfloat16 weights, tokenizer, its records."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    write_json(temporary / "training.json", record)
    (temporary / "README.md").write_text(README, encoding="utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(temporary, folder)
    return folder


def main() -> None:
    """Train a backbone as the command line asks, write it, and report what can be read from it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--start", type=Path, help="folder of an earlier run, to go on from")
    settings = asdict(Training())
    for name, value in settings.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = parser.parse_args()
    training = Training(**{name: getattr(options, name) for name in settings})
    begun = time.monotonic()

    def report(losses: Mapping[str, float]) -> None:
        shown = " ".join(f"{name} {loss:.3f}" for name, loss in losses.items() if name != "step")
        print(f"{time.monotonic() - begun:6.0f} s  step {losses['step']}  {shown}", flush=True)

    model, tokenizer, history = train(
        training,
        device=options.device,
        workers=options.workers,
        start=options.start,
        report=report,
    )
    on_gpu = options.device.startswith("cuda")
    record = provenance(asdict(training))
    record["seconds"] = round(time.monotonic() - begun)
    record["device"] = torch.cuda.get_device_name() if on_gpu else "cpu"
    record["weights"] = sum(weight.numel() for weight in model.parameters())
    record["losses"] = history
    if options.start:
        record["went_on_from"] = json.loads((options.start / "training.json").read_text())
    write_backbone(options.out, model, tokenizer, record)
    found = probe_report(options.out, device=options.device)
    write_json(options.out / "training.json", record | {"report": found})
    print(json.dumps(found, indent=2), "\nmissed goals:", missed_goals(found) or "none")


if __name__ == "__main__":
    main()
