"""What is run by hand never replaces a study's results, and reads them."""

import sqlite3
from contextlib import closing

import nbformat
import pandas as pd
import papermill
import pytest
from conftest import ROOT
from nbclient import NotebookClient
from same_bytes import contents
from studies import DEMO

from dtreward.files import write_atomically
from dtreward.record import write_result
from dtreward.study.by_hand import link_study, start_in_notebooks
from dtreward.study.inputs import expect
from dtreward.study.lab import copy_notebooks, with_values
from dtreward.study.plan import plan_study

TREE = "04_fit_preference_tree"
KEPT = "features/key/shard_0.safetensors"


@pytest.fixture
def study(tmp_path):
    """A folder with files of a study."""
    folder = tmp_path / "data" / "mine"
    for name in ("pairs.parquet", "rewards.parquet", "checkpoint/config.json", KEPT):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the study's {name}")
    with closing(sqlite3.connect(folder / "judges.sqlite")) as database:
        database.execute("CREATE TABLE answers (text)")
    return folder


@pytest.fixture
def made(study):
    """Its folder for notebooks run by hand, as notebooks name it."""
    return study.parent / "by_hand" / "mine"


def write(path, text):
    """Write as notebooks do."""
    write_atomically(path, lambda temporary: temporary.write_text(text))


def bytes_of(folder):
    """Give the bytes of each file of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", sorted(set(DEMO) - {"00_compare_two_responses"}))
def test_a_notebook_writes_by_its_own_parameters_into_the_folder_for_work_by_hand(name):
    declared = papermill.inspect_notebook(str(ROOT / "notebooks" / f"{name}.ipynb"))
    assert declared["data_dir"]["default"] == '"../data/by_hand"'


def test_by_hand_a_notebook_reads_the_studys_files_and_writes_none_of_them(study, made):
    before = contents(study)
    assert link_study(made) == []
    assert (made / "checkpoint" / "config.json").read_text() == "the study's checkpoint/config.json"
    write(made / "rewards.parquet", "mine")
    write(made / "checkpoint" / "config.json", "mine")
    write(made / "features" / "key" / "shard_1.safetensors", "mine")
    write(made / KEPT, "the same again")
    with closing(sqlite3.connect(made / "judges.sqlite")) as database:
        database.execute("INSERT INTO answers VALUES ('mine')")
        database.commit()
    assert contents(study) == before
    assert link_study(made) == ["rewards.parquet", "checkpoint"]
    assert (made / "rewards.parquet").read_text() == "mine"


def test_what_was_not_made_by_hand_is_always_the_study_as_it_is_now(study, made):
    link_study(made)
    write(study / "pairs.parquet", "new")
    write(study / "checkpoint" / "tokenizer.json", "new")
    (study / "rewards.parquet").unlink()
    (study / "checkpoint" / "config.json").unlink()
    assert link_study(made) == []
    assert (made / "pairs.parquet").read_text() == "new"
    assert [path.name for path in (made / "checkpoint").iterdir()] == ["tokenizer.json"]
    with pytest.raises(FileNotFoundError, match=r"rewards\.parquet, which notebook 03"):
        expect(made, "rewards.parquet")


def test_a_notebook_run_by_hand_says_what_it_reads_and_one_of_a_study_says_nothing(
    study, made, capsys
):
    expect(study, "rewards.parquet")
    assert not capsys.readouterr().out
    expect(made, "rewards.parquet")
    assert f"reads from {study} and writes to {made}" in capsys.readouterr().out
    write(made / "rewards.parquet", "mine")
    expect(made, "rewards.parquet")
    assert f"in {made} are rewards.parquet; everything else is read from {study}" in (
        capsys.readouterr().out
    )


def test_rewards_of_the_study_are_refused_beside_pairs_made_by_hand(study, made):
    record = study / "03_fit_attribute_probe.json"
    write_result(record, numbers={}, parameters={}, inputs=[study / "pairs.parquet"])
    expect(made, "pairs.parquet", "rewards.parquet")
    write(made / "pairs.parquet", "others")
    with pytest.raises(ValueError, match=r"other pairs than pairs.parquet: run 03_fit_attr"):
        expect(made, "pairs.parquet", "rewards.parquet")


def test_values_are_written_into_the_cell_of_parameters_beside_their_comments():
    source = (
        'study: str = "ä"  # name, "x" = 1\nshare: float = 0.5  # of pairs\nnames: list = []  # n'
    )
    values = {"study": 'a "b"', "share": float("inf"), "names": ["ä", {"k": None}], "other": 1}
    written = with_values(source, values)
    names = {}
    exec(written, names)  # noqa: S102 (our own cell)
    assert {key: names[key] for key in list(values)[:3]} == {
        key: values[key] for key in list(values)[:3]
    }
    assert written.count("  # ") == 3 and '# name, "x" = 1\n' in written


def test_copies_have_the_studys_parameters_and_one_that_somebody_changed_stays(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(ROOT)
    words = {"study": "demo", "data_dir": str(tmp_path), "max_depth": 2}
    paths = copy_notebooks(plan_study(words))
    assert [path.stem for path in paths] == DEMO
    copies = {path.stem: papermill.inspect_notebook(str(path)) for path in paths}
    assert copies[TREE]["max_depth"]["default"] == "2"
    assert copies[TREE]["planted"]["default"] == '"Human"'
    assert copies["00_compare_two_responses"]["model"]["default"].endswith(
        'by_hand/demo/checkpoint"'
    )
    changed, unchanged = paths[DEMO.index(TREE)], paths[1]
    notebook = nbformat.read(changed, as_version=4)
    notebook.cells[3].source += "\n# mine"
    nbformat.write(notebook, changed)
    mine = changed.read_bytes()
    capsys.readouterr()
    copy_notebooks(plan_study(words | {"max_depth": 1, "limit": 200}))
    assert changed.read_bytes() == mine and f"{changed} has changes" in capsys.readouterr().out
    assert papermill.inspect_notebook(str(unchanged))["limit"]["default"] == "200"


def test_a_copy_runs_from_its_own_folder_and_leaves_the_study_as_it_is(
    workshop, tmp_path, monkeypatch
):
    monkeypatch.chdir(workshop)
    study = workshop / "data" / "demo"
    before = bytes_of(study)
    paths = copy_notebooks(plan_study({"study": "demo", "limit": 60}))
    notebook = nbformat.read(paths[1], as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": str(paths[1].parent)}}).execute()
    made = workshop / "data" / "by_hand" / "demo"
    assert bytes_of(study) == before
    assert 0 < len(pd.read_parquet(made / "pairs.parquet")) <= 60
    assert (made / "01_load_pairs.json").exists() and paths[1].exists()


def test_away_from_the_repository_a_copy_says_where_it_belongs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="open this notebook where `make lab` made it"):
        start_in_notebooks()
