"""What an endpoint's reply says, and whether the question may be asked again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

PATIENCE = 300.0  # seconds: an endpoint that asks for a longer pause is not asked again
PASSING = (408, 409, 429)  # HTTP states that may pass, besides 500 and above
LONGEST = 300  # characters kept of an error


class Answer(NamedTuple):
    """What is stored of one reply: `state` is "answer", "refused" or "error"."""

    state: str
    text: str
    logprob_a: float | None = None
    logprob_b: float | None = None
    tokens: int = 0


class Outcome(NamedTuple):
    """An answer, whether the same question may get another one, and after how many seconds.

    `refused_text` is the whole text of a reply that refuses the request for good, "" otherwise.
    """

    answer: Answer
    ask_again: bool = False
    pause: float = 0.0
    refused_text: str = ""


def read_reply(
    status: int, body: str, headers: Mapping[str, str], question: str, key: str = ""
) -> Outcome:
    """Read a reply over HTTP.

    Args:
        status: HTTP status.
        body: text of the reply; where it repeats the key, "[key]" is kept in its place.
        headers: Retry-After is heeded up to `PATIENCE`.
        question: what was asked; its length stands in for tokens that are not counted.
        key: the endpoint's key, "" where it needs none.
    """
    text = hide_key(body, key)
    if status == 200:
        try:
            return Outcome(read_answer(json.loads(body), question, key))
        except Exception:  # noqa: BLE001 (whatever a server writes is an error of its own)
            message = f"no chat completion: {text:.{LONGEST}}"
            return Outcome(Answer("error", message), ask_again=True)
    pause = asked_pause(headers)
    ask_again = (status in PASSING or status >= 500) and pause <= PATIENCE
    refused_text = "" if ask_again else text
    is_filtered = status == 400 and re.search("content_(filter|policy)", text)
    if status in (401, 403):  # some endpoints repeat a part of the key
        text = "the endpoint refuses the key, or the key this model"
    answer = Answer("refused" if is_filtered else "error", f"HTTP {status}: {text:.{LONGEST}}")
    return Outcome(answer, ask_again, pause, refused_text)


def read_answer(reply: dict[str, Any], question: str, key: str = "") -> Answer:
    """Read a chat completion; raises any exception for another form."""
    choice = reply["choices"][0]
    message = choice["message"]
    logprobs = _logprobs(choice)
    text = str(message.get("content") or "")
    refusal = message.get("refusal")
    is_refused = refusal or choice.get("finish_reason") in ("content_filter", "refusal")
    counted = (reply.get("usage") or {}).get("total_tokens")
    guess = len(question) // 4  # where the endpoint does not count
    tokens = min(max(0, int(counted or guess)), 2**40)
    shown = hide_key(str(refusal or text), key)
    shown = shown.encode(errors="replace").decode()  # half a surrogate pair cannot be stored
    state = "refused" if is_refused else "answer"
    return Answer(state, shown, logprobs.get("A"), logprobs.get("B"), tokens)


def _logprobs(choice: dict[str, Any]) -> dict[str, float]:
    """Log-probabilities of A and B at the first token that is one of them; none in other forms."""
    try:
        for place in choice["logprobs"]["content"]:
            likely = {
                other["token"].strip(): other["logprob"] for other in place["top_logprobs"][::-1]
            }
            if place["token"].strip() in ("A", "B"):
                return {name: float(likely[name]) for name in "AB" if name in likely}
    except (LookupError, TypeError, ValueError, AttributeError):
        pass
    return {}


def hide_key(text: str, key: str) -> str:
    """Write [key] in the place of a key, also where it is escaped as in JSON.

    Example:
        >>> hide_key("your key abc is wrong", "abc")
        'your key [key] is wrong'
    """
    if not key:
        return text
    escaped = "".join(rf"\\*{re.escape(character)}" for character in key)
    return re.sub(escaped, "[key]", text)


def asked_pause(headers: Mapping[str, str]) -> float:
    """Read how many seconds Retry-After asks for, by number or by date; 0.0 where it does not.

    Example:
        >>> asked_pause({"retry-after": "2.5"})
        2.5
    """
    words = headers.get("retry-after", "")
    if not words:
        return 0.0
    if re.fullmatch(r"\d+(\.\d+)?", words):
        return float(words)
    date = pd.to_datetime(words, utc=True, errors="coerce", format="%a, %d %b %Y %H:%M:%S GMT")
    return max(0.0, (date - pd.Timestamp.now("UTC")).total_seconds())
