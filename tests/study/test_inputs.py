"""A notebook that is started alone says which file it lacks, which notebook makes it, and how."""

import nbformat
import pytest
from conftest import ROOT
from matplotlib import pyplot as plt
from studies import DEMO

from dtreward.record import write_result
from dtreward.study.graph import maker_of
from dtreward.study.inputs import expect, recorded_numbers, repository

FIRST = dict.fromkeys(DEMO, "pairs.parquet")
FIRST |= {"09_evaluate_rewardbench": "checkpoint", "99_draw_paper_figures": "01_load_pairs.json"}
FIRST |= {"00_compare_two_responses": "checkpoint"}
ALONE = sorted(set(DEMO) - {"01_load_pairs", "10_measure_throughput"})  # which need none


def run_notebook(name, **parameters):
    """Run a notebook's cells one after the other, with parameters as papermill gives them."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    code.insert(1, "\n".join(f"{key} = {value!r}" for key, value in parameters.items()))
    names = {"display": print}
    for source in code:
        exec(compile(source, name, "exec"), names)  # noqa: S102 (our own notebooks)


@pytest.mark.parametrize("name", ALONE)
def test_a_notebook_without_its_inputs_says_the_file_the_notebook_and_the_command(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(ROOT / "notebooks")
    own = {"data_dir": str(tmp_path)} if name[:2] != "00" else {}
    own |= {"model": str(tmp_path / "demo" / "checkpoint")} if name[:2] == "00" else {}
    with plt.rc_context(), pytest.raises(FileNotFoundError) as told:
        run_notebook(name, **own)
    file = FIRST[name]
    assert str(told.value) == (
        f"expected {tmp_path / 'demo' / file}, which notebook {maker_of(file)} makes; "
        "run it first, or the whole study: make study STUDY=demo"
    )


def test_every_input_is_asked_for_in_turn(tmp_path):
    names = ("pairs.parquet", "judges.parquet", "judge_trees.json")
    for name in names:
        with pytest.raises(FileNotFoundError, match=f"{name}, which notebook {maker_of(name)}"):
            expect(tmp_path, *names)
        (tmp_path / name).touch()
    expect(tmp_path, *names)


def test_what_was_made_of_other_pairs_is_refused(tmp_path):
    """Rewards are joined to pairs by row number: of other pairs they would be wrong, silently."""
    for name in ("pairs.parquet", "rewards.parquet"):
        (tmp_path / name).write_text(name)
    record = tmp_path / "03_fit_attribute_probe.json"
    write_result(record, numbers={}, parameters={}, inputs=[tmp_path / "pairs.parquet"])
    expect(tmp_path, "pairs.parquet", "rewards.parquet")
    (tmp_path / "pairs.parquet").write_text("others")
    with pytest.raises(
        ValueError, match=r"other pairs than pairs.parquet: run 03_fit_attr\S+ again"
    ):
        expect(tmp_path, "pairs.parquet", "rewards.parquet")
    expect(tmp_path, "rewards.parquet")  # who reads no pairs does not care


def test_numbers_of_another_notebook_are_quoted_only_if_they_are_of_the_same_pairs(tmp_path):
    pairs = tmp_path / "pairs.parquet"
    pairs.write_text("these")
    assert recorded_numbers(tmp_path, "04_fit_preference_tree") == {}
    record = tmp_path / "04_fit_preference_tree.json"
    write_result(record, numbers={"floor": 0.5}, parameters={}, inputs=[pairs])
    assert recorded_numbers(tmp_path, "04_fit_preference_tree") == {"floor": 0.5}
    pairs.write_text("others")
    assert recorded_numbers(tmp_path, "04_fit_preference_tree") == {}


def test_a_folder_named_as_a_model_of_the_leaderboard_is_itself(tmp_path, monkeypatch):
    name, repo = "QRM-Llama3.1-8B-v2", "nicolinho/QRM-Llama3.1-8B-v2"
    (tmp_path / "models" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for folder in (f"models/{name}", str(tmp_path / "models" / name), "../data/demo"):
        assert repository(folder) == folder
    assert repository(name) == repository(repo) == repo
    text = "What is it? " * 300
    assert repository(text) == text
    assert repository("a/b") == "a/b" and repository("MetaMetrics-RM-v1.0") == "MetaMetrics-RM-v1.0"
