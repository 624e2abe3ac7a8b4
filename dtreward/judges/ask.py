"""Ask LLM judges behind OpenAI-compatible endpoints about each pair in both orders."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from dtreward.files import digest
from dtreward.judges.judge import TEMPLATE, Judge, render
from dtreward.judges.reply import Answer, Outcome, read_reply
from dtreward.judges.store import both_orders, keep_answer, open_store, stored_answers

try:
    import httpx
except ImportError as error:
    raise ImportError('asking judges needs httpx: pip install "dtreward[judges]"') from error

GIVE_UP = 20  # errors in a row after which a judge is left out for the rest of a run


@dataclass(frozen=True)
class Collected:
    """What one `collect` did; a question is a pair in one order.

    Attributes:
        requests: requests sent, repeats included.
        tokens: tokens that the endpoints counted.
        stored: questions answered now.
        missing: for each judge, questions without an answer, errors among them.
        stopped: why it ended early or left a judge out; "" if it did not.
    """

    requests: int
    tokens: int
    stored: int
    missing: dict[str, int]
    stopped: str


class Question(NamedTuple):
    """A judge, the digest of the three texts that it is shown, and the texts."""

    judge: Judge
    shown: str
    texts: tuple[str, str, str]


def collect(  # noqa: PLR0913
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

    A question with a stored answer is not asked again; refusals and answers that cannot be read
    count as answers, errors do not. Questions that failed in an earlier run come last. The run
    goes pair by pair: where it stops early, all judges have answered the same pairs. After 20
    errors in a row a judge is left out for the rest of the run.

    Args:
        store: SQLite file; one process at a time may use it.
        pairs: columns prompt, response_1, response_2.
        judges: with distinct names.
        template: the question, with the fields {conversation}, {response_a} and {response_b}.
        concurrency: requests under way at once.
        max_requests: most requests of this run, repeats included; 0 means any number.
        max_tokens: most tokens of this run, questions and answers; 0 means any number. Answers
            under way when it is reached, at most `concurrency`, still count.
        retries: repeats after 408, 409, 429, 5xx, silence and broken replies. Each waits as long
            as Retry-After says (for all questions to that judge), else 0.5 s, 1 s, 2 s ...,
            shortened by chance.
        timeout: seconds that an endpoint may be silent.

    Raises:
        ValueError: for judges of one name, a missing key, or a store that another process uses.
    """
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names):
        raise ValueError(f"expected judges with distinct names, found {names}")
    connections = {judge.name: judge.connection() for judge in judges}
    questions = _open_questions(store, pairs, judges, template)
    limits = Limits(max_requests, max_tokens)
    with (
        closing(open_store(store)) as database,
        _client(concurrency, timeout) as client,
        tqdm(total=len(questions), unit=" answers") as bar,
        ThreadPoolExecutor(concurrency) as pool,
    ):
        sender = Sender(client, connections)
        run = Run(questions, template, retries, limits, sender, database, bar)
        try:
            for worker in [pool.submit(run.work) for _ in range(concurrency)]:
                worker.result()
        finally:
            run.stop.set()
    return run.summary(names)


def _open_questions(
    store: str | Path, pairs: pd.DataFrame, judges: Sequence[Judge], template: str
) -> list[Question]:
    """List the questions without an answer, those that failed before at the end."""
    texts_of_digest = {}
    for orders in both_orders(pairs):
        for texts in orders:
            texts_of_digest[digest(*texts)] = texts
    stored = stored_answers(store, judges, template=template)
    states = stored.set_index(["judge", "shown"])["state"].to_dict()
    questions = [
        Question(judge, shown, texts)
        for shown, texts in texts_of_digest.items()
        for judge in judges
    ]
    fresh = []
    failed = []
    for question in questions:
        state = states.get((question.judge.name, question.shown))
        if state is None:
            fresh.append(question)
        elif state == "error":
            failed.append(question)
    # In random order, so that questions that always fail do not block the others.
    return fresh + [failed[place] for place in np.random.permutation(len(failed))]


def _client(concurrency: int, timeout: float) -> httpx.Client:
    no_proxy = {"all://localhost": None, "all://127.0.0.1": None}
    limits = httpx.Limits(max_keepalive_connections=concurrency)
    return httpx.Client(limits=limits, timeout=timeout, mounts=no_proxy)


class Limits(NamedTuple):
    """Most requests and tokens of a run; 0 means any number."""

    requests: int
    tokens: int


class Sender:
    """Sends questions, and remembers which judges refuse to give log-probabilities."""

    def __init__(self, client: httpx.Client, connections: dict[str, tuple[str, str]]) -> None:
        self.client = client
        self.connections = connections
        self.without_logprobs: set[str] = set()

    def send(self, judge: Judge, text: str) -> tuple[Outcome, bool]:
        """Ask once, and say whether to ask again at once, now without log-probabilities."""
        asks_logprobs = judge.logprobs and judge.name not in self.without_logprobs
        outcome = self._post(judge, text, asks_logprobs)
        may_leave_them_out = asks_logprobs and "logprobs" not in judge.extra
        if may_leave_them_out and "logprob" in outcome.refused_text.lower():
            self.without_logprobs.add(judge.name)
            return outcome, True
        return outcome, False

    def _post(self, judge: Judge, text: str, asks_logprobs: bool) -> Outcome:
        url, key = self.connections[judge.name]
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        body = judge.request(text, logprobs=asks_logprobs)
        try:
            reply = self.client.post(url, json=body, headers=headers)
        except httpx.HTTPError as error:
            message = f"no reply: {type(error).__name__}"
            return Outcome(Answer("error", message), ask_again=True)
        return read_reply(reply.status_code, reply.text, reply.headers, text, key)


class Run:
    """The state that the workers of one `collect` share."""

    def __init__(
        self,
        questions: Sequence[Question],
        template: str,
        retries: int,
        limits: Limits,
        sender: Sender,
        database: sqlite3.Connection,
        bar: tqdm,
    ) -> None:
        self.template = template
        self.retries = retries
        self.limits = limits
        self.sender = sender
        self.database = database
        self.bar = bar
        self.lock = Lock()
        self.stop = Event()
        # Shared by the workers: `next` of a list's iterator gives each question to one of them.
        self.remaining: Iterator[Question] = iter(questions)
        self.count = len(questions)
        self.missing = Counter(question.judge.name for question in questions)
        self.requests = 0
        self.tokens = 0
        self.errors_in_a_row: Counter[str] = Counter()
        self.last_text: dict[str, str] = {}
        self.resume_at: dict[str, float] = defaultdict(float)  # by judge, on the monotonic clock

    def work(self) -> None:
        """Ask and keep, one question after the other, until none waits."""
        for question in self.remaining:
            if self.errors_in_a_row[question.judge.name] >= GIVE_UP:
                continue
            answer = self._ask(question)
            if answer is not None:
                self._keep(question, answer)

    def summary(self, names: Sequence[str]) -> Collected:
        """Say what was done, and why it stopped early."""
        reasons = self._spent_budgets()
        for name in names:
            if self.errors_in_a_row[name] >= GIVE_UP:
                reasons.append(f"{name} left out after {GIVE_UP} errors ({self.last_text[name]})")
        missing = {name: self.missing[name] for name in names}
        stored = self.count - sum(missing.values())
        return Collected(self.requests, self.tokens, stored, missing, "; ".join(reasons))

    def _ask(self, question: Question) -> Answer | None:
        """Ask until there is an answer to keep; None where the run has stopped."""
        name = question.judge.name
        text = render(self.template, *question.texts)
        repeats = 0
        while self._may_send(name):
            outcome, again_at_once = self.sender.send(question.judge, text)
            if again_at_once:
                continue
            if outcome.ask_again and outcome.pause:  # holds back all questions to that judge
                resume_at = monotonic() + outcome.pause
                self.resume_at[name] = max(self.resume_at[name], resume_at)
            if not outcome.ask_again or repeats == self.retries:
                return outcome.answer
            repeats += 1
            if not outcome.pause:
                self.stop.wait(2.0**repeats * np.random.uniform(0.125, 0.25))
        return None

    def _may_send(self, name: str) -> bool:
        """Wait as long as the judge asked for, and count one more request if the budget allows."""
        self.stop.wait(max(0.0, self.resume_at[name] - monotonic()))
        with self.lock:
            if self._spent_budgets():
                self.stop.set()
            if self.stop.is_set():
                return False
            self.requests += 1
        return True

    def _spent_budgets(self) -> list[str]:
        reasons = []
        if 0 < self.limits.requests <= self.requests:
            reasons.append(f"the budget of {self.limits.requests:,} requests is spent")
        if 0 < self.limits.tokens <= self.tokens:
            reasons.append(f"the budget of {self.limits.tokens:,} tokens is spent")
        return reasons

    def _keep(self, question: Question, answer: Answer) -> None:
        name = question.judge.name
        with self.lock, self.database:
            keep_answer(self.database, question.judge, self.template, question.shown, answer)
            self.last_text[name] = answer.text
            self.tokens += answer.tokens
            if answer.state == "error":
                self.errors_in_a_row[name] += 1
            else:
                self.errors_in_a_row[name] = 0
                self.missing[name] -= 1
            self.bar.update()
