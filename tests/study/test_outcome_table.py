"""Every run of a study ends with one table: what became of each notebook, why, and what to open."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from studies import DEMO

from dtreward.record import write_result
from dtreward.study.outcome_table import list_outcomes, noted, show_outcomes
from dtreward.study.plan import plan_study
from dtreward.study.stamps import write_stamp

PAIRS, PROBE, TREE, ASKED = (DEMO[number] for number in (1, 3, 4, 6))


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """The demo study in a folder of its own."""
    monkeypatch.chdir(ROOT)
    return plan_study({"study": "demo", "data_dir": str(tmp_path)})


def finish(plan, *names):
    """Leave what a run leaves that ends well."""
    for name in names:
        files = [Path(path) for path in (*plan.outputs(name), plan.executed(name))]
        for path in files:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix:
                path.write_text("{}")
            else:
                path.mkdir(exist_ok=True)
        if f"{name}.json" in {path.name for path in files}:
            write_result(plan.folder / f"{name}.json", numbers={}, parameters={})
            Path(plan.executed(name)).write_text("{}")
        write_stamp(Path(plan.stamp(name)), files)


def outcomes(plan, since):
    return {row.notebook: row for row in list_outcomes(plan, since)}


def test_with_nothing_to_do_it_says_so(plan):
    finish(plan, *plan.notebooks)
    text = show_outcomes(plan, time.time())
    assert "nothing to do, 12 of 12 notebooks are up to date" in text
    assert {row.outcome for row in list_outcomes(plan, time.time())} == {"kept"}
    assert all(plan.executed(name) in text for name in DEMO)


def test_a_failure_is_named_with_its_error_and_its_partial_copy_and_what_waits_for_it(plan):
    finish(plan, PAIRS, "02_extract_features", TREE)
    since = time.time()
    executed = {name: Path(plan.executed(name)) for name in DEMO}
    with noted(executed[PAIRS]):
        pass
    with pytest.raises(ValueError, match="expected 3 rows"), noted(executed[PROBE]):
        raise ValueError("expected 3 rows\nin all of it")
    partial = executed[PROBE].with_suffix(".partial.ipynb")
    partial.write_text("{}")
    Path(plan.stamp(TREE)).unlink()  # its inputs are new
    rows = outcomes(plan, since)
    assert rows[PAIRS].outcome == "made" and rows[PAIRS].seconds < 60
    assert rows["02_extract_features"].outcome == "kept"
    assert rows["02_extract_features"].seconds is None
    assert (rows[PROBE].outcome, rows[PROBE].file) == ("failed", str(partial))
    assert rows[PROBE].reason == "ValueError: expected 3 rows"
    assert (rows[TREE].outcome, rows[TREE].file) == ("outdated", str(executed[TREE]))
    assert rows[TREE].reason == f"{PROBE} failed"
    later = rows["09_evaluate_rewardbench"]
    assert (later.outcome, later.reason, later.file) == ("not made", f"{TREE} is outdated", "")
    assert rows[ASKED].reason == "it has not run yet"
    first = show_outcomes(plan, since).splitlines()[0]
    assert all(part in first for part in ("1 made", "1 kept", "1 failed", "1 outdated"))


def test_an_earlier_failure_is_not_told_again_once_its_notebook_has_finished(plan):
    with pytest.raises(ValueError, match="no"), noted(Path(plan.executed(PAIRS))):
        raise ValueError("no")
    finish(plan, PAIRS)
    assert outcomes(plan, time.time())[PAIRS].outcome == "kept"


def test_a_notebook_that_was_stopped_or_killed_counts_as_interrupted(plan):
    since = time.time()
    with pytest.raises(KeyboardInterrupt), noted(Path(plan.executed(PAIRS))):
        assert outcomes(plan, since)[PAIRS].outcome == "interrupted"
        raise KeyboardInterrupt
    row = outcomes(plan, since)[PAIRS]
    assert row.outcome == "interrupted" and row.seconds < 60


def test_open_questions_are_counted(plan):
    finish(plan, PAIRS)
    since = time.time()
    with noted(Path(plan.executed(ASKED))):
        pass
    numbers = {"questions_without_an_answer": 1200}
    write_result(plan.folder / f"{ASKED}.json", numbers=numbers, parameters={})
    row = outcomes(plan, since)[ASKED]
    assert row.outcome == "open" and row.reason.startswith("1,200 questions have no answer")


def test_what_needs_a_model_is_left_out_of_a_study_without_one(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    table = tmp_path / "mine.csv"
    table.write_text("prompt\n")
    own = plan_study({"study": "own", "source": str(table), "data_dir": str(tmp_path)})
    row = outcomes(own, time.time())["02_extract_features"]
    assert row.outcome == "left out" and "MODEL=" in row.reason
    row = outcomes(own, time.time())["06_collect_judge_preferences"]
    assert row.outcome == "left out" and row.reason.startswith("needs judges: judges_source")


def test_make_ends_with_the_table_also_where_a_notebook_fails(workshop):
    parameters = {"study": "tables", "source": "demo", "limit": 60, "model": "", "seed": 0}
    study = {"notebooks": [PAIRS, TREE], "parameters": parameters, TREE: {"planted": "nobody"}}
    (workshop / "notebooks" / "studies" / "tables.yaml").write_text(json.dumps(study))
    prefix = os.path.dirname(os.path.dirname(sys.executable))
    done = subprocess.run(
        ["make", "study", "STUDY=tables"], check=False, cwd=workshop, capture_output=True, text=True,
        env=os.environ | {"CONDA_DEFAULT_ENV": "dtreward", "CONDA_PREFIX": prefix},
    )  # fmt: skip
    assert done.returncode != 0
    table = done.stdout.split("== Study 'tables': ")[1].splitlines()
    assert table[0].startswith("1 made, 1 failed, in ")
    rows = {line.split()[0]: line.split() for line in table[2:4]}
    assert rows[PAIRS][1] == "made" and rows[PAIRS][-1] == f"data/tables/{PAIRS}.ipynb"
    assert rows[TREE][1] == "failed" and f"data/tables/{TREE}.partial.ipynb" in rows[TREE]
    assert "nobody" in table[3]  # the reason
