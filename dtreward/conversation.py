"""A prompt and a response as messages, and as the token ids that a model reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from transformers import PreTrainedTokenizerFast

from dtreward.files import digest

TURN = "<extra_id_1>"
ROLES = ("User", "Assistant")
BOS_OPTIONS = ("one", "none")
TOO_LONG_OPTIONS = ("error", "cut_prompt_start")
Conversations = Sequence[tuple[str, str]]  # (prompt, response), one a row
STAND_IN = "\ue000"  # stands for a text in a rendered template; private use, so none trims it
# Llama 3.1's own date; templates of later models would write today's into every header.
DATE = "26 Jul 2024"


def messages(prompt: Any, response: Any = None) -> list[dict[str, str]]:
    r"""Split a prompt into the messages of its turns, and append the response.

    HelpSteer2 opens each turn after the first with `<extra_id_1>User` or `<extra_id_1>Assistant`
    and a newline. As in the original, a message loses the newlines at its end and nothing else.

    Args:
        prompt: one text; of the last turn, and of earlier ones in HelpSteer2's form.
        response: the last turn's answer; None for none.

    Raises:
        ValueError: if a text is blank or no string, if it cannot be encoded as UTF-8, or if the
            turns are not User and Assistant alternately.

    Example:
        >>> messages("2 + 2?\n", "4")
        [{'role': 'user', 'content': '2 + 2?'}, {'role': 'assistant', 'content': '4'}]
    """
    turns = _turns(prompt)
    if response is not None:
        turns.append(("Assistant", response))
    for place, (role, text) in enumerate(turns):
        _check_turn(place, role, text)
    return [{"role": role.strip().lower(), "content": text.rstrip("\n")} for role, text in turns]


def _turns(prompt: Any) -> list[tuple[str, Any]]:
    """Split a prompt into (role, text), unchecked."""
    if not isinstance(prompt, str):
        return [("User", prompt)]
    first, *later = prompt.split(TURN)
    turns = [("User", first)]
    for piece in later:
        role, _, text = piece.partition("\n")
        turns.append((role, text))
    return turns


def _check_turn(place: int, role: str, text: Any) -> None:
    """Refuse a turn with the wrong role or without a text that a tokenizer can read."""
    expected = ROLES[place % 2]
    if role.strip() != expected or not isinstance(text, str) or not text.strip():
        raise ValueError(
            f"turn {place + 1} must be {expected} with text, got {role!r:.40} with {text!r:.40}; "
            "correct or drop this pair"
        )
    text.encode()  # half of a surrogate pair is a ValueError here, and a riddle in the tokenizer


@dataclass(frozen=True)
class Tokenized:
    """The token ids of one conversation.

    Attributes:
        ids: all token ids, BOS included.
        cut: how many tokens of the prompt were cut; 0 means that the conversation is whole.
    """

    ids: tuple[int, ...]
    cut: int


@dataclass(frozen=True)
class _Request:
    """What a template is to write, and which of it may be cut.

    Attributes:
        turns: the messages.
        blank: the same, with a stand-in for each text that may be cut.
        add_generation_prompt: whether the header that asks for an answer comes last.
    """

    turns: list[dict[str, str]]
    blank: list[dict[str, str]]
    add_generation_prompt: bool = False


@dataclass(frozen=True)
class ChatTokenizer:
    """Turn conversations into token ids by a chat template, with exactly one BOS or none.

    The template's text is tokenized without special tokens, and BOS tokens at its start are
    removed. Text that spells a special token becomes this token, as in the original.

    Args:
        tokenizer: one with a chat template.
        bos: "one" puts one BOS token in front, as RewardBench does; "none" puts none, as the
            original's feature extraction does.
        max_length: most tokens of one conversation, BOS and template included.
        too_long: "error", or "cut_prompt_start": drop tokens from the start of the prompt's text
            (also headers between its turns). BOS, the first header and the whole response stay; in
            a request to a critic (`request_ids`) everything but the prompt stays.

    Raises:
        ValueError: if an option is not legal, if the tokenizer has no chat template or no BOS, or
            if the template cannot write a prompt with its response.
    """

    tokenizer: PreTrainedTokenizerFast
    bos: str = "one"
    max_length: int = 4096
    too_long: str = "error"

    def __post_init__(self) -> None:
        _check_option("bos", self.bos, BOS_OPTIONS)
        _check_option("too_long", self.too_long, TOO_LONG_OPTIONS)
        if self.max_length < 1:
            raise ValueError(f"max_length must be 1 token or more, got {self.max_length}")
        if not self.tokenizer.chat_template:
            raise ValueError(
                "tokenizer has no chat template; put the one that the model was trained with into "
                "chat_template.jinja beside its tokenizer.json"
            )
        if self.bos == "one" and self.tokenizer.bos_token_id is None:
            raise ValueError('tokenizer has no BOS token; pass bos="none"')
        _ = self.marker  # a template that cannot write a conversation is refused here

    def token_ids(self, prompt: Any, response: Any) -> Tokenized:
        """Tokenize a prompt with its response, as far as the template's final token.

        Raises:
            ValueError: if the turns are not legal (see `messages`), or too long and cannot be cut,
                or if the chat template leaves out text of a message.
        """
        turns = messages(prompt, "" if response is None else response)
        *prompt_turns, last = turns
        blank = [turn | {"content": STAND_IN} for turn in prompt_turns]
        return self._fit(_Request(turns, [*blank, last]))

    @cached_property
    def marker(self) -> str:
        """What the template writes between a prompt and its response, the end of the turn first."""
        turns = [{"role": role.lower(), "content": STAND_IN} for role in ROLES]
        text = self._render(turns)
        _check_complete(text, turns)
        return text.split(STAND_IN)[1]

    def prompt_end(self, ids: Sequence[int]) -> int:
        """Find where the last prompt ends: the first token of the marker before the response.

        Raises:
            ValueError: if the conversation does not hold the marker's tokens.
        """
        marker = self.marker
        wanted = self.tokenizer(marker, add_special_tokens=False)["input_ids"]
        last_start = len(ids) - len(wanted)
        for start in range(last_start, -1, -1):
            if list(ids[start : start + len(wanted)]) == wanted:
                return start
        raise ValueError(
            f"the model's gate reads the end of the prompt, but the text between prompt and "
            f"response, {marker!r}, is not in the conversation; use the chat template that the "
            "model was published with"
        )

    def request_ids(self, before: str, prompt: str = "", after: str = "") -> Tokenized:
        """Tokenize one user's message, and the header that asks for an answer.

        The message is the three parts in a row. If it is too long, only `prompt` is cut.
        """
        whole = [{"role": "user", "content": before + prompt + after}]
        blank = [{"role": "user", "content": before + STAND_IN + after}]
        return self._fit(_Request(whole, blank, add_generation_prompt=True))

    @property
    def identity(self) -> dict[str, str]:
        """All that changes token ids: digests of tokenizer and template, and the options."""
        content = json.loads(self.tokenizer.backend_tokenizer.to_str())
        # `token_ids` uses neither, and any other call of the tokenizer may set them.
        content["padding"] = None
        content["truncation"] = None
        content["special"] = str(sorted(self.tokenizer.special_tokens_map.items()))
        return {
            "tokenizer": digest(json.dumps(content, sort_keys=True)),
            "chat_template": digest(self.tokenizer.get_chat_template()),
            "bos": self.bos,
            "max_length": str(self.max_length),
            "too_long": self.too_long,
        }

    def _render(self, turns: list[dict[str, str]], add_generation_prompt: bool = False) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                date_string=DATE,
            )
        except TemplateSyntaxError as error:
            where = f"line {error.lineno} of the tokenizer's chat template"
            raise ValueError(f"{where} is not written correctly: {error.message}") from None
        except TemplateError as error:  # the template's own words, such as "roles must alternate"
            raise ValueError(f"the chat template refuses this conversation: {error}") from None

    def _fit(self, request: _Request) -> Tokenized:
        """Tokenize a conversation; if it is too long, cut the start of its prompt."""
        text = self._render(request.turns, request.add_generation_prompt)
        _check_complete(text, request.turns)
        encoded = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        bos = self.tokenizer.bos_token_id
        ids = encoded["input_ids"]
        offsets = encoded["offset_mapping"]
        while ids and ids[0] == bos:
            ids = ids[1:]
            offsets = offsets[1:]
        opening = (bos,) if self.bos == "one" else ()
        excess = len(opening) + len(ids) - self.max_length
        if excess <= 0:
            return Tokenized((*opening, *ids), 0)
        problem = f"conversation is {excess} tokens longer than max_length={self.max_length}"
        if self.too_long == "error":
            raise ValueError(f'{problem}; raise it or set too_long="cut_prompt_start"')
        first, last = self._prompt_span(request, text, problem)
        places = [
            place for place, (start, end) in enumerate(offsets) if start >= first and end <= last
        ]
        if len(places) < excess:
            raise ValueError(
                f"{problem}, its prompt has {len(places)}; the response is never cut: raise "
                "max_length or shorten the response"
            )
        cut_from = places[0]
        return Tokenized((*opening, *ids[:cut_from], *ids[cut_from + excess :]), excess)

    def _prompt_span(self, request: _Request, text: str, problem: str) -> tuple[int, int]:
        """Find where the prompt starts in the rendered text, and where it ends (exclusive)."""
        blank = self._render(request.blank, request.add_generation_prompt)
        prompt_turns = max(1, len(request.turns) - 1)
        pieces = blank.split(STAND_IN, prompt_turns)
        header = pieces[0]
        ending = pieces[-1]
        if not (text.startswith(header) and text.endswith(ending)):
            raise ValueError(
                f"{problem}, and its chat template hides where the prompt is; raise max_length"
            )
        return len(header), len(text) - len(ending)


def _check_complete(text: str, turns: Sequence[Mapping[str, str]]) -> None:
    """Refuse a rendered conversation that lacks text of a message; white space may be trimmed.

    Templates of models that think leave out what stands before "</think>", so that two responses
    could be read as one.
    """
    start = 0
    for place, turn in enumerate(turns):
        content = turn["content"].strip()
        start = text.find(content, start)
        if start < 0:
            raise ValueError(
                f"the tokenizer's chat template leaves out or changes text of turn {place + 1} "
                f"({turn['role']}: {content!r:.60}); drop this pair, or correct the template"
            )
        start += len(content)


def _check_option(name: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ValueError(f"{name} must be one of {legal}, got {value!r}")
