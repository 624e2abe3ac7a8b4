"""A plan says what of a study runs, and refuses in one line what cannot."""

import json
import os

import pytest
from conftest import ROOT
from studies import DEMO

from dtreward.record import write_result
from dtreward.study import plan as planning
from dtreward.study.plan import plan_study


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt\n")
    return path


def test_the_demo_study_runs_every_notebook_with_the_parameters_of_the_command_line():
    plan = plan_study({"study": "demo", "limit": 300})
    assert sorted(plan.notebooks) == DEMO and not plan.left_out
    assert plan.parameters["01_load_pairs"] == {
        "study": "demo", "seed": 0, "limit": 300, "source": "demo"
    }  # fmt: skip
    assert plan.parameters["00_compare_two_responses"]["model"] == "../data/demo/checkpoint"
    assert plan.folders() == {"data/demo/checkpoint", "data/demo/paper"}
    assert not any(plan.needs_gpu(name) for name in plan.notebooks)


def test_inputs_are_the_studys_files_and_those_that_parameters_name():
    plan = plan_study({"study": "demo"})
    assert plan.inputs("04_fit_preference_tree") == [
        "data/demo/pairs.parquet",
        "data/demo/02_extract_features.json",
        "data/demo/rewards.parquet",
        "data/demo/probe.safetensors",
    ]
    assert "data/demo/config.json" in plan.inputs("02_extract_features")
    assert "data/measured/growth_llama-3.1-8b.json" in plan.inputs("10_measure_throughput")
    paper = plan.inputs("99_draw_paper_figures")
    assert "data/demo/08_global.parquet" in paper and "data/demo/08_compare_shap.json" in paper
    assert "data/demo/checkpoint" not in paper


def test_without_a_model_what_needs_one_is_left_out_of_notebooks_inputs_and_outputs(table):
    plan = plan_study({"study": "own", "source": str(table)})
    assert plan.left_out == (
        "02_extract_features", "03_fit_attribute_probe", "00_compare_two_responses",
        "06_collect_judge_preferences", "07_compare_judges", "08_compare_shap",
    )  # fmt: skip
    assert plan.inputs("05_ablate_depth_and_leaves") == ["data/own/pairs.parquet"]
    assert plan.outputs("04_fit_preference_tree") == [
        "data/own/tree.json", "data/own/04_fit_preference_tree.json"
    ]  # fmt: skip
    assert plan.inputs("01_load_pairs") == [os.path.relpath(table)]


def test_judges_that_are_given_are_compared_in_your_own_study(table):
    words = {"study": "own", "source": str(table)}
    judged = plan_study(words | {"judges_source": str(table), "judges_table": str(table)})
    assert judged.notebooks[-4:] == (
        "06_collect_judge_preferences", "07_compare_judges", "08_compare_shap",
        "99_draw_paper_figures",
    )  # fmt: skip
    assert os.path.relpath(table) in judged.inputs("06_collect_judge_preferences")
    asked = plan_study(words | {"judges": [{"name": "J", "model": "m", "endpoint": "vllm"}]})
    assert asked.notebooks == judged.notebooks
    assert "07_compare_judges" in plan_study({"study": "demo"}).notebooks


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"study": "domo"}, "there is no study 'domo'; those in notebooks/studies/ are demo"),
        ({"study": "../demo"}, "expected a study's name"),
        ({"study": "own"}, "needs a table: make study STUDY=own SOURCE=<file>"),
        ({"study": "own", "source": "nowhere.csv"}, "there is no nowhere.csv here; SOURCE is a"),
        ({"model": "data/dmeo"}, "there is no data/dmeo here; MODEL is a folder"),
        ({"limits": 3}, "no parameter limits in the study's notebooks; did you mean limit"),
        ({"study": "own", "source": "README.md", "fp8": True}, "run only with MODEL="),
    ],
)
def test_what_cannot_run_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        plan_study(words)


def test_a_real_study_without_its_commits_says_which_command_writes_them(tmp_path):
    words = {"study": "paper-llama-8b", "data_dir": str(tmp_path)}
    with pytest.raises(FileNotFoundError, match="make study STUDY=paper-llama-8b, or dtreward pre"):
        plan_study(words)


def test_away_from_the_repository_every_study_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="expected the repository as the working directory"):
        plan_study({"study": "demo"})


def test_a_file_of_the_studys_own_folder_is_an_input_only_if_it_is_a_source(tmp_path):
    for name in ("train.jsonl.gz", "pairs.parquet"):
        (tmp_path / name).touch()
    files = planning.named_files("source", str(tmp_path), tmp_path)
    assert [os.path.basename(file) for file in files] == ["train.jsonl.gz"] or files == []
    other = planning.named_files("source", str(tmp_path), ROOT)
    assert [os.path.basename(file) for file in other] == ["pairs.parquet", "train.jsonl.gz"]


def test_the_package_digest_changes_with_a_file_and_not_with_a_cache(tmp_path):
    package = tmp_path / "package"
    (package / "__pycache__").mkdir(parents=True)
    (package / "one.py").write_text("1")
    before = planning.package_digest(package)
    (package / "__pycache__" / "one.pyc").write_text("2")
    (package / ".hidden").write_text("3")
    assert planning.package_digest(package) == before
    (package / "one.py").write_text("4")
    assert planning.package_digest(package) != before


def test_one_study_is_locked_once(tmp_path):
    plan = plan_study({"study": "demo", "data_dir": str(tmp_path)})
    with (
        planning.lock_study(plan),
        pytest.raises(RuntimeError, match="'demo' is already running"),
    ):
        planning.lock_study(plan)
    planning.lock_study(plan).close()


def test_open_questions_make_the_executed_copy_partial_and_a_failed_model_is_only_told(
    tmp_path, capsys
):
    plan = plan_study({"study": "demo", "data_dir": str(tmp_path)})
    asked, judged = "06_collect_judge_preferences", "09_evaluate_rewardbench"
    plan.folder.mkdir()
    numbers = {asked: {"questions_without_an_answer": 12}, judged: {"failed": ["a", "b"]}}
    for name, values in numbers.items():
        write_result(plan.folder / f"{name}.json", numbers=values, parameters={})
        (plan.folder / f"{name}.ipynb").write_text(json.dumps({}))
    planning.reopen_unfinished(plan)
    assert (plan.folder / f"{asked}.partial.ipynb").exists()
    assert not (plan.folder / f"{asked}.ipynb").exists()
    assert (plan.folder / f"{judged}.ipynb").exists()
    printed = capsys.readouterr().out
    assert "no answer to 12 questions" in printed and "no row of a, b" in printed
