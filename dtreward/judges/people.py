"""Is a judge as good as one of the people? Each is compared with the majority of the others."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import pandas as pd

from dtreward.judges.agreement import agreement
from dtreward.pairs.identity import align_votes
from dtreward.record import Claim
from dtreward.stats import (
    DifferenceTest,
    Interval,
    Prompts,
    accuracy_interval,
    difference_test,
)
from dtreward.tree.quality import judge_differences

EVERYBODY = "all people"
FEWEST_READERS = 3  # one, and two others
MOST_READERS = 12  # with most votes; of further ones only what all people do together is shown


def votes_of_readers(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the preference of each reader on each pair: a row a pair, a column a reader.

    A reader without a preference, or with both on one pair, has nan.

    Args:
        frame: votes on pairs (`load_pairs`); without a column `reader` the table has no columns.

    Returns:
        0 and 1 as in the pair's first row, whose row number is the index, as in `judges.parquet`.

    Example:
        >>> frame = pd.DataFrame({"pair_id": 0, "response_1": ["a", "b"], "response_2": ["b", "a"]})
        >>> frame = frame.assign(preference=[1.0, 0.0], reader=["Ann", "Bob"])
        >>> votes_of_readers(frame).to_dict("index")
        {0: {'Ann': 1.0, 'Bob': 1.0}}
    """
    first_row = frame.index[~frame["pair_id"].duplicated()]
    row_of_pair = pd.Series(first_row, frame["pair_id"].loc[first_row])
    if "reader" not in frame:
        return pd.DataFrame(index=first_row)
    votes = align_votes(frame, ())
    votes = votes.assign(preference=votes["preference"].astype("Float64").astype(float))
    table = votes.pivot_table("preference", "pair_id", "reader", aggfunc="mean", dropna=False)
    table = table.where(table != 0.5).rename_axis(columns=None)
    return table.set_axis(row_of_pair[table.index].to_numpy()).reindex(first_row)


def majority_of_others(votes: pd.DataFrame) -> pd.DataFrame:
    """Give what most of the other readers prefer, for each reader and pair; nan where they are even.

    Example:
        >>> votes = pd.DataFrame({"Ann": [1.0], "Bob": [0.0], "Cem": [0.0]})
        >>> majority_of_others(votes).to_dict("records")
        [{'Ann': 0.0, 'Bob': nan, 'Cem': nan}]
    """
    sign = np.nan_to_num(2 * votes.to_numpy(float) - 1)
    of_others = sign.sum(axis=1, keepdims=True) - sign
    majority = np.select([of_others < 0, of_others > 0], [0.0, 1.0], np.nan)
    return pd.DataFrame(majority, votes.index, votes.columns)


def leave_out_own_votes(
    table: pd.DataFrame, votes: pd.DataFrame, others: pd.DataFrame, prompts: Prompts, **options
) -> pd.DataFrame:
    """Compare judges who are readers with the majority of the other readers, not with their own.

    Args:
        table: of `agreement(votes, prompts, **options)`; the rows of people (Human) and a judge
            that is a reader are measured anew, all others stay.
        votes: as there, with the column Human.
        others: `majority_of_others`, with the rows of `votes`.
        options: of `agreement`.
    """
    table = table.copy()
    for reader in others.columns.intersection(votes.columns):
        both = pd.DataFrame({"Human": others[reader], reader: votes[reader]})
        is_row = (table["judge"] == "Human") & (table["other"] == reader)
        table.loc[is_row, :] = agreement(both, prompts, **options).to_numpy()
    return table.infer_objects()


def compare_with_readers(
    judges: pd.DataFrame,
    readers: pd.DataFrame,
    prompts: Prompts,
    *,
    margin: float,
    **options: int,
) -> pd.DataFrame:
    """Set each judge beside each reader: who agrees more with the majority of the other readers?

    Both are asked about the same pairs: those on which reader, judge and majority have a
    preference. The rows of "all people" take the pairs of all readers together, and are corrected
    for the number of judges; the others for the number of judges and readers.

    Args:
        judges: preferences, 0, 1 or nan, a row a pair, a column a judge.
        readers: `votes_of_readers`, with the same rows; those of the judges that are readers are
            not compared.
        prompts: of each row.
        margin: the largest difference that counts as none, in shares of the pairs.
        options: of the bootstrap over prompts: `resamples`, `seed`.

    Returns:
        A row a judge and reader: judge, reader, votes, prompts, `of_reader` and `of_judge` (their
        agreement with the others, `Interval`), and the columns of `judge_differences`: `difference`
        is the judge's agreement minus the reader's. Comparisons on fewer than two prompts are left
        out. No row where there are fewer than three readers.

    Example:
        >>> readers = pd.DataFrame({"Ann": [1.0, 0], "Bob": [1.0, 0], "Cem": [1.0, 1]})
        >>> judge = pd.DataFrame({"J": [1.0, 0]})
        >>> table = compare_with_readers(judge, readers, [0, 1], margin=0.02)
        >>> table.set_index("reader")["difference"].round(2).to_dict()
        {'all people': 0.25, 'Cem': 0.5}
    """
    if readers.shape[1] < FEWEST_READERS:
        return pd.DataFrame()
    others = majority_of_others(readers)
    most = readers.count().sort_values(ascending=False, kind="stable").index[:MOST_READERS]
    measured = {}
    for judge in judges.columns.difference(readers.columns, sort=False):
        rows = _judged_votes(judges[judge], readers, others, np.asarray(prompts))
        measured[judge, EVERYBODY] = rows
        for reader in readers.columns[readers.columns.isin(most)]:
            measured[judge, reader] = rows[rows["reader"] == reader]
    measured = {key: rows for key, rows in measured.items() if rows["prompt"].nunique() > 1}
    described = {key: _describe(rows, margin, options) for key, rows in measured.items()}
    parts = [
        _judge({key: one for key, one in described.items() if (key[1] == EVERYBODY) is is_pooled})
        for is_pooled in (True, False)
    ]
    return pd.concat(parts, ignore_index=True)


def claim_as_good(table: pd.DataFrame) -> list[Claim]:
    """Claim of each judge that it agrees with people as well as one of them does.

    It holds where the judge is better or equal, and does not hold where it is worse.

    Args:
        table: of `compare_with_readers`.
    """
    claims = []
    for row in table.to_dict("records"):
        if row["reader"] != EVERYBODY:
            continue
        gap = Interval(row["difference"], row["low"], row["high"])
        sentence = (
            f"Expected {row['judge']} to agree with the majority of the other people as well as one "
            f"of them does; it does in {row['of_judge']}, a person in {row['of_reader']}, a "
            f"difference of {gap}, of {row['votes']:,} votes on {row['prompts']:,} prompts."
        )
        held = {"better": True, "equal": True, "worse": False}.get(row["outcome"])
        claims.append(Claim(sentence, held))
    return claims


def describe_as_good(table: pd.DataFrame) -> str:
    """Say in one sentence for each judge how it stands beside people; "" for no judge.

    Args:
        table: of `compare_with_readers`.

    Example:
        >>> readers = pd.DataFrame({"Ann": [1.0, 0], "Bob": [1.0, 0], "Cem": [1.0, 1]})
        >>> judge = pd.DataFrame({"J": [1.0, 0]})
        >>> describe_as_good(compare_with_readers(judge, readers, [0, 1], margin=0.02))[:50]
        'J agrees with the majority of the other people in '
    """
    meanings = {"better": "it is better than they are", "worse": "it is worse than they are"}
    meanings |= {"equal": "it is their equal", "cannot tell": "nobody can tell who is better"}
    sentences = []
    for row in table.to_dict("records"):
        if row["reader"] == EVERYBODY:
            sentences.append(
                f"{row['judge']} agrees with the majority of the other people in {row['of_judge']} "
                f"of {row['votes']:,} votes, people themselves in {row['of_reader']}: "
                f"{meanings[row['outcome']]}."
            )
    return " ".join(sentences)


def _judged_votes(
    judge: pd.Series, readers: pd.DataFrame, others: pd.DataFrame, prompts: np.ndarray
) -> pd.DataFrame:
    """Give a row for each vote that can be compared: reader, prompt, and who agrees with the others."""
    parts = []
    for reader in readers:
        table = pd.DataFrame({"vote": readers[reader], "others": others[reader], "judge": judge})
        known = table.assign(prompt=prompts).dropna()
        parts.append(
            pd.DataFrame(
                {
                    "reader": reader,
                    "prompt": known["prompt"],
                    "reader_agrees": (known["vote"] == known["others"]).astype(float),
                    "judge_agrees": (known["judge"] == known["others"]).astype(float),
                }
            )
        )
    return pd.concat(parts)


def _describe(rows: pd.DataFrame, margin: float, options: dict[str, int]) -> dict[str, object]:
    """Measure both agreements and test their difference, on the same votes."""
    both = (rows["judge_agrees"].to_numpy(), rows["reader_agrees"].to_numpy())
    prompts = rows["prompt"].to_numpy()
    return {
        "votes": len(rows),
        "prompts": rows["prompt"].nunique(),
        "of_reader": accuracy_interval(both[1], prompts, **options),
        "of_judge": accuracy_interval(both[0], prompts, **options),
        "test": difference_test(*both, prompts, margin=margin, **options),
    }


def _judge(described: dict[tuple[Hashable, str], dict[str, object]]) -> pd.DataFrame:
    """Give the rows of one family of comparisons, with the outcomes of their tests."""
    if not described:
        return pd.DataFrame()
    tests: dict[tuple[str, ...], DifferenceTest] = {}
    for key, one in described.items():
        tests[(*key, "accuracy")] = one["test"]
    fewest = min(one["prompts"] for one in described.values())
    outcomes = judge_differences(tests, fewest).reset_index(drop=True)
    rows = []
    for (judge, reader), one in described.items():
        rows.append({"judge": judge, "reader": reader} | {k: one[k] for k in one if k != "test"})
    return pd.DataFrame(rows).join(outcomes)
