"""Answers of judges in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd

from dtreward.files import digest
from dtreward.judges.judge import TEMPLATE, Judge
from dtreward.judges.question import PairQuestion, Question
from dtreward.judges.reply import CUT, Answer
from dtreward.judges.verdict import ORDERS, judged_frame
from dtreward.pairs.columns import TEXTS, expect_columns

OLDEST = "judge, shown, state, text, logprob_a, logprob_b, tokens"
# Columns that stores of earlier versions lack; their rows have these values.
LATER = {"finish": "''", "prompt_tokens": "0", "output_tokens": "0", "allowed": "0"}
COLUMNS = ", ".join([OLDEST, *LATER])
# Write-ahead logging: a kill cannot damage the file.
SCHEMA = f"""PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
CREATE TABLE IF NOT EXISTS answers (settings, template, {OLDEST},
PRIMARY KEY (judge, settings, template, shown)) WITHOUT ROWID"""
Texts = tuple[str, str, str]  # the prompt, the response shown first, the other response


def stored_answers(
    store: str | Path,
    judges: Sequence[Judge],
    *,
    template: str = TEMPLATE,
    question: Question | None = None,
) -> pd.DataFrame:
    """List what is stored, a row an answer.

    Args:
        template: of the question which of two responses is better.
        question: another question, in its place.

    Returns:
        judge; shown: the digest of the prompt, the response shown first and the other one; state:
        "A", "B" (or what else the question can be answered with), "unparsed", "refused", "cut" or
        "error"; text; logprob_a, logprob_b: log-probabilities of A and B at the first token that
        is one of them, where the endpoint gives them; tokens: of question and answer; finish: the
        endpoint's word for why the answer ended; prompt_tokens, output_tokens: 0 where the
        endpoint did not count; allowed: tokens that the answer was allowed, 0 where an earlier
        version stored it.
    """
    asked = question or PairQuestion(template)
    query = f"SELECT {COLUMNS} FROM answers WHERE judge = ? AND settings = ? AND template = ?"
    rows = []
    with closing(open_store(store)) as database:
        for judge in judges:
            rows += database.execute(query, (judge.name, judge.settings, digest(asked.key)))
    frame = pd.DataFrame(rows, columns=COLUMNS.split(", "))
    kept = zip(frame["state"], frame["text"], frame["finish"], strict=True)
    return frame.assign(state=[state_of(*row, asked) for row in kept])


def state_of(state: str, text: str, finish: str, question: Question) -> str:
    """Say what a stored answer is: an answer to the question, or why it is none.

    An answer without text is an error, unless it was cut: it is asked for again.
    """
    if state in ("refused", "error"):
        return state
    is_cut = finish in CUT
    if state == "empty" or not text.strip():
        return "cut" if is_cut else "error"
    found = question.read(text, is_cut=is_cut)
    return "cut" if found == "unparsed" and is_cut else found


def verdicts(
    store: str | Path, pairs: pd.DataFrame, judges: Sequence[Judge], *, template: str = TEMPLATE
) -> pd.DataFrame:
    """Turn stored answers into one row for each judge and pair.

    Returns:
        judge, family, pair (index of `pairs`), prompt_id; given and swapped: the position chosen
        where response 1 and where response 2 was shown first ("A": the one shown first; None
        without a verdict); outcome: the worse of both orders, one of `OUTCOMES`; preference: 0 or
        1 where both orders name the same response, else missing (Int8).
    """
    answers = stored_answers(store, judges, template=template)
    keys = pd.DataFrame(
        [[digest(*shown) for shown in orders] for orders in both_orders(pairs)], pairs.index
    )
    states = []
    for judge in judges:
        state = answers[answers["judge"] == judge.name].set_index("shown")["state"]
        orders = pd.concat([keys[place].map(state) for place in keys], axis=1)
        orders = orders.set_axis(ORDERS, axis=1)
        states.append(orders.assign(pair=pairs.index, judge=judge.name, family=judge.family))
    return judged_frame(pd.concat(states, ignore_index=True), pairs)


def both_orders(pairs: pd.DataFrame) -> list[tuple[Texts, Texts]]:
    """List the texts of each pair as they are shown: in the order given, and swapped."""
    expect_columns(pairs, TEXTS)
    rows = pairs[TEXTS].itertuples(index=False, name=None)
    return [((prompt, one, two), (prompt, two, one)) for prompt, one, two in rows]


def open_store(path: str | Path) -> sqlite3.Connection:
    """Open a store for this process alone.

    Raises:
        ValueError: if the file is no store, or another process uses it.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
    try:
        database.executescript(SCHEMA)
        _add_later_columns(database)
    except sqlite3.DatabaseError as error:
        database.close()
        raise ValueError(
            f"cannot use the store of answers {path}: {error}; if it is locked, another process "
            "collects into it: wait for it, or end it"
        ) from error
    return database


def _add_later_columns(database: sqlite3.Connection) -> None:
    """Bring a store of an earlier version to this one's form; its answers stay as they are."""
    present = {row[1] for row in database.execute("PRAGMA table_info(answers)")}
    for name, value in LATER.items():
        if name not in present:
            database.execute(f"ALTER TABLE answers ADD COLUMN {name} DEFAULT {value}")


def keep_answer(
    database: sqlite3.Connection,
    judge: Judge,
    key: str,
    shown: str,
    answer: Answer,
    allowed: int = 0,
) -> None:
    """Store an answer in the place of an earlier one to the same question.

    Args:
        key: of the question, such as its template.
        shown: digest of the texts that the judge was shown.
        allowed: tokens that the answer was allowed.
    """
    names = ", ".join(Answer._fields)
    row = (judge.settings, digest(key), judge.name, shown, allowed, *answer)
    places = ", ".join("?" * len(row))
    database.execute(
        f"REPLACE INTO answers (settings, template, judge, shown, allowed, {names}) "
        f"VALUES ({places})",
        row,
    )
