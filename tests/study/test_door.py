"""What can be known without running is refused before a study starts, with names that are near."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from replicas import make_decision_tree_replica

from dtreward.study.door import check_door, find_faults
from dtreward.study.plan import plan_study
from dtreward.study.stamps import write_stamp


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def table(tmp_path):
    """Two responses of each of 12 prompts, as rows of responses and as rows of pairs."""
    rows = np.arange(24)
    frame = pd.DataFrame({"prompt": [f"question {row // 2}" for row in rows]})
    frame["response"] = [f"answer {row}" for row in rows]
    frame["coherence"], frame["naturalness"], frame["overall"] = rows % 5, rows % 3, rows % 4
    frame["mood"] = "good"
    frame.to_csv(tmp_path / "responses.csv", index=False)
    pairs = pd.DataFrame({"prompt": [f"question {row}" for row in range(12)]})
    for side in (1, 2):
        pairs[f"response_{side}"] = f"answer {side}"
        pairs[f"coherence_{side}"] = np.arange(12) % (side + 2)
    pairs.assign(preference=np.arange(12) % 2).to_parquet(tmp_path / "pairs.parquet")
    return tmp_path


def refusal(*words):
    """What the door says where it refuses the words of a command line, or ''."""
    try:
        check_door(words)
    except SystemExit as end:
        return str(end.code)
    return ""


def test_what_can_run_is_let_in_without_a_word(table, capsys):
    assert refusal("study=demo") == ""
    assert refusal("study=own", f"source={table / 'pairs.parquet'}", "model=data/demo") == ""
    assert refusal("study=own", f"source={table / 'responses.csv'}", "order_by=overall") == ""
    rated_by_a_model = ["rewards_of=data/demo", "attributes=['helpfulness']"]
    assert refusal("study=own", f"source={table / 'pairs.parquet'}", *rated_by_a_model) == ""
    assert capsys.readouterr() == ("", "")


PAIRS, RESPONSES = "pairs.parquet", "responses.csv"


@pytest.mark.parametrize(
    ("file", "words", "message"),
    [
        (PAIRS, ["attributes=['coherence','naturalnes']"], "attribute 'naturalnes' has no"),
        (RESPONSES, ["order_by=overal"], "overal"),
        (RESPONSES, ["order_by=mood"], "mood"),
        (PAIRS, ["order_by=coherence"], "is for one response a row"),
        (PAIRS, ["revision=abc"], "revision is a commit on the hub, and .* leave it out"),
        (PAIRS, ["limit=many"], "expected limit as a whole number, came 'many'"),
        (PAIRS, ["model=data/dmeo"], "there is no data/dmeo here"),
        (PAIRS, ["model=dmeo"], "there is no model dmeo here"),
        (PAIRS, ["model=tests"], "tests is no model that can be loaded"),
        (PAIRS, ["rewards_of=data/dmeo"], "there is no .*data/dmeo here"),
        (PAIRS, ["model=QRM-Llama3.1-8B-v3"], r"did you mean QRM-Llama3.1-8B-v2\?"),
        (PAIRS, ["model=data/demo", "model_revision=abc"], "model_revision is a commit on the hub"),
        (RESPONSES, ["order_by=overall", "group=mod"], r"came 'mod'; did you mean 'mood'"),
        ("nowhere.csv", [], "there is no .*nowhere.csv here"),
        ("pairs.parqet", [], r"did you mean .*/pairs.parquet\?"),
        (PAIRS, ["model=data/dmeo"], r"did you mean data/demo\?"),
        (PAIRS, ["model=~/nowhere"], "there is no .*/nowhere here"),
        (PAIRS, ["model=owner/no model"], "there is no model owner/no model here"),
        (PAIRS, ["rewards_of=dmeo"], "there is no model dmeo here"),
        (PAIRS, ["test_share=1.5"], "expected test_share from 0 to 1, came 1.5"),
        (
            PAIRS,
            ["test_share=0.6", "validation_share=0.4"],
            "whose sum is below 1, came 0.4 and 0.6",
        ),
        (PAIRS, ["test_share=0"], r"pairs.parquet: no preference .* or a larger test_share"),
        ("2024", [], "there is no .*/2024 here"),
        ("a: b.csv", [], "rename it without a colon"),
    ],
)
def test_what_cannot_run_on_a_table_is_refused_by_name(table, file, words, message):
    said = refusal("study=own", f"source={table / file}", *words)
    assert pd.Series([said]).str.contains(message).all(), said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["study=domo"], "there is no study 'domo'; did you mean demo?"),
        (["study=own", "source=README.md"], "README.md is not a table (.md)"),
        (["study=own", "source=demoo"], "there is no demoo here (did you mean demo?)"),
        (["source=demoo"], "did you mean demo?"),
        (["source=nvidia/HelpSteer"], "did you mean nvidia/HelpSteer2?"),
        (["judges_source=demoo"], "judges_source: there is no demoo"),
        (["source=tests"], "judges of the demo world, and know no other pairs"),
        (["judges_source=endpoints"], "`judges`, which is empty"),
        (["test_share=0.6", "validation_share=0.4"], "whose sum is below 1, came 0.4 and 0.6"),
        (["judges_table=nowhere.csv"], "judges_table: there is no nowhere.csv"),
        (["bench_source=nowhere"], "bench_source: there is no nowhere"),
        (["benches=[RM-Bench,RN-Bench]"], "benches: there is no RN-Bench here"),
        (["models=[data/demo,data/dmeo]"], "there is no model data/dmeo here"),
        (["template='{conversation}'"], "template: expected a template with the fields"),
    ],
)
def test_what_cannot_run_in_the_demo_study_is_refused_by_name(words, message):
    assert message in refusal(*words)


@pytest.mark.parametrize(
    ("judge", "message"),
    [
        ("name: J, model: m, endpoint: vllm, max_token: 5", "did you mean max_tokens?"),
        ("name: J, endpoint: vllm", "judges, entry 1: it lacks model"),
        ("name: J, model: m, endpoint: openai", "the environment variable OPENAI_API_KEY"),
        ("name: J, model: m, endpoint: openia", "expected as endpoint"),
        ("name: J, model: m, endpoint: vllm, max_tokens: 5, logprobs: false", ""),
    ],
)
def test_fields_addresses_and_keys_of_judges_are_checked(judge, message):
    said = refusal("judges_source=endpoints", f"judges=[{{{judge}}}]")
    assert message in said and bool(said) == bool(message)


def test_all_that_is_wrong_with_judges_is_told_at_once():
    said = refusal(
        "judges_source=endpoints",
        "max_money=5",
        "judges=[{name: J, model: m, endpoint: vllm, timeout: soon, temperature: warm}, "
        "{name: K, modle: m, endpoint: openai}, {name: L, model: m, endpoint: mistral}]",
    )
    for message in (
        "seconds above 0 as timeout",
        "as temperature",
        "no field modle",
        "entry 2: it lacks model",
        "MISTRAL_API_KEY",
        "max_money needs prices; J, K, L has none",
    ):
        assert message in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rated_by=[{name: J, model: m, endpoint: openai}]"], "OPENAI_API_KEY"),
        (
            ["rated_by=[{name: J, model: m, endpoint: vllm}]", "rubrics=[polite]"],
            "rubrics, entry 1",
        ),
        (["rated_by=[{name: J, model: m, endpoint: vllm}]"], ""),
    ],
)
def test_a_judge_that_rates_and_its_rubrics_are_checked(words, message):
    said = refusal(*words)
    assert message in said and bool(said) == bool(message)


LACKING = {
    "no preference": (
        lambda pairs: pairs.drop(columns="preference"),
        "no pair of the source has a",
    ),
    "another name": (
        lambda pairs: pairs.rename(columns={"preference": "Label"}),
        "is Label meant?",
    ),
    "one preference": (lambda pairs: pairs.assign(preference=1), "all preferences are the same"),
    "one prompt": (lambda pairs: pairs.assign(prompt="q"), "expected 3 or more different prompts"),
}


@pytest.mark.parametrize("kind", LACKING)
def test_pairs_of_which_no_study_can_be_made_are_refused(kind, table):
    change, message = LACKING[kind]
    change(pd.read_parquet(table / PAIRS)).to_parquet(table / "lacking.parquet")
    assert message in refusal("study=own", f"source={table / 'lacking.parquet'}")


def test_attributes_of_a_model_are_not_looked_for_in_the_table(table):
    words = ("study=own", f"source={table / PAIRS}", "rewards_of=data/demo")
    assert refusal(*words, "attributes=[helpfulness]") == ""


def test_a_table_is_found_from_here_and_suggested_from_here(table, monkeypatch):
    for part in ("notebooks", "dtreward"):
        (table / part).symlink_to(ROOT / part)
    monkeypatch.chdir(table)
    assert "there is no pairs.parqet here (did you mean pairs.parquet?)" in refusal(
        "study=own", "source=pairs.parqet"
    )
    monkeypatch.setenv("HOME", str(table))
    assert refusal("study=own", "source=~/pairs.parquet") == ""


def test_all_faults_are_told_at_once(table):
    source = f"source={table / PAIRS}"
    said = refusal("study=own", source, "attributes=[clarity]", "model=dmeo", "revision=abc")
    assert said.startswith("The study 'pairs' does not start:\n- ") and said.count("\n- ") == 3


@pytest.mark.parametrize("written", ["name", "./name", "../{here}/name", "{absolute}", "name/"])
def test_a_model_is_found_wherever_its_folder_is(written, table, monkeypatch):
    for part in ("notebooks", "dtreward"):
        (table / part).symlink_to(ROOT / part)
    make_decision_tree_replica(table / "name", "llama")
    monkeypatch.chdir(table)
    folder = written.format(here=table.name, absolute=table / "name")
    words = {"study": "own", "source": PAIRS, "model": folder}
    plan = plan_study(words)
    assert list(find_faults(plan)) == []
    assert "name/config.json" in plan.inputs("02_extract_features")


def test_a_model_of_the_hub_is_asked_for_unless_it_is_here(table, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    words = ("study=own", f"source={table / PAIRS}", "model=owner/model")
    assert "the model owner/model is not here: " in refusal(*words)
    snapshot = tmp_path / "hub" / "models--owner--model" / "snapshots" / ("a" * 40)
    shutil.copytree(ROOT / "data" / "demo", snapshot)
    assert refusal(*words) == ""


def test_what_has_finished_is_not_checked_again(table):
    words = {"study": "own", "source": str(table / PAIRS), "data_dir": str(table / "data")}
    plan = plan_study(words | {"attributes": ["clarity"]})
    assert len(list(find_faults(plan))) == 1
    files = [*plan.outputs("01_load_pairs"), plan.executed("01_load_pairs")]
    for path in map(Path, files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    write_stamp(Path(plan.stamp("01_load_pairs")), map(Path, files))
    assert list(find_faults(plan)) == []


def test_attributes_that_the_demo_world_does_not_rate_are_named_with_the_nearest():
    said = refusal("study=demo", "attributes=['coherence','helpfulnes']", "limit=7")
    assert "demo has no attribute helpfulnes" in said and "did you mean helpfulness?" in said
    assert refusal("study=demo", "attributes=['coherence','words']", "limit=7") == ""
