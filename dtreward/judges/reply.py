"""What an endpoint's reply says, and whether the question may be asked again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

PATIENCE = 300.0  # seconds: an endpoint that asks for a longer pause is not asked again
PASSING = (408, 409, 429)  # HTTP states that may pass, besides 500 and above
RESET = re.compile(r"ratelimit-(.*-)?reset")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
DURATION = re.compile(r"(\d+(\.\d+)?(ms|[dhms]))+")
LONGEST = 300  # characters kept of an error
# What to change where an endpoint refuses a request, by what its text names.
ADVICE = (
    ("max_completion_tokens", "give the judge tokens_field: max_completion_tokens"),
    ("temperature", "give the judge temperature: null"),
    ("reasoning_effort", "leave the judge's reasoning_effort out, or give another"),
    ("response_format", "leave the judge's answer_format out"),
    ("structured_outputs", "leave the judge's answer_format out"),
)
NOT_FOUND = "look at the judge's endpoint, which ends before /chat/completions, and at its model"

# Words for why an answer ended, of OpenAI, Anthropic, Gemini, Mistral, Zhipu, DeepSeek and others.
CUT = ("length", "max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded")
FILTERED = (
    *("content_filter", "refusal", "safety", "sensitive", "recitation", "prohibited_content"),
    *("blocklist", "spii", "guardrail", "guardrail_intervened", "content_filtered", "language"),
)
FAILED = ("error", "network_error", "abort", "aborted", "insufficient_system_resource")
MODERATED = re.compile(
    r"content[_ ](?:filter|policy|management)|moderation|flagged|data_?inspection_?failed|"
    r"inappropriate content|responsible ?ai",
    re.IGNORECASE,
)
FEW_REPEATS = 1  # of a question that was paid for, and whose next reply is likely the same
THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # fields beside a message's content
ONLY_THOUGHTS = "no text, only reasoning; raise max_tokens, or lower reasoning_effort"


class Answer(NamedTuple):
    """What is stored of one reply.

    Attributes:
        state: "answer", "refused", "empty" (a reply without text) or "error".
        text: of the answer or the refusal; of the others, what there is instead.
        tokens: of question and answer; counted by the endpoint, else guessed.
        finish: the endpoint's word for why the answer ended, in small letters; "" without one.
    """

    state: str
    text: str
    logprob_a: float | None = None
    logprob_b: float | None = None
    tokens: int = 0
    finish: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0


class Outcome(NamedTuple):
    """An answer, whether the same question may get another one, and after how many seconds.

    `refused_text` is the whole text of a reply that refuses the request for good, "" otherwise.
    `most_repeats` is how often it may be asked again at most; None leaves that to the caller.
    """

    answer: Answer
    ask_again: bool = False
    pause: float = 0.0
    refused_text: str = ""
    most_repeats: int | None = None


def read_reply(
    status: int,
    body: str,
    headers: Mapping[str, str],
    question: str,
    secrets: Sequence[str] = (),
) -> Outcome:
    """Read a reply over HTTP.

    Args:
        status: HTTP status.
        body: text of the reply.
        headers: where they ask for a pause, it is heeded up to `PATIENCE`.
        question: what was asked; its length stands in for tokens that are not counted.
        secrets: the endpoint's key, and values of headers from the environment; "[key]" is kept in
            their place.
    """
    text = hide_keys(body, secrets)
    if status == 200:
        try:
            return _read_completion(json.loads(body), question, secrets)
        except Exception:  # noqa: BLE001 (whatever a server writes is an error of its own)
            message = f"no chat completion: {text:.{LONGEST}}"
            return Outcome(guessed_answer(message, question, 0), ask_again=True)
    pause = asked_pause(headers)
    ask_again = (status in PASSING or status >= 500) and pause <= PATIENCE
    refused_text = "" if ask_again else text
    is_moderated = status in (400, 403, 422, 451) and MODERATED.search(text)
    if is_moderated:
        text = "the endpoint's moderation refuses this question"
    elif status in (401, 403):  # some endpoints repeat a part of the key
        text = "the endpoint refuses the key, or the key this model"
    else:
        said = [f"{text:.{LONGEST}}", _advice(status, text, headers)]
        text = "; ".join(part for part in said if part)
    answer = Answer("refused" if is_moderated else "error", f"HTTP {status}: {text}")
    return Outcome(answer, ask_again, pause, refused_text)


def _advice(status: int, text: str, headers: Mapping[str, str]) -> str:
    """Say what to change where an endpoint refuses a request for good; "" where nothing is known."""
    if 300 <= status < 400:
        # The address may hold a key in its query.
        address = str(headers.get("location", "another address")).partition("?")[0]
        return f"it redirects to {address:.100}, where the key is not sent; correct endpoint"
    if status in (404, 405):
        return NOT_FOUND
    if status not in (400, 422):
        return ""
    return next((advice for word, advice in ADVICE if word in text), "")


def guessed_answer(message: str, question: str, output_tokens: int) -> Answer:
    """Give an error whose tokens nobody counted, but for which the endpoint may ask money."""
    asked = guess_tokens(question)
    counts = {"prompt_tokens": asked, "output_tokens": output_tokens}
    return Answer("error", message, tokens=asked + output_tokens, **counts)


def guess_tokens(text: str) -> int:
    """Guess the tokens of a text: one for four bytes.

    Example:
        >>> guess_tokens("How are you?"), guess_tokens("你好吗？")
        (3, 3)
    """
    return len(text.encode(errors="replace")) // 4


def _read_completion(reply: dict[str, Any], question: str, secrets: Sequence[str]) -> Outcome:
    """Read a reply of status 200; raises any exception for what is no chat completion."""
    failure = reply.get("error")
    choices = reply.get("choices") or []
    if choices:
        failure = failure or choices[0].get("error")
        if str(choices[0].get("finish_reason")).lower() in FAILED:
            failure = failure or choices[0]["finish_reason"]
    if not failure:
        answer = read_answer(reply, question, secrets)
        is_empty = answer.state == "empty" and answer.finish not in CUT
        return Outcome(answer, ask_again=is_empty, most_repeats=FEW_REPEATS)
    text = hide_keys(json.dumps(failure, ensure_ascii=False), secrets)
    counts = _counted_tokens(reply, question)
    code = failure.get("code") if isinstance(failure, dict) else None
    if MODERATED.search(text):
        return Outcome(Answer("refused", f"HTTP 200 with an error: {text:.{LONGEST}}", **counts))
    code = int(code) if isinstance(code, str) and re.fullmatch("[45][0-9]{2}", code) else code
    is_lasting = isinstance(code, int) and 400 <= code < 500 and code not in PASSING
    answer = Answer("error", f"HTTP 200 with an error: {text:.{LONGEST}}", **counts)
    return Outcome(answer, ask_again=not is_lasting, refused_text=text if is_lasting else "")


def read_answer(reply: dict[str, Any], question: str, secrets: Sequence[str] = ()) -> Answer:
    """Read a chat completion; raises any exception for another form."""
    choice = reply["choices"][0]
    message = choice["message"]
    logprobs = _logprobs(choice)
    text = _text_of(message.get("content"))
    refusal = message.get("refusal")
    finish = str(choice.get("finish_reason") or "").lower()[:40]
    written = [refusal or text, *(message.get(name) for name in THOUGHTS)]
    guess = guess_tokens("".join(part for part in written if isinstance(part, str)))
    state = "refused" if refusal or finish in FILTERED else "answer"
    if state == "answer" and not text.strip():
        state = "empty"
        thoughts = any(message.get(name) for name in THOUGHTS)
        text = ONLY_THOUGHTS if thoughts else "no text"
    return Answer(
        state,
        _storable(str(refusal or text), secrets),
        logprobs.get("A"),
        logprobs.get("B"),
        finish=_storable(finish, secrets),
        **_counted_tokens(reply, question, guess),
    )


def _text_of(content: Any) -> str:
    """Join the parts of a message's content; parts that are no text, such as thoughts, are none."""
    if not isinstance(content, list):
        return str(content or "")
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    return "".join(str(part.get("text") or "") for part in parts)


def _storable(text: str, secrets: Sequence[str]) -> str:
    """Hide the key; half a surrogate pair cannot be stored."""
    return hide_keys(text, secrets).encode(errors="replace").decode()


def _counted_tokens(reply: dict[str, Any], question: str, guess: int = 0) -> dict[str, int]:
    """Tokens of question and answer, as far as the endpoint counts them.

    Args:
        guess: tokens of the answer where the endpoint counts none.
    """
    usage = reply.get("usage")
    asked = _count_in(usage, "prompt_tokens")
    answered = _count_in(usage, "completion_tokens")
    total = _count_in(usage, "total_tokens") or asked + answered
    # Some count thoughts in the total only.
    answered = max(answered, total - asked) if asked else answered
    if not total:
        answered = guess
        total = guess_tokens(question) + guess
    return {"tokens": total, "prompt_tokens": asked, "output_tokens": answered}


def _count_in(usage: Any, name: str) -> int:
    """Read a count of tokens; 0 for what is none, for an answer was paid for all the same."""
    try:
        return min(max(0, int(usage.get(name) or 0)), 2**40)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return 0


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


def hide_keys(text: str, secrets: Sequence[str]) -> str:
    """Write [key] in the place of each of these texts, the longest first.

    Example:
        >>> hide_keys("abc and abcd", ["abc", "abcd"])
        '[key] and [key]'
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = hide_key(text, secret)
    return text


def asked_pause(headers: Mapping[str, str]) -> float:
    """Read how many seconds an endpoint asks to wait; 0.0 where it does not.

    retry-after-ms comes before retry-after, a number or a date, and that before the times at which
    limits are reset; of these, the latest of those with nothing remaining.

    Example:
        >>> asked_pause({"retry-after": "2.5"}), asked_pause({"retry-after-ms": "20"})
        (2.5, 0.02)
        >>> left = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-remaining-tokens": "90"}
        >>> resets = {"x-ratelimit-reset-requests": "1m2s", "x-ratelimit-reset-tokens": "9m"}
        >>> asked_pause(left | resets)
        62.0
    """
    if re.fullmatch(r"\d+(\.\d+)?", headers.get("retry-after-ms", "")):
        return float(headers["retry-after-ms"]) / 1000
    if headers.get("retry-after"):
        return _seconds_until(headers["retry-after"])
    pauses = [0.0]
    for name, value in headers.items():
        if (
            RESET.search(name.lower())
            and headers.get(name.replace("reset", "remaining"), "0") == "0"
        ):
            pauses.append(_seconds_until(value))
    return max(pauses)


def _seconds_until(words: str) -> float:
    """Read a number of seconds, a duration such as 6m0s or 20ms, a time in epochs, or a date."""
    if re.fullmatch(r"\d+(\.\d+)?", words):
        number = float(words)
        now = pd.Timestamp.now("UTC").timestamp()
        if number > 1e11:  # milliseconds since 1970
            return max(0.0, number / 1000 - now)
        return max(0.0, number - now) if number > 1e8 else number
    if DURATION.fullmatch(words):
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[dhms])", words)
        return sum(float(number) * UNITS[unit] for number, unit in parts)
    date = pd.to_datetime(words, utc=True, errors="coerce", format="%a, %d %b %Y %H:%M:%S GMT")
    if pd.isna(date):
        date = pd.to_datetime(words, utc=True, errors="coerce", format="ISO8601")
    seconds = (date - pd.Timestamp.now("UTC")).total_seconds()
    return max(0.0, seconds) if pd.notna(seconds) else 0.0
