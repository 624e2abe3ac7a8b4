"""A judge behind an endpoint as a reward model, over real HTTP."""

import json

import numpy as np
import pandas as pd
import pytest
from judge_server import endpoint, llm_server, prefers_one, says, some_pairs

from dtreward.benches import evaluate, judge, load_bench, section_intervals
from dtreward.demo import bench as demo_bench
from dtreward.judges.judge import Judge
from dtreward.models.endpoint import JudgeModel

__all__ = ["llm_server"]  # a fixture
KEY = "key-that-nobody-may-see"


def texts(pairs):
    return (pairs[name].tolist() for name in ("prompt", "response_1", "response_2"))


def model_at(url, folder, **options):
    return JudgeModel(Judge("J", "m", url, **options), folder / "answers")


def shown(body):
    return body["messages"][0]["content"]


@pytest.fixture
def bench(tmp_path):
    demo_bench.make_bench(3).to_parquet(tmp_path / "bench.parquet")
    return load_bench(str(tmp_path / "bench.parquet")).items


def chosen_is_better(bench):
    """An endpoint's answers: the chosen response, wherever it is shown."""
    chosen = set(bench["chosen"])

    def reply(body, headers):
        first = shown(body).split("### Response A\n")[1].split("\n\n### Response B")[0]
        return says("A is" if first in chosen else "B is")

    return reply


def test_a_judges_verdict_in_both_orders_is_the_preference(tmp_path):
    pairs = some_pairs(3)
    with endpoint(prefers_one) as (url, came):
        model = model_at(url, tmp_path)
        found = model.compare_many(*texts(pairs))
        assert [each.preference for each in found] == [0, 0, 0]
        assert [(each.probability, each.swap_flips) for each in found] == [(0.0, True)] * 3
        prompt, one, two = (column[0] for column in texts(pairs))
        assert model.compare(prompt, two, one).preference == 1
        assert len(came) == 6  # the swapped pair had been asked already
    assert found[0].scores is None and found[0].rewards == [[], []] and model.kind == "verdict"


@pytest.mark.parametrize(
    ("answer", "probability"),
    [("A is", 0.5), ("B is", 0.5), ("Both are fine.", 0.5), ("I'm sorry, but no.", 0.5)],
)
def test_positions_ramblings_and_refusals_prefer_no_response(tmp_path, answer, probability):
    with endpoint(lambda *_: says(answer)) as (url, _):
        found = model_at(url, tmp_path).compare_many(*texts(some_pairs(2)))
    assert [(each.preference, each.probability, each.swap_flips) for each in found] == [
        (0, probability, False)
    ] * 2


def test_a_judge_that_never_gives_a_verdict_is_asked_little_and_has_none(tmp_path):
    with endpoint(lambda *_: says("Both are fine.")) as (url, came):
        found = model_at(url, tmp_path).compare_many(*texts(some_pairs(60)))
        assert len(came) < 40 and len(found) == 60
        model_at(url, tmp_path).compare_many(*texts(some_pairs(90)))
        assert len(came) < 40
    assert {each.no_verdict for each in found} == {2}


def test_a_real_llm_server_stands_in_the_bench(llm_server, bench, tmp_path):
    """`transformers serve` of a model that says "A" to everything: right in one order of two."""
    url, name = llm_server
    model = JudgeModel(Judge("served", name, url, max_tokens=1), tmp_path / "answers")
    results = evaluate(model, bench.head(4), tmp_path / "served.parquet", part=3)
    assert results["correct"].tolist() == [0.5] * 4 and (results["unread"] == "").all()
    interval = section_intervals(results)["Chat"]
    assert interval.low < interval.estimate == 50 < interval.high


def test_the_bench_is_asked_once_in_each_order_and_resumed(bench, tmp_path):
    with endpoint(chosen_is_better(bench)) as (url, came):
        results = evaluate(model_at(url, tmp_path), bench, tmp_path / "judge.parquet", part=8)
        assert len(came) == 2 * len(bench) and results["correct"].eq(1).all()
        (tmp_path / "judge.parquet").unlink()
        again = evaluate(model_at(url, tmp_path), bench, tmp_path / "judge.parquet", part=5)
        assert len(came) == 2 * len(bench) and again.equals(results)


def test_a_pair_that_the_endpoint_refuses_for_good_is_not_read_and_the_others_are(bench, tmp_path):
    long = bench["prompt"][5]
    better = chosen_is_better(bench)

    def reply(body, headers):
        return (400, {}, "maximum context length") if long in shown(body) else better(body, headers)

    with endpoint(reply) as (url, _):
        results = evaluate(model_at(url, tmp_path), bench, tmp_path / "judge.parquet")
    assert np.flatnonzero(results["unread"] != "").tolist() == [5]
    assert "maximum context length" in results["unread"][5]
    assert results["correct"].drop(index=5).eq(1).all() and np.isnan(results["correct"][5])


def test_an_endpoint_that_is_gone_is_no_pairs_fault_and_the_next_run_goes_on(bench, tmp_path):
    better, broken = chosen_is_better(bench), {"yes": True}

    def reply(body, headers):
        gone = broken["yes"] and any(prompt in shown(body) for prompt in bench["prompt"][8:])
        return (404, {}, "no such model") if gone else better(body, headers)

    with endpoint(reply) as (url, came):
        path = tmp_path / "judge.parquet"
        with pytest.raises(RuntimeError, match=r"no answer: .*no such model.*run again"):
            evaluate(model_at(url, tmp_path), bench, path, part=4)
        assert not path.exists() and len(list((tmp_path / "judge.parts").iterdir())) == 2
        broken["yes"], before = False, len(came)
        results = evaluate(model_at(url, tmp_path), bench, path, part=4)
        assert results["correct"].eq(1).all() and (results["unread"] == "").all()
        assert len(came) - before == 2 * (len(bench) - 8)


def test_a_missing_key_and_a_store_in_use_are_no_pairs_fault(bench, tmp_path, monkeypatch):
    monkeypatch.delenv("A_KEY", raising=False)
    model = model_at("http://127.0.0.1:9/v1", tmp_path, key_variable="A_KEY")
    with pytest.raises(RuntimeError, match="environment variable A_KEY"):
        evaluate(model, bench, tmp_path / "judge.parquet")


def test_blank_texts_are_refused_before_anything_is_asked(bench, tmp_path):
    spoilt = bench.assign(rejected=bench["rejected"].mask(bench.index == 3, " "))
    with endpoint(chosen_is_better(bench)) as (url, came):
        results = judge(model_at(url, tmp_path), spoilt)
    assert "with text" in results["unread"][3] and (results["unread"] != "").sum() == 1
    assert not any("### Response A\n \n" in shown(body) for _, body in came)


def test_a_key_is_sent_and_stands_nowhere_else(bench, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("A_KEY", KEY)
    sent, better = [], chosen_is_better(bench)

    def reply(body, headers):
        sent.append(headers["Authorization"])
        refused = bench["prompt"][0] in shown(body)
        return (400, {}, f"bad request with {KEY}") if refused else better(body, headers)

    with endpoint(reply) as (url, _):
        model = model_at(url, tmp_path, key_variable="A_KEY")
        results = evaluate(model, bench, tmp_path / "judge.parquet")
    assert set(sent) == {f"Bearer {KEY}"}  # the control: it was there to be repeated
    assert "[key]" in results["unread"][0]
    told = (
        json.dumps(model.identity) + repr(model) + results.to_json() + "".join(capfd.readouterr())
    )
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY not in told and KEY.encode() not in files
    assert KEY not in pd.read_parquet(tmp_path / "judge.parquet").to_json()
