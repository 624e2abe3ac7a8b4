"""Folders with the file names and columns of hub data sets, and rows as odd as the real ones."""

import gzip
import json
from pathlib import Path

import numpy as np

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


def write_lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def helpsteer2_replica(folder: Path, *, train: int = 60, validation: int = 12, seed: int = 0):
    """Write a folder of nvidia/HelpSteer2's layout: plain pairs, and after them one of each oddity.

    Returns the plain pairs as rows of prompt, response_1, response_2, strength, split, where a
    positive strength prefers response 2 and None means that no one was asked.
    """
    rng = np.random.default_rng(seed)
    halves, votes, plain = {"train": [], "validation": []}, [], []

    def add(prompt, texts, strength, half, ratings=None):
        for text in texts:
            values = rng.integers(0, 5, size=5).tolist() if ratings is None else ratings
            row = {"prompt": prompt, "response": text}
            halves[half].append(row | dict(zip(ATTRIBUTES, values, strict=True)))
        if strength is not None:
            vote(prompt, texts, strength, half)

    def vote(prompt, texts, strength, half):
        votes.append(
            {
                "split": {"train": "train", "validation": "val"}[half],
                "prompt": prompt,
                "response_1": texts[0],
                "response_2": texts[-1],
                "preference_strength": strength,
                "preference_statement": "Response 2 is better.",
                "preference_elaboration": "It is.",
            }
        )

    for half, count in (("train", train), ("validation", validation)):
        for number in range(count):
            prompt = f"{half} question {number} — été 数学 🍎\n"
            if number % 3 == 0:
                prompt += "<extra_id_1>Assistant\nAn answer.\n<extra_id_1>User\nAnd then?"
            texts = [f"One: {number}.\n", f"Two: {number}, ça va?"]
            strength = [-3, -2, -1, 0, 1, 2, 3, None][number % 8]
            # Every other vote names the responses the other way round.
            add(prompt, texts, None, half)
            if strength is not None and number % 2:
                vote(prompt, texts[::-1], -strength, half)
            elif strength is not None:
                vote(prompt, texts, strength, half)
            plain.append((prompt, *texts, strength, "test" if half == "validation" else "train"))
    add("no partner", ["alone"], None, "train")
    add("three in a row", ["first", "second", "third"], None, "train")
    add("empty", ["", "not empty"], 1, "train")
    add("unrated", ["a", "b"], 1, "train", ratings=[4, None, 4, 1, 1])
    add("said twice", ["a", "b"], 2, "train", ratings=[1, 1, 1, 1, 1])
    add("said twice", ["a", "b"], 2, "train", ratings=[1, 1, 1, 1, 1])
    add("contradiction", ["a", "b"], 1, "train")
    vote("contradiction", ["a", "b"], -1, "train")
    add("the same", ["same", "same"], 2, "train")
    add("system\n<extra_id_1>System\nYou are.", ["a", "b"], 1, "train")
    add("in both files", ["a", "b"], 1, "train")
    add("in both files", ["c", "d"], -1, "validation")
    vote("never rated", ["a", "b"], 1, "train")
    for half, rows in halves.items():
        write_lines(folder / f"{half}.jsonl.gz", rows)
    write_lines(folder / "preference" / "preference.jsonl.gz", votes)
    return plain
