"""Pairs from a command line, a file or the standard input, and comparisons as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

FIELDS = ("prompt", "response_1", "response_2")
STANDARD_INPUT = "-"
FILE = "@"


def read_pairs(words: Sequence[str], lines: Iterable[str]) -> list[tuple[Any, str, str]]:
    """Read pairs: three words of a command line, or one JSON object a line of the standard input.

    Args:
        words: prompt and two responses; "@FILE" stands for the text of a file, "-" for that of the
            standard input. Empty for JSON.
        lines: of the standard input.

    Raises:
        ValueError: for other numbers of words, lines that are no such objects, or no line at all.

    Example:
        >>> read_pairs(["2 + 2?", "4", "5"], [])
        [('2 + 2?', '4', '5')]
        >>> read_pairs([], ['{"prompt": "2 + 2?", "response_1": "4", "response_2": "5"}'])
        [('2 + 2?', '4', '5')]
    """
    if not words:
        return _read_lines(lines)
    if len(words) != len(FIELDS):
        raise ValueError(
            f"expected a prompt and two responses, came {len(words)} texts; put each into quotes, or "
            "give none to read JSON from the standard input"
        )
    if list(words).count(STANDARD_INPUT) > 1:
        raise ValueError("only one of the texts can be -, the standard input; give others as @FILE")
    prompt, response_1, response_2 = (_text(word, lines) for word in words)
    return [(prompt, response_1, response_2)]


def as_line(comparison: Mapping[str, Any]) -> str:
    """Write a comparison as one line of JSON, the steps of its path as objects."""
    return json.dumps(as_values(comparison), ensure_ascii=False)


def as_values(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values of a comparison as JSON takes them, the steps of its path as objects."""
    values = dict(comparison)
    values["path"] = [step._asdict() for step in values["path"]]
    return values


def _text(word: str, lines: Iterable[str]) -> str:
    """Give the text that a word stands for, without the newline at the end of a file."""
    if word == STANDARD_INPUT:
        return "".join(lines).removesuffix("\n")
    if not word.startswith(FILE):
        return word
    path = Path(word.removeprefix(FILE))
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not in UTF-8; save it so") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}; correct its name") from None


def _read_lines(lines: Iterable[str]) -> list[tuple[Any, str, str]]:
    pairs = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            pairs.append(tuple(record[name] for name in FIELDS))
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                f"line {number} of the standard input is no JSON object with {', '.join(FIELDS)}: "
                f"{line.strip():.60}"
            ) from None
    if not pairs:
        raise ValueError("the standard input is empty; give a prompt and two responses")
    return pairs
