"""What came of the questions: counted, and measured over prompts."""

import numpy as np
import pandas as pd
import pytest

from dtreward.files import digest
from dtreward.judges.outcomes import certainty_by_outcome, count_outcomes, measure_steadiness
from dtreward.judges.verdict import OUTCOMES


def judged(rows):
    """Make rows of one judge: given, swapped, outcome; each pair has its own prompt."""
    frame = pd.DataFrame(rows, columns=["given", "swapped", "outcome"])
    return frame.assign(judge="J", pair=range(len(frame)), prompt_id=range(len(frame)))


def test_every_outcome_has_a_column_and_judges_keep_their_order():
    frame = pd.DataFrame({"judge": ["Z", "A", "A"], "outcome": ["decided", "error", "error"]})
    counts = count_outcomes(frame)
    assert list(counts.columns) == list(OUTCOMES) and list(counts.index) == ["Z", "A"]
    assert counts.loc["A", "error"] == 2 and counts.sum().sum() == 3


def test_consistency_counts_answered_pairs_only():
    frame = judged([("A", "B", "decided"), ("A", "A", "inconsistent"), (None, "A", "refused")])
    steadiness = measure_steadiness(frame, resamples=50)
    assert steadiness.consistency["J"].estimate == 0.5
    assert steadiness.first_position["J"].estimate == 0.75


def test_a_judge_of_the_first_position_is_told_from_one_of_the_responses():
    first = judged([("A", "A", "inconsistent")] * 4)
    fair = judged([("A", "B", "decided"), ("B", "A", "decided")] * 2)
    assert measure_steadiness(first, resamples=50).first_position["J"].estimate == 1.0
    assert measure_steadiness(fair, resamples=50).first_position["J"].estimate == 0.5


def test_a_judge_that_never_wavers_has_an_interval_all_the_same():
    """A bootstrap of equal values has no width, although other prompts may show others."""
    steady = judged([("A", "B", "decided"), ("B", "A", "decided")] * 2)
    found = measure_steadiness(steady, resamples=50)
    consistency = found.consistency["J"]
    assert (consistency.estimate, consistency.high) == (1.0, 1.0) and 0.2 < consistency.low < 0.9
    first = found.first_position["J"]
    assert first.low < first.estimate == 0.5 < first.high


def test_combined_preferences_say_nothing_about_positions():
    frame = judged([(None, None, "decided"), (None, None, "inconsistent")])
    steadiness = measure_steadiness(frame, resamples=50)
    assert steadiness.consistency["J"].estimate == 0.5
    assert steadiness.first_position == {}


def test_no_answered_pair_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="no judge answered two prompts in both orders"):
        measure_steadiness(judged([(None, None, "refused")] * 3))


def test_certainty_is_that_of_the_position_that_was_answered():
    pairs = pd.DataFrame({"prompt": ["p"], "response_1": ["x"], "response_2": ["y"]}, index=[7])
    answers = pd.DataFrame(
        {
            "judge": "J",
            "shown": [digest("p", "x", "y"), digest("p", "y", "x")],
            "logprob_a": np.log([0.9, 0.3]),
            "logprob_b": np.log([0.1, 0.7]),
        }
    )
    frame = pd.DataFrame({"judge": ["J"], "pair": [7], "outcome": ["decided"]})
    table = certainty_by_outcome(answers, frame, pairs)
    assert table.loc[("J", "decided"), "mean"] == pytest.approx(0.8)
    assert table.loc[("J", "decided"), "count"] == 2


def test_judges_without_log_probabilities_have_no_certainty():
    answers = pd.DataFrame({"judge": ["J"], "shown": ["x"], "logprob_a": [None], "logprob_b": None})
    assert certainty_by_outcome(answers, pd.DataFrame(), pd.DataFrame()).empty
