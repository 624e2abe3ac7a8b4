"""What a whole run of a study took is noted by the run itself, and of no other run."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from dtreward.files import write_json
from dtreward.study.outcome_table import Note, noted, read_note
from dtreward.study.plan import plan_study
from dtreward.study.study_runs import RUN, measure_run, most_memory, note_run

OWN = {"study": "demo"}


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """The demo study in a folder of its own, of which every notebook ran for 10 s, one after another."""
    monkeypatch.chdir(ROOT)
    plan = plan_study(OWN | {"data_dir": str(tmp_path)})
    for number, name in enumerate(plan.notebooks):
        note(
            plan, name, Note("made", "", 1000.0 + 10 * number, 1010.0 + 10 * number, 100.0 + number)
        )
    return plan


def note(plan, name, what):
    path = Path(plan.executed(name)).parent / ".outcomes" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, vars(what))


def test_a_whole_run_takes_from_its_first_start_to_its_last_end(plan):
    run = measure_run(plan, 999.0, OWN)
    assert run.seconds == 10.0 * len(plan.notebooks)
    assert run.memory_mib == 100.0 + len(plan.notebooks) - 1
    assert run.cores == len(os.sched_getaffinity(0)) and run.date == "1970-01-01"
    assert set(run.notebooks) == set(plan.notebooks)
    assert run.notebooks[plan.notebooks[0]] == {"seconds": 10.0, "memory_mib": 100.0}


@pytest.mark.parametrize("outcome", ["failed", "interrupted"])
def test_a_run_in_which_one_notebook_was_not_made_is_no_whole_one(plan, outcome):
    note(plan, plan.notebooks[2], Note(outcome, "", 1020.0, 1030.0, 100.0))
    assert measure_run(plan, 999.0, OWN) is None


def test_a_run_that_kept_a_notebook_of_an_earlier_one_is_no_whole_one(plan):
    assert measure_run(plan, 1005.0, OWN) is None


def test_a_run_with_other_parameters_is_not_noted_and_a_copy_of_the_sources_is_no_parameter(plan):
    note_run(plan, 999.0, OWN | {"limit": 100})
    assert not (plan.folder / RUN).exists()
    note_run(plan, 999.0, OWN | {"source": "../copies"})
    assert json.loads((plan.folder / RUN).read_text())["study"] == "demo"


def test_the_memory_of_notebooks_that_run_at_once_is_added_up():
    one = Note("made", "", 0.0, 10.0, 500.0)
    inside = replace(one, started=2.0, ended=4.0, peak_mib=300.0)
    later = replace(one, started=4.0, ended=6.0, peak_mib=250.0)
    assert most_memory([one, inside, later]) == 800.0
    assert most_memory([]) == 0.0


def test_the_note_of_a_run_keeps_its_memory_and_a_note_of_before_has_none(tmp_path):
    executed = tmp_path / "01_load_pairs.ipynb"
    with noted(executed) as cost:
        cost.peak_mib = 321.5
    assert read_note(executed).peak_mib == 321.5
    old = json.loads((tmp_path / ".outcomes/01_load_pairs.json").read_text())
    del old["peak_mib"]
    write_json(tmp_path / ".outcomes/01_load_pairs.json", old)
    assert read_note(executed).peak_mib == 0.0
