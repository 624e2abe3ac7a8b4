"""Answers of judges in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd

from dtreward.files import digest
from dtreward.judges.judge import TEMPLATE, Judge
from dtreward.judges.reading import verdict
from dtreward.judges.reply import Answer
from dtreward.judges.verdict import ORDERS, judged_frame
from dtreward.pairs.columns import TEXTS, expect_columns

COLUMNS = "judge, shown, state, text, logprob_a, logprob_b, tokens"
# Write-ahead logging: a kill cannot damage the file.
SCHEMA = f"""PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
CREATE TABLE IF NOT EXISTS answers (settings, template, {COLUMNS},
PRIMARY KEY (judge, settings, template, shown)) WITHOUT ROWID"""
Texts = tuple[str, str, str]  # the prompt, the response shown first, the other response


def stored_answers(
    store: str | Path, judges: Sequence[Judge], *, template: str = TEMPLATE
) -> pd.DataFrame:
    """List what is stored: judge, shown, state, text, logprob_a, logprob_b, tokens.

    `shown` is the digest of the prompt, the response shown first and the other one. `state` is
    "A", "B", "unparsed", "refused" or "error". The log-probabilities of A and B are those at the
    first token that is one of them, where the endpoint gives them.
    """
    query = f"SELECT {COLUMNS} FROM answers WHERE judge = ? AND settings = ? AND template = ?"
    rows = []
    with closing(open_store(store)) as database:
        for judge in judges:
            rows += database.execute(query, (judge.name, judge.settings, digest(template)))
    frame = pd.DataFrame(rows, columns=COLUMNS.split(", "))
    is_answer = frame["state"] == "answer"
    return frame.assign(state=frame["state"].mask(is_answer, frame["text"].map(verdict)))


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
    except sqlite3.DatabaseError as error:
        database.close()
        raise ValueError(
            f"cannot use the store of answers {path}: {error}; if it is locked, another process "
            "collects into it: wait for it, or end it"
        ) from error
    return database


def keep_answer(
    database: sqlite3.Connection, judge: Judge, template: str, shown: str, answer: Answer
) -> None:
    """Store an answer in the place of an earlier one to the same question."""
    row = (judge.settings, digest(template), judge.name, shown, *answer)
    database.execute("REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
