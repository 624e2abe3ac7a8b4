"""Attributes measured from the text of a response, without a model and in any language."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from dtreward.conversation import messages

MEASURED = "measured from the text"
WINDOW = 50  # words in a row among which different ones are counted
# A word is a run of letters or digits, with apostrophes or hyphens inside, or a number. Scripts
# that are written without spaces have a word a character here.
UNSPACED = r"[぀-ヿ㐀-䶿一-鿿豈-﫿฀-๿຀-໿က-႟ក-៿]"
LETTERS = rf"(?:(?!{UNSPACED})[^\W_])+"
WORD = re.compile(rf"{UNSPACED}|{LETTERS}(?:(?:['’-]|(?<=\d)[.,](?=\d)){LETTERS})*")
MARKER = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])(?=[ \t])", re.MULTILINE)
SENTENCE_END = re.compile(r"[.!?…]+(?=[\s\"')\]]|$)|[。！？؟।]+|\n\s*\n")

LIST_ITEM = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE)
HEADING = re.compile(r"^[ \t]{0,3}(?:#{1,6}[ \t]+\S|\*\*[^*\n]+\*\*:?[ \t]*$)", re.MULTILINE)
QUESTION = re.compile(r"[?？؟]+")
CODE_BLOCK = re.compile(
    r"^[ \t]*(```+|~~~+)[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL
)


def measure(prompts: Sequence[str], responses: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
    r"""Measure attributes of responses from their texts, one column each.

    Code in fenced blocks counts as code alone: it has no words, sentences, items or headings.

    Args:
        prompts: of each response; only "overlap with the prompt" reads them.
        responses: texts.
        names: keys of `TEXT_ATTRIBUTES`.

    Example:
        >>> measure(["Which?"], ["Two things:\n\n- red\n- blue\n"], ["words", "list items"])
           words  list items
        0    4.0         2.0
    """
    rows = []
    for prompt, response in zip(prompts, responses, strict=True):
        text = Text(prompt, response)
        rows.append([float(TEXT_ATTRIBUTES[name](text)) for name in names])
    return pd.DataFrame(rows, columns=list(names), dtype=float)


class Text:
    """A response and its prompt, split into prose, code and words."""

    def __init__(self, prompt: str, response: str) -> None:
        self.response = response
        self.asked = {word.lower() for word in WORD.findall(_said(prompt))}
        self.prose = CODE_BLOCK.sub("\n", response)
        self.sentences = SENTENCE_END.split(MARKER.sub("\n\n", self.prose))
        self.words = [word.lower() for piece in self.sentences for word in WORD.findall(piece)]


def _said(prompt: str) -> str:
    """Give the words of a prompt without the marks of its turns."""
    try:
        return "\n".join(turn["content"] for turn in messages(prompt))
    except ValueError:  # no conversation that a model could read
        return prompt


def _words(text: Text) -> int:
    return len(text.words)


def _sentences(text: Text) -> int:
    """Count the pieces between ends of sentences, empty lines and list items that hold a word."""
    return sum(bool(WORD.search(piece)) for piece in text.sentences)


def _list_items(text: Text) -> int:
    return len(LIST_ITEM.findall(text.prose))


def _headings(text: Text) -> int:
    return len(HEADING.findall(text.prose))


def _code_lines(text: Text) -> int:
    blocks = [match[2] for match in CODE_BLOCK.finditer(text.response)]
    return sum(bool(line.strip()) for block in blocks for line in block.splitlines())


def _questions(text: Text) -> int:
    return len(QUESTION.findall(text.prose))


def _lexical_diversity(text: Text) -> float:
    """Give the share of different words in 50 words in a row, as a mean over all such windows.

    Unlike the share in the whole text, it does not fall with length (Covington and McFall, 2010,
    the moving-average type-token ratio). A text without words has 0.
    """
    words = text.words
    if len(words) <= WINDOW:
        return len(set(words)) / len(words) if words else 0.0
    inside = Counter(words[:WINDOW])
    different = [len(inside)]
    for leaving, entering in zip(words, words[WINDOW:], strict=False):
        inside[entering] += 1
        inside[leaving] -= 1
        if inside[leaving] == 0:
            del inside[leaving]
        different.append(len(inside))
    return float(np.mean(different)) / WINDOW


def _overlap(text: Text) -> float:
    """Give the share of the response's different words that the prompt has too."""
    different = set(text.words)
    return len(different & text.asked) / len(different) if different else 0.0


TEXT_ATTRIBUTES: dict[str, Callable[[Text], float]] = {
    "words": _words,
    "sentences": _sentences,
    "list items": _list_items,
    "headings": _headings,
    "code lines": _code_lines,
    "questions": _questions,
    "lexical diversity": _lexical_diversity,
    "overlap with the prompt": _overlap,
}
