"""Find texts of a source in files that are to be published: a real study shows none of them."""

from __future__ import annotations

import html
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt64

WINDOW = 30  # characters; shorter agreements are chance
BASE = np.uint64(1_000_003)  # of the polynomial that sums up a window
READABLE = {".ipynb", ".json", ".md", ".tex", ".csv", ".html", ".yaml", ".svg", ".txt", ".js"}
IMAGE = "image/"  # outputs of this kind hold no text, but SVG
SVG = "image/svg+xml"
PDF_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\nendstream", re.DOTALL)
PDF_LINE = re.compile(rb"\[((?:[^\[\]\\()]|\((?:[^\\()]|\\.)*\))*)\]\s*TJ", re.DOTALL)
PDF_PIECE = re.compile(rb"\(((?:[^\\()]|\\.)*)\)", re.DOTALL)


def find_texts(texts: Iterable[str], files: Iterable[Path]) -> dict[Path, str]:
    """Find files that hold any 30 characters in a row of one of the texts.

    Runs of white space count as one blank in both, and HTML's entities as what they stand for.
    Of PDF files, those of matplotlib are read, one line of a figure after the other; pixels are not.

    Args:
        texts: of a source.
        files: of any kind.

    Returns:
        the first such piece of text of each file that has one.
    """
    plain = [_plain(text) for text in texts]
    wanted = [_sums(text) for text in plain]
    all_wanted = np.unique(np.concatenate([*wanted, np.zeros(1, np.uint64)]))
    found = {}
    for file in files:
        for content in _contents(file):
            shown = _plain(content)
            sums = _sums(shown)
            nearest = np.searchsorted(all_wanted, sums).clip(max=len(all_wanted) - 1)
            for place in np.flatnonzero(all_wanted[nearest] == sums):
                piece = shown[place : place + WINDOW]
                if any(piece in text for text in plain):
                    found.setdefault(file, piece)
                    break
    return found


def texts_of(table: pd.DataFrame) -> list[str]:
    """List the different texts of a table that are long enough to be found again.

    Example:
        >>> texts_of(pd.DataFrame({"prompt": ["2 + 2?", "x" * 40], "n": [1, 2]})) == ["x" * 40]
        True
    """
    texts = set()
    for name in table:
        texts |= {cell for cell in table[name] if isinstance(cell, str) and len(cell) >= WINDOW}
    return sorted(texts)


def _contents(file: Path) -> Iterator[str]:
    """Give the texts of a file; those of JSON one by one, as a reader sees them."""
    if file.suffix == ".pdf":
        yield pdf_text(file.read_bytes())
    if file.suffix not in READABLE:
        return
    text = file.read_text(encoding="utf-8")
    if file.suffix not in (".ipynb", ".json"):
        yield text
        return
    try:
        yield from _strings(json.loads(text))
    except ValueError:  # no JSON, whatever its name says
        yield text


def pdf_text(content: bytes) -> str:
    """Read the lines of a PDF file that matplotlib has written with fonts of type 42.

    There, a line is an array of pieces with the space between them; a sign is two bytes of UTF-16,
    or one byte.
    """
    lines = []
    for stream in PDF_STREAM.findall(content):
        try:
            drawn = zlib.decompress(stream)
        except zlib.error:  # no compressed stream
            drawn = stream
        for line in PDF_LINE.findall(drawn):
            pieces = [re.sub(rb"\\(.)", rb"\1", piece) for piece in PDF_PIECE.findall(line)]
            is_wide = all(len(piece) % 2 == 0 for piece in pieces) and b"\0" in b"".join(pieces)
            coding = "utf-16-be" if is_wide else "latin-1"
            lines.append("".join(piece.decode(coding, "replace") for piece in pieces))
    return " ".join(lines)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, entry in value.items():
            if key == SVG or not str(key).startswith(IMAGE):
                yield str(key)
                yield from _strings(entry)
    elif isinstance(value, list):
        is_lines = all(isinstance(entry, str) for entry in value)
        if is_lines:
            yield "".join(value)
        else:
            for entry in value:
                yield from _strings(entry)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(text))


def _sums(text: str) -> UInt64[np.ndarray, " windows"]:
    """Sum up each window of a text in one number; equal windows have equal numbers."""
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    count = len(characters) - WINDOW + 1
    if count < 1:
        return np.empty(0, np.uint64)
    wide = characters.astype(np.uint64)
    sums = np.zeros(count, np.uint64)
    for place in range(WINDOW):
        sums = sums * BASE + wide[place : place + count]
    return sums
