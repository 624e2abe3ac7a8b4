"""What endpoints differ in: fields, headers, pauses, keys, structured answers."""

import json
import time

import pytest
from judge_server import endpoint, in_turn, prefers_one, says, some_pairs

from dtreward.judges.ask import collect
from dtreward.judges.judge import Judge
from dtreward.judges.reply import asked_pause
from dtreward.judges.store import stored_answers, verdicts


def seen_by(tmp_path, **options):
    """Ask one judge one pair; give the bodies and headers that its endpoint saw."""
    sent = []

    def reply(body, headers):
        sent.append(dict(headers.items()))
        return prefers_one(body, headers)

    with endpoint(reply) as (url, came):
        judge = Judge("J", "m", url, logprobs=False, **options)
        collect(tmp_path / "store", some_pairs(1), [judge], concurrency=1)
    return [body for _, body in came], sent


def test_fields_that_endpoints_call_differently_are_sent_as_configured(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TEAM", "team-7")
    bodies, headers = seen_by(
        tmp_path,
        max_tokens=900,
        temperature=None,
        tokens_field="max_completion_tokens",
        reasoning_effort="low",
        headers={"X-Title": "study", "X-Team": "$MY_TEAM"},
        extra={"service_tier": "flex"},
    )
    body = bodies[0]
    assert body["max_completion_tokens"] == 900 and body["reasoning_effort"] == "low"
    assert body["service_tier"] == "flex" and not {"temperature", "max_tokens"} & set(body)
    assert (headers[0]["X-Title"], headers[0]["X-Team"]) == ("study", "team-7")


def test_a_structured_answer_is_asked_for_and_read(tmp_path):
    def reply(body, headers):
        enum = body["response_format"]["json_schema"]["schema"]["properties"]["verdict"]["enum"]
        side = prefers_one(body, headers)[2]
        return says(json.dumps({"verdict": enum[0] if "A is" in side else enum[1]}))

    with endpoint(reply) as (url, _):
        judge = Judge("J", "m", url, max_tokens=20, answer_format="json_schema")
        collect(tmp_path / "store", some_pairs(2), [judge])
    assert verdicts(tmp_path / "store", some_pairs(2), [judge])["preference"].tolist() == [0, 0]
    bodies, _ = seen_by(tmp_path, answer_format="choice")
    assert bodies[0]["structured_outputs"] == {"choice": ["A", "B"]}


def test_texts_in_parts_are_joined_and_thoughts_among_them_left_out(tmp_path):
    parts = [
        {"type": "thinking", "thinking": "A is the better response"},
        {"type": "text", "text": "B is the "},
        {"type": "text", "text": "better response."},
    ]
    with endpoint(lambda *_: says(parts)) as (url, _):
        judge = Judge("J", "m", url)
        collect(tmp_path / "store", some_pairs(1), [judge])
    stored = stored_answers(tmp_path / "store", [judge])
    assert set(stored["text"]) == {"B is the better response."}


ENDPOINTS_KEY = "sk-of-this-endpoint"


def test_a_key_goes_to_its_own_endpoint_and_nowhere_else(tmp_path, monkeypatch):
    """With the variables set that OpenAI's client sends by itself, and a key for one of three."""
    secrets = {"OPENAI_API_KEY": "sk-openai-secret", "OPENAI_ORG_ID": "org-secret"}
    for name, value in (
        secrets | {"A_KEY": ENDPOINTS_KEY, "OPENAI_PROJECT_ID": "p-secret"}
    ).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    sent = {"own": [], "other": [], "azure": []}

    def keeps(name):
        def reply(body, headers):
            sent[name].append(str(headers) + json.dumps(body))
            return prefers_one(body, headers)

        return reply

    with (
        endpoint(keeps("own")) as (own, _),
        endpoint(keeps("other")) as (other, _),
        endpoint(keeps("azure")) as (azure, _),
    ):
        judges = [
            Judge("own", "m", own, key_variable="A_KEY"),
            Judge("other", "m", other),
            Judge("azure", "m", azure, key_variable="A_KEY", key_header="api-key"),
        ]
        assert set(collect(tmp_path / "store", some_pairs(2), judges).missing.values()) == {0}
    assert all(f"Bearer {ENDPOINTS_KEY}" in text for text in sent["own"])
    assert all(f"api-key: {ENDPOINTS_KEY}" in text for text in sent["azure"])
    assert not any("Authorization" in text for text in sent["azure"] + sent["other"])
    told = "".join(text for texts in sent.values() for text in texts)
    assert "secret" not in told and not any(ENDPOINTS_KEY in text for text in sent["other"])


def test_a_key_does_not_follow_to_another_address(tmp_path, monkeypatch):
    monkeypatch.setenv("A_KEY", ENDPOINTS_KEY)
    with endpoint(prefers_one) as (other, came_there):
        moved = (307, {"Location": f"{other}/chat/completions"}, "moved")
        with endpoint(lambda *_: moved) as (url, _):
            judge = Judge("J", "m", url, key_variable="A_KEY")
            result = collect(tmp_path / "store", some_pairs(1), [judge])
    assert result.missing == {"J": 2} and not came_there


def test_a_header_whose_variable_is_not_set_is_named_before_anything_is_asked(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("NOT_SET", raising=False)
    with endpoint(prefers_one) as (url, came):
        judge = Judge("J", "m", url, headers={"X-Team": "$NOT_SET"})
        with pytest.raises(ValueError, match="J: expected a value of the header X-Team"):
            collect(tmp_path / "store", some_pairs(1), [judge])
        assert not came


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "9"}, 9.0),
        ({"x-ratelimit-reset-requests": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-reset-tokens": "7m", "x-ratelimit-remaining-tokens": "12"}, 0.0),
        ({"x-ratelimit-reset": "42"}, 42.0),
        ({"x-ratelimit-reset": "never"}, 0.0),
        ({"content-type": "text/html"}, 0.0),
    ],
)
def test_pauses_are_read_from_what_endpoints_send(headers, seconds):
    assert asked_pause(headers) == pytest.approx(seconds, abs=1e-9)  # sums of decimals


@pytest.mark.parametrize("unit", [1, 1000])
def test_a_reset_may_be_a_time_since_1970_or_a_date(unit):
    ahead = time.time() + 100
    assert 90 < asked_pause({"x-ratelimit-reset": str(round(ahead * unit))}) <= 101
    date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ahead))
    assert 90 < asked_pause({"anthropic-ratelimit-tokens-reset": date}) <= 101


def test_a_pause_holds_back_all_judges_of_one_endpoint_and_no_other(tmp_path):
    pause = (429, {"retry-after-ms": "700"}, "slow down")
    with endpoint(in_turn(pause)) as (url, came), endpoint(prefers_one) as (other, came_there):
        judges = [Judge(name, name, url, logprobs=False) for name in "JK"]
        judges.append(Judge("L", "m", other, logprobs=False))
        collect(tmp_path / "store", some_pairs(2), judges, concurrency=1)
    times = [moment for moment, _ in came]
    assert len(came) == 9 and times[1] - times[0] >= 0.69  # no judge asked in between
    assert {body["model"] for _, body in came} == {"J", "K"} and len(came_there) == 4


WRONG = {
    "max_tokens of 1 or more": {"max_tokens": 0},
    "max_tokens_if_cut above max_tokens": {"max_tokens_if_cut": 5},
    "seconds above 0 as timeout": {"timeout": 0},
    "temperature": {"temperature": "warm"},
    "'max_tokens', 'max_completion_tokens'": {"tokens_field": "n_tokens"},
    "max_tokens of 16 or more with json_schema": {"answer_format": "json_schema"},
    "input_price and output_price together": {"input_price": 1.0},
    "carries the key": {"headers": {"Authorization": "Bearer x"}},
    "expected headers as name: text": {"headers": {"X Y": "z"}},
    "extra as name: value": {"extra": ["seed"]},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_field_that_cannot_be_right_is_refused_by_name(message):
    with pytest.raises(ValueError, match="judge J: ") as error:
        Judge("J", "m", "vllm", **WRONG[message])
    assert message in str(error.value)


def test_all_wrong_fields_are_told_at_once_and_texts_of_numbers_are_read():
    with pytest.raises(ValueError, match=r"as timeout.*; .*temperature"):
        Judge("J", "m", "vllm", timeout=-1, temperature="warm")
    judge = Judge("J", "m", "vllm", max_tokens="7", logprobs="false", temperature="null")
    assert (judge.max_tokens, judge.logprobs, judge.temperature) == (7, False, None)


def test_a_header_from_the_environment_is_kept_nowhere_though_a_reply_repeats_it(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TEAM", "team-secret-7")
    with endpoint(lambda _, headers: (400, {}, f"no team {headers['X-Team']}")) as (url, _):
        judge = Judge("J", "m", url, logprobs=False, headers={"X-Team": "$TEAM"})
        collect(tmp_path / "store", some_pairs(1), [judge])
    stored = stored_answers(tmp_path / "store", [judge])
    assert set(stored["text"]) == {"HTTP 400: no team [key]"}


REFUSED_REQUESTS = {
    "tokens_field: max_completion_tokens": (400, {}, "Use 'max_completion_tokens' instead."),
    "temperature: null": (400, {}, "Unsupported value: 'temperature'"),
    "ends before /chat/completions": (404, {}, "not found"),
    "Moved; it redirects to https://b.org/v1, where": (
        307,
        {"Location": "https://b.org/v1?key=abc"},
        "Moved",
    ),
}


@pytest.mark.parametrize("advice", REFUSED_REQUESTS)
def test_a_request_that_is_refused_says_what_to_change(advice, tmp_path):
    with endpoint(lambda *_: REFUSED_REQUESTS[advice]) as (url, _):
        judge = Judge("J", "m", url, logprobs=False)
        collect(tmp_path / "store", some_pairs(1), [judge])
    text = stored_answers(tmp_path / "store", [judge])["text"][0]
    assert advice in text and "abc" not in text


@pytest.mark.parametrize("usage", ["none", {"prompt_tokens": "n/a"}, None])
def test_an_answer_whose_tokens_are_not_counted_is_kept_and_its_tokens_are_guessed(usage, tmp_path):
    text = "A is the better response, for 16 bytes a line."

    def reply(*_):
        status, headers, body = says(text)
        return status, headers, json.dumps(json.loads(body) | {"usage": usage})

    with endpoint(reply) as (url, _):
        judge = Judge("J", "m", url, logprobs=False)
        run = collect(tmp_path / "store", some_pairs(1), [judge])
    assert (run.stored, run.spent["J"].output_tokens) == (2, 2 * (len(text) // 4))
