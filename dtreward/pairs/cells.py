"""Conversations as cells of a table hold them: texts, transcripts, and lists of chat messages."""

from __future__ import annotations

import json
from ast import literal_eval
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dtreward.conversation import (
    Turns,
    is_transcript,
    message_turns,
    prompt_text,
    transcript_turns,
)
from dtreward.pairs.columns import TEXTS


def read_cell(cell: Any) -> Any:
    """Give a list that a cell holds as text, as CSV files have them; any other cell as it is.

    Example:
        >>> read_cell('[{"role": "user", "content": "Hi"}]')
        [{'role': 'user', 'content': 'Hi'}]
        >>> read_cell("[1] is a footnote")
        '[1] is a footnote'
    """
    if isinstance(cell, np.ndarray):
        return cell.tolist()
    if (
        not isinstance(cell, str)
        or not cell.lstrip().startswith("[")
        or not cell.strip().endswith("]")
    ):
        return cell
    value = parse_list(cell)
    is_messages = isinstance(value, list) and value and all(isinstance(m, dict) for m in value)
    return value if is_messages and {"role", "from"} & set(value[0]) else cell


def parse_list(cell: Any) -> Any:
    """Read a text as JSON, or as Python writes lists; None where it is neither."""
    for parse in (json.loads, literal_eval):
        try:
            return parse(cell)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def split_answer(cell: Any, *, is_whole: bool = False) -> tuple[Turns, Any]:
    r"""Split a response that is a conversation into the turns before the answer, and the answer.

    Args:
        cell: a text, which has no turns before it, or a list of chat messages.
        is_whole: whether a text may be a whole transcript.

    Raises:
        ValueError: if the last turn is not the assistant's.

    Example:
        >>> split_answer("\n\nHuman: 2 + 2?\n\nAssistant: 4", is_whole=True)
        ([('User', '2 + 2?')], '4')
    """
    cell = read_cell(cell)
    if isinstance(cell, list):
        turns = message_turns(cell)
    elif isinstance(cell, Mapping):
        turns = message_turns([cell])
    elif is_whole and isinstance(cell, str) and is_transcript(cell):
        turns = transcript_turns(cell)
    else:
        return [], cell
    role, answer = turns[-1]
    if role != "Assistant":
        raise ValueError(f"the last turn must be the assistant's answer, came one of {role}")
    return turns[:-1], answer


def plain_prompts(prompts: pd.Series, counts: Counter) -> pd.Series:
    """Write prompts of chat messages, and transcripts, as texts; those that cannot be are None.

    Args:
        counts: gets "prompts of chat messages" and "transcripts", where there are some.
    """
    cells = [read_cell(cell) for cell in prompts]
    texts = [cell for cell in cells if isinstance(cell, str)]
    all_open = bool(texts) and all(text.lstrip().startswith("Human:") for text in texts)
    are_transcripts = all_open and any(is_transcript(text) for text in texts)
    plain = []
    for cell in cells:
        if isinstance(cell, list):
            counts["prompts of chat messages"] += 1
        elif isinstance(cell, str) and (are_transcripts or is_transcript(cell)):
            counts["transcripts"] += 1
            cell = "\n\n" + cell.lstrip()
        plain.append(_text_or_none(cell))
    return text_column(plain, prompts)


def plain_sides(table: pd.DataFrame, counts: Counter) -> pd.DataFrame:
    """Write prompt and both responses of each pair as texts.

    Responses may be whole conversations, which must begin alike: this beginning is the prompt. A
    pair whose conversations begin otherwise has no common prompt, which is None then.

    Args:
        table: the columns of `TEXTS`; `prompt` may hold nothing.
        counts: gets "no common prompt", where there are some.
    """
    texts = [text for side in TEXTS[1:] for text in table[side] if isinstance(text, str)]
    all_open = bool(texts) and all(text.startswith("\n\nHuman:") for text in texts)
    is_whole = all_open or bool(table["prompt"].isna().all())
    prompts = plain_prompts(table["prompt"], counts)
    rows = []
    for prompt, one, two in zip(prompts, table["response_1"], table["response_2"], strict=True):
        try:
            before, response_1 = split_answer(one, is_whole=is_whole)
            before_2, response_2 = split_answer(two, is_whole=is_whole)
        except ValueError:
            rows.append((None, None, None))
            continue
        if before != before_2:
            counts["no common prompt"] += 1
            rows.append((None, response_1, response_2))
            continue
        rows.append((_prompt_of(before) if before else prompt, response_1, response_2))
    columns = zip(*rows, strict=True) if rows else [[], [], []]
    plain = {
        name: text_column(texts, table[name]) for name, texts in zip(TEXTS, columns, strict=True)
    }
    return table.assign(**plain)


def text_column(texts: Sequence[Any], before: pd.Series) -> pd.Series:
    """Make a column of texts; the column as it was, where they are the same.

    Args:
        texts: one a row of `before`.
    """
    if all(new is old for new, old in zip(texts, before, strict=True)):
        return before
    try:
        return pd.Series(list(texts), before.index)
    except UnicodeEncodeError:  # half of a surrogate pair, for which the pair is dropped later
        return pd.Series(list(texts), before.index, dtype=object)


def _prompt_of(turns: Turns) -> str | None:
    words = {"User": "user", "Assistant": "assistant", "System": "system"}
    return _text_or_none([{"role": words.get(role, role), "content": text} for role, text in turns])


def _text_or_none(prompt: Any) -> Any:
    try:
        return prompt_text(prompt)
    except (TypeError, ValueError):
        return None


def answer_or_none(cell: Any) -> Any:
    """Give the answer that `split_answer` finds; None where the last turn is not the assistant's."""
    try:
        return split_answer(cell)[1]
    except ValueError:
        return None
