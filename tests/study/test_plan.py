"""A plan says what of a study runs, and refuses in one line what cannot."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from studies import DEMO

from dtreward.record import write_result
from dtreward.study import plan as planning
from dtreward.study.plan import plan_study
from dtreward.study.stamps import FINISHED, write_stamp


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
    assert not any(plan.needs_gpu(name) for name in plan.notebooks)


def test_a_probe_on_an_inner_layer_makes_no_checkpoint_and_what_reads_one_is_left_out():
    plan = plan_study({"study": "demo", "layer": 3})
    assert plan.left_out == ("00_compare_two_responses", "09_evaluate_rewardbench")
    made = [*plan.outputs("03_fit_attribute_probe"), *plan.outputs("04_fit_preference_tree")]
    assert "data/demo/rewards.parquet" in made
    assert not {"data/demo/probe.safetensors", "data/demo/checkpoint"} & set(made)
    whole = plan_study({"study": "demo", "layer": -1})
    assert not whole.left_out
    assert "data/demo/checkpoint" in whole.outputs("04_fit_preference_tree")


def makers(plan, name):
    """The notebooks whose stamps are inputs of a notebook."""
    stamps = [path for path in plan.inputs(name) if f"/{FINISHED}/" in path]
    return [os.path.basename(path).rsplit("-", 1)[0] for path in stamps]


def test_inputs_are_what_other_notebooks_finished_and_the_files_that_parameters_name():
    plan = plan_study({"study": "demo"})
    assert makers(plan, "04_fit_preference_tree") == [
        "01_load_pairs", "02_extract_features", "03_fit_attribute_probe"
    ]  # fmt: skip
    assert "data/demo/config.json" in plan.inputs("02_extract_features")
    assert "data/measured/growth_llama-3.1-8b.json" in plan.inputs("10_measure_throughput")
    assert sorted(makers(plan, "99_draw_paper_figures")) == DEMO[:-1]


def test_a_stamp_is_of_its_parameters_and_code_and_goes_when_a_file_changes(tmp_path):
    words = {"study": "demo", "data_dir": str(tmp_path)}
    plan = plan_study(words)
    name = "01_load_pairs"
    stamp = Path(plan.stamp(name))
    assert plan_study(words | {"limit": 9}).stamp(name) != str(stamp)
    assert plan_study(words | {"max_depth": 2}).stamp(name) == str(stamp)
    assert replace(plan, package="another").stamp(name) != str(stamp)
    record, executed = plan.folder / f"{name}.json", Path(plan.executed(name))
    files = [*map(Path, plan.outputs(name)), executed]
    changes = [record.unlink, executed.unlink, lambda: record.write_text("longer than before")]
    for change in changes:
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("made")
        write_stamp(stamp, files)
        plan.drop_outdated_stamps()
        assert stamp.exists()
        change()
        plan.drop_outdated_stamps()
        assert not stamp.exists()


def test_without_a_model_what_needs_one_is_left_out_of_notebooks_inputs_and_outputs(table):
    plan = plan_study({"study": "own", "source": str(table)})
    assert plan.left_out == (
        "02_extract_features", "03_fit_attribute_probe", "00_compare_two_responses",
        "06_collect_judge_preferences", "07_compare_judges", "08_compare_shap",
    )  # fmt: skip
    assert makers(plan, "05_ablate_depth_and_leaves") == ["01_load_pairs"]
    assert plan.outputs("04_fit_preference_tree") == [
        "data/mine/tree.json", "data/mine/04_fit_preference_tree.json"
    ]  # fmt: skip
    assert plan.inputs("01_load_pairs") == [str(table)]


def test_judges_that_are_given_are_compared_in_your_own_study(table):
    words = {"study": "own", "source": str(table)}
    judged = plan_study(words | {"judges_source": str(table), "judges_table": str(table)})
    assert judged.notebooks[-4:] == (
        "06_collect_judge_preferences", "07_compare_judges", "08_compare_shap",
        "99_draw_paper_figures",
    )  # fmt: skip
    assert str(table) in judged.inputs("06_collect_judge_preferences")
    asked = plan_study(words | {"judges": [{"name": "J", "model": "m", "endpoint": "vllm"}]})
    assert asked.notebooks == judged.notebooks
    assert "07_compare_judges" in plan_study({"study": "demo"}).notebooks


def test_a_record_that_a_notebook_may_read_is_made_before_it_or_not_waited_for(tmp_path):
    fit, judged = "04_fit_preference_tree", "07_compare_judges"
    plan = plan_study({"study": "demo", "data_dir": str(tmp_path)})
    assert fit in makers(plan, judged)
    without = replace(plan, notebooks=tuple(name for name in plan.notebooks if name != fit))
    assert not [path for path in without.inputs(judged) if fit in path]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"study": "domo"},
            r"there is no study 'domo'; did you mean demo\? those in notebooks/studies/ are .*demo",
        ),
        ({"study": "../demo"}, "expected a study's name"),
        ({"study": "own"}, "needs a table: make study STUDY=own SOURCE=<file>"),
        ({"study": "own", "source": "nowhere.csv"}, "there is no nowhere.csv here; SOURCE is a"),
        ({"data_dir": "../data/by_hand"}, "is for notebooks run by hand: leave it out"),
        ({"model": "data/dmeo"}, "there is no data/dmeo here .*; MODEL is a folder"),
        ({"limits": 3}, "no parameter limits in the study's notebooks; did you mean limit"),
        ({"study": "own", "source": "README.md", "fp8": True}, "run only with MODEL="),
    ],
)
def test_what_cannot_run_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        plan_study(words)


def test_numbers_that_snakemake_leaves_as_texts_are_numbers():
    judge = {"name": "4", "model": "m", "endpoint": "vllm", "max_tokens": "5", "logprobs": "false"}
    plan = plan_study({"study": "demo", "depths": ["1", "2"], "judges": [judge], "fp8": "true"})
    assert plan.parameters["05_ablate_depth_and_leaves"]["depths"] == [1, 2]
    assert plan.parameters["02_extract_features"]["fp8"] is True
    read = judge | {"max_tokens": 5, "logprobs": False}
    assert plan.parameters["06_collect_judge_preferences"]["judges"] == [read]


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


def test_what_a_study_without_a_model_leaves_out_is_set_aside_and_nothing_is_lost(table, tmp_path):
    plan = plan_study({"study": "own", "source": str(table), "data_dir": str(tmp_path)})
    old = [plan.folder / f"03_fit_attribute_probe.{kind}" for kind in ("ipynb", "json")]
    old.append(plan.folder / "figures" / "03_probe_quality.png")
    costly = plan.folder / "features" / "0a1b" / "00000.safetensors"
    for path in (*old, costly):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    planning.set_aside(plan)
    assert not any(path.exists() for path in old) and costly.exists()
    assert all((plan.folder / "earlier" / path.name).read_text() == path.name for path in old)


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
