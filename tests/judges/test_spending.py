"""Time-outs, budgets and money, over real HTTP."""

import json
import threading

import numpy as np
import pytest
from judge_server import endpoint, prefers_one, some_pairs

from dtreward.judges.ask import collect
from dtreward.judges.judge import TEMPLATE, Judge, render
from dtreward.judges.outcomes import find_truncated
from dtreward.judges.reply import guess_tokens
from dtreward.judges.spending import cost_record, cost_table, expected_cost
from dtreward.judges.store import stored_answers

PRICES = {"input_price": 2.0, "output_price": 8.0}  # money for a million tokens


def counting(asked, answered):
    """Answer as a judge does, and count so many tokens."""

    def reply(body, headers):
        status, more, text = prefers_one(body, headers)
        usage = {"prompt_tokens": asked, "completion_tokens": answered}
        return status, more, json.dumps(json.loads(text) | {"usage": usage})

    return reply


def test_a_question_that_timed_out_is_repeated_once_and_counts_as_if_it_had_been_answered(tmp_path):
    silent = threading.Event()
    with endpoint(lambda *_: silent.wait(20) and b"") as (url, came):
        judge = Judge("J", "m", url, logprobs=False, timeout=0.2, max_tokens=500, **PRICES)
        pairs = some_pairs(1)
        result = collect(tmp_path / "store", pairs, [judge], concurrency=2)
        silent.set()
    question = render(TEMPLATE, *pairs.loc[0, ["prompt", "response_1", "response_2"]])
    assert len(came) == result.requests == 4
    asked = guess_tokens(question)
    assert result.tokens == 4 * (asked + 500)
    money = 4 * (asked * 2 + 500 * 8) / 1e6
    assert result.spent["J"].money == pytest.approx(money, rel=1e-12)  # rounding of sums
    kept = stored_answers(tmp_path / "store", [judge])
    assert set(kept["state"]) == {"error"} and "raise timeout" in kept["text"][0]


def test_each_judge_has_its_own_time_out(tmp_path):
    def reply(body, headers):
        threading.Event().wait(0.4)
        return prefers_one(body, headers)

    with endpoint(reply) as (url, _):
        judges = [Judge("fast", "m", url, timeout=0.1), Judge("slow", "m", url, timeout=30)]
        result = collect(tmp_path / "store", some_pairs(1), judges)
    assert result.missing == {"fast": 2, "slow": 0}


def test_what_it_costs_is_told_before_and_after(tmp_path):
    pairs = some_pairs(6)
    with endpoint(counting(100, 4)) as (url, _):
        judges = [Judge("J", "m", url, **PRICES), Judge("free", "n", url)]
        expected = expected_cost(tmp_path / "store", pairs, judges)
        result = collect(tmp_path / "store", pairs, judges)
        left = expected_cost(tmp_path / "store", pairs, judges)
    paid = cost_table(judges, result.spent)
    assert expected.loc["J", ["requests", "output tokens"]].tolist() == [12, 60]
    assert paid.loc["J"].tolist() == [12, 1200, 48, (1200 * 2 + 48 * 8) / 1e6]
    assert np.isnan(paid.loc["free", "money"]) and cost_record(paid)["free"]["money"] is None
    assert left["requests"].tolist() == [0, 0]


def test_the_expected_cost_is_the_most_that_is_paid(tmp_path):
    """For a server whose tokens have four bytes, as the guess has."""

    def reply(body, headers):
        return counting(guess_tokens(body["messages"][0]["content"]), 5)(body, headers)

    pairs = some_pairs(4)
    with endpoint(reply) as (url, _):
        judge = Judge("J", "m", url, **PRICES)
        expected = expected_cost(tmp_path / "store", pairs, [judge])
        result = collect(tmp_path / "store", pairs, [judge])
    assert cost_table([judge], result.spent).equals(expected.astype({"money": float}))


def test_a_budget_of_money_is_never_overrun_and_the_next_run_goes_on(tmp_path):
    pairs = some_pairs(20)
    with endpoint(counting(60, 5)) as (url, came):
        judge = Judge("J", "m", url, logprobs=False, **PRICES)
        price = expected_cost(tmp_path / "store", pairs, [judge]).loc["J", "money"] / 40
        budget = 10.5 * price
        result = collect(tmp_path / "store", pairs, [judge], max_money=budget, concurrency=4)
        assert 0 < result.spent["J"].money <= budget
        assert "and one more request could cost more" in result.stopped
        before = len(came)
        rest = collect(tmp_path / "store", pairs, [judge])
        assert rest.missing == {"J": 0} and before + rest.requests == 40


def test_an_endpoint_that_counts_more_tokens_than_guessed_is_reserved_more_after_one_reply(
    tmp_path,
):
    pairs = some_pairs(20)
    with endpoint(counting(400, 5)) as (url, _):
        judge = Judge("J", "m", url, logprobs=False, **PRICES)
        expected = expected_cost(tmp_path / "store", pairs, [judge]).loc["J"]
        assert expected["input tokens"] < 400 * expected["requests"] / 2
        budget = 5.5 * judge.money(400, 5)
        result = collect(tmp_path / "store", pairs, [judge], max_money=budget, concurrency=1)
    assert result.requests == 5 and result.spent["J"].money <= budget


def test_a_budget_of_money_needs_prices(tmp_path):
    judges = [Judge("J", "m", "vllm", **PRICES), Judge("K", "m", "vllm")]
    with pytest.raises(ValueError, match="max_money needs prices; K has none"):
        collect(tmp_path / "store", some_pairs(1), judges, max_money=1.0)


def test_truncated_questions_are_found_and_whole_ones_are_not(tmp_path):
    """A server with a context of 400 tokens reads the rest of no long question."""
    pairs = some_pairs(20)
    long = pairs["prompt_id"] >= 15
    pairs.loc[long, "prompt"] = pairs["prompt"][long] + " and so on" * 600

    def reply(body, headers):
        tokens = guess_tokens(body["messages"][0]["content"])
        most = 400 if body["model"] == "short" else tokens
        return counting(min(tokens, most), 2)(body, headers)

    with endpoint(reply) as (url, _):
        judges = [Judge("cut", "short", url), Judge("whole", "long", url)]
        collect(tmp_path / "store", pairs, judges)
    answers = stored_answers(tmp_path / "store", judges)
    assert find_truncated(answers, pairs, TEMPLATE) == {"cut": 2 * long.sum()}
