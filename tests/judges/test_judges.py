"""Judges over real HTTP: an LLM server, the demo world's, and one that fails in every way."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from hub_replicas import write_lines
from judge_server import endpoint, in_turn, llm_server, prefers_one, says, shown_first, some_pairs
from scipy.stats import binom

from dtreward.conversation import prompt_text
from dtreward.demo import world as demo
from dtreward.demo.judges import PLANTED, WITH_LOGPROBS, WITHOUT_LOGPROBS, demo_judges, serve
from dtreward.files import digest
from dtreward.judges import ask
from dtreward.judges.ask import GIVE_UP, collect
from dtreward.judges.judge import TEMPLATE, Judge, render
from dtreward.judges.reading import verdict
from dtreward.judges.reply import asked_pause
from dtreward.judges.store import stored_answers, verdicts
from dtreward.judges.verdict import OUTCOMES, judged_frame
from dtreward.judges.votes import read_preferences

__all__ = ["llm_server"]  # a fixture
COLUMNS = ["judge", "family", "pair", "prompt_id", "given", "swapped", "outcome", "preference"]


# --------------------------------------------------------------------------- a real LLM server


def test_a_model_behind_transformers_serve_is_asked_greedily_for_so_many_tokens(
    llm_server, tmp_path
):
    url, model = llm_server
    judges = [
        Judge("one token", model, url, max_tokens=1),
        Judge("three", model, url, max_tokens=3),
    ]
    pairs = some_pairs(2)
    result = collect(tmp_path / "store", pairs, judges, concurrency=2)
    assert (result.stored, result.requests, result.missing) == (8, 8, {"one token": 0, "three": 0})
    texts = stored_answers(tmp_path / "store", judges).groupby("judge")["text"].unique()
    assert texts.map(list).to_dict() == {"one token": ["A"], "three": ["AAA"]}
    found = verdicts(tmp_path / "store", pairs, judges)
    assert found.groupby("judge")["outcome"].unique().map(list).to_dict() == {
        "one token": ["inconsistent"],  # "A" whatever stands there
        "three": ["cut"],  # AAA is no verdict, and the limit ended it
    }
    assert result.tokens > 8 * 20  # counted by the server: prompts have more tokens than that


# ------------------------------------------------------------------------------ the demo world


@pytest.fixture(scope="module")
def demo_run(tmp_path_factory):
    """All demo judges, asked about 200 pairs, and asked once more."""
    store, pairs = tmp_path_factory.mktemp("demo") / "store", demo.make_pairs(200, seed=3)
    pairs["prompt_id"] = range(len(pairs))
    with serve(pairs, seed=3) as url:
        judges = demo_judges(url, seed=3)
        first = collect(store, pairs, judges)
        second = collect(store, pairs, judges)
    return store, pairs, judges, first, second


def test_every_demo_judge_is_asked_once_about_each_pair_in_each_order(demo_run):
    _, pairs, judges, first, second = demo_run
    assert {judge.name for judge in judges} == set(demo.JUDGES) - {"Human"}
    assert first.stored == 2 * len(pairs) * len(judges) and not first.stopped
    assert set(first.missing.values()) == {0}
    refused = first.requests - first.stored  # one judge refuses log-probabilities, to each thread
    assert 1 <= refused <= 8
    assert (second.requests, second.stored, second.missing) == (0, 0, first.missing)


def test_the_demo_judges_verdicts_are_those_of_the_demo_world(demo_run):
    store, pairs, judges, _, _ = demo_run
    found = verdicts(store, pairs, judges)
    assert list(found) == COLUMNS and found["preference"].dtype == "Int8"
    for name, own in found.groupby("judge"):
        own = own.set_index("pair")
        said = own["given"].notna()
        for order, column in {"original": "given", "swapped": "swapped"}.items():
            wanted = np.where(demo.answers(pairs, name, order=order, seed=3) == 0, "A", "B")
            assert (own[column][said] == wanted[said]).all()
        decided = own["outcome"] == "decided"
        latent = demo.latent_verdicts(pairs, name, seed=3)
        assert (own["preference"][decided] == latent[decided]).all() and decided.any()
        assert set(own["family"]) == {demo.JUDGES[name].family}


def test_refusals_and_ramblings_come_in_about_the_planted_share(demo_run):
    store, pairs, judges, _, _ = demo_run
    found = verdicts(store, pairs, judges)
    for name, own in found.groupby("judge"):
        kind, share = PLANTED.get(name, ("refused", 0.0))
        others = {"refused", "unparsed", "error", "missing"} - {kind}
        low, high = binom.interval(1 - 1e-6, len(pairs), share) if share else (0, 0)
        assert low <= (own["outcome"] == kind).sum() <= high
        assert not own["outcome"].isin(others).any()
    assert (found["outcome"] == "refused").any() and (found["outcome"] == "unparsed").any()


def test_log_probabilities_are_kept_where_given_and_not_missed_where_refused(demo_run):
    store, _, judges, _, _ = demo_run
    answers = stored_answers(store, judges).set_index("judge")
    sure = answers.loc[WITH_LOGPROBS]
    assert np.allclose(np.exp(sure["logprob_a"]) + np.exp(sure["logprob_b"]), 1)
    assert ((sure["logprob_a"] > sure["logprob_b"]) == (sure["state"] == "A")).all()
    assert answers.drop(WITH_LOGPROBS)["logprob_a"].isna().all()
    assert answers.loc[WITHOUT_LOGPROBS, "state"].isin(["A", "B"]).all()


def test_the_official_client_understands_the_demo_server():
    openai = pytest.importorskip("openai")
    pairs = demo.make_pairs(1)
    text = render(TEMPLATE, *pairs.loc[0, ["prompt", "response_1", "response_2"]])
    with serve(pairs) as url:
        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        judge = demo_judges(url)[0]
        answer = client.chat.completions.create(**judge.request(text, logprobs=True))
        assert verdict(answer.choices[0].message.content) in ("A", "B")
        assert answer.choices[0].logprobs.content[0].top_logprobs[0].logprob < 0
        with pytest.raises(openai.BadRequestError, match="not a question"):
            client.chat.completions.create(**judge.request("What is 2 + 2?"))


# ------------------------------------------------------------------------------- what goes wrong

WHOLE = says("A is")[2]
FAULTS = {
    "429": (429, {"Retry-After": "0.01"}, "slow down"),
    "429 without a time": (429, {}, "slow down"),
    "500": (500, {}, "<html>oops</html>"),
    "529": (529, {}, '{"error": {"type": "overloaded_error"}}'),
    "truncated JSON": (200, {}, WHOLE[: len(WHOLE) // 2]),
    "garbage": (200, {}, "\x00\x01 not JSON"),
    "other JSON": (200, {}, '["A is the better response"]'),
    "no choice": (200, {}, '{"choices": []}'),
    "null": (200, {}, "null"),
    "cut connection": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + WHOLE.encode(),
    "no HTTP": b"\xff\xfe garbage\r\n\r\n",
    "bad encoding": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\xff\xfe",
    "hang up": b"",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_healed_by_asking_again(fault, tmp_path):
    with endpoint(in_turn(FAULTS[fault])) as (url, came):
        judge = Judge("J", "m", url, logprobs=False)
        result = collect(tmp_path / "store", some_pairs(1), [judge], concurrency=1)
    assert (result.requests, len(came), result.stored, result.missing) == (3, 3, 2, {"J": 0})
    found = verdicts(tmp_path / "store", some_pairs(1), [judge])
    assert found["outcome"].tolist() == ["decided"] and found["preference"].tolist() == [0]


@pytest.mark.parametrize("fault", ["500", "truncated JSON", "garbage", "cut connection", "hang up"])
def test_a_lasting_fault_is_an_error_and_is_asked_again_in_the_next_run(fault, tmp_path):
    with endpoint(in_turn(*[FAULTS[fault]] * 4)) as (url, _):
        judge, pairs = Judge("J", "m", url, logprobs=False), some_pairs(1)
        first = collect(tmp_path / "store", pairs, [judge], concurrency=1, retries=1)
        assert (first.requests, first.stored, first.missing) == (4, 0, {"J": 2})
        found = verdicts(tmp_path / "store", pairs, [judge])
        assert found["outcome"].tolist() == ["error"] and found["preference"].isna().all()
        second = collect(tmp_path / "store", pairs, [judge])
        assert (second.requests, second.stored, second.missing) == (2, 2, {"J": 0})
        assert verdicts(tmp_path / "store", pairs, [judge])["outcome"].tolist() == ["decided"]


def test_a_silent_endpoint_is_left_after_the_timeout(tmp_path):
    silent = threading.Event()
    with endpoint(in_turn(lambda *_: silent.wait(30) and b"")) as (url, came):
        judge = Judge("J", "m", url, logprobs=False, timeout=0.5)
        result = collect(tmp_path / "store", some_pairs(1), [judge], concurrency=1)
        silent.set()
    assert (len(came), result.stored) == (3, 2)


class Clock:
    """A clock that only waiting moves, in the place of the real one."""

    def __init__(self):
        self.now = 0.0
        self.waits = []

    def wait(self, timeout):
        self.waits.append(timeout)
        self.now += timeout


@pytest.fixture
def clock(monkeypatch):
    """Let `collect` wait on a clock of the test's own, which takes no time."""
    own = Clock()

    class Stop(threading.Event):
        def wait(self, timeout=None):
            own.wait(timeout)
            return self.is_set()

    monkeypatch.setattr(ask, "monotonic", lambda: own.now)
    monkeypatch.setattr(ask, "Event", Stop)
    return own


def later(pause):
    return lambda *_: (429, {"Retry-After": pause}, "later")


def test_retry_after_holds_back_all_questions_to_that_judge(tmp_path, clock):
    with endpoint(in_turn(later("90"))) as (url, came):
        judge = Judge("J", "m", url, logprobs=False)
        collect(tmp_path / "store", some_pairs(2), [judge], concurrency=1)
    assert len(came) == 5 and clock.waits == [0, 90, 0, 0, 0]


def test_retry_after_may_be_a_date():
    ahead = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 9000))
    assert 8000 < asked_pause({"retry-after": ahead}) <= 9001
    assert asked_pause({"retry-after": "soon"}) == asked_pause({}) == 0.0


def test_a_pause_that_is_asked_for_at_the_last_repeat_holds_back_the_next_question(tmp_path, clock):
    with endpoint(later("90")) as (url, came):
        judge = Judge("J", "m", url, logprobs=False)
        collect(tmp_path / "store", some_pairs(1), [judge], concurrency=1, retries=0)
    assert len(came) == 2 and clock.waits == [0, 90]


def test_an_endpoint_that_asks_for_a_very_long_pause_is_not_waited_for(tmp_path):
    with endpoint(lambda *_: (429, {"Retry-After": "86400"}, "quota")) as (url, came):
        judge = Judge("J", "m", url, logprobs=False)
        result = collect(tmp_path / "store", some_pairs(1), [judge], concurrency=1)
    assert (len(came), result.stored, result.missing) == (2, 0, {"J": 2})


def test_what_failed_before_is_asked_after_all_that_was_never_asked(tmp_path):
    """Else questions that always fail would end each run before the others had their turn."""

    def reply(body, headers):
        return (400, {}, "too long") if shown_first(body)[0] < 15 else prefers_one(body, headers)

    with endpoint(reply) as (url, came):
        judge = Judge("J", "m", url, logprobs=False)
        collect(tmp_path / "store", some_pairs(9), [judge], concurrency=1)
        collect(tmp_path / "store", some_pairs(30, start=6), [judge], concurrency=1)
    asked = [shown_first(body)[0] for _, body in came[18:]]
    assert asked[:6] == [9, 9, 10, 10, 11, 11] and sorted(asked[-6:]) == [6, 6, 7, 7, 8, 8]
    assert set(range(15, 36)) <= set(asked)


def test_what_always_fails_does_not_hide_what_failed_once(tmp_path):
    well = []

    def reply(body, headers):
        lasting = shown_first(body)[0] < 20
        return prefers_one(body, headers) if well and not lasting else (400, {}, "no")

    pairs, missing = some_pairs(30), []
    with endpoint(reply) as (url, _):
        judge = Judge("J", "m", url, logprobs=False)
        for _ in range(3):  # 20 errors in a row end each: all have failed after these
            collect(tmp_path / "store", pairs, [judge], concurrency=1)
        well.append(True)
        for _ in range(40):
            missing.append(collect(tmp_path / "store", pairs, [judge], concurrency=1).missing["J"])
    assert missing[-1] == 40  # the ten that would be answered are, whatever stands before them


@pytest.mark.parametrize(
    "odd", [{"content": "A \ud800"}, {"tokens": 10**30}, {"logprob": [1]}, {"logprob": {}}]
)
def test_an_odd_reply_ends_no_collection(odd, tmp_path):
    """Half an emoji, where the tokens ended; numbers that no database holds; lists for numbers."""
    top = [{"token": "A", "logprob": odd.get("logprob", -0.1)}]
    reply = {"choices": [{"message": {"content": odd.get("content", "A is")}}]}
    reply["choices"][0]["logprobs"] = {"content": [{"token": "A", "top_logprobs": top}]}
    reply["usage"] = {"total_tokens": odd.get("tokens", 9)}
    with endpoint(lambda *_: (200, {}, json.dumps(reply))) as (url, _):
        judge = Judge("J", "m", url)
        result = collect(tmp_path / "store", some_pairs(2), [judge])
    assert result.missing == {"J": 0}
    assert set(stored_answers(tmp_path / "store", [judge])["state"]) == {"A"}


def test_a_question_is_asked_so_often_and_with_a_pause_before_each_time(tmp_path, clock):
    with endpoint(lambda *_: (500, {}, "")) as (url, came):
        judge = Judge("J", "m", url)
        collect(tmp_path / "store", some_pairs(1), [judge], concurrency=1, retries=2)
    assert len(came) == 6  # of two questions, each asked once and repeated twice
    pauses = [wait for wait in clock.waits if wait]
    assert len(pauses) == 4
    assert all(0.25 <= pause <= 0.5 for pause in pauses[::2])
    assert all(0.5 <= pause <= 1.0 for pause in pauses[1::2])


@pytest.mark.parametrize("first", ["A", " B", "**"])
def test_log_probabilities_are_those_where_the_letter_stands(first, tmp_path):
    """An answer "**B" has A and B among its likeliest first tokens too, but says neither there."""
    likely = {"A": -0.1, "B": -2.5, "**": -0.3}
    place = {
        "token": first,
        "top_logprobs": [{"token": t, "logprob": v} for t, v in likely.items()],
    }
    sure = {"token": "B", "top_logprobs": [{"token": "B", "logprob": -0.01}]}
    with endpoint(lambda *_: says("**B**", logprobs={"content": [place, sure]})) as (url, _):
        judge = Judge("J", "m", url)
        collect(tmp_path / "store", some_pairs(1), [judge], concurrency=1)
    row = stored_answers(tmp_path / "store", [judge]).iloc[0]
    wanted = [-0.1, -2.5] if first != "**" else [None, -0.01]
    assert [
        None if pd.isna(row[name]) else row[name] for name in ("logprob_a", "logprob_b")
    ] == wanted


def test_a_judge_with_nothing_but_errors_is_left_out_and_the_others_go_on(tmp_path):
    def reply(body, headers):
        return (404, {}, "no such model") if body["model"] == "gone" else prefers_one(body, headers)

    pairs = some_pairs(40)
    with endpoint(reply) as (url, came):
        judges = [Judge("J", "m", url), Judge("K", "gone", url)]
        result = collect(tmp_path / "store", pairs, judges, concurrency=4)
    asked = Counter(body["model"] for _, body in came)
    assert asked["m"] == 80 and GIVE_UP <= asked["gone"] < GIVE_UP + 4
    assert (
        result.missing == {"J": 0, "K": 80}
        and "(HTTP 404: no such model; look at" in result.stopped
    )
    counts = verdicts(tmp_path / "store", pairs, judges).groupby("judge")["outcome"].unique()
    assert counts["J"].tolist() == ["decided"] and set(counts["K"]) == {"error", "missing"}


def test_log_probabilities_that_are_refused_are_not_asked_for_again(tmp_path):
    def reply(body, headers):
        if {"logprobs", "top_logprobs"} & set(body):
            return 422, {}, "Unexpected fields in the request: {'logprobs'}"
        return prefers_one(body, headers)

    with endpoint(reply) as (url, came):
        result = collect(
            tmp_path / "store", some_pairs(5), [Judge("J", "m", url)], concurrency=1, retries=0
        )
    assert result.missing == {"J": 0} and len(came) == 11
    assert not any({"n", "max_completion_tokens"} & set(body) for _, body in came)
    assert all((body["temperature"], body["max_tokens"]) == (0, 5) for _, body in came)


@pytest.mark.parametrize("logprobs", [True, False])
def test_log_probabilities_of_extra_that_are_refused_are_an_error(logprobs, tmp_path):
    """They are asked for by hand, so nothing takes them away; and nothing asks for ever."""
    with endpoint(lambda *_: (400, {}, "logprobs not supported")) as (url, came):
        judge = Judge("J", "m", url, logprobs=logprobs, extra={"logprobs": True})
        result = collect(tmp_path / "store", some_pairs(1), [judge], retries=2)
    assert result.missing == {"J": 2} and len(came) == 2


def test_errors_refusals_unparsed_and_inconsistent_answers_stay_different(tmp_path):
    """Pair by pair: what is said in the order given, and swapped."""
    cases = {
        0: ("A is", "B is", "decided", 0),
        1: ("B is", "A is", "decided", 1),
        2: ("A is", "A is", "inconsistent", None),
        3: ("A is", "Both are", "unparsed", None),
        4: ("I'm sorry, but", "Both are", "refused", None),
        5: (None, "A is", "refused", None),  # the endpoint's own refusal
        6: ("filtered", "A is", "refused", None),
        7: ("error", "I cannot", "error", None),
        8: ("", "A is", "error", None),
    }

    def reply(body, headers):
        number, side = shown_first(body)
        text = cases[number][0 if side == "one" else 1]
        if text == "error":
            return 418, {}, "no"
        if text == "filtered":
            return 400, {}, '{"error": {"code": "content_filter"}}'
        return says(text) if text is not None else says(None, finish_reason="content_filter")

    pairs = some_pairs(len(cases))
    with endpoint(reply) as (url, came):
        judge = Judge("GPT-9", "m", url)
        first = collect(tmp_path / "store", pairs, [judge])
        assert first.missing == {"GPT-9": 2} and first.stored == 2 * len(cases) - 2
        before = len(came)
        collect(tmp_path / "store", pairs, [judge])
        assert len(came) - before == 3  # only the error, and the empty answer once more
    more = pd.concat([pairs, some_pairs(1, start=99)], ignore_index=True)
    found = verdicts(tmp_path / "store", more, [judge])
    assert found["outcome"].tolist() == [case[2] for case in cases.values()] + ["missing"]
    wanted = [case[3] for case in cases.values()] + [None]
    assert [None if pd.isna(p) else int(p) for p in found["preference"]] == wanted
    assert set(found["family"]) == {"GPT"} and found["prompt_id"].tolist() == [*range(9), 99]


def test_the_outcome_of_a_pair_is_the_worse_of_its_orders():
    states = ["A", "B", *OUTCOMES[2:-1], np.nan]
    rows = [(one, two) for one in states for two in states]
    frame = pd.DataFrame(rows, columns=["given", "swapped"])
    frame = frame.assign(judge="J-1", family="", pair=range(len(rows)))
    found = judged_frame(frame.copy(), pd.DataFrame({"prompt_id": range(len(rows))}))
    for (one, two), row in zip(rows, found.itertuples(), strict=True):
        if {one, two} <= {"A", "B"}:
            assert row.outcome == ("inconsistent" if one == two else "decided")
        else:
            worst = (
                max(OUTCOMES.index(s) for s in (one, two) if s in OUTCOMES)
                if {
                    one,
                    two,
                }
                & set(OUTCOMES)
                else 0
            )
            worst = OUTCOMES.index("missing") if pd.isna(one) or pd.isna(two) else worst
            assert row.outcome == OUTCOMES[worst] and pd.isna(row.preference)


def test_another_template_model_or_length_is_asked_anew_another_address_is_not(tmp_path):
    pairs, store = some_pairs(2), tmp_path / "store"
    with endpoint(prefers_one) as (url, came), endpoint(prefers_one) as (moved, elsewhere):
        collect(store, pairs, [Judge("J", "m", url)])
        assert len(came) == 4
        collect(store, pairs, [Judge("J", "m", moved, family="F")])
        assert len(elsewhere) == 0
        for change in ({"model": "n"}, {"max_tokens": 1}, {"extra": {"seed": 1}}):
            judge = Judge(**({"name": "J", "model": "m", "endpoint": url} | change))
            assert collect(store, pairs, [judge]).requests == 4
        other = collect(store, pairs, [Judge("J", "m", url)], template="Think. " + TEMPLATE)
        assert other.requests == 4 and len(stored_answers(store, [Judge("J", "m", url)])) == 4


# ----------------------------------------------------------------------------- nothing is lost


COLLECT = """
import pandas as pd
from dtreward.judges.ask import collect
from dtreward.judges.judge import Judge
collect({store!r}, pd.read_parquet({pairs!r}), [Judge("J", "m", {url!r})], concurrency=4)
"""


def test_kill_9_loses_no_stored_answer_and_the_next_run_asks_only_the_rest(tmp_path):
    store, file, pairs = tmp_path / "store", tmp_path / "pairs.parquet", some_pairs(400)
    pairs.to_parquet(file)

    def reply(body, headers):
        time.sleep(0.002)
        return prefers_one(body, headers)

    with endpoint(reply) as (url, came):
        code = COLLECT.format(pairs=str(file), store=str(store), url=url)
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE)
        while len(came) < 150:
            assert process.poll() is None, process.stderr.read().decode()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        judge = Judge("J", "m", url)
        kept = set(stored_answers(store, [judge])["shown"])
        assert 150 - 2 * 4 <= len(kept) < 800  # all but what was under way, in four threads
        result = collect(store, pairs, [judge], concurrency=4)
    asked = Counter(body["messages"][0]["content"] for _, body in came)
    assert result.stored == result.requests == 800 - len(kept)
    texts = [(p, *both) for p, *both in pairs[["prompt", "response_1", "response_2"]].to_numpy()]
    shown = texts + [(prompt, two, one) for prompt, one, two in texts]
    times = {digest(*each): asked[render(TEMPLATE, *each)] for each in shown}
    assert {times[key] for key in kept} == {1}
    assert min(times.values()) == 1 and sum(times.values()) <= 800 + 4
    assert set(verdicts(store, pairs, [judge])["outcome"]) == {"decided"}


def test_a_budget_of_requests_is_never_overrun_and_what_is_there_stays_usable(tmp_path):
    pairs, broken = some_pairs(20), [FAULTS["429"]] * 3
    with endpoint(in_turn(*broken)) as (url, came):
        judge = Judge("J", "m", url, logprobs=False)
        result = collect(tmp_path / "store", pairs, [judge], max_requests=13, concurrency=4)
        assert len(came) == result.requests == 13 and "budget of 13 requests" in result.stopped
        assert result.stored == 10 and result.missing == {"J": 30}
        counts = verdicts(tmp_path / "store", pairs, [judge])["outcome"].value_counts()
        assert set(counts.index) == {"decided", "missing"} and counts.sum() == 20
        rest = collect(tmp_path / "store", pairs, [judge])
        assert (rest.requests, rest.missing, rest.stopped) == (30, {"J": 0}, "")


def test_a_budget_of_tokens_is_overrun_by_no_more_than_what_is_under_way(tmp_path):
    def reply(body, headers):
        status, more, text = prefers_one(body, headers)
        return status, more, json.dumps(json.loads(text) | {"usage": {"total_tokens": 7}})

    with endpoint(reply) as (url, _):
        judges = [Judge("J", "m", url), Judge("K", "m", url)]
        result = collect(tmp_path / "store", some_pairs(50), judges, max_tokens=70, concurrency=3)
    assert 70 <= result.tokens <= 70 + 2 * 7 and result.tokens == 7 * result.stored
    assert "budget of 70 tokens" in result.stopped
    assert abs(result.missing["J"] - result.missing["K"]) <= 2  # pair by pair, not judge by judge


def test_a_store_that_another_process_uses_is_refused(tmp_path):
    store, judge = tmp_path / "store", Judge("J", "m", "http://127.0.0.1:9/v1")
    assert len(stored_answers(store, [judge])) == 0
    with sqlite3.connect(store) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ValueError, match="another process collects into it"):
            collect(store, some_pairs(1), [judge])
        other.rollback()
    other.close()
    (tmp_path / "text").write_text("not a database, but long enough to be taken for one\n" * 40)
    with pytest.raises(ValueError, match="cannot use the store of answers"):
        stored_answers(tmp_path / "text", [judge])


# ------------------------------------------------------------------------------------------ keys


def test_no_key_reaches_the_store_an_error_or_what_is_printed(tmp_path, monkeypatch, caplog):
    secret = "sk-very/secret+0123456789"  # the third reply escapes it, as some servers' JSON does
    monkeypatch.setenv("TEST_KEY", secret)

    def reply(body, headers):
        told, number = headers["Authorization"], shown_first(body)[0]
        assert told == f"Bearer {secret}"
        if number == 0:
            return 401, {}, f"wrong key {told}, also known as {secret[:12]}"
        if number == 1:
            return 418, {}, f"no: {told}".replace("/", "\\/")
        if number == 2:
            return 200, {}, f"not JSON: {told}"
        return says(f"A is better, says {told}")

    caplog.set_level("DEBUG")
    with endpoint(reply) as (url, _):
        judge = Judge("J", "m", url, key_variable="TEST_KEY")
        result = collect(tmp_path / "store", some_pairs(4), [judge], retries=0)
    texts = "\n".join(stored_answers(tmp_path / "store", [judge])["text"])
    assert "[key]" in texts and "HTTP 401" in texts and "A is better" in texts
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for place in (written.decode("latin-1"), texts, repr(judge), repr(result), caplog.text):
        told = place.replace("\\", "")
        assert secret not in told and secret[:12] not in told


def test_a_key_that_is_a_word_of_every_reply_breaks_none(tmp_path, monkeypatch):
    """Servers of one's own take any, such as "null"."""
    monkeypatch.setenv("TEST_KEY", "null")
    with endpoint(lambda *_: says("A is better than null", finish_reason=None)) as (url, _):
        judge = Judge("J", "m", url, key_variable="TEST_KEY", logprobs=False)
        result = collect(tmp_path / "store", some_pairs(1), [judge], retries=0)
    assert result.missing == {"J": 0}
    assert set(stored_answers(tmp_path / "store", [judge])["text"]) == {"A is better than [key]"}


def test_a_missing_key_names_the_variable_before_anything_is_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    with endpoint(prefers_one) as (url, came):
        judges = [Judge("here", "m", url), Judge("there", "m", "together")]
        with pytest.raises(ValueError, match=r"there.*TOGETHER_API_KEY"):
            collect(tmp_path / "store", some_pairs(1), judges)
        assert not came


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "opnai"},
        {"endpoint": "http://user:sk-secret@host/v1"},
        {"endpoint": "http://host/v1?key=sk-secret"},
        {"endpoint": "http://host/v1", "key_variable": "sk-secret"},
    ],
)
def test_what_cannot_be_an_endpoint_or_a_variable_is_refused_and_not_repeated(wrong):
    with pytest.raises(ValueError, match=r"judge J: expected .*openai") as error:
        Judge("J", "m", **wrong).connection()
    assert "secret" not in str(error.value)


def test_judges_of_one_name_are_refused(tmp_path):
    judges = [Judge("J", name, "http://127.0.0.1:9/v1") for name in "ab"]
    with pytest.raises(ValueError, match="distinct names"):
        collect(tmp_path / "store", some_pairs(1), judges)


# --------------------------------------------------------------------------------- words and texts


def test_a_template_shows_all_turns_and_leaves_braces_alone():
    prompt = "First?\n<extra_id_1>Assistant\nYes {response_a}.\n<extra_id_1>User\nAnd then?"
    text = render('{"x": 1} {conversation}|{response_a}|{response_b}', prompt, "{0}", "{}")
    assert text == (
        '{"x": 1} User: First?\n\nAssistant: Yes {response_a}.\n\nUser: And then?|{0}|{}'
    )
    with pytest.raises(ValueError, match=r"lacks.*response_b"):
        render("{conversation} {response_a}", "p", "a", "b")
    system = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    for prompt in (system, prompt_text(system)):
        text = render("{conversation}|{response_a}|{response_b}", prompt, "a", "b")
        assert text == "System: Be brief.\n\nUser: Why?|a|b"


# ---------------------------------------------------------------------------- files of others


def authors_rows(judge, votes, split="train"):
    columns = ["index", "preference_orig_order", "preference_swapped_order", "preference"]
    return pd.DataFrame(votes, columns=columns).assign(split=split, model=judge)


def test_the_collectors_files_are_joined_by_texts_in_either_order(tmp_path):
    table = some_pairs(6).drop(columns="prompt_id").assign(split=["train"] * 4 + ["val"] * 2)
    table.to_parquet(tmp_path / "table.parquet")
    folder = tmp_path / "csv"
    folder.mkdir()
    votes = [(0, "A", "B", -1), (1, "B", "A", 1), (2, "A", "A", 0), (3, "FORMAT-ERROR", "A", 0)]
    authors_rows("GPT-9", votes).to_csv(folder / "GPT-9-helpsteer2-train.csv", index=False)
    votes = [(1, "API-ERROR", "A", 0), (0, "B", "A", 1)]
    authors_rows("GPT-9", votes, "val").to_csv(folder / "GPT-9-helpsteer2-val.csv", index=False)
    pairs = some_pairs(7)
    turned = pairs["prompt_id"].isin([1, 2])  # the study has these with the responses exchanged
    texts = ["response_1", "response_2"]
    pairs.loc[turned, texts] = pairs.loc[turned, texts[::-1]].to_numpy()
    found = read_preferences(folder, pairs, table=tmp_path / "table.parquet")
    assert list(found) == COLUMNS and set(found["family"]) == {"GPT"}
    wanted = ["decided", "decided", "inconsistent", "unparsed", "decided", "error", "missing"]
    assert found["outcome"].tolist() == wanted
    assert found["preference"].dropna().tolist() == [0, 0, 1]  # the second is exchanged
    assert found["given"].tolist()[:5] == ["A", "A", "A", None, "B"]
    with pytest.raises(ValueError, match="none of 6 rows"):
        read_preferences(folder, some_pairs(3, start=50), table=tmp_path / "table.parquet")
    with pytest.raises(ValueError, match="count beyond"):
        table.head(2).to_parquet(tmp_path / "short.parquet")
        read_preferences(folder, pairs, table=tmp_path / "short.parquet")
    with pytest.raises(ValueError, match="the table whose rows"):
        read_preferences(folder, pairs)


def test_llmbars_verdicts_of_18_judges_are_read_as_they_were_counted(shared_data):
    file = shared_data / "llmbar_llm_preferences.csv"
    pairs = pd.read_parquet(shared_data / "llmbar_pairs.parquet")
    pairs["prompt_id"] = pd.factorize(pairs["prompt"])[0]
    found = read_preferences(file, pairs, table=shared_data / "llmbar_pairs.parquet")
    counted = pd.read_csv(file).set_index(["model", "index"])["preference"]
    ours = found.set_index(["judge", "pair"])["preference"]
    assert len(found) == 18 * len(pairs) and found["judge"].nunique() == 18
    theirs = counted.map({-1: 0, 1: 1}).astype("Int8")
    assert ours.loc[theirs.index].equals(theirs.rename("preference").rename_axis(ours.index.names))
    assert ours.drop(theirs.index).isna().all()


def test_published_preferences_of_the_hubs_layout_need_no_positions(tmp_path):
    rows = some_pairs(5)
    table = pd.DataFrame({"dataset": "helpsteer2", "split": "train", "prompt": rows["prompt"]})
    table["id"] = [f"train-{n}" for n in range(5)]
    table["response_A"], table["response_B"] = rows["response_1"], rows["response_2"]
    table["GPT-9"], table["Llama-9-1B"], table["Human"] = [-1, 1, 0, 1, -1], [0, 0, 1, -1, 1], 1
    write_lines(tmp_path / "train.jsonl.gz", table.head(3).to_dict("records"))
    write_lines(tmp_path / "validation.jsonl.gz", table.tail(2).to_dict("records"))
    pairs = rows.copy()
    texts = ["response_1", "response_2"]
    pairs.loc[[1], texts] = pairs.loc[[1], texts[::-1]].to_numpy()
    found = read_preferences(tmp_path, pairs).set_index(["judge", "pair"])
    assert found.index.levels[0].tolist() == ["GPT-9", "Llama-9-1B"]
    assert found[["given", "swapped"]].isna().all(axis=None)
    one = found.loc["GPT-9"]
    assert one["outcome"].tolist() == ["decided", "decided", "inconsistent", "decided", "decided"]
    assert one["preference"].dropna().tolist() == [0, 0, 1, 0]  # the second is exchanged
    same = table.assign(
        response_B=table["response_A"].where(table.index == 0, table["response_B"]) + "\n"
    )
    write_lines(tmp_path / "train.jsonl.gz", same.head(3).to_dict("records"))
    alike = pairs.assign(
        response_2=pairs["response_1"].where(pairs.index == 0, pairs["response_2"])
    )
    again = read_preferences(tmp_path, alike).set_index(["judge", "pair"])
    assert again.equals(found)  # a pair of equal responses has one order, and stops nothing
    for name, values, told in (
        ("verdict", ["A"] * 5, "verdict with A"),
        ("n", [7] * 5, "n with 7"),
    ):
        odd = table.assign(**{name: values})
        write_lines(tmp_path / "train.jsonl.gz", odd.to_dict("records"))
        with pytest.raises(ValueError, match=f"expected beside .*response_A.* found {told}"):
            read_preferences(tmp_path, pairs)
    write_lines(tmp_path / "train.jsonl.gz", table.drop(columns="prompt").to_dict("records"))
    with pytest.raises(ValueError, match=r"expected columns .* missing: prompt;"):
        read_preferences(tmp_path, pairs)
