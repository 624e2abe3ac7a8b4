"""Attributes of responses by a judge, over real HTTP."""

import numpy as np
import pandas as pd
import pytest
from judge_server import endpoint, says, some_pairs

from dtreward.judges.judge import TEMPLATE, Judge
from dtreward.judges.ratings import (
    RUBRICS,
    SCALE,
    RatingQuestion,
    agreement_with_people,
    rate_by_judge,
    rating_questions,
)
from dtreward.judges.spending import Limits
from dtreward.pairs.frame import load_pairs


def rates_by_digit(body, headers):
    """Rate by the number in the response: n modulo 5; those on verbosity by one more."""
    text = body["messages"][0]["content"]
    number = int(text.rsplit("### Response\n", 1)[1].split()[1])
    return says(f"Rating: {(number + ('verbosity' in text)) % 5}")


@pytest.fixture
def pairs():
    """Thirty pairs that people rated on helpfulness, by the same number."""
    table = some_pairs(30).assign(preference=[0, 1] * 15)
    for side in (1, 2):
        table[f"helpfulness_{side}"] = [(n + side - 1) % 5 for n in range(30)]
    return load_pairs(table)


def rated(pairs, reply, folder, rubrics=(), **options):
    with endpoint(reply) as (url, came):
        judge = Judge("Rater", "m", url, logprobs=False)
        return rate_by_judge(pairs, judge, folder / "ratings", rubrics, **options), came


def test_each_response_is_rated_once_on_each_attribute_and_kept(pairs, tmp_path):
    found, came = rated(pairs, rates_by_digit, tmp_path, resamples=50)
    assert found.pairs.attributes == tuple(RUBRICS) and len(came) == 60 * 5
    assert (
        found.pairs.attributes_are == found.pairs.frame.attrs["attributes_are"] == "rated by Rater"
    )
    number = found.pairs.frame["response_2"].str.split().str[1].astype(int)
    assert (found.pairs.frame["helpfulness_2"] == number % 5).all()
    assert (found.pairs.frame["verbosity_1"] == (number + 1) % 5).all()
    again, came = rated(pairs, rates_by_digit, tmp_path, resamples=50)
    assert not came and again.pairs.frame.equals(found.pairs.frame)


def test_agreement_with_people_is_shown_where_both_rated(pairs, tmp_path):
    found, _ = rated(pairs, rates_by_digit, tmp_path, resamples=50)
    assert list(found.agreement) == ["helpfulness"]  # people rated no other attribute
    assert -1 <= found.agreement["helpfulness"].low < 1
    unrated = load_pairs(some_pairs(30).assign(preference=[0, 1] * 15))
    assert rated(unrated, rates_by_digit, tmp_path)[0].agreement == {}


def test_equal_ratings_agree_wholly_and_shuffled_ones_do_not():
    rng = np.random.default_rng(0)
    people = pd.DataFrame({"tone": rng.integers(0, 5, 400).astype(float)})
    options = {"resamples": 200}
    same = agreement_with_people(people, people, range(400), **options)["tone"]
    shuffled = people.sample(frac=1, random_state=0).reset_index(drop=True)
    chance = agreement_with_people(people, shuffled, range(400), **options)["tone"]
    assert same.estimate == pytest.approx(1) and abs(chance.estimate) < 4 / np.sqrt(400)


def test_users_own_rubrics_and_principles_are_asked_in_their_words(pairs, tmp_path):
    asked = []

    def reply(body, headers):
        text = body["messages"][0]["content"]
        asked.append(text)
        if "thanks" not in text:
            return says("2")
        response = text.rsplit("### Response\n", 1)[1]
        return says("yes" if response.startswith("one ") else "No.")

    rubrics = [
        {"attribute": "polite", "principle": "It thanks the user."},
        {"attribute": "depth", "rubric": "0 is shallow, 4 is deep {response}."},
    ]
    found, _ = rated(pairs, reply, tmp_path, rubrics)
    frame = found.pairs.frame
    assert set(frame["polite_1"]) == {1.0} and set(frame["polite_2"]) == {0.0}
    assert set(frame["depth_1"]) == {2.0}
    assert any("It thanks the user." in text and "yes or no" in text for text in asked)


def test_a_pair_without_all_ratings_is_dropped_and_counted(pairs, tmp_path):
    def reply(body, headers):
        is_odd = "one 7\n" in body["messages"][0]["content"] + "\n"
        return says("I'd rather not say.") if is_odd else rates_by_digit(body, headers)

    found, _ = rated(pairs, reply, tmp_path, [{"attribute": "depth", "rubric": "0 to 4"}])
    assert len(found.pairs.frame) == 29 and found.pairs.counts["not rated by Rater"] == 1
    assert found.pairs.frame["prompt_id"].tolist() == list(range(29))


def test_a_judge_that_rates_nothing_is_stopped_and_said_so(pairs, tmp_path):
    with pytest.raises(ValueError, match=r"rated no pair on all of .*none of its 2. replies"):
        rated(pairs, lambda *_: says("Good."), tmp_path)


def test_limits_hold_for_ratings_too(pairs, tmp_path):
    limits = Limits(requests=100)
    found, came = rated(pairs, rates_by_digit, tmp_path, limits=limits, concurrency=1)
    assert len(came) == 100 and 0 < len(found.pairs.frame) < 30


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("3", "3"),
        ("**4**", "4"),
        ("2 out of 4", "2"),
        ("3/4", "3"),
        ("Rating: 1\nIt is wrong.", "1"),
        ("It is fine, I first thought of 3. Score: 2", "2"),
        ('{"rating": 4}', "4"),
        ("<think>Rating: 1?</think>2", "2"),
        ("[[0]]", "0"),
        ("7", "unparsed"),
        ("8/10", "unparsed"),
        ("3.5", "unparsed"),
        ("Good", "unparsed"),
        ("I'm sorry, but I can't rate this.", "refused"),
    ],
)
def test_a_rating_is_read_where_it_is_stated(text, wanted):
    assert RatingQuestion("helpfulness", "0 to 4").read(text) == wanted
    assert wanted in (*SCALE, "unparsed", "refused")


@pytest.mark.parametrize("text", ["Yes", "yes, it does", "Answer: no"])
def test_yes_and_no_are_read(text):
    question = rating_questions([{"attribute": "a", "principle": "p"}])[0]
    assert question.read(text) == ("no" if "no" in text else "yes")


@pytest.mark.parametrize(
    ("rubrics", "message"),
    [
        ([{"attribute": "a"}], "entry 1: expected"),
        (["politeness"], "entry 1: expected"),
        ([{"attribute": "a", "rubric": "x"}, {"attribute": "a", "principle": "y"}], "distinct"),
    ],
)
def test_wrong_rubrics_are_refused(rubrics, message):
    with pytest.raises(ValueError, match=message):
        rating_questions(rubrics)


def test_another_rubric_is_asked_anew(pairs, tmp_path):
    one = [{"attribute": "depth", "rubric": "0 to 4"}]
    _, came = rated(pairs, rates_by_digit, tmp_path, one)
    assert len(came) == 60
    _, came = rated(pairs, rates_by_digit, tmp_path, [{"attribute": "depth", "rubric": "else"}])
    assert len(came) == 60


def test_each_attribute_and_preferences_have_keys_of_their_own():
    keys = {question.key for question in rating_questions()}
    assert len(keys) == 5 and TEMPLATE not in keys
