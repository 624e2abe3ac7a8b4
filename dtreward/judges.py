"""What LLM judges prefer: asked of OpenAI-compatible endpoints, each pair in both orders.

Every answer is stored as it arrives, so that a killed run or a spent quota loses none, and the
next run asks only what is missing. A key comes from the environment and goes into no file or text.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from types import SimpleNamespace

import httpx
import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from dtreward.conversation import messages
from dtreward.pairs import TEXTS, expect_columns
from dtreward.record import digest

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
ORDERS = ["given", "swapped"]  # response 1 shown first, response 2 shown first
OUTCOMES = ("decided", "inconsistent", "unparsed", "refused", "error", "missing")
# A letter alone, or with as much of "is the better response" as the first tokens hold.
BETTER = r"is( (the )?(better|best|preferred|superior)\b|( (t|th|the|the b|the be|the bet|the bett))?\W*$)"
SAYS = re.compile(rf"\W*(?:response )?([ab])\W*?($|[.:](\s|$)|\n|\s{BETTER})", re.IGNORECASE)
REFUSES = re.compile(r"\W*(I.?m (sorry|unable)|Sorry|I (can.?t|cannot|won.?t|am unable)|As an AI)")
PATIENCE = 300.0  # seconds: an endpoint that asks for a longer pause is not asked again
PLAIN = 1e-9  # seconds until a question is asked again without log-probabilities
GIVE_UP = 20  # errors in a row after which a judge is left out for the rest of a run
COLUMNS = "judge, shown, state, text, logprob_a, logprob_b, tokens"
STORE = f"""PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
CREATE TABLE IF NOT EXISTS answers (settings, template, {COLUMNS},
PRIMARY KEY (judge, settings, template, shown)) WITHOUT ROWID"""


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
        body = {"model": self.model, "messages": [{"role": "user", "content": text}]}
        body |= {"temperature": 0, "max_tokens": self.max_tokens}
        body |= {"logprobs": True, "top_logprobs": 5} if logprobs else {}
        return {name: value for name, value in (body | self.extra).items() if value is not None}

    def connection(self) -> tuple[str, str]:
        """Address to post to, and the key ("" where none is needed).

        Raises:
            ValueError: for an endpoint that cannot be one, or if the key's variable is not set.
        """
        url, variable = ENDPOINTS.get(self.endpoint, (self.endpoint, ""))
        variable = self.key_variable or variable
        # What is no name of a variable may be a key, and is not repeated.
        if not re.fullmatch(r"\w* https?://[^/@?]+(/[^@?]*)?", f"{variable} {url}"):
            wanted = f"endpoint {', '.join(ENDPOINTS)} or a base_url without user, key or query"
            raise ValueError(f"judge {self.name}: expected as {wanted}, a variable as key_variable")
        key = os.environ.get(variable, "").strip()
        if variable and not (key.isascii() and key.isprintable() and key):
            wanted = f"expected its key in the environment variable {variable}, found none"
            raise ValueError(f"judge {self.name}: {wanted}; set it where Jupyter or make starts")
        return f"{url.rstrip('/')}/chat/completions", key


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


def verdict(text: str) -> str:
    """Read the first words of an answer: "A", "B", "refused" or "unparsed".

    Example:
        >>> [verdict(text) for text in ("A is the", "**B**", "A good answer", "I'm sorry, but")]
        ['A', 'B', 'unparsed', 'refused']
    """
    if found := SAYS.match(text):
        return found[1].upper()
    return "refused" if REFUSES.match(text) else "unparsed"


def render(template: str, prompt: str, first: str, second: str) -> str:
    """Fill in a template; braces other than its three fields, and those in texts, stay.

    Example:
        >>> render("{conversation} | {response_a} | {response_b}", "2 + 2?", "4", "{5}")
        'User: 2 + 2? | 4 | {5}'
    """
    turns = (f"{turn['role'].title()}: {turn['content']}" for turn in messages(prompt))
    values = {"conversation": "\n\n".join(turns), "response_a": first, "response_b": second}
    if missing := set(values) - set(FIELDS.findall(template)):
        raise ValueError(f"expected a template with the fields {set(values)}; it lacks {missing}")
    return FIELDS.sub(lambda found: values[found[1]], template)


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
    run.texts = {digest(*each): each for both in _shown(pairs) for each in both}
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
        closing(_open(store)) as run.database,
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


def stored_answers(
    store: str | Path, judges: Sequence[Judge], *, template: str = TEMPLATE
) -> pd.DataFrame:
    """List what is stored: judge, shown, state, text, logprob_a, logprob_b, tokens.

    `shown` is the `digest` of the prompt, the response shown first and the other; `state` is "A",
    "B", "unparsed", "refused" or "error". The log-probabilities of A and B, where the endpoint
    gives them, are those at the first token that is one of them.
    """
    query = f"SELECT {COLUMNS} FROM answers WHERE judge = ? AND settings = ? AND template = ?"
    asked = [(judge.name, judge.settings, digest(template)) for judge in judges]
    with closing(_open(store)) as database:
        rows = [row for each in asked for row in database.execute(query, each)]
    frame = pd.DataFrame(rows, columns=COLUMNS.split(", "))
    said = frame["state"] == "answer"
    return frame.assign(state=frame["state"].mask(said, frame["text"].map(verdict)))


def verdicts(
    store: str | Path, pairs: pd.DataFrame, judges: Sequence[Judge], *, template: str = TEMPLATE
) -> pd.DataFrame:
    """Turn stored answers into one row a judge and pair.

    Columns: judge, family, pair (index of `pairs`), prompt_id, given and swapped (the position
    answered, "A" for the response shown first, where response 1 and where response 2 is first; None
    without a verdict), outcome (one of `OUTCOMES`, the worst of both orders), preference (Int8; 0
    or 1 where both orders name the same response).
    """
    answers, states = stored_answers(store, judges, template=template), []
    keys = pd.DataFrame([[digest(*each) for each in both] for both in _shown(pairs)], pairs.index)
    for judge in judges:
        own = answers[answers["judge"] == judge.name].set_index("shown")["state"]
        orders = keys.apply(lambda order, own=own: order.map(own)).set_axis(ORDERS, axis=1)
        states.append(orders.assign(pair=pairs.index, judge=judge.name, family=judge.family))
    return judged_frame(pd.concat(states, ignore_index=True), pairs)


def judged_frame(states: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Finish the rows that `verdicts` describes.

    Args:
        states: judge, family ("": by the judge's name), pair, and for given and swapped "A", "B",
            one of `OUTCOMES`, or nan (missing).
        pairs: with prompt_id.
    """
    rank = {"A": 0, "B": 0} | {name: place for place, name in enumerate(OUTCOMES)}
    worst = states[ORDERS].fillna("missing").replace(rank).max(axis=1).astype(int)
    worst = worst.where(worst > 0, (states["given"] == states["swapped"]).astype(int))
    named = states["judge"].str.split("[-/]", regex=True).str[0]
    said = states[ORDERS].astype(object).where(states[ORDERS].isin(["A", "B"]), None)
    found = states[["judge"]].assign(family=states["family"].where(states["family"] != "", named))
    found["pair"], found["prompt_id"] = states["pair"], pairs["prompt_id"][states["pair"]].array
    found[[*ORDERS, "outcome"]] = said.assign(outcome=np.array(OUTCOMES)[worst])
    return found.assign(preference=(said["given"] == "B").astype("Int8").where(worst == 0))


def _shown(pairs):
    """For each pair (prompt, first, second) in the order given, and swapped."""
    expect_columns(pairs, TEXTS)
    rows = pairs[TEXTS].itertuples(index=False, name=None)
    return [((prompt, one, two), (prompt, two, one)) for prompt, one, two in rows]


def _open(path):
    """Open a store that a kill cannot damage (write-ahead log), for this process alone."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
    try:
        database.executescript(STORE)
    except sqlite3.DatabaseError as error:
        database.close()
        advice = "if it is locked, another process collects into it: wait for it, or end it"
        raise ValueError(f"cannot use the store of answers {path}: {error}; {advice}") from error
    return database


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
