"""Conversations as token ids, and why some cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dtreward.conversation import Conversations, Tokenized, prompt_text
from dtreward.engine.backbone import Backbone

ON_ERROR = ("error", "record")


@dataclass(frozen=True)
class Unread:
    """A row that could not be read, and why.

    Attributes:
        row: its place among those that were given, from 0.
    """

    row: int
    reason: str


@dataclass(frozen=True)
class TokenizedRows:
    """Conversations as token ids.

    Attributes:
        ids: of each conversation; empty where it cannot be read.
        cut: how many tokens of each prompt were cut.
        prompts: of each conversation, as a text; what equal prompts begin with is computed once.
        unread: why a conversation cannot be read, by its row.
    """

    ids: list[np.ndarray]
    cut: list[int]
    prompts: list[str]
    unread: dict[int, str]

    @property
    def readable(self) -> list[int]:
        """The rows that can be read."""
        return [row for row in range(len(self.ids)) if row not in self.unread]


def tokenize(backbone: Backbone, conversations: Conversations) -> TokenizedRows:
    """Tokenize conversations; note those that cannot be read, with the reason."""
    rows = TokenizedRows([], [], [], {})
    for row, (prompt, response) in enumerate(conversations):
        text = ""
        tokenized = Tokenized((), 0)
        try:
            text = prompt_text(prompt)
            tokenized = _tokenize_one(backbone, text, response)
        except ValueError as error:
            rows.unread[row] = " ".join(str(error).split())
        # A tuple of Python ints takes thirty bytes a token, and the ids are kept for hours.
        rows.ids.append(np.array(tokenized.ids, np.int32))
        rows.cut.append(tokenized.cut)
        rows.prompts.append(text)
    return rows


def check_on_error(on_error: str) -> None:
    """Refuse another value than "error" and "record"."""
    if on_error not in ON_ERROR:
        raise ValueError(f"on_error must be one of {ON_ERROR}, came {on_error!r}")


def refuse_unread(unread: Mapping[int, str], rows: int) -> None:
    """Name the first row that cannot be read, and how many others there are.

    Args:
        unread: the reasons, by row.
        rows: how many there are in all; a single one needs no number.

    Raises:
        ValueError: if any row cannot be read.

    Example:
        >>> refuse_unread({}, 3)
        >>> refuse_unread({1: "the response is blank"}, 3)
        Traceback (most recent call last):
        ...
        ValueError: row 1: the response is blank; on_error="record" goes on without it
    """
    if not unread:
        return
    row = min(unread)
    if rows == 1:
        raise ValueError(unread[row])
    without = "it"
    more = ""
    if len(unread) > 1:
        without = "them"
        more = f" (and {len(unread) - 1} more of {rows} rows)"
    raise ValueError(f'row {row}: {unread[row]}{more}; on_error="record" goes on without {without}')


def not_finite(what: str, dtype: str) -> str:
    """Say that numbers are not finite, and what to do.

    Args:
        dtype: of the backbone.

    Example:
        >>> not_finite("its score is", "float16")
        'its score is not finite; load the model in bfloat16 or float32'
    """
    if dtype == "float16":  # its largest number is 65,504
        return f"{what} not finite; load the model in bfloat16 or float32"
    return f"{what} not finite in {dtype}: weights are too large or damaged; fetch the model again"


def _tokenize_one(backbone: Backbone, prompt: str, response: Any) -> Tokenized:
    """Tokenize one conversation; a ValueError says why it cannot be read."""
    if not isinstance(response, str) or not response.strip():
        raise ValueError(f"the response must be a text that is not blank, came {response!r:.40}")
    tokenized = backbone.chat.token_ids(prompt, response)
    size = backbone.transformer.config.vocab_size
    largest = max(tokenized.ids)
    if largest >= size:
        token = backbone.chat.tokenizer.convert_ids_to_tokens(largest)
        raise ValueError(
            f"the tokenizer gives {token!r} the id {largest}, but the model's embedding has {size} "
            "rows: one of them is another model's; fetch both again"
        )
    return tokenized
