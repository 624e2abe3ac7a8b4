"""What can be read from the demo world's backbone, on families of prompts that it never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dtreward.demo.families import STUDY
from dtreward.demo.world import accuracy_ceiling, make_pairs
from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.tree import PreferenceTree

# The least Pearson r of probes on families never seen in training, and accuracy of the tree.
GOALS = {
    "helpfulness": 0.5,
    "correctness": 0.5,
    "coherence": 0.6,
    "complexity": 0.8,
    "verbosity": 0.8,
    "tree": 0.7,
}
TRAIN_SHARE = 0.7  # of the prompts


def demo_features(
    folder: str | Path, conversations: Sequence[tuple[str, str]], *, device: str = "cpu"
) -> Float[np.ndarray, "responses hidden"]:
    """Give each (prompt, response) its last token's final hidden state, by plain transformers."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    backbone = model.model.to(device).eval()
    ids = [_token_ids(tokenizer, prompt, response) for prompt, response in conversations]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    features = np.zeros((len(ids), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(order), 64):
        rows = order[start : start + 64]
        tensors = [torch.tensor(ids[row]) for row in rows]
        padded = nn.utils.rnn.pad_sequence(tensors, batch_first=True).to(device)
        last = torch.tensor([len(ids[row]) - 1 for row in rows], device=device)
        with torch.inference_mode():
            states = backbone(padded, use_cache=False).last_hidden_state
        features[rows] = states[torch.arange(len(rows), device=device), last].cpu().numpy()
    return features


def _token_ids(tokenizer: Any, prompt: str, response: str) -> list[int]:
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def probe_report(
    folder: str | Path, *, prompts: int = 2000, seed: int = 1, device: str = "cpu"
) -> dict[str, Any]:
    """Measure what can be read from a backbone on the study's families, which training never showed.

    Returns:
        "attributes": for each, Pearson r of ridge probes, on prompts held out ("probe"), on
        families held out ("families"), and of a bag-of-words probe ("words"); "tree": accuracy on
        people's preferences of a depth-3 tree on predicted differences, beside the "ceiling" for
        any rule, the "floor" of the constant answer, "score_head" and "true_ratings" (the same
        tree fitted on ratings).
    """
    pairs = make_pairs(prompts, seed=seed, families=STUDY)
    conversations = [
        *zip(pairs["prompt"], pairs["response_1"], strict=True),
        *zip(pairs["prompt"], pairs["response_2"], strict=True),
    ]
    features = demo_features(folder, conversations, device=device).astype(np.float64)
    first = pairs[[f"{attribute}_1" for attribute in ATTRIBUTES]].to_numpy()
    second = pairs[[f"{attribute}_2" for attribute in ATTRIBUTES]].to_numpy()
    ratings = np.concatenate([first, second])
    place = np.tile(np.arange(prompts), 2)
    train = place < TRAIN_SHARE * prompts
    family = pairs["family"].map(STUDY.index).to_numpy()
    odd = np.tile(family % 2 == 1, 2)
    everywhere = np.ones(len(ratings), dtype=bool)

    by_probe = _ridge(features, ratings, train)
    from_even = _ridge(features, ratings, ~odd)
    from_odd = _ridge(features, ratings, odd)
    across = np.where(odd[:, None], from_even, from_odd)
    word_counts = _bag_of_words([response for _, response in conversations], train)
    by_words = _ridge(word_counts, ratings, train)
    attributes = {}
    for column, attribute in enumerate(ATTRIBUTES):
        attributes[attribute] = {
            "probe": _pearson(by_probe, ratings, column, ~train),
            "families": _pearson(across, ratings, column, everywhere),
            "words": _pearson(by_words, ratings, column, ~train),
        }
    tree = _tree_report(folder, pairs, by_probe, ratings, features)
    return {"attributes": attributes, "tree": tree}


def missed_goals(report: Mapping[str, Any]) -> list[str]:
    """Give the `GOALS` that a `probe_report` misses, in words; empty if none."""
    reached = {name: values["probe"] for name, values in report["attributes"].items()}
    reached["tree"] = report["tree"]["accuracy"]
    missed = []
    for name, least in GOALS.items():
        if reached[name] < least:
            missed.append(f"{name}: {reached[name]:.3f} < {least}")
    return missed


def _tree_report(
    folder: str | Path,
    pairs: pd.DataFrame,
    predicted: Float[np.ndarray, "responses attributes"],
    ratings: Float[np.ndarray, "responses attributes"],
    features: Float[np.ndarray, "responses hidden"],
) -> dict[str, float]:
    """Give accuracies on the preferences of people, on prompts that the tree was not fitted on."""
    n = len(pairs)
    decided = pairs["preference"].notna().to_numpy()
    train = decided & (np.arange(n) < TRAIN_SHARE * n)
    test = decided & ~train
    preference = pairs["preference"].fillna(-1).to_numpy(np.int64)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    score = features @ model.score.weight[0].detach().double().numpy()
    by_score = score[n:] > score[:n]
    report = {"score_head": float((by_score[test] == preference[test]).mean())}
    for name, values in (("accuracy", predicted), ("true_ratings", ratings)):
        differences = values[n:] - values[:n]
        tree = PreferenceTree.fit(differences[train], preference[train], attributes=ATTRIBUTES)
        report[name] = float((tree.predict(differences[test]) == preference[test]).mean())
    second = float(preference[test].mean())
    report["ceiling"] = accuracy_ceiling(pairs[test])
    report["floor"] = max(second, 1 - second)
    return report


def _ridge(
    inputs: Float[np.ndarray, "responses inputs"],
    ratings: Float[np.ndarray, "responses attributes"],
    train: Any,
) -> Float[np.ndarray, "responses attributes"]:
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = RidgeCV(alphas=np.logspace(-1, 4, 11), alpha_per_target=True)
    return make_pipeline(StandardScaler(), probe).fit(inputs[train], ratings[train]).predict(inputs)


def _bag_of_words(responses: list[str], train: Any) -> Float[np.ndarray, "responses words"]:
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(token_pattern=r"\S+", min_df=5)
    counter.fit([response for response, kept in zip(responses, train, strict=True) if kept])
    return counter.transform(responses).toarray().astype(np.float64)


def _pearson(predicted: Any, ratings: Any, column: int, rows: Any) -> float:
    return float(np.corrcoef(predicted[rows, column], ratings[rows, column])[0, 1])
