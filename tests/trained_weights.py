"""Measure what bfloat16 and float8 change in what is read from a model with trained weights.

    python tests/trained_weights.py MODEL SOURCE RESULT.json [--device cuda]

Probes are fitted to float32 features of some prompts and read the others, in each number format. A
tree is fitted to the float32 rewards, so that changed decisions can be counted. A GPU takes a minute.
"""

import argparse
import platform
from pathlib import Path

import numpy as np
import torch
import transformers

from dtreward.engine.float8 import to_fp8
from dtreward.engine.forward import last_hidden_states
from dtreward.files import write_json
from dtreward.models.load_backbone import LoadOptions
from dtreward.models.load_checkpoint import load_language_model
from dtreward.models.probe import best_strengths, fit_probe, held_out_rewards
from dtreward.pairs.frame import load_pairs, response_index, responses
from dtreward.stats import mean_interval
from dtreward.tree.tree import PreferenceTree

STRENGTHS = np.logspace(-3, 4, 15)
FOLDS = 5
FORMATS = ("float32", "bfloat16", "float8")


def read_features(model, dtype, conversations, device):
    """Give the features of each conversation, computed in one number format."""
    stored = "bfloat16" if dtype == "float8" else dtype
    backbone = load_language_model(
        model, LoadOptions(device=device, dtype=stored, too_long="cut_prompt_start")
    )
    if dtype == "float8":
        to_fp8(backbone.transformer)
    ids = [backbone.chat.token_ids(*conversation).ids for conversation in conversations]
    return np.asarray(last_hidden_states(backbone, ids), np.float64)


def unseen_rewards(features, table, attributes):
    """Read the rewards of each prompt by probes that were fitted to float32 features of others."""
    ratings = table[attributes].to_numpy(float)
    prompts = table["prompt_id"].to_numpy()
    part = np.random.default_rng(0).permutation(prompts.max() + 1)[prompts] % FOLDS
    rewards = {name: np.empty(ratings.shape) for name in features}
    for place in range(FOLDS):
        learn = part != place
        exact = features["float32"][learn]
        held_out = held_out_rewards(exact, ratings[learn], prompts[learn], STRENGTHS)
        strengths = STRENGTHS[best_strengths(held_out, ratings[learn])]
        probe = fit_probe(exact, ratings[learn], strengths)
        for name, values in features.items():
            rewards[name][~learn] = probe.predict(values[~learn])
    return rewards


def measure(features, pairs, table, attributes):
    """Tabulate what a number format changes in features, rewards, orders and decisions."""
    rewards = unseen_rewards(features, table, attributes)
    rows = response_index(pairs, table)
    known = pairs["preference"].notna().to_numpy()
    differences = {
        name: values[rows[:, 1]] - values[rows[:, 0]] for name, values in rewards.items()
    }
    exact = differences["float32"]
    preference = pairs["preference"][known].to_numpy(int)
    tree = PreferenceTree.fit(
        exact[known], preference, attributes=attributes, max_depth=3, min_leaf=10
    )
    prompts = pairs["prompt_id"].to_numpy()
    result = {}
    for name in features:
        if name == "float32":
            continue
        error = features[name] - features["float32"]
        flips = np.sign(differences[name]) != np.sign(exact)
        decided_otherwise = tree.predict(differences[name]) != tree.predict(exact)
        spread = rewards["float32"].std(axis=0)
        change = np.sqrt(((rewards[name] - rewards["float32"]) ** 2).mean(axis=0)) / spread
        result[name] = {
            "features_relative_error": np.linalg.norm(error) / np.linalg.norm(features["float32"]),
            "reward_error_over_spread": dict(zip(attributes, change.tolist(), strict=True)),
            "order_flips": {
                attribute: mean_interval(flips[:, place].astype(float), prompts)
                for place, attribute in enumerate(attributes)
            },
            "decisions_flip": mean_interval(decided_otherwise.astype(float), prompts),
        }
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("source")
    parser.add_argument("result", type=Path)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    read = load_pairs(arguments.source)
    attributes = list(read.attributes)
    table = responses(read.frame, attributes)
    conversations = list(zip(table["prompt"], table["response"], strict=True))
    features = {
        name: read_features(arguments.model, name, conversations, arguments.device)
        for name in FORMATS
    }
    on_gpu = arguments.device == "cuda"
    numbers = {
        "what": "what bfloat16 and float8 change against float32: features of a trained model, the "
        "rewards that probes on float32 features read (of prompts they were not fitted to), the "
        "order of two responses, and the decisions of a tree; shares with 95 % intervals over prompts",
        "command": "python tests/trained_weights.py MODEL SOURCE RESULT",
        "model": Path(arguments.model).name,
        "source": Path(arguments.source).name,
        "responses": len(table),
        "pairs": len(read.frame),
        "prompts": read.counts["prompts"],
        "machine": {
            "device": torch.cuda.get_device_name() if on_gpu else platform.machine(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "formats": measure(features, read.frame, table, attributes),
    }
    write_json(arguments.result, numbers)
    print(arguments.result.read_text())


if __name__ == "__main__":
    main()
