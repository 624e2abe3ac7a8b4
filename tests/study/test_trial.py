"""Asking a study's judges about one pair first."""

import pandas as pd
import pytest
from judge_server import endpoint, prefers_one, some_pairs

from dtreward.judges.ask import collect
from dtreward.judges.judge import TEMPLATE, Judge
from dtreward.judges.store import stored_answers
from dtreward.study.trial import asked_pairs, show_trial, try_judges


def test_one_pair_is_asked_of_each_judge_and_its_replies_and_costs_are_shown(tmp_path, capsys):
    with endpoint(prefers_one) as (url, came):
        prices = {"input_price": 1.0, "output_price": 2.0}
        judges = [Judge("J", "m", url, **prices), Judge("K", "n", url)]
        show_trial(tmp_path / "store", some_pairs(50), judges, TEMPLATE)
        assert len(came) == 4
        show_trial(tmp_path / "store", some_pairs(50), judges, TEMPLATE)
        assert len(came) == 4  # kept: the study will not pay for them again
    told = capsys.readouterr().out
    assert "J: A (finish reason: none)\n    A is" in told and "K: B" in told
    assert "What all 50 pairs can cost at most" in told and " 98 " in told
    assert len(stored_answers(tmp_path / "store", judges)) == 4


def test_replies_about_other_pairs_are_not_shown_and_one_pair_costs_no_collection(tmp_path, capsys):
    with endpoint(prefers_one) as (url, _):
        judges = [Judge("J", "m", url)]
        collect(tmp_path / "store", some_pairs(9), judges)
        show_trial(tmp_path / "store", some_pairs(1), judges, TEMPLATE)
    told = capsys.readouterr().out
    assert told.count("finish reason") == 2 and "can cost at most" not in told


def test_the_pair_is_the_first_that_notebook_06_asks_about(tmp_path):
    assert asked_pairs(tmp_path / "pairs.parquet", {}) is None
    pairs = some_pairs(30).assign(pair_id=range(30), preference=pd.array([0, 1] * 15, "Int8"))
    pairs.to_parquet(tmp_path / "pairs.parquet")
    asked = asked_pairs(tmp_path / "pairs.parquet", {"seed": 3, "judged": 7})
    assert len(asked) == 7 and asked["prompt_id"].is_monotonic_increasing


def test_a_study_that_asks_no_judges_says_so():
    with pytest.raises(SystemExit, match="'demo' asks no judges"):
        try_judges(["study=demo"])
