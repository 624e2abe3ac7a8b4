"""A prompt and a response as messages, and as the token ids that a model reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerFast

from dtreward.files import digest

TURN = "<extra_id_1>"
ROLES = ("User", "Assistant")
OPTIONS = {"bos": ("one", "none"), "too_long": ("error", "cut_prompt_start")}
Conversations = Sequence[tuple[str, str]]  # (prompt, response), one a row
STAND_IN = "\ue000"  # private use: no template trims it


def messages(prompt: Any, response: Any = None) -> list[dict[str, str]]:
    r"""Split a prompt into the messages of its turns, and append the response.

    HelpSteer2 opens each turn after the first with `<extra_id_1>User` or `<extra_id_1>Assistant`
    and a newline. As in the original, a message loses the newlines at its end, and nothing else.
    A text that is blank or no string, or roles not User and Assistant in turn, are a ValueError.

    Example:
        >>> messages("2 + 2?\n", "4")
        [{'role': 'user', 'content': '2 + 2?'}, {'role': 'assistant', 'content': '4'}]
    """
    first, *later = prompt.split(TURN) if isinstance(prompt, str) else [prompt]
    turns = [("User", first), *(piece.partition("\n")[::2] for piece in later)]
    turns += [] if response is None else [("Assistant", response)]
    for place, (role, text) in enumerate(turns):
        if role.strip() != ROLES[place % 2] or not isinstance(text, str) or not text.strip():
            came = f"{role!r:.40} with {text!r:.40}; mend or drop this pair"
            raise ValueError(f"turn {place + 1} must be {ROLES[place % 2]} with text, came {came}")
        text.encode()  # a lone surrogate is a ValueError here, and a riddle in the tokenizer
    return [{"role": role.strip().lower(), "content": text.rstrip("\n")} for role, text in turns]


@dataclass(frozen=True)
class Tokenized:
    """Token ids of one conversation, and how many of its prompt's tokens were cut (0: whole)."""

    ids: tuple[int, ...]
    cut: int


@dataclass(frozen=True)
class ChatTokenizer:
    """Turn conversations into token ids by a chat template, with exactly one BOS or none.

    The template's text is tokenized without special tokens, BOS tokens that lead it are removed,
    and `bos="one"` (else "none") puts one in front. RewardBench's scores have one, the original's
    own feature extraction none. Text that spells a special token becomes it, as in the original.

    Args:
        max_length: most tokens of one conversation, BOS and template included.
        too_long: "error", or "cut_prompt_start": drop tokens from the start of the prompt's text
            (headers between its turns too); BOS, first header and the whole response stay, and of
            a question to a critic (`request_ids`) all but the prompt.
    """

    tokenizer: PreTrainedTokenizerFast
    bos: str = "one"
    max_length: int = 4096
    too_long: str = "error"

    def __post_init__(self) -> None:
        for name, legal in OPTIONS.items():
            if getattr(self, name) not in legal:
                raise ValueError(f"{name} must be one of {legal}, came {getattr(self, name)!r}")
        if self.max_length < 1:
            raise ValueError(f"max_length must be 1 token or more, came {self.max_length}")
        if not self.tokenizer.chat_template:
            raise ValueError("tokenizer has no chat template; set tokenizer.chat_template")
        if self.bos == "one" and self.tokenizer.bos_token_id is None:
            raise ValueError('tokenizer has no BOS token; set tokenizer.bos_token or bos="none"')

    def token_ids(self, prompt: Any, response: Any) -> Tokenized:
        """Tokenize a conversation, the template's final token last; ValueError if it cannot be."""
        turns = messages(prompt, "" if response is None else response)
        blank = [turn | {"content": STAND_IN} for turn in turns[:-1]] + turns[-1:]
        return self._fit(turns, blank)

    def prompt_end(self, ids: Sequence[int]) -> int:
        """Find where the last prompt ends: the first token of the marker before the response.

        The marker is what the template writes between a prompt and a response, end of turn included.
        A ValueError where the conversation does not hold it as tokens.
        """
        turns = [{"role": role.lower(), "content": STAND_IN} for role in ROLES]
        marker = self._render(turns).split(STAND_IN)[1]
        wanted = self.tokenizer(marker, add_special_tokens=False)["input_ids"]
        places = range(len(ids) - len(wanted), -1, -1)
        for place in places:
            if list(ids[place : place + len(wanted)]) == wanted:
                return place
        came = f"the gate reads the prompt's end; its marker {marker!r} is not in the conversation"
        raise ValueError(f"{came}; use the chat template that the model was published with")

    def request_ids(self, before: str, prompt: str = "", after: str = "") -> Tokenized:
        """Tokenize one user's message, and the header that asks for an answer.

        The message is the three parts in a row; of one that is too long, only `prompt` is cut.
        """
        texts = before + prompt + after, before + STAND_IN + after
        asked = ([{"role": "user", "content": text}] for text in texts)
        return self._fit(*asked, add_generation_prompt=True)

    @property
    def identity(self) -> dict[str, str]:
        """All that changes token ids: digests of tokenizer and template, and the options."""
        content = json.loads(self.tokenizer.backend_tokenizer.to_str())
        # `token_ids` uses neither, and any other call of the tokenizer may set them.
        content |= {"padding": None, "truncation": None}
        content |= {"special": str(sorted(self.tokenizer.special_tokens_map.items()))}
        parts = {"tokenizer": json.dumps(content, sort_keys=True)}
        parts |= {"chat_template": self.tokenizer.get_chat_template()}
        options = {"bos": self.bos, "max_length": str(self.max_length), "too_long": self.too_long}
        return {name: digest(part) for name, part in parts.items()} | options

    def _render(self, turns: list[dict[str, str]], **options: bool) -> str:
        # Llama 3.1's own date; templates of later models would write today's into every header.
        options |= {"tokenize": False, "date_string": "26 Jul 2024"}
        return self.tokenizer.apply_chat_template(turns, **options)

    def _fit(self, turns: list, blank: list, **given: bool) -> Tokenized:
        """Tokenize turns; if they are too long, cut what `blank` has a stand-in for."""
        text = self._render(turns, **given)
        options = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}
        encoded, bos = self.tokenizer(text, **options), self.tokenizer.bos_token_id
        ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
        while ids and ids[0] == bos:
            ids, offsets = ids[1:], offsets[1:]
        opening = (bos,) if self.bos == "one" else ()
        excess = max(0, len(opening) + len(ids) - self.max_length)
        if not excess:
            return Tokenized((*opening, *ids), 0)
        came = f"conversation is {excess} tokens longer than max_length={self.max_length}"
        if self.too_long == "error":
            raise ValueError(f'{came}; raise it or set too_long="cut_prompt_start"')
        pieces = self._render(blank, **given).split(STAND_IN, max(1, len(turns) - 1))
        header, ending = pieces[0], pieces[-1]
        if not (text.startswith(header) and text.endswith(ending)):
            raise ValueError(f"{came}, and its template hides where the prompt is; raise it")
        stop = len(text) - len(ending)
        inside = [i for i, (a, b) in enumerate(offsets) if a >= len(header) and b <= stop]
        if len(inside) < excess:
            raise ValueError(f"{came}, its prompt has {len(inside)}; the response is never cut")
        return Tokenized((*opening, *ids[: inside[0]], *ids[inside[0] + excess :]), excess)
