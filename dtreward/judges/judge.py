"""A judge: a model behind an endpoint, and what it is asked."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dtreward.conversation import messages
from dtreward.files import digest

ENDPOINTS = {  # base_url, and the environment variable with its key ("": none needed)
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "anthropic": ("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    "gemini": ("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    "together": ("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "vllm": ("http://localhost:8000/v1", ""),
    "transformers serve": ("http://localhost:8000/v1", ""),
}
TEMPLATE = Path(__file__).with_name("judge.txt").read_text("utf-8").strip()
FIELDS = re.compile(r"\{(conversation|response_a|response_b)\}")
BASE_URL = re.compile(r"https?://[^/@?]+(/[^@?]*)?")
VARIABLE = re.compile(r"\w*")


@dataclass(frozen=True)
class Judge:
    """A model at an endpoint, and what is asked of it.

    Its answers are keyed by its name and by `settings`: a model that moves to another address
    keeps them, another model under the same name does not inherit them.

    Args:
        endpoint: a row of `ENDPOINTS`, or a base_url that ends before /chat/completions.
        max_tokens: tokens to answer with; some judges need 5 before their verdict, some only 1.
        logprobs: ask for log-probabilities too; where they are refused, it is asked without.
        key_variable: the environment variable with the key, if not the endpoint's own.
        family: "" takes the name up to its first "-" or "/".
        extra: further fields of the request; None takes one away ({"temperature": None}).
    """

    name: str
    model: str
    endpoint: str
    max_tokens: int = 5
    logprobs: bool = True
    key_variable: str = ""
    family: str = ""
    extra: dict = field(default_factory=dict)

    @property
    def settings(self) -> str:
        """Hash of all that could change an answer: model, tokens and further fields."""
        return digest(self.model, str(self.max_tokens), json.dumps(self.extra, sort_keys=True))

    def request(self, text: str, *, logprobs: bool = False) -> dict:
        """Body of a request: greedy; max_tokens, because servers ignore or refuse its successor."""
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        if logprobs:
            body["logprobs"] = True
            body["top_logprobs"] = 5
        body.update(self.extra)
        return {name: value for name, value in body.items() if value is not None}

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
