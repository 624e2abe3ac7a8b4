"""Ask LLM judges behind OpenAI-compatible endpoints about each pair in both orders."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event, Lock
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from dtreward.files import digest
from dtreward.judges.judge import TEMPLATE, Judge
from dtreward.judges.question import PairQuestion, Question
from dtreward.judges.reply import (
    FEW_REPEATS,
    Answer,
    Outcome,
    guess_tokens,
    guessed_answer,
    read_reply,
)
from dtreward.judges.spending import Collected, Limits, Spending
from dtreward.judges.store import both_orders, keep_answer, open_store, state_of, stored_answers

try:
    import httpx
except ImportError as error:
    raise ImportError('asking judges needs httpx: pip install "dtreward[judges]"') from error

GIVE_UP = 20  # errors in a row after which a judge is left out for the rest of a run
NO_VERDICT = 20  # first replies without a verdict after which a judge is left out
ADVICE = {  # by what the replies without a verdict are
    "cut": "they were cut: raise its max_tokens, or max_tokens_if_cut",
    "refused": "it refuses: look at the template, or ask another model",
    "unparsed": "look at the answers, and at the template; answer_format can bind them to a form",
    "error": (
        "they have no text: raise its max_tokens, or lower its reasoning_effort, if it spends them "
        "on thinking"
    ),
}


class Task(NamedTuple):
    """A judge, a question, the digest of the texts that it is about, and the texts."""

    judge: Judge
    question: Question
    shown: str
    texts: tuple[str, ...]


def collect(  # noqa: PLR0913
    store: str | Path,
    pairs: pd.DataFrame,
    judges: Sequence[Judge],
    *,
    template: str = TEMPLATE,
    concurrency: int = 8,
    max_requests: int = 0,
    max_tokens: int = 0,
    max_money: int | float = 0.0,
    retries: int = 5,
) -> Collected:
    """Ask each judge about each pair in both orders, and store every answer as it arrives.

    A question with a stored answer is not asked again; refusals and answers that cannot be read
    count as answers, errors and empty replies do not. A question whose answer was cut is asked
    again where the judge has a larger `max_tokens_if_cut`. Questions that failed in an earlier run
    come last. The run goes pair by pair: where it stops early, all judges have answered the same
    pairs. A judge is left out for the rest of the run after 20 errors in a row, and if none of its
    first 20 replies gives a verdict.

    Args:
        store: SQLite file; one process at a time may use it.
        pairs: columns prompt, response_1, response_2.
        judges: with distinct names.
        template: the question, with the fields {conversation}, {response_a} and {response_b}.
        concurrency: requests under way at once.
        max_requests: most requests of this run, repeats included; 0 means any number.
        max_tokens: most tokens of this run, questions and answers; 0 means any number. Answers
            under way when it is reached, at most `concurrency`, still count.
        max_money: most money of this run, by the prices of the judges; 0 means any sum. A request
            is not sent if it could cost more than what is left.
        retries: repeats after 408, 409, 429, 5xx and broken replies. Each waits as long as the
            endpoint asks (for all questions to that endpoint), else 0.5 s, 1 s, 2 s ...,
            shortened by chance. Silence and empty replies, which may be paid for, are repeated
            once.

    Raises:
        ValueError: for judges of one name, a missing key, judges without prices where there is
            `max_money`, or a store that another process uses.
    """
    shown = [texts for orders in both_orders(pairs) for texts in orders]
    limits = Limits(max_requests, max_tokens, max_money)
    subjects = [(PairQuestion(template), texts) for texts in shown]
    return ask_judges(store, subjects, judges, limits, concurrency=concurrency, retries=retries)


def ask_judges(
    store: str | Path,
    subjects: Iterable[tuple[Question, tuple[str, ...]]],
    judges: Sequence[Judge],
    limits: Limits,
    *,
    concurrency: int = 8,
    retries: int = 5,
) -> Collected:
    """Ask each judge each question about its texts, as `collect` does.

    Raises:
        ValueError: as `collect`.
    """
    names = [judge.name for judge in judges]
    if len(set(names)) < len(names):
        raise ValueError(f"expected judges with distinct names, found {names}")
    connections = {judge.name: _connection(judge) for judge in judges}
    spending = Spending(limits, judges)
    tasks, unread = _open_tasks(store, list(subjects), judges)
    with (
        closing(open_store(store)) as database,
        _client(concurrency) as client,
        tqdm(total=len(tasks), unit=" answers") as bar,
        ThreadPoolExecutor(concurrency) as pool,
    ):
        sender = Sender(client, connections)
        run = Run(tasks, retries, spending, sender, database, bar)
        run.without_verdict = unread
        try:
            for worker in [pool.submit(run.work) for _ in range(concurrency)]:
                worker.result()
        finally:
            run.stop.set()
    return run.summary(names)


def _connection(judge: Judge) -> tuple[str, dict[str, str], list[str]]:
    """Give the address of a judge, its headers, and what of them must be kept nowhere."""
    url, key = judge.connection()
    headers = judge.own_headers(key)
    from_environment = [name for name, value in judge.headers.items() if value.startswith("$")]
    return url, headers, [key, *(headers[name] for name in from_environment)]


def _open_tasks(
    store: str | Path,
    subjects: Sequence[tuple[Question, tuple[str, ...]]],
    judges: Sequence[Judge],
) -> tuple[list[Task], dict[str, Counter[str] | None]]:
    """List what is to be asked, what failed before at the end.

    Beside it, for each judge, the states of its stored replies; None if one of them is a verdict.
    """
    by_digest = {(question.key, digest(*texts)): (question, texts) for question, texts in subjects}
    rows: dict[tuple[str, str, str], Any] = {}
    for question in {question.key: question for question, _ in subjects}.values():
        stored = stored_answers(store, judges, question=question)
        records: Iterable[Any] = stored.itertuples()
        for row in records:
            rows[row.judge, question.key, row.shown] = row
    fresh = []
    failed = []
    for (key, shown), (question, texts) in by_digest.items():
        for judge in judges:
            row = rows.get((judge.name, key, shown))
            task = Task(judge, question, shown, texts)
            if row is None:
                fresh.append(task)
            elif row.state == "error" or (row.state == "cut" and _could_be_longer(judge, row)):
                failed.append(task)
    choices = {choice for question, _ in subjects for choice in question.choices}
    states: dict[str, Counter[str] | None] = {judge.name: Counter() for judge in judges}
    for row in rows.values():
        counted = states[row.judge]
        if row.state in choices:
            states[row.judge] = None
        elif counted is not None and row.state != "error":
            counted[row.state] += 1
    # In random order, so that questions that always fail do not block the others.
    return fresh + [failed[place] for place in np.random.permutation(len(failed))], states


def _could_be_longer(judge: Judge, row: Any) -> bool:
    """Say whether the judge is allowed more tokens for a cut answer than it had."""
    return int(judge.max_tokens_if_cut) > max(row.allowed, int(judge.max_tokens))


def _client(concurrency: int) -> httpx.Client:
    no_proxy = {"all://localhost": None, "all://127.0.0.1": None}
    limits = httpx.Limits(max_keepalive_connections=concurrency)
    return httpx.Client(limits=limits, mounts=no_proxy)


class Sender:
    """Sends questions, and remembers which judges refuse to give log-probabilities."""

    def __init__(
        self, client: httpx.Client, connections: dict[str, tuple[str, dict[str, str], list[str]]]
    ) -> None:
        self.client = client
        self.connections = connections
        self.without_logprobs: set[str] = set()
        self.tried: set[str] = set()
        self.trying = {name: Lock() for name in connections}

    def url(self, judge: Judge) -> str:
        """Give the address of a judge."""
        return self.connections[judge.name][0]

    def send(self, task: Task, text: str, allowed: int) -> tuple[Outcome, bool]:
        """Ask once, and say whether to ask again at once, now without log-probabilities."""
        judge = task.judge
        if judge.logprobs and judge.name not in self.tried:
            with self.trying[judge.name]:  # one question finds out for all
                return self._send(task, text, allowed)
        return self._send(task, text, allowed)

    def _send(self, task: Task, text: str, allowed: int) -> tuple[Outcome, bool]:
        judge = task.judge
        asks_logprobs = bool(judge.logprobs) and judge.name not in self.without_logprobs
        body = judge.request(
            text, logprobs=asks_logprobs, max_tokens=allowed, choices=task.question.choices
        )
        outcome = self._post(judge, text, body, allowed)
        may_leave_them_out = asks_logprobs and "logprobs" not in judge.extra
        are_refused = may_leave_them_out and "logprob" in outcome.refused_text.lower()
        if are_refused:
            self.without_logprobs.add(judge.name)
        self.tried.add(judge.name)
        return outcome, are_refused

    def _post(self, judge: Judge, text: str, body: dict, allowed: int) -> Outcome:
        url, headers, secrets = self.connections[judge.name]
        seconds = float(judge.timeout or 0)  # more than 0, as each judge is checked
        try:
            reply = self.client.post(url, json=body, headers=headers, timeout=seconds)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            message = f"no reply: {type(error).__name__}"  # nothing was asked
            return Outcome(Answer("error", message), ask_again=True)
        except httpx.TimeoutException as error:
            message = f"no reply after {seconds:g} s: {type(error).__name__}; raise timeout"
            answer = guessed_answer(message, text, allowed)
            return Outcome(answer, ask_again=True, most_repeats=FEW_REPEATS)
        except httpx.HTTPError as error:
            message = f"no reply: {type(error).__name__}"
            return Outcome(guessed_answer(message, text, 0), ask_again=True)
        return read_reply(reply.status_code, reply.text, reply.headers, text, secrets)


class Run:
    """The state that the workers of one `collect` share."""

    def __init__(
        self,
        tasks: Sequence[Task],
        retries: int,
        spending: Spending,
        sender: Sender,
        database: sqlite3.Connection,
        bar: tqdm,
    ) -> None:
        self.retries = retries
        self.spending = spending
        self.sender = sender
        self.database = database
        self.bar = bar
        self.lock = Lock()
        self.stop = Event()
        # Shared by the workers: `next` of a list's iterator gives each task to one of them.
        self.remaining: Iterator[Task] = iter(tasks)
        self.count = len(tasks)
        self.missing = Counter(task.judge.name for task in tasks)
        self.errors_in_a_row: Counter[str] = Counter()
        # By judge, the states of its replies; None once one of them was a verdict.
        self.without_verdict: dict[str, Counter[str] | None] = {}
        self.last_text: dict[str, str] = {}
        self.resume_at: dict[str, float] = defaultdict(float)  # by address, on the monotonic clock

    def work(self) -> None:
        """Ask and keep, one question after the other, until none waits."""
        for task in self.remaining:
            if self._is_left_out(task.judge.name):
                continue
            answer, allowed = self._ask(task)
            if answer is not None:
                self._keep(task, answer, allowed)

    def summary(self, names: Sequence[str]) -> Collected:
        """Say what was done, and why it stopped early."""
        reasons = self.spending.reasons()
        silent = tuple(name for name in names if self._is_silent(name))
        for name in names:
            states = self.without_verdict.get(name)
            if self.errors_in_a_row[name] >= GIVE_UP:
                reasons.append(f"{name} left out after {GIVE_UP} errors ({self.last_text[name]})")
            elif name in silent and states:
                advice = ADVICE[states.most_common(1)[0][0]]
                reasons.append(
                    f"{name} left out: none of its {states.total()} replies gives a verdict; "
                    f"{advice}"
                )
        missing = {name: self.missing[name] for name in names}
        spent = self.spending.by_judge
        requests = sum(one.requests for one in spent.values())
        tokens = sum(one.tokens for one in spent.values())
        stored = self.count - sum(missing.values())
        stopped = "; ".join(reasons)
        return Collected(requests, tokens, stored, missing, stopped, spent, silent)

    def _is_silent(self, name: str) -> bool:
        """Say whether the first replies of a judge all were without a verdict."""
        states = self.without_verdict.get(name)
        return states is not None and states.total() >= NO_VERDICT

    def _is_left_out(self, name: str) -> bool:
        return self._is_silent(name) or self.errors_in_a_row[name] >= GIVE_UP

    def _ask(self, task: Task) -> tuple[Answer | None, int]:
        """Ask until there is an answer to keep; None where the run has stopped without one.

        Beside it, the tokens that the answer was allowed.
        """
        judge = task.judge
        text = task.question.render(task.texts)
        allowed = int(judge.max_tokens)
        longer = int(judge.max_tokens_if_cut)
        repeats = 0
        paid = None
        while (reserved := self._reserve(judge, text, allowed)) is not None:
            outcome, again_at_once = self.sender.send(task, text, allowed)
            state = self._count(task, reserved, outcome)
            if again_at_once:
                continue
            paid = outcome.answer if outcome.answer.state != "error" else None
            if state == "cut" and allowed < longer:
                allowed = longer
                continue
            if outcome.ask_again and outcome.pause:  # holds back all questions to that endpoint
                url = self.sender.url(judge)
                self.resume_at[url] = max(self.resume_at[url], monotonic() + outcome.pause)
            most = self.retries
            if outcome.most_repeats is not None:
                most = min(most, outcome.most_repeats)
            if not outcome.ask_again or repeats >= most:
                return outcome.answer, allowed
            repeats += 1
            if not outcome.pause:
                self.stop.wait(2.0**repeats * np.random.uniform(0.125, 0.25))
        return paid, allowed

    def _reserve(self, judge: Judge, text: str, allowed: int) -> float | None:
        """Wait as long as the endpoint asked for, and reserve one request if budgets allow.

        Gives the money reserved; None where no request may be sent.
        """
        self.stop.wait(max(0.0, self.resume_at[self.sender.url(judge)] - monotonic()))
        with self.lock:
            if self.stop.is_set() or self._is_left_out(judge.name):
                return None
            reserved = self.spending.reserve(judge, guess_tokens(text), allowed)
            if reserved is None:
                self.stop.set()
        return reserved

    def _count(self, task: Task, reserved: float, outcome: Outcome) -> str:
        """Count what a reply cost, and whether it holds a verdict; give its state."""
        answer = outcome.answer
        state = state_of(answer.state, answer.text, answer.finish, task.question)
        name = task.judge.name
        with self.lock:
            self.spending.settle(task.judge, reserved, answer)
            counted = self.without_verdict.setdefault(name, Counter())
            if state in task.question.choices:
                self.without_verdict[name] = None
            elif counted is not None and answer.state != "error":
                counted[state] += 1
        return state

    def _keep(self, task: Task, answer: Answer, allowed: int) -> None:
        name = task.judge.name
        state = state_of(answer.state, answer.text, answer.finish, task.question)
        with self.lock, self.database:
            key = task.question.key
            keep_answer(self.database, task.judge, key, task.shown, answer, allowed)
            self.last_text[name] = answer.text
            if state == "error":
                self.errors_in_a_row[name] += 1
            else:
                self.errors_in_a_row[name] = 0
                self.missing[name] -= 1
            self.bar.update()
