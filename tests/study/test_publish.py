"""What a study made is copied to where it is committed, and nothing older stays there."""

import json

import pandas as pd
import pytest

from dtreward.study.publish import publish
from dtreward.study.study_runs import RUN, RUNS

SECRET = "What somebody wrote, and nobody else may read here."


@pytest.fixture
def repository(tmp_path):
    """A repository with a study whose files were published once, and made anew since."""
    files = {
        "docs/demo-results.md": "No table.\n",
        "data/toy/01_load_pairs.ipynb": "new",
        "data/toy/02_extract_features.partial.ipynb": "unfinished",
        "data/toy/figures/01_shares.png": "new",
        "data/toy/paper/macros.tex": "new",
        "notebooks/executed/toy/01_load_pairs.ipynb": "old",
        "notebooks/executed/other/01_load_pairs.ipynb": "of another study",
        "figures/toy/01_shares.png": "new",
        "figures/toy/01_renamed_since.png": "old",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    pd.DataFrame({"prompt": [SECRET]}).to_parquet(tmp_path / "data/toy/pairs.parquet")
    return tmp_path


def test_new_files_are_copied_and_those_of_before_go(repository, capsys):
    publish("toy", root=repository)
    told = capsys.readouterr().out
    assert (repository / "notebooks/executed/toy/01_load_pairs.ipynb").read_text() == "new"
    assert (repository / "figures/toy/paper/macros.tex").read_text() == "new"
    assert not (repository / "figures/toy/01_renamed_since.png").exists()
    assert "deleted figures/toy/01_renamed_since.png" in told
    assert told.startswith("2 of 3 files were new or changed")


def test_an_unfinished_notebook_is_not_published_and_other_studies_stay(repository):
    publish("toy", root=repository)
    executed = repository / "notebooks" / "executed"
    assert [path.name for path in (executed / "toy").iterdir()] == ["01_load_pairs.ipynb"]
    assert (executed / "other" / "01_load_pairs.ipynb").exists()


def test_what_an_interrupted_study_has_not_made_again_stays(repository):
    committed = [
        "notebooks/executed/toy/02_extract_features.ipynb",
        "figures/toy/02_times.png",
        "figures/toy/paper/tables.tex",
    ]
    for name in committed:
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of the last whole run")
    publish("toy", root=repository)
    assert all((repository / name).exists() for name in committed)
    assert not (repository / "figures/toy/01_renamed_since.png").exists()


def test_a_study_that_has_not_run_changes_nothing_and_says_how_to_run_it(repository):
    before = sorted(repository.rglob("*"))
    with pytest.raises(FileNotFoundError, match=r"data/never.*make study STUDY=never"):
        publish("never", root=repository)
    assert sorted(repository.rglob("*")) == before


def test_a_text_of_a_real_study_is_not_published(repository):
    shown = {"cells": [{"outputs": [{"data": {"text/plain": [f"0  {SECRET}"]}}]}]}
    (repository / "data/toy/01_load_pairs.ipynb").write_text(json.dumps(shown))
    with pytest.raises(ValueError, match=r"01_load_pairs\.ipynb shows a text of the study's pairs"):
        publish("toy", root=repository)
    executed = repository / "notebooks" / "executed" / "toy"
    assert (executed / "01_load_pairs.ipynb").read_text() == "old"


def shown_table(*columns):
    """A notebook that shows a table with these columns."""
    heads = "".join(f"<th>{name}</th>" for name in ("", *columns))
    html = [f"<table><thead><tr>{heads}</tr></thead>", "<tr><th>0</th><td>A</td></tr></table>"]
    return json.dumps({"cells": [{"outputs": [{"data": {"text/html": html}}]}]})


@pytest.mark.parametrize("column", ["preference", "given", "swapped"])
def test_a_table_of_verdicts_on_single_pairs_is_not_published(repository, column):
    (repository / "data/toy/01_load_pairs.ipynb").write_text(shown_table("judge", column))
    with pytest.raises(ValueError, match=rf"01_load_pairs\.ipynb has a table with .* {column}:"):
        publish("toy", root=repository)
    executed = repository / "notebooks/executed/toy/01_load_pairs.ipynb"
    assert executed.read_text() == "old"
    executed.unlink()
    (repository / "data/toy/01_load_pairs.ipynb").write_text(shown_table("judge", "preferences"))
    publish("toy", root=repository)
    assert executed.exists()


def test_data_of_a_figure_with_a_row_a_pair_are_not_published(repository):
    data = repository / "data/toy/paper/02_points.csv"
    data.write_text("judge,pair,score\nA,0,0.5\n")
    with pytest.raises(ValueError, match=r"02_points\.csv has a table with the column pair"):
        publish("toy", root=repository)
    data.write_text("judge,pairs,score\nA,100,0.5\n")
    publish("toy", root=repository)
    assert (repository / "figures/toy/paper/02_points.csv").exists()


def test_publishing_enters_the_last_whole_run_and_fills_the_pages(repository):
    page = repository / "docs/real-studies.md"
    page.write_text("<!-- run: ../data/measured/study_runs.json#toy -->\n<!-- end -->\n")
    run = {"study": "toy", "seconds": 60.0, "memory_mib": 1024.0, "cores": 2, "date": "2026-11-30"}
    for seconds in (60.0, 120.0):
        notes = repository / "data/toy" / RUN
        notes.parent.mkdir(exist_ok=True)
        notes.write_text(json.dumps(run | {"seconds": seconds}))
        publish("toy", root=repository)
        assert json.loads((repository / RUNS).read_text())["toy"]["seconds"] == seconds
        assert f"took {seconds / 60:.1f} minutes" in page.read_text()
