"""Ask LLM judges behind OpenAI-compatible endpoints about each pair in both orders."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from types import SimpleNamespace

import httpx
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from dtreward.files import digest
from dtreward.judges.judge import TEMPLATE, Judge, render
from dtreward.judges.store import both_orders, open_store, stored_answers

PATIENCE = 300.0  # seconds: an endpoint that asks for a longer pause is not asked again
PLAIN = 1e-9  # seconds until a question is asked again without log-probabilities
GIVE_UP = 20  # errors in a row after which a judge is left out for the rest of a run


@dataclass(frozen=True)
class Collected:
    """What one `collect` did; a question is a pair in one order.

    `stored`: questions answered now. `missing`: those of each judge that have no answer yet, errors
    among them. `stopped`: why it ended early or left a judge out, "" if it did not.
    """

    requests: int
    tokens: int
    stored: int
    missing: dict[str, int]
    stopped: str


def collect(
    store: str | Path,
    pairs: pd.DataFrame,
    judges: Sequence[Judge],
    *,
    template: str = TEMPLATE,
    concurrency: int = 8,
    max_requests: int = 0,
    max_tokens: int = 0,
    retries: int = 5,
    timeout: float = 60.0,
) -> Collected:
    """Ask each judge about each pair in both orders, and store every answer as it arrives.

    Questions that `store` has an answer to (refusals and unparsed ones are answers) are not asked
    again; errors are, after all else, in any order. It goes pair by pair: a run that stops early
    has the same pairs of all. After 20 errors in a row a judge is left out for the rest of the run.

    Args:
        store: SQLite file; one process at a time may use it.
        pairs: columns prompt, response_1, response_2.
        max_requests: of this run, retries included; 0 means any number.
        max_tokens: of this run; 0 means any number. What is under way when it is reached, at most
            `concurrency` answers, still counts.
        retries: after 429, 5xx, silence and broken replies: after as long as Retry-After says (for
            all questions to that judge), else after 0.5 s, 1 s, 2 s ..., shortened by chance.
        timeout: seconds that an endpoint may be silent.

    Raises:
        ValueError: for judges of one name, a missing key, or a store that another process uses.
    """
    run = SimpleNamespace(template=template, retries=retries, lock=Lock(), stop=Event())
    run.connections = {judge.name: judge.connection() for judge in judges}
    if len(run.connections) < len(judges):
        raise ValueError(f"expected distinct names, came {[judge.name for judge in judges]}")
    run.texts = {digest(*each): each for both in both_orders(pairs) for each in both}
    answers = stored_answers(store, judges, template=template).set_index(["judge", "shown"])
    told, todo = answers["state"].to_dict(), [(one, key) for key in run.texts for one in judges]
    todo = [each for each in todo if told.get((each[0].name, each[1]), "error") == "error"]
    # What has failed before comes last, by chance: else what always fails would hide the rest.
    todo.sort(key=lambda each: ((each[0].name, each[1]) in told) * np.random.random())
    run.todo, run.missing = iter(todo), Counter(judge.name for judge, _ in todo)
    run.spent, run.limits = Counter(), {"requests": max_requests, "tokens": max_tokens}
    run.failed, run.resume, run.plain, run.told = Counter(), Counter(), set(), {}
    options = {"limits": httpx.Limits(max_keepalive_connections=concurrency), "timeout": timeout}
    options["mounts"] = {"all://localhost": None, "all://127.0.0.1": None}  # never by a proxy
    with (
        closing(open_store(store)) as run.database,
        httpx.Client(**options) as run.client,
        tqdm(total=len(todo), unit=" answers") as run.bar,
        ThreadPoolExecutor(concurrency) as pool,
    ):
        try:
            for worker in [pool.submit(_work, run) for _ in range(concurrency)]:
                worker.result()
        finally:
            run.stop.set()
    missing = {judge.name: run.missing[judge.name] for judge in judges}
    spent = [run.spent[name] for name in run.limits]
    why = [f"the budget of {run.limits[name]:,} {name} is spent" for name in _over(run)]
    out = [name for name in missing if run.failed[name] >= GIVE_UP]
    why += [f"{name} left out after {GIVE_UP} errors ({run.told[name]})" for name in out]
    return Collected(*spent, len(todo) - sum(missing.values()), missing, "; ".join(why))


def _over(run):
    return [name for name, most in run.limits.items() if 0 < most <= run.spent[name]]


def _work(run):
    for judge, key in run.todo:
        if run.failed[judge.name] >= GIVE_UP or not (answer := _ask(run, judge, run.texts[key])):
            continue
        row = (judge.settings, digest(run.template), judge.name, key, *answer)
        with run.lock, run.database:
            run.database.execute("REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            error, run.told[judge.name] = answer[0] == "error", answer[1]
            run.spent["tokens"] += answer[-1]
            run.missing[judge.name] -= not error
            run.failed[judge.name] = (run.failed[judge.name] + 1) * error
            run.bar.update()


def _ask(run, judge, texts):
    """Give what is stored of an answer, state to tokens, or None where the run has stopped."""
    attempt = 0
    while True:
        run.stop.wait(max(0.0, run.resume[judge.name] - monotonic()))
        with run.lock:
            if _over(run):
                run.stop.set()
            if run.stop.is_set():
                return None
            run.spent["requests"] += 1
        again, pause, answer = _send(run, judge, render(run.template, *texts))
        if again and pause:  # for all questions to that judge
            run.resume[judge.name] = max(run.resume[judge.name], monotonic() + pause)
        if not again or (attempt == run.retries and pause != PLAIN):
            return answer
        attempt += pause != PLAIN
        if not pause:
            run.stop.wait(2.0**attempt * np.random.uniform(0.125, 0.25))


def _send(run, judge, text):
    """Send a request; say whether to ask again, after how many seconds, and what came."""
    (url, key), more = run.connections[judge.name], judge.logprobs and judge.name not in run.plain
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    body = judge.request(text, logprobs=more)
    try:
        reply = run.client.post(url, json=body, headers=headers)
    except httpx.HTTPError as error:
        return True, 0.0, ("error", f"no reply: {type(error).__name__}", None, None, 0)
    status, told = reply.status_code, _hidden(reply.text, key)
    if status == 200:
        try:
            return False, 0.0, _answer(json.loads(reply.text), text, key)
        except Exception:  # noqa: BLE001 (whatever a server writes is an error of its own)
            return True, 0.0, ("error", f"no chat completion: {told:.300}", None, None, 0)
    again, pause = status in (408, 409, 429) or status >= 500, _pause(reply.headers)
    if "logprob" in told.lower() and more and "logprobs" not in judge.extra and not again:
        run.plain.add(judge.name)
        return True, PLAIN, ("error", "log-probabilities refused", None, None, 0)
    state = "refused" if status == 400 and re.search("content_(filter|policy)", told) else "error"
    if status in (401, 403):  # some endpoints repeat a part of the key
        told = "the endpoint refuses the key, or the key this model"
    return again and pause <= PATIENCE, pause, (state, f"HTTP {status}: {told:.300}", None, None, 0)


def _answer(reply, asked, key=""):
    choice, counted = reply["choices"][0], (reply.get("usage") or {}).get("total_tokens")
    message, likely = choice["message"], {}
    try:
        for place in choice["logprobs"]["content"]:
            found = {each["token"].strip(): each["logprob"] for each in place["top_logprobs"][::-1]}
            if not likely and place["token"].strip() in ("A", "B"):
                likely = {name: float(found[name]) for name in "AB" if name in found}
    except (LookupError, TypeError, ValueError, AttributeError):
        pass  # none, or in a form of the endpoint's own
    text, refusal = str(message.get("content") or ""), message.get("refusal")
    refused = refusal or choice.get("finish_reason") in ("content_filter", "refusal")
    tokens = min(max(0, int(counted or len(asked) // 4)), 2**40)  # a guess where it does not count
    said = _hidden(str(refusal or text), key).encode(errors="replace").decode()
    return "refused" if refused else "answer", said, likely.get("A"), likely.get("B"), tokens


def _hidden(text, key):
    """A text without the key, also where it is escaped as in JSON."""
    return re.sub("".join(rf"\\*{re.escape(each)}" for each in key or "\0"), "[key]", text)


def _pause(headers):
    """Seconds that Retry-After asks for, by number or by date; 0.0 where it does not."""
    told = headers.get("retry-after", "")
    if re.fullmatch(r"\d+(\.\d+)?", told):
        return float(told)
    date = pd.to_datetime(told, utc=True, errors="coerce", format="%a, %d %b %Y %H:%M:%S GMT")
    return max(0.0, (date - pd.Timestamp.now("UTC")).total_seconds()) if told else 0.0
