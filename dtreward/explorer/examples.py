"""Pairs to step through: examples of the project, or those of a file in any form that is known."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dtreward.pairs.columns import TEXTS
from dtreward.pairs.frame import load_pairs
from dtreward.pairs.readers import SUFFIXES
from dtreward.published import PUBLISHED

Pair = tuple[Any, str, str]  # prompt (a text, or chat messages), response 1, response 2
LABEL_LENGTH = 90  # characters of a prompt in the list of pairs
KNOWN = (*SUFFIXES, ".gz")
LEGS = (
    "How many legs do 3 cats have?",
    "3 × 4 = 11. So 11 legs.",
    "3 × 4 = 12. So 12 legs.",
)


def published_examples() -> list[Pair]:
    """Give the example on the published models' card, and one more."""
    example = json.loads((PUBLISHED / "usage_example.json").read_text("utf-8"))
    return [(example["prompt"], example["response1"], example["response2"]), LEGS]


def read_examples(source: str | Path | pd.DataFrame) -> list[Pair]:
    """Read the different pairs of a source in any form that `load_pairs` reads, in its order.

    Raises:
        ValueError: as `load_pairs`.

    Example:
        >>> table = pd.DataFrame({"prompt": ["2 + 2?"], "response_1": ["4"], "response_2": ["5"]})
        >>> read_examples(table)
        [('2 + 2?', '4', '5')]
    """
    frame = load_pairs(source, rated=False).frame
    texts = frame.drop_duplicates("pair_id")[TEXTS]
    return list(texts.itertuples(index=False, name=None))


def read_upload(name: str, content: bytes) -> list[Pair]:
    """Read a file that a browser sent; of its name only the ending counts.

    Raises:
        ValueError: as `load_pairs`; the message names the file as the user knows it.

    Example:
        >>> read_upload("two.csv", b"prompt,response_1,response_2\\n2 + 2?,4,5")
        [('2 + 2?', '4', '5')]
    """
    endings = "".join(ending for ending in Path(name).suffixes if ending.lower() in KNOWN)
    with tempfile.TemporaryDirectory(prefix="pairs-") as folder:
        file = Path(folder, f"pairs{endings}")
        file.write_bytes(content)
        try:
            return read_examples(file)
        except (ValueError, OSError) as error:
            raise ValueError(str(error).replace(str(file), Path(name).name)) from None


def labels(pairs: Sequence[Pair]) -> list[str]:
    """Name pairs in a list, each by its number and the beginning of its prompt.

    Example:
        >>> labels([("2 +\\n2?", "4", "5")])
        ['1 · 2 + 2?']
    """
    named = []
    for number, (prompt, _, _) in enumerate(pairs, 1):
        text = prompt if isinstance(prompt, str) else str(prompt[-1].get("content", ""))
        named.append(f"{number} · {' '.join(text.split())[:LABEL_LENGTH]}")
    return named
