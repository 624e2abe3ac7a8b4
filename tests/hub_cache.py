"""Hub caches of what the real studies download: real layout, names and schemas, small and random."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from hub_replicas import helpsteer2_replica, write_lines
from huggingface_hub.file_download import repo_folder_name
from reward_replicas import REPLICAS

PICKLE = Path(__file__).parent / "pickles" / "sklearn-1.5.2-protocol-4.pkl"
CARD = """---
license: other
license_name: skywork-community-license
license_link: https://example.org/license
---
# A replica: {name}
"""
# Judge: how often it contradicts people, and how often it answers differently in the other order.
JUDGES = {
    "GPT-4o": (0.15, 0.3),
    "GPT-4-Turbo": (0.2, 0.3),
    "Claude-3.5-Sonnet": (0.15, 0.3),
    "Gemma-2-27B": (0.3, 0.5),
    "Llama-3.1-8B": (0.3, 0.5),
    "Mistral-7B-v0.3": (0.4, 0.95),
}


def put_in_cache(home: Path, repo: str, kind: str, folder: Path, commit: str) -> Path:
    """Store a folder as the hub's client does: blobs by hash, a snapshot of links, and refs/main."""
    place = home / "hub" / repo_folder_name(repo_id=repo, repo_type=kind)
    snapshot = place / "snapshots" / commit
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        blob = place / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, blob)
        link = snapshot / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(commit)
    return snapshot


def commit_of(repo: str, pinned: str = "") -> str:
    """Give 40 digits that begin as the pinned ones do."""
    return pinned + hashlib.sha1(repo.encode()).hexdigest()[len(pinned) :]


def judges_replica(folder: Path, plain: list, seed: int = 0) -> None:
    """Write the published preferences of LLM judges: -1, 0, 1 a judge, and people's own column.

    Responses stand in either order, some lines have lost their last line break, some judges did not
    answer, and one pair is of another version of the ratings.
    """
    rng, halves = np.random.default_rng(seed), {"train": [], "validation": []}
    for number, (prompt, one, two, strength, split) in enumerate(plain):
        half = "validation" if split == "test" else "train"
        people = int(np.sign(strength or 0))
        turn = 1 - 2 * (number % 2)
        row = {"dataset": "helpsteer2", "split": half, "id": f"{half}-{number}", "prompt": prompt}
        row |= dict(zip(["response_A", "response_B"], [one.rstrip("\n"), two][::turn], strict=True))
        for judge, (contrary, torn) in JUDGES.items():
            vote = people or rng.choice([-1, 1])
            vote = 0 if rng.random() < torn else vote * (-1 if rng.random() < contrary else 1)
            row[judge] = None if number == 3 and judge == "Gemma-2-27B" else int(turn * vote)
        halves[half].append(row | {"human": turn * people})
    other = {"prompt": "rated in another version", "response_A": "a", "response_B": "b"}
    halves["train"].append(halves["train"][0] | other)
    for half, rows in halves.items():
        write_lines(folder / f"{half}.jsonl.gz", rows)


def rewardbench_replica(folder: Path, subsets: list[str], each: int = 3) -> None:
    """Write allenai/reward-bench: the split that counts and the raw one, with its odd prompts."""
    rows = [
        {
            "prompt": f"{subset} {number // 2}: été 数学?"
            if subset[:3] != "hep"
            else f"{number}\n\tdef f():",
            "chosen": f"Yes, {number}.\n" * (1 + number),
            "chosen_model": "GPT4",
            "rejected": f"No 🍎, {subset}.",
            "rejected_model": "alpaca-7b",
            "subset": subset,
            "id": at * 1000 + number,
        }
        for at, subset in enumerate(subsets)
        for number in range(each)
    ]
    (folder / "data").mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(folder / "data" / "filtered-00000-of-00001.parquet", index=False)
    raw = pd.DataFrame(rows + rows[:1])
    raw.to_parquet(folder / "data" / "raw-00000-of-00001.parquet", index=False)


def fill_cache(
    home: Path, scratch: Path, downloads: dict, subsets: list[str], prompts: tuple
) -> dict:
    """Make and store every repository that a study's `needs` names; give {repository: commit}."""
    commits = {name: commit_of(name, each["revision"]) for name, each in downloads.items()}
    for name, each in downloads.items():
        folder = scratch / name
        if name == "nvidia/HelpSteer2":
            plain = helpsteer2_replica(folder, train=prompts[0], validation=prompts[1])
        elif name.startswith("RLHFlow/LLM"):
            judges_replica(folder, plain)
        elif name == "allenai/reward-bench":
            rewardbench_replica(folder, subsets)
        else:
            REPLICAS[name.split("/")[1]].make(scratch)
            (folder / "README.md").write_text(CARD.format(name=name))
            (folder / ".gitattributes").write_text("*.safetensors filter=lfs\n")
            if (folder / "decision_tree.json").exists():  # the published ones are pickles
                (folder / "decision_tree.json").unlink()
                shutil.copyfile(PICKLE, folder / "decision_tree.pkl")
        put_in_cache(home, name, each["kind"], folder, commits[name])
    return commits
