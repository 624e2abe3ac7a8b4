"""Keep what judges answered."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd

from dtreward.files import digest
from dtreward.judges.judge import TEMPLATE, Judge
from dtreward.judges.verdict import ORDERS, judged_frame, verdict
from dtreward.pairs.columns import TEXTS, expect_columns

COLUMNS = "judge, shown, state, text, logprob_a, logprob_b, tokens"
STORE = f"""PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;
CREATE TABLE IF NOT EXISTS answers (settings, template, {COLUMNS},
PRIMARY KEY (judge, settings, template, shown)) WITHOUT ROWID"""


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
    with closing(open_store(store)) as database:
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
    keys = pd.DataFrame(
        [[digest(*each) for each in both] for both in both_orders(pairs)], pairs.index
    )
    for judge in judges:
        own = answers[answers["judge"] == judge.name].set_index("shown")["state"]
        orders = keys.apply(lambda order, own=own: order.map(own)).set_axis(ORDERS, axis=1)
        states.append(orders.assign(pair=pairs.index, judge=judge.name, family=judge.family))
    return judged_frame(pd.concat(states, ignore_index=True), pairs)


def both_orders(pairs):
    """For each pair (prompt, first, second) in the order given, and swapped."""
    expect_columns(pairs, TEXTS)
    rows = pairs[TEXTS].itertuples(index=False, name=None)
    return [((prompt, one, two), (prompt, two, one)) for prompt, one, two in rows]


def open_store(path):
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
