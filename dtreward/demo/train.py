"""Train the demo world's backbone: a Llama of under three million parameters that reads arithmetic.

    python -m dtreward.demo.train --out FOLDER --device cuda

A GPU takes some minutes; two CPU cores take days for the same, minutes for `--steps 100 --pairs 16`.
Only families of training are seen, never the study's. Three losses share the steps: the next token
of the answers (so it learns to compute), Bradley-Terry losses on judges' preferences (people's
score head is kept, the others' are thrown away), and marks: which written results are wrong, read
two layers below the top, so that the last token can still add them up.
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

from dtreward.demo.batches import JUDGES, Batch, batches, train_tokenizer
from dtreward.demo.probe import missed_goals, probe_report
from dtreward.files import write_json
from dtreward.record import provenance

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
        """Mean losses of a batch: "language", "marks", one a judge, and their weighted "total"."""
        last, language, marks = [], [], []
        for bucket in batch.buckets:
            ids, wrong = bucket.ids.astype(np.int64), bucket.marks.ravel()
            place, length = np.arange(ids.shape[1]), bucket.length[:, None]
            answers = np.flatnonzero((place >= bucket.answer[:, None]) & (place < length - 1))
            marked, rows = np.flatnonzero(wrong >= 0), np.arange(len(ids)) * ids.shape[1]
            # Right padding under a causal mask: what comes later is never seen, so no mask is given.
            output = self.model.model(_to(ids, device), output_hidden_states=True, use_cache=False)
            states = output.last_hidden_state.flatten(0, 1)
            last.append(states[_to(rows + bucket.length - 1, device)])
            logits = F.linear(states[_to(answers, device)], self.model.model.embed_tokens.weight)
            targets = _to(ids.ravel()[answers + 1], device)
            language.append(F.cross_entropy(logits.float(), targets, reduction="none"))
            below = output.hidden_states[-3].flatten(0, 1)[_to(marked, device)]
            found, true = self.marks(below).squeeze(-1).float(), _to(wrong[marked], device).float()
            marks.append(F.binary_cross_entropy_with_logits(found, true, reduction="none"))
        losses = {"language": torch.cat(language).mean(), "marks": torch.cat(marks).mean()}
        rows = np.argsort(np.concatenate([bucket.rows for bucket in batch.buckets]))
        losses |= self._judged(torch.cat(last)[_to(rows, device)], batch.votes)
        weights = dict.fromkeys(JUDGES, self.weights.preferences)
        weights |= {"language": self.weights.language, "marks": self.weights.marks}
        return losses | {"total": sum(weights[name] * loss for name, loss in losses.items())}

    def _judged(self, last: torch.Tensor, votes: np.ndarray) -> dict[str, torch.Tensor]:
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
    tokenizer = (
        AutoTokenizer.from_pretrained(start) if start else train_tokenizer(seed=training.seed)
    )
    learner, on_gpu, steps = Learner(tokenizer, training), device != "cpu", training.steps
    if start:
        earlier = LlamaForSequenceClassification.from_pretrained(start, dtype=torch.float32)
        learner.model.load_state_dict(earlier.state_dict())
    learner.to(device)
    settings = {"lr": training.learning_rate, "weight_decay": training.weight_decay}
    optimizer = torch.optim.AdamW(learner.parameters(), betas=(0.9, 0.98), fused=on_gpu, **settings)
    rise, cosine = max(steps // 20, 1), lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rise, cosine(step))
    )
    of_batches = {
        name: getattr(training, name) for name in ("pairs", "buckets", "disguised", "seed")
    }
    every, history, since = max(steps // 100, 1), [], []
    made = batches(tokenizer, steps, workers=workers, **of_batches)
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
            means, since = torch.stack(since).mean(dim=0).tolist(), []
            history.append({"step": step} | dict(zip(losses, means, strict=True)))
            report(history[-1])
    return learner.model.float().cpu(), tokenizer, history


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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path, help="folder to write")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--start", type=Path, help="folder of an earlier run, to go on from")
    for name, value in asdict(Training()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = vars(parser.parse_args())
    out, device, workers = options.pop("out"), options.pop("device"), options.pop("workers")
    start_folder = options.pop("start")
    training, start = Training(**options), time.monotonic()

    def report(losses: Mapping[str, float]) -> None:
        shown = " ".join(f"{name} {loss:.3f}" for name, loss in losses.items() if name != "step")
        print(f"{time.monotonic() - start:6.0f} s  step {losses['step']}  {shown}", flush=True)

    given = {"device": device, "workers": workers, "start": start_folder}
    model, tokenizer, history = train(training, **given, report=report)
    seconds = time.monotonic() - start
    device_name = torch.cuda.get_device_name() if device.startswith("cuda") else "cpu"
    record = provenance(asdict(training)) | {"seconds": round(seconds), "device": device_name}
    record |= {"weights": sum(p.numel() for p in model.parameters()), "losses": history}
    if start_folder:
        record["went_on_from"] = json.loads((start_folder / "training.json").read_text())
    write_backbone(out, model, tokenizer, record)
    found = probe_report(out, device=device)
    write_json(out / "training.json", record | {"report": found})
    print(json.dumps(found, indent=2), "\nmissed goals:", missed_goals(found) or "none")


if __name__ == "__main__":
    main()
