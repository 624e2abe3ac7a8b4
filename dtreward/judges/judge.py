"""A judge: a model behind an endpoint, and what it is asked."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from dtreward.conversation import messages
from dtreward.files import digest

ENDPOINTS = {  # base_url, and the environment variable with its key ("": none needed)
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": ("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    "gemini": ("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    "together": ("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "openrouter": ("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "deepseek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "ollama": ("http://localhost:11434/v1", ""),
    "vllm": ("http://localhost:8000/v1", ""),
    "transformers serve": ("http://localhost:8000/v1", ""),
}
TEMPLATE = Path(__file__).with_name("judge.txt").read_text("utf-8").strip()
FIELDS = re.compile(r"\{(conversation|response_a|response_b)\}")
BASE_URL = re.compile(r"https?://[^/@?]+(/[^@?]*)?")
VARIABLE = re.compile(r"\w*")
HEADER = re.compile(r"[A-Za-z0-9-]+")
Number = int | float | str | None  # a text where a command line gives it; read as a number
TOKENS_FIELDS = ("max_tokens", "max_completion_tokens")
ANSWER_FORMATS = ("", "json_schema", "choice")
SHORTEST_JSON = 16  # tokens that {"verdict": "A"} may take
# Fields that change an answer, beside model, max_tokens and extra. The hash of a judge's settings holds those that are not as they are
# by default, so that a field more in a later version changes no hash.
NUMBERS = (
    *("max_tokens", "max_tokens_if_cut", "timeout"),
    *("temperature", "input_price", "output_price"),
)
KEYED = ("headers", "temperature", "tokens_field", "reasoning_effort", "answer_format")


@dataclass(frozen=True)
class Judge:
    """A model at an endpoint, and what is asked of it.

    Its answers are keyed by its name and by `settings`: a model that moves to another address
    keeps them, another model under the same name does not inherit them.

    Args:
        endpoint: a row of `ENDPOINTS`, or a base_url that ends before /chat/completions.
        max_tokens: tokens to answer with; some judges need 5 before their verdict, some only 1,
            those that think some thousands.
        logprobs: ask for log-probabilities too; where they are refused, it is asked without.
        key_variable: the environment variable with the key, if not the endpoint's own.
        family: "" takes the name up to its first "-" or "/".
        extra: further fields of the request; None takes one away ({"seed": None}).
        headers: further headers. A value that begins with $ is read from the environment variable
            of that name when it is sent, and kept nowhere.
        key_header: the header with the key; "Authorization" sends it as a bearer token.
        temperature: None leaves it to the endpoint; some models refuse any.
        tokens_field: one of `TOKENS_FIELDS`: how the endpoint calls max_tokens.
        reasoning_effort: "" leaves it to the endpoint; the legal words are the endpoint's.
        answer_format: "" for free text; "json_schema" asks for {"verdict": "A"} or "B" by a JSON
            schema, as OpenAI's endpoint does; "choice" for the letter alone, as vLLM does.
        timeout: seconds that the endpoint may be silent; judges that think take minutes.
        max_tokens_if_cut: tokens for a question whose answer was cut before its verdict; 0 asks no
            such question again. Answers that were not cut are kept.
        input_price: money for a million tokens of questions; None: not known.
        output_price: money for a million tokens of answers, thoughts included.

    Raises:
        ValueError: if a field cannot be what it is; the message names all such fields.
    """

    name: str
    model: str
    endpoint: str
    max_tokens: int | str = 5
    logprobs: bool | str = True
    key_variable: str = ""
    family: str = ""
    extra: Any = field(default_factory=dict)
    headers: Any = field(default_factory=dict)
    key_header: str = "Authorization"
    temperature: Number = 0
    tokens_field: str = "max_tokens"
    reasoning_effort: str = ""
    answer_format: str = ""
    timeout: Number = 60.0
    max_tokens_if_cut: int | str = 0
    input_price: Number = None
    output_price: Number = None

    def __post_init__(self) -> None:
        """Read numbers that a command line gives as texts; refuse fields that cannot be right."""
        for name in (*NUMBERS, "logprobs"):
            value = getattr(self, name)
            if isinstance(value, str):
                object.__setattr__(self, name, _read_text(value))
        wrong = list(_wrong_fields(self))
        if wrong:
            raise ValueError(f"judge {self.name!s:.80}: {'; '.join(wrong)}")

    @property
    def settings(self) -> str:
        """Hash of all that could change an answer, such as model, tokens and further fields."""
        texts = [self.model, str(self.max_tokens), json.dumps(self.extra, sort_keys=True)]
        changed = {name: getattr(self, name) for name in KEYED}
        changed = {name: value for name, value in changed.items() if value != _default_of(name)}
        if changed:
            texts.append(json.dumps(changed, sort_keys=True))
        return digest(*texts)

    @property
    def has_prices(self) -> bool:
        """Whether it is known what a token costs."""
        return self.input_price is not None and self.output_price is not None

    def money(self, input_tokens: int, output_tokens: int) -> float:
        """Money that so many tokens cost; 0.0 where prices are not known."""
        if self.input_price is None or self.output_price is None:
            return 0.0
        price = input_tokens * float(self.input_price) + output_tokens * float(self.output_price)
        return price / 1e6

    def request(
        self,
        text: str,
        *,
        logprobs: bool = False,
        max_tokens: int = 0,
        choices: Sequence[str] = ("A", "B"),
    ) -> dict:
        """Body of a request: greedy, where the endpoint's temperature is not asked for.

        Args:
            max_tokens: in the place of the judge's own, where it is not 0.
            choices: what the answer can be, for an `answer_format`.
        """
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "temperature": self.temperature,
            self.tokens_field: max_tokens or self.max_tokens,
        }
        if self.reasoning_effort:
            body["reasoning_effort"] = self.reasoning_effort
        if logprobs:
            body["logprobs"] = True
            body["top_logprobs"] = 5
        if self.answer_format:
            body.update(_structure(self.answer_format, choices))
        body.update(self.extra)
        return {name: value for name, value in body.items() if value is not None}

    def own_headers(self, key: str) -> dict[str, str]:
        """Headers to send to this judge's endpoint, with its key.

        Raises:
            ValueError: if an environment variable that a header names is not set.
        """
        headers = {}
        for name, value in self.headers.items():
            if value.startswith("$"):
                value = os.environ.get(value[1:], "").strip()
            if not (value and value.isascii() and value.isprintable()):
                wanted = f"expected a value of the header {name}, or of the variable it names"
                raise ValueError(f"judge {self.name}: {wanted}; found none that can be sent")
            headers[name] = value
        if key:
            is_bearer = self.key_header.lower() == "authorization"
            headers[self.key_header] = f"Bearer {key}" if is_bearer else key
        return headers

    def connection(self) -> tuple[str, str]:
        """Address to post to, and the key ("" where none is needed).

        Raises:
            ValueError: for an endpoint that cannot be one, or if the key's variable is not set.
        """
        url, variable = ENDPOINTS.get(self.endpoint, (self.endpoint, ""))
        if self.key_variable:
            variable = self.key_variable
        # The message repeats neither: a url may hold a key, and so may what is no variable's name.
        if not (BASE_URL.fullmatch(url) and VARIABLE.fullmatch(variable)):
            wanted = f"endpoint {', '.join(ENDPOINTS)} or a base_url without user, key or query"
            raise ValueError(f"judge {self.name}: expected as {wanted}, a variable as key_variable")
        key = os.environ.get(variable, "").strip() if variable else ""
        can_be_sent = bool(key) and key.isascii() and key.isprintable()
        if variable and not can_be_sent:
            wanted = f"expected its key in the environment variable {variable}, found none"
            raise ValueError(f"judge {self.name}: {wanted}; set it where Jupyter or make starts")
        return f"{url.rstrip('/')}/chat/completions", key


def _default_of(name: str) -> Any:
    own = next(one for one in fields(Judge) if one.name == name)
    return own.default if own.default_factory is MISSING else own.default_factory()


def _wrong_fields(judge: Judge) -> Iterator[str]:
    """Say which fields cannot be what they are."""
    for name in ("name", "model", "endpoint"):
        if not isinstance(getattr(judge, name), str) or not getattr(judge, name):
            yield f"expected a text as {name}, came {getattr(judge, name)!r:.80}"
    for name, legal in (("tokens_field", TOKENS_FIELDS), ("answer_format", ANSWER_FORMATS)):
        if getattr(judge, name) not in legal:
            words = ", ".join(map(repr, legal))
            yield f"expected {name} as one of {words}, came {getattr(judge, name)!r:.80}"
    if (judge.input_price is None) != (judge.output_price is None):
        yield "expected input_price and output_price together, came one of them"
    yield from _wrong_numbers(judge)
    yield from _wrong_headers(judge)


def _wrong_numbers(judge: Judge) -> Iterator[str]:
    whole = {"max_tokens": 1, "max_tokens_if_cut": 0}  # the least of each
    for name, least in whole.items():
        if type(getattr(judge, name)) is not int or getattr(judge, name) < least:
            yield f"expected {name} of {least} or more, came {getattr(judge, name)!r:.80}"
            return
    allowed = int(judge.max_tokens)
    if 0 < int(judge.max_tokens_if_cut) <= allowed:
        yield f"expected max_tokens_if_cut above max_tokens, came {judge.max_tokens_if_cut}"
    if judge.answer_format == "json_schema" and allowed < SHORTEST_JSON:
        yield f"expected max_tokens of {SHORTEST_JSON} or more with json_schema: JSON takes them"
    if not _is_number(judge.timeout) or judge.timeout == 0:
        yield f"expected seconds above 0 as timeout, came {judge.timeout!r:.80}"
    for name in ("temperature", "input_price", "output_price"):
        value = getattr(judge, name)
        if value is not None and not _is_number(value):
            yield f"expected a number of 0 or more as {name}, came {value!r:.80}"


def _read_text(text: str) -> Any:
    """Read a word as YAML does: a number, true, false or null; another word stays."""
    try:
        return json.loads(text.lower())
    except ValueError:
        return text


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and value >= 0


def _wrong_headers(judge: Judge) -> Iterator[str]:
    for name in ("extra", "headers"):
        if not isinstance(getattr(judge, name), dict):
            yield f"expected {name} as name: value, came {getattr(judge, name)!r:.80}"
            return
    for name, value in judge.headers.items():
        if not (isinstance(name, str) and HEADER.fullmatch(name) and isinstance(value, str)):
            yield "expected headers as name: text"  # not repeated: it may be a key
        elif name.lower() in ("authorization", judge.key_header.lower()):
            yield f"the header {name} carries the key: give key_variable, and key_header if need be"


def _structure(answer_format: str, choices: Sequence[str]) -> dict[str, Any]:
    """Fields of a request that bind its answer to a form."""
    if answer_format == "choice":
        return {"structured_outputs": {"choice": list(choices)}}
    schema = {
        "type": "object",
        "properties": {"verdict": {"type": "string", "enum": list(choices)}},
        "required": ["verdict"],
        "additionalProperties": False,
    }
    form = {"name": "verdict", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def render(template: str, prompt: Any, first: str, second: str) -> str:
    """Fill in a template; braces other than its three fields, and those in texts, stay.

    A system turn of the prompt is part of the conversation.

    Example:
        >>> render("{conversation} | {response_a} | {response_b}", "2 + 2?", "4", "{5}")
        'User: 2 + 2? | 4 | {5}'
    """
    turns = [f"{turn['role'].title()}: {turn['content']}" for turn in messages(prompt)]
    texts = {"conversation": "\n\n".join(turns), "response_a": first, "response_b": second}
    missing = set(texts) - set(FIELDS.findall(template))
    if missing:
        raise ValueError(f"expected a template with the fields {set(texts)}; it lacks {missing}")
    return FIELDS.sub(lambda field: texts[field[1]], template)
