"""Replies that are no answers: kept as what they are, asked again where that can help."""

import json

import pytest
from conftest import ROOT
from judge_server import endpoint, in_turn, prefers_one, says, shown_first, some_pairs

from dtreward.judges.ask import NO_VERDICT, collect
from dtreward.judges.judge import Judge
from dtreward.judges.store import open_store, stored_answers, verdicts

KEPT = ROOT / "tests" / "fixtures" / "before_finish_reasons"


def with_error(error):
    return 200, {}, json.dumps({"error": error})


def reasons_only(finish):
    message = {"role": "assistant", "content": None, "reasoning_content": "A is better, I think."}
    return 200, {}, json.dumps({"choices": [{"message": message, "finish_reason": finish}]})


def collected(reply, tmp_path, count=1, **options):
    """Ask one judge about pairs; give what was collected, the states, and the requests."""
    with endpoint(reply) as (url, came):
        judge = Judge("J", "m", url, logprobs=False, **options)
        result = collect(tmp_path / "store", some_pairs(count), [judge], concurrency=1, retries=1)
    return result, stored_answers(tmp_path / "store", [judge]), came


CASES = {
    "length without a verdict": (says("Let me see", finish_reason="length"), "cut", 2),
    "no text, cut": (says("", finish_reason="length"), "cut", 2),
    "only reasoning, cut": (reasons_only("length"), "cut", 2),
    "Gemini's word for cut": (says("Well", finish_reason="MAX_TOKENS"), "cut", 2),
    "no text": (says("", finish_reason="stop"), "error", 4),
    "only reasoning": (reasons_only("stop"), "error", 4),
    "an error of the provider": (says("", finish_reason="error"), "error", 4),
    "an error in HTTP 200": (with_error({"code": 502, "message": "upstream"}), "error", 4),
    "a lasting error in HTTP 200": (with_error({"code": 400, "message": "bad"}), "error", 2),
    "moderated in HTTP 200": (with_error({"code": 403, "message": "input flagged"}), "refused", 2),
    "SAFETY": (says("", finish_reason="SAFETY"), "refused", 2),
    "sensitive": (says("", finish_reason="sensitive"), "refused", 2),
    "moderated": ((403, {}, '{"error": {"message": "requires moderation"}}'), "refused", 2),
    "a bad key": ((403, {}, "forbidden"), "error", 2),
    "text after the verdict, cut": (says("A is the better", finish_reason="length"), "A", 2),
}


@pytest.mark.parametrize("case", CASES)
def test_a_reply_is_kept_as_what_it_is_and_asked_again_where_that_can_help(case, tmp_path):
    reply, state, requests = CASES[case]
    _, stored, came = collected(lambda *_: reply, tmp_path)
    assert (set(stored["state"]), len(came)) == ({state}, requests)
    if state in ("cut", "refused") and '"choices"' in reply[2]:
        finish = json.loads(reply[2])["choices"][0]["finish_reason"]
        assert set(stored["finish"]) == {finish.lower()}


def test_an_empty_reply_is_healed_by_asking_again(tmp_path):
    result, stored, came = collected(in_turn(says("")), tmp_path)
    assert (len(came), result.missing) == (3, {"J": 0}) and set(stored["state"]) == {"A", "B"}


def test_a_cut_answer_is_asked_for_again_with_more_tokens_and_the_others_are_kept(tmp_path):
    def reply(body, headers):
        is_short = body["max_tokens"] < 50
        needs_more = shown_first(body)[0] == 1
        if needs_more and is_short:
            return says("Let me think about it", finish_reason="length")
        return prefers_one(body, headers)

    pairs = some_pairs(3)
    with endpoint(reply) as (url, came):
        first = collect(tmp_path / "store", pairs, [Judge("J", "m", url)])
        assert (first.requests, first.missing) == (6, {"J": 0})
        assert verdicts(tmp_path / "store", pairs, [Judge("J", "m", url)])["outcome"].tolist() == [
            *("decided", "cut", "decided")
        ]
        longer = Judge("J", "m", url, max_tokens_if_cut=50)
        second = collect(tmp_path / "store", pairs, [longer])
        assert second.requests == 4  # each cut question as before, then with 50 tokens
        assert collect(tmp_path / "store", pairs, [longer]).requests == 0
    assert [body["max_tokens"] for _, body in came[6:]].count(50) == 2
    found = verdicts(tmp_path / "store", pairs, [longer])
    assert found["outcome"].unique().tolist() == ["decided"]


STOPS = {
    "raise its max_tokens": says("Hm", finish_reason="length"),
    "look at the answers": says("The capital of France is Paris."),
    "it refuses": says("I'm sorry, but I can't help with that."),
    "they have no text": reasons_only("stop"),
}


@pytest.mark.parametrize("advice", STOPS)
def test_a_judge_whose_first_replies_give_no_verdict_is_stopped_and_told_what_to_change(
    advice, tmp_path
):
    result, _, came = collected(lambda *_: STOPS[advice], tmp_path, count=50)
    assert len(came) == NO_VERDICT and advice in result.stopped
    again, _, came = collected(lambda *_: STOPS[advice], tmp_path, count=60)
    assert len(came) <= NO_VERDICT and again.missing["J"] >= 100


def test_a_judge_that_gives_one_verdict_among_its_first_replies_goes_on(tmp_path):
    """The positive control: 19 replies without a verdict, then one."""

    def reply(body, headers):
        return prefers_one(body, headers) if shown_first(body)[0] == 9 else says("Hm.")

    result, _, came = collected(reply, tmp_path, count=30)
    assert (len(came), result.stopped) == (60, "")


def test_a_store_of_an_earlier_version_is_read_migrated_and_paid_for_once(tmp_path):
    """Made by the code before finish reasons were kept: 8 pairs, two judges, one more template."""
    store = tmp_path / "store"
    store.write_bytes((KEPT / "judges.sqlite").read_bytes())
    with endpoint(prefers_one) as (url, _):
        judges = [
            Judge("plain", "model-1", url),
            Judge(
                *("reasons", "model-2", url),
                max_tokens=400,
                logprobs=False,
                extra={"temperature": None, "seed": 3},
            ),
        ]
        before = stored_answers(store, judges).groupby("judge")["state"].value_counts()
        for judge in judges:
            counts = before[judge.name].to_dict()
            # The two empty answers were "unparsed" then; the errors and they are asked again.
            assert counts == {"A": 4, "B": 4, "unparsed": 2, "refused": 2, "error": 4}
        result = collect(store, some_pairs(8), judges, concurrency=1)
    assert (result.requests, result.missing) == (8, {"plain": 0, "reasons": 0})
    after = stored_answers(store, judges)
    assert len(after) == 32 and not (after["state"] == "error").any()
    names = {row[1] for row in open_store(store).execute("PRAGMA table_info(answers)")}
    assert {"finish", "prompt_tokens", "output_tokens", "allowed"} <= names


def test_fields_as_they_are_by_default_change_no_key_and_others_do(tmp_path):
    """The hashes are those that the code before these fields wrote into the kept store."""
    plain = Judge("plain", "model-1", "openai")
    reasons = Judge(
        "reasons", "model-2", "openai", max_tokens=400, extra={"temperature": None, "seed": 3}
    )
    store = tmp_path / "store"
    store.write_bytes((KEPT / "judges.sqlite").read_bytes())
    kept = {row[0] for row in open_store(store).execute("SELECT DISTINCT settings FROM answers")}
    assert {plain.settings, reasons.settings} == kept
    for change in (
        {"temperature": None},
        {"headers": {"X-Beta": "on"}},
        {"tokens_field": "max_completion_tokens"},
        {"reasoning_effort": "low"},
        {"answer_format": "choice"},
    ):
        assert Judge("plain", "model-1", "openai", **change).settings != plain.settings
    for change in (
        {"timeout": 600.0},
        {"max_tokens_if_cut": 90},
        {"input_price": 1, "output_price": 2},
    ):
        assert Judge("plain", "model-1", "openai", **change).settings == plain.settings
