"""The demo world's judges behind an OpenAI-compatible endpoint on this machine's loopback."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import numpy as np
import pandas as pd

from dtreward.demo import world as demo
from dtreward.judges.judge import TEMPLATE, Judge, render

# Which judge, instead of a verdict, gives which kind of answer on what share of the pairs.
PLANTED = {"Strict-2": ("refused", 0.04), "Noisy": ("unparsed", 0.05)}
TEXTS = {"refused": "I'm sorry, but I can't compare these two.", "unparsed": "Both responses try."}
WITH_LOGPROBS = "GPT-4o"  # gives log-probabilities; the others leave them out, but for:
WITHOUT_LOGPROBS = "Llama-3.1-8B"  # refuses a request that asks for them, as some servers do


def demo_judges(base_url: str, *, seed: int = 0) -> list[Judge]:
    """All judges of the demo world but people, at the address that `serve` gives."""
    return [
        Judge(name, f"{name}-seed-{seed}", base_url, family=judge.family)
        for name, judge in demo.JUDGES.items()
        if name != "Human"
    ]


@contextmanager
def serve(pairs: pd.DataFrame, *, template: str = TEMPLATE, seed: int = 0) -> Iterator[str]:
    """Answer as the demo world's judges do, over HTTP, while the block runs; gives the base_url.

    Knows the given pairs, rendered by the template, in both orders; anything else is HTTP 400.

    Example:
        >>> import httpx
        >>> with serve(demo.make_pairs(2)) as url:
        ...     httpx.get(f"{url}/models", trust_env=False).json()["data"][0]["id"]
        'GPT-4o-seed-0'
    """
    judges = {judge.model: judge for judge in demo_judges("http://demo/v1", seed=seed)}
    rows = pairs[["prompt", "response_1", "response_2"]].itertuples(index=False, name=None)
    known: dict[str, tuple[int, int]] = {}
    for place, (prompt, one, two) in enumerate(rows):
        known[render(template, prompt, one, two)] = place, 0
        known[render(template, prompt, two, one)] = place, 1
    said = {model: _answers(pairs, judge.name, seed) for model, judge in judges.items()}

    def answer(path: str, body: Any) -> tuple[int, dict]:
        if path.endswith("/models"):
            return 200, {"object": "list", "data": [{"id": model} for model in said]}
        try:
            text, model = body["messages"][0]["content"], body["model"]
            judge, (place, order), most = judges[model].name, known[text], body["max_tokens"]
        except (LookupError, TypeError):
            return 400, {"error": {"message": "not a question about these pairs to these judges"}}
        if body.get("logprobs") and judge == WITHOUT_LOGPROBS:
            return 400, {"error": {"message": "Unexpected fields in the request: logprobs"}}
        words, sure = said[model][order][place]
        shown = " ".join(words.split()[:most])
        choice = {"index": 0, "message": {"role": "assistant", "content": shown}}
        choice |= {"finish_reason": "stop" if shown == words else "length"}
        if body.get("logprobs") and judge == WITH_LOGPROBS:
            choice["logprobs"] = _logprobs(words, sure)
        spent = {"prompt_tokens": len(text.split()), "completion_tokens": len(shown.split())}
        spent["total_tokens"] = sum(spent.values())
        reply = {"id": "demo", "object": "chat.completion", "created": 0, "model": model}
        return 200, reply | {"choices": [choice], "usage": spent}

    loop = asyncio.new_event_loop()  # in a thread of its own: a notebook's kernel runs one already
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    starting = loop.create_server(lambda: _Http(answer), "127.0.0.1", 0)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _answers(pairs: pd.DataFrame, judge: str, seed: int) -> list[list[tuple[str, float]]]:
    """For each order, each pair's words, and how sure the judge is of its verdict (0.5 to 1)."""
    planted, share = PLANTED.get(judge, ("", 0.0))
    instead = demo._uniforms(pairs, f"{seed} {judge} instead of a verdict") < share
    by_position = demo._by_position(pairs, demo.JUDGES[judge], seed)
    probability = demo.JUDGES[judge].probability(demo._differences(pairs))
    sure = np.where(by_position, 0.55, 0.5 + np.abs(probability - 0.5)).clip(max=0.99)
    orders = []
    for order in ("original", "swapped"):
        positions = demo.answers(pairs, judge, order=order, seed=seed)
        words = [f"{'AB'[position]} is the better response." for position in positions]
        words = np.where(instead, TEXTS.get(planted, ""), words).tolist()
        orders.append(list(zip(words, sure.tolist(), strict=True)))
    return orders


def _logprobs(words: str, sure: float) -> dict:
    other = {"A": "B", "B": "A"}.get(words[0], "A")
    likely = [{"token": words[0], "logprob": math.log(sure)}]
    likely.append({"token": other, "logprob": math.log(1 - sure)})
    return {"content": [likely[0] | {"top_logprobs": likely}]}


class _Http(asyncio.Protocol):
    """As much of HTTP/1.1 as JSON in, JSON out needs: lengths, and connections that stay open."""

    def __init__(self, answer: Callable[[str, Any], tuple[int, dict]]) -> None:
        self.answer, self.received = answer, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        while b"\r\n\r\n" in self.received:
            head, _, rest = self.received.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (s.partition(":") for s in lines)}
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                return
            body, self.received = rest[:length], rest[length:]
            status, reply = self.answer(first.split()[1], json.loads(body) if body else None)
            content = json.dumps(reply).encode()
            told = f"HTTP/1.1 {status} {'OK' if status == 200 else 'Bad Request'}\r\n"
            told += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
            self.transport.write(told.encode() + content)
