"""The demo world's judges behind an OpenAI-compatible endpoint on this machine's loopback."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd

from dtreward.demo.votes import (
    JUDGES,
    answers,
    answers_by_position,
    pair_uniforms,
    rating_differences,
)
from dtreward.judges.judge import TEMPLATE, Judge, render

# Which judge, instead of a verdict, gives which kind of answer on what share of the pairs.
PLANTED = {"Strict-2": ("refused", 0.04), "Noisy": ("unparsed", 0.05)}
TEXTS = {"refused": "I'm sorry, but I can't compare these two.", "unparsed": "Both responses try."}
WITH_LOGPROBS = "GPT-4o"  # gives log-probabilities; the others leave them out, but for:
WITHOUT_LOGPROBS = "Llama-3.1-8B"  # refuses a request that asks for them, as some servers do


def demo_judges(base_url: str, *, seed: int = 0) -> list[Judge]:
    """Give all judges of the demo world except people, at the address that `serve` gives."""
    judges = []
    for name, simulated in JUDGES.items():
        if name != "Human":
            judges.append(Judge(name, f"{name}-seed-{seed}", base_url, family=simulated.family))
    return judges


@contextmanager
def serve(pairs: pd.DataFrame, *, template: str = TEMPLATE, seed: int = 0) -> Iterator[str]:
    """Answer as the demo world's judges do, over HTTP, while the block runs; gives the base_url.

    Knows the given pairs, rendered by the template, in both orders; answers HTTP 400 to anything
    else.

    Example:
        >>> import httpx
        >>> from dtreward.demo.world import make_pairs
        >>> with serve(make_pairs(2)) as url:
        ...     httpx.get(f"{url}/models", trust_env=False).json()["data"][0]["id"]
        'GPT-4o-seed-0'
    """
    panel = _Panel(pairs, template, seed)
    loop = asyncio.new_event_loop()  # in its own thread: a notebook's kernel runs a loop already
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = loop.create_server(lambda: _Http(panel.reply), "127.0.0.1", 0)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass(frozen=True)
class _Answer:
    """A judge's words, and how sure it is of its verdict (0.5 to 1)."""

    words: str
    sure: float


class _Panel:
    """All judges with their answers to all questions, ready to reply to requests."""

    def __init__(self, pairs: pd.DataFrame, template: str, seed: int) -> None:
        self.names = {judge.model: judge.name for judge in demo_judges("http://demo/v1", seed=seed)}
        self.answers = {model: _answers(pairs, name, seed) for model, name in self.names.items()}
        self.places: dict[str, tuple[int, int]] = {}  # order and pair, of each question
        rows = zip(pairs["prompt"], pairs["response_1"], pairs["response_2"], strict=True)
        for pair, (prompt, one, two) in enumerate(rows):
            self.places[render(template, prompt, one, two)] = (0, pair)
            self.places[render(template, prompt, two, one)] = (1, pair)

    def reply(self, path: str, body: Any) -> tuple[int, dict]:
        """Give the HTTP status and the JSON that answer a request."""
        if path.endswith("/models"):
            return 200, {"object": "list", "data": [{"id": model} for model in self.names]}
        try:
            question = body["messages"][0]["content"]
            model = body["model"]
            name = self.names[model]
            order, pair = self.places[question]
            most = body["max_tokens"]
        except (LookupError, TypeError):
            return 400, {"error": {"message": "not a question about these pairs to these judges"}}
        if body.get("logprobs") and name == WITHOUT_LOGPROBS:
            return 400, {"error": {"message": "Unexpected fields in the request: logprobs"}}
        answer = self.answers[model][order][pair]
        with_logprobs = bool(body.get("logprobs")) and name == WITH_LOGPROBS
        return 200, _completion(model, question, answer, most, with_logprobs=with_logprobs)


def _completion(
    model: str, question: str, answer: _Answer, most: int, *, with_logprobs: bool
) -> dict[str, Any]:
    """Give the JSON of an answer that is cut after so many words."""
    shown = " ".join(answer.words.split()[:most])
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": shown},
        "finish_reason": "stop" if shown == answer.words else "length",
    }
    if with_logprobs:
        choice["logprobs"] = _logprobs(answer)
    asked = len(question.split())
    answered = len(shown.split())
    return {
        "id": "demo",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [choice],
        "usage": {
            "prompt_tokens": asked,
            "completion_tokens": answered,
            "total_tokens": asked + answered,
        },
    }


def _answers(pairs: pd.DataFrame, judge: str, seed: int) -> list[list[_Answer]]:
    """Give a judge's answers to all pairs, in the original and in the swapped order."""
    planted, share = PLANTED.get(judge, ("", 0.0))
    instead = pair_uniforms(pairs, f"{seed} {judge} instead of a verdict") < share
    by_position = answers_by_position(pairs, judge, seed=seed)
    probability = JUDGES[judge].probability(rating_differences(pairs))
    sure = np.where(by_position, 0.55, 0.5 + np.abs(probability - 0.5)).clip(max=0.99)
    orders = []
    for order in ("original", "swapped"):
        positions = answers(pairs, judge, order=order, seed=seed)
        verdicts = [f"{'AB'[position]} is the better response." for position in positions]
        words = np.where(instead, TEXTS.get(planted, ""), verdicts)
        orders.append([_Answer(*row) for row in zip(words.tolist(), sure.tolist(), strict=True)])
    return orders


def _logprobs(answer: _Answer) -> dict:
    first = answer.words[0]
    other = {"A": "B", "B": "A"}.get(first, "A")
    likely = [
        {"token": first, "logprob": math.log(answer.sure)},
        {"token": other, "logprob": math.log(1 - answer.sure)},
    ]
    return {"content": [likely[0] | {"top_logprobs": likely}]}


class _Http(asyncio.Protocol):
    """As much of HTTP/1.1 as JSON in, JSON out needs: lengths, and connections that stay open."""

    def __init__(self, reply: Callable[[str, Any], tuple[int, dict]]) -> None:
        self.reply = reply
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection, to write to it."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Reply to each request that has arrived as a whole."""
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, rest = self.received.partition(b"\r\n\r\n")
            request, *lines = head.decode("latin-1").split("\r\n")
            headers = {}
            for line in lines:
                name, _, value = line.partition(":")
                headers[name.lower()] = value
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            body = json.loads(rest[:length]) if length else None
            self.received = rest[length:]
            self.write(*self.reply(request.split()[1], body))

    def write(self, status: int, reply: dict) -> None:
        """Send a reply."""
        content = json.dumps(reply).encode()
        lines = [
            f"HTTP/1.1 {status} {'OK' if status == 200 else 'Bad Request'}",
            "Content-Type: application/json",
            f"Content-Length: {len(content)}",
        ]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + content)
