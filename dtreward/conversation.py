"""A prompt and a response as messages, and as the token ids that a model reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError, TemplateSyntaxError

from dtreward.files import digest
from dtreward.pooling import EOS, LAST, check_rule, end_ids, end_text

if TYPE_CHECKING:  # its import takes seconds
    from transformers import PreTrainedTokenizerFast

TURN = "<extra_id_1>"
FIRST_TURN = "<extra_id_0>"
ROLES = ("User", "Assistant")
ROLE_OF_WORD = {  # what public data sets call the three roles
    "user": "User",
    "human": "User",
    "assistant": "Assistant",
    "gpt": "Assistant",
    "model": "Assistant",
    "system": "System",
    "developer": "System",
}
# Anthropic's transcripts open each turn with an empty line and a name.
SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant):")
SPEAKER_ROLES = {"Human": "User", "Assistant": "Assistant"}
BOS_OPTIONS = ("one", "none")
TOO_LONG_OPTIONS = ("error", "cut_prompt_start")
# (prompt, response), one a row; a prompt is a text or a list of chat messages, a response a text.
# What is none, such as a missing value of a table, is refused with its row.
Conversations = Sequence[tuple[Any, Any]]
Turns = list[tuple[str, Any]]  # (role, text), one a turn
# For a language model without a chat template: the roles' names and the texts, nothing else.
PLAIN_TEMPLATE = (
    "{% for message in messages %}{% if not loop.first %}{{ '\n\n' }}{% endif %}"
    "{{ message['role'] | capitalize }}: {{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\n\nAssistant:' }}{% endif %}"
)
STAND_IN = "\ue000"  # stands for a text in a rendered template; private use, so none trims it
# Llama 3.1's own date; templates of later models would write today's into every header.
DATE = date(2024, 7, 26)
TODAY = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")
# The pair whose text is part of a model's identity.
FIXED_PAIR = ("How many apples are left?", "Three apples are left.")
RENDERED = "rendered"  # entries of an identity that earlier versions did not write
LAST_TOKEN = "last_token"


def messages(prompt: Any, response: Any = None) -> list[dict[str, str]]:
    r"""Split a prompt into the messages of its turns, and append the response.

    HelpSteer2 opens each turn after the first with `<extra_id_1>User` or `<extra_id_1>Assistant`
    and a newline; `<extra_id_0>System` opens a system turn before them. Anthropic's transcripts
    open turns with `\n\nHuman:` and `\n\nAssistant:`. As in the original, a message loses the
    newlines at its end and nothing else (a turn of a transcript loses all white space around it).

    Args:
        prompt: one text, of the last turn, and of earlier ones in the form of HelpSteer2 or of
            Anthropic's transcripts; or a list of chat messages, {"role": ..., "content": ...}.
        response: the last turn's answer; None for none.

    Raises:
        ValueError: if a text is blank or no string, if it cannot be encoded as UTF-8, or if the
            turns are not User and Assistant alternately, after at most one of System.

    Example:
        >>> messages("2 + 2?\n", "4")
        [{'role': 'user', 'content': '2 + 2?'}, {'role': 'assistant', 'content': '4'}]
        >>> messages([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
        [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'Hi'}]
    """
    turns = _turns(prompt)
    if response is not None:
        turns.append(("Assistant", response))
    has_system_turn = turns[0][0].strip() == "System"
    for place, (role, text) in enumerate(turns):
        expected = ROLES[(place - has_system_turn) % 2]
        if has_system_turn and place == 0:
            expected = "System"
        _check_turn(place, expected, role, text)
    return [{"role": role.strip().lower(), "content": text.rstrip("\n")} for role, text in turns]


def prompt_text(prompt: Any) -> Any:
    r"""Write a prompt of chat messages, or a transcript, as one text that `messages` reads alike.

    Any other text stays as it is.

    Raises:
        ValueError: if the messages are not legal (see `messages`), or a text holds the marks that
            open turns.

    Example:
        >>> prompt_text("\n\nHuman: 2 + 2?\n\nAssistant: 4\n\nHuman: Sure?\n\nAssistant:")
        '2 + 2?\n<extra_id_1>Assistant\n4\n<extra_id_1>User\nSure?'
        >>> prompt_text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
        '<extra_id_0>System\nBe brief.\n<extra_id_1>User\nHi'
    """
    if isinstance(prompt, str) and not is_transcript(prompt):
        return prompt
    turns = messages(prompt)
    for turn in turns:
        if TURN in turn["content"] or FIRST_TURN in turn["content"]:
            raise ValueError(
                f"a message holds {TURN} or {FIRST_TURN}, which open turns; take it out of "
                f"{turn['content']!r:.40}"
            )
    first, *later = turns
    if first["role"] == "system":
        text = f"{FIRST_TURN}System\n{first['content']}"
    elif is_transcript(first["content"]):
        text = f"{FIRST_TURN}User\n{first['content']}"
    else:
        text = first["content"]
    for turn in later:
        text += f"\n{TURN}{turn['role'].title()}\n{turn['content']}"
    return text


def is_transcript(text: str) -> bool:
    r"""Say whether a text is a transcript of turns that `Human:` and `Assistant:` open.

    One that begins with `Human:`, without an empty line before it, must have an answer, and its
    turns must alternate; else it may be any text.

    Example:
        >>> is_transcript("\n\nHuman: 2 + 2?"), is_transcript("Human: 2 + 2?\n\nAssistant:")
        (True, True)
        >>> is_transcript("Human: a noun or an adjective?")
        False
    """
    if text.startswith("\n\nHuman:"):
        return True
    if not text.lstrip().startswith("Human:") or "\n\nAssistant:" not in text:
        return False
    turns = transcript_turns(text)
    roles = [role for role, _ in turns]
    alternate = all(role == ROLES[place % 2] for place, role in enumerate(roles))
    return alternate and all(said for _, said in turns)


def transcript_turns(text: str) -> Turns:
    r"""Split a transcript into (role, text); an open `Assistant:` at its end is no turn.

    Example:
        >>> transcript_turns("\n\nHuman: 2 + 2?\n\nAssistant: 4\n\nHuman: Sure?\n\nAssistant:")
        [('User', '2 + 2?'), ('Assistant', '4'), ('User', 'Sure?')]
    """
    before, *pieces = SPEAKER.split(text.lstrip())
    turns = [] if not before.strip() else [("", before)]
    for name, said in zip(pieces[::2], pieces[1::2], strict=True):
        turns.append((SPEAKER_ROLES[name], said.strip()))
    is_open = len(turns) > 1 and turns[-1] == ("Assistant", "")
    return turns[:-1] if is_open else turns


def message_turns(prompt: Any) -> Turns:
    """Split a list of chat messages into (role, text).

    A message is {"role": ..., "content": ...}, or {"from": ..., "value": ...} as in ShareGPT. Its
    content is a text, or a list of parts that are texts.

    Raises:
        ValueError: for what is no message, a role that is unknown, and a part that is no text.

    Example:
        >>> message_turns([{"from": "human", "value": "2 + 2?"}])
        [('User', '2 + 2?')]
    """
    turns = []
    for place, message in enumerate(prompt):
        if not isinstance(message, Mapping):
            raise ValueError(  # noqa: TRY004 (as for every other prompt that cannot be read)
                f'message {place + 1} of a prompt must be {{"role": ..., "content": ...}}, '
                f"came {message!r:.40}"
            )
        word = message.get("role") or message.get("from")
        content = message.get("content")
        if content is None:
            content = message.get("value")
        role = ROLE_OF_WORD.get(str(word).lower(), str(word))
        turns.append((role, _joined_parts(content)))
    if not turns:
        raise ValueError("a prompt must have a turn of the user; came an empty list of messages")
    return turns


def _joined_parts(content: Any) -> Any:
    """Join the parts of a message that are texts; other contents stay as they are."""
    if isinstance(content, str) or not isinstance(content, Iterable):
        return content
    parts = list(content)
    texts = [part.get("text") for part in parts if isinstance(part, Mapping)]
    if len(texts) < len(parts) or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"a message must be a text, came {parts!r:.60}; drop this pair")
    return "\n".join(texts)


def _turns(prompt: Any) -> Turns:
    """Split a prompt into (role, text), unchecked."""
    if isinstance(prompt, Iterable) and not isinstance(prompt, str | bytes | Mapping):
        return message_turns(prompt)
    if not isinstance(prompt, str):
        return [("User", prompt)]
    if is_transcript(prompt):
        return transcript_turns(prompt)
    first, *later = prompt.split(TURN)
    turns = [("User", first)]
    if first.startswith(FIRST_TURN):
        role, _, text = first.removeprefix(FIRST_TURN).partition("\n")
        turns = [(role, text)]
    for piece in later:
        role, _, text = piece.partition("\n")
        turns.append((role, text))
    return turns


def _check_turn(place: int, expected: str, role: str, text: Any) -> None:
    """Refuse a turn with the wrong role or without a text that a tokenizer can read."""
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
        stand_ins: how many stand-ins those are.
        add_generation_prompt: whether the header that asks for an answer comes last.
    """

    turns: list[dict[str, str]]
    blank: list[dict[str, str]]
    stand_ins: int = 1
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
        model_limit: most tokens that the model takes; None if that is not known. It changes no
            token ids: messages suggest no longer conversations than these.
        pooling: which token of a response's conversation is read, a rule of `dtreward.pooling`; the
            token ids end with it.

    Raises:
        ValueError: if an option is not legal, if the tokenizer has no chat template or no BOS, or
            if the template cannot write a prompt with its response.
    """

    tokenizer: PreTrainedTokenizerFast
    bos: str = "one"
    max_length: int = 4096
    too_long: str = "error"
    model_limit: int | None = None
    pooling: str = LAST

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
        check_rule(self.pooling)
        if self.pooling == EOS and self.tokenizer.eos_token_id is None:
            raise ValueError(
                'tokenizer has no EOS token, which pooling="eos" reads; add the one that the model '
                "was trained with to its tokenizer_config.json, or pass another pooling"
            )
        self._check_template()

    def token_ids(self, prompt: Any, response: Any) -> Tokenized:
        """Tokenize a prompt with its response, as far as the template's final token.

        Raises:
            ValueError: if the turns are not legal (see `messages`), or too long and cannot be cut,
                or if the chat template leaves out text of a message.
        """
        turns = messages(prompt, "" if response is None else response)
        blank = [turn | {"content": STAND_IN} for turn in turns[:-1]]
        stand_ins = len(blank)
        blank.append(turns[-1])
        if turns[0]["role"] == "system":  # like a header, it is never cut
            blank[0] = turns[0]
            stand_ins -= 1
            if not self._takes_system_turn:
                turns = _fold_system_turn(turns)
                blank = _fold_system_turn(blank)
        return self._fit(_Request(turns, blank, stand_ins))

    def rendered(self, prompt: Any, response: str) -> str:
        """Write a conversation as the chat template does, before it is cut into tokens."""
        return self._render(messages(prompt, response))

    @cached_property
    def marker(self) -> str:
        """What the template writes between a prompt and its response, the end of the turn first."""
        turns = [{"role": role.lower(), "content": STAND_IN} for role in ROLES]
        return self._render(turns).split(STAND_IN)[1]

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
        """All that changes token ids: digests of tokenizer and template, and the options.

        The text that the template makes of a fixed pair, and the token that is read, show what no
        digest does: a system turn or an empty thought that the template adds, and where it ends.
        """
        text = self._render(messages(*FIXED_PAIR))
        text = end_text(text, self.pooling, self.tokenizer.eos_token)
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        last = end_ids(ids, self.pooling, self.tokenizer.eos_token_id)[-1]
        content = json.loads(self.tokenizer.backend_tokenizer.to_str())
        # `token_ids` uses neither, and any other call of the tokenizer may set them.
        content["padding"] = None
        content["truncation"] = None
        content["special"] = str(sorted(self.tokenizer.special_tokens_map.items()))
        identity = {
            "tokenizer": digest(json.dumps(content, sort_keys=True)),
            "chat_template": digest(self.tokenizer.get_chat_template()),
            "bos": self.bos,
            "max_length": str(self.max_length),
            "too_long": self.too_long,
            RENDERED: text,
            LAST_TOKEN: str(self.tokenizer.convert_ids_to_tokens(last)),
        }
        # Kept results of the time when all read the last token have no entry for it.
        if self.pooling != LAST:
            identity["pooling"] = self.pooling
        return identity

    @cached_property
    def _template(self) -> str:
        """The chat template, with a fixed date in the place of today's.

        Raises:
            ValueError: if the template asks for today's date in a form that is not in its text.
        """
        template = self.tokenizer.get_chat_template()
        fixed = TODAY.sub(lambda call: repr(DATE.strftime(call[2])), template)
        if "strftime_now(" in fixed:
            raise ValueError(
                "the tokenizer's chat template writes today's date, by a call of strftime_now "
                "without a format in quotes, so that scores would change from day to day; write a "
                "date into the template"
            )
        return fixed

    def _check_template(self) -> None:
        """Refuse a template that fails, or that leaves out a turn whatever its text is."""
        turns = [{"role": role.lower(), "content": STAND_IN} for role in ROLES]
        texts = {2: self._render(turns)}
        with suppress(ValueError):  # a template may take one question only, and says so later
            texts[4] = self._render(turns * 2)
        for count, text in texts.items():
            if text.count(STAND_IN) < count:
                raise ValueError(
                    f"the tokenizer's chat template leaves out text: of {count} turns it writes "
                    f"{text.count(STAND_IN)}; put the template that the model was trained with "
                    "into its place"
                )

    @property
    def _is_at_limit(self) -> bool:
        """Whether no longer conversations can be read by raising `max_length`."""
        return self.model_limit is not None and self.max_length >= self.model_limit

    @cached_property
    def _takes_system_turn(self) -> bool:
        """Whether the template writes a system turn; some refuse it, others drop it unseen."""
        turns = [{"role": "system", "content": STAND_IN}, {"role": "user", "content": "2 + 2?"}]
        try:
            return STAND_IN in self._render(turns)
        except ValueError:
            return False

    def _render(self, turns: list[dict[str, str]], add_generation_prompt: bool = False) -> str:
        try:
            rendered = self.tokenizer.apply_chat_template(
                turns,
                chat_template=self._template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                date_string=DATE.strftime("%d %b %Y"),
            )
            return str(rendered)  # a text, where it is not tokenised
        except TemplateSyntaxError as error:
            where = f"line {error.lineno} of the tokenizer's chat template"
            raise ValueError(f"{where} is not written correctly: {error.message}") from None
        except TemplateError as error:  # the template's own words, such as "roles must alternate"
            raise ValueError(f"the chat template refuses this conversation: {error}") from None
        except ValueError:  # of the library, such as "multiple chat templates with no default"
            raise
        except Exception as error:  # noqa: BLE001 (expressions of a template fail as any code does)
            reason = f"{type(error).__name__}: {error}"
            raise ValueError(
                f"the tokenizer's chat template cannot write this conversation ({reason}); put the "
                "template that the model was published with into its place"
            ) from None

    def _write(self, request: _Request, turns: list[dict[str, str]]) -> str:
        """Render a request's messages, or the same with stand-ins, as far as its last token."""
        text = self._render(turns, request.add_generation_prompt)
        if request.add_generation_prompt:
            return text
        return end_text(text, self.pooling, self.tokenizer.eos_token)

    def _fit(self, request: _Request) -> Tokenized:
        """Tokenize a conversation; if it is too long, cut the start of its prompt."""
        text = self._write(request, request.turns)
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
        if not request.add_generation_prompt:
            ids = end_ids(ids, self.pooling, self.tokenizer.eos_token_id)
        opening = (bos,) if self.bos == "one" else ()
        excess = len(opening) + len(ids) - self.max_length
        if excess <= 0:
            return Tokenized((*opening, *ids), 0)
        problem = f"conversation is {excess} tokens longer than max_length={self.max_length}"
        if self.too_long == "error":
            if self._is_at_limit:
                problem = f"{problem}, the most that the model takes"
            advice = "" if self._is_at_limit else "raise it or "
            raise ValueError(f'{problem}; {advice}set too_long="cut_prompt_start"')
        first, last = self._prompt_span(request, text, problem)
        places = [
            place for place, (start, end) in enumerate(offsets) if start >= first and end <= last
        ]
        if len(places) < excess:
            advice = "drop this pair" if self._is_at_limit else "raise max_length"
            raise ValueError(
                f"{problem}, its prompt has {len(places)}; the response is never cut: {advice} or "
                "shorten the response"
            )
        cut_from = places[0]
        return Tokenized((*opening, *ids[:cut_from], *ids[cut_from + excess :]), excess)

    def _prompt_span(self, request: _Request, text: str, problem: str) -> tuple[int, int]:
        """Find where the prompt starts in the rendered text, and where it ends (exclusive)."""
        blank = self._write(request, request.blank)
        pieces = blank.split(STAND_IN, request.stand_ins)
        header = pieces[0]
        ending = pieces[-1]
        if not (text.startswith(header) and text.endswith(ending)):
            advice = "drop this pair" if self._is_at_limit else "raise max_length"
            raise ValueError(
                f"{problem}, and its chat template hides where the prompt is; {advice}"
            )
        return len(header), len(text) - len(ending)


def _check_complete(text: str, turns: Sequence[Mapping[str, str]]) -> None:
    """Refuse a rendered conversation that lacks text of a message; white space may be trimmed.

    Templates of models that think leave out what stands before "</think>", so that two responses
    could be read as one. The text of a system turn may stand anywhere: Mistral's templates put it
    before the last question.
    """
    start = 0
    for place, turn in enumerate(turns):
        content = turn["content"].strip()
        if turn["role"] == "system" and content in text:
            continue
        start = text.find(content, start)
        if start < 0:
            raise ValueError(
                f"the tokenizer's chat template leaves out or changes text of turn {place + 1} "
                f"({turn['role']}: {content!r:.60}); drop this pair, or correct the template"
            )
        start += len(content)


def without_later_entries(identity: Any) -> Any:
    """Give an identity as earlier versions wrote it, so that what they made can still be read.

    Args:
        identity: of a chat tokenizer, or what holds one at any depth.

    Example:
        >>> without_later_entries({"backbone": {"bos": "one", "rendered": "<s>Hi", "last_token": "Hi"}})
        {'backbone': {'bos': 'one'}}
    """
    if isinstance(identity, Mapping):
        kept = {
            name: value for name, value in identity.items() if name not in (RENDERED, LAST_TOKEN)
        }
        return {name: without_later_entries(value) for name, value in kept.items()}
    if isinstance(identity, list | tuple):
        return type(identity)(without_later_entries(value) for value in identity)
    return identity


def _fold_system_turn(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    """Put the system turn before the user's first text, as Gemma 3's template does."""
    system, first, *later = turns
    return [first | {"content": f"{system['content']}\n\n{first['content']}"}, *later]


def _check_option(name: str, value: str, legal: tuple[str, ...]) -> None:
    if value not in legal:
        raise ValueError(f"{name} must be one of {legal}, got {value!r}")
