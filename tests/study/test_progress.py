"""What `make study` says while it runs: notebook, section, 5 of 12, and the time left."""

import io
import json
import os
import sys
import time
from types import SimpleNamespace

import nbformat
import pytest

from dtreward.files import write_json
from dtreward.study import run as run_module
from dtreward.study import schedule as schedule_module
from dtreward.study.outcome_table import NOTES, Note
from dtreward.study.progress import Client
from dtreward.study.schedule import Standing, write_schedule
from dtreward.study.stamps import stamp_path, write_stamp
from dtreward.study.study_runs import RUN

NAMES = ("01_load_pairs", "02_extract_features", "03_fit_attribute_probe", "04_fit_preference_tree")
SECONDS = dict(zip(NAMES, (10.0, 60.0, 30.0, 20.0), strict=True))


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Four notebooks, of which no run is known."""
    monkeypatch.setattr(schedule_module, "RUNS", tmp_path / "study_runs.json")
    return SimpleNamespace(study="spring", notebooks=NAMES, folder=tmp_path / "spring")


def record(path, cores=None, wall=60.0):
    costs = {name: {"seconds": seconds, "memory_mib": 1.0} for name, seconds in SECONDS.items()}
    cores = cores or len(os.sched_getaffinity(0))
    return write_json(path, {"notebooks": costs, "cores": cores, "seconds": wall})


def note(plan, name, started, ended=0.0):
    outcome = "made" if ended else "interrupted"
    write_json(plan.folder / NOTES / f"{name}.json", vars(Note(outcome, "", started, ended)))
    return plan.folder / f"{name}.ipynb"


def stamp(plan, name):
    return stamp_path(plan.folder, name, "{}")


def finish(plan, name):
    note(plan, name, time.time() - 1, time.time())
    write_stamp(stamp(plan, name), [])


def test_a_notebook_knows_its_place_and_without_a_record_no_time(plan):
    write_schedule(plan, {})
    assert Standing.of(note(plan, NAMES[0], time.time()), stamp(plan, NAMES[0])).words() == "1 of 4"
    finish(plan, NAMES[0])
    second = Standing.of(note(plan, NAMES[1], time.time()), stamp(plan, NAMES[1]))
    third = Standing.of(note(plan, NAMES[2], time.time()), stamp(plan, NAMES[2]))
    assert (second.words(), third.words()) == ("2 of 4", "3 of 4")
    finish(plan, NAMES[1])
    assert second.words(done=True) == "2 of 4" and third.words() == "3 of 4"


def test_the_time_left_is_that_of_the_last_whole_run(plan):
    record(plan.folder / RUN)  # 120 s of notebooks in 60 s
    write_schedule(plan, {"jobs": 2})
    finish(plan, NAMES[0])
    write_json(plan.folder / NOTES / "schedule.json", schedule_from(plan, began=0.0))
    standing = Standing.of(note(plan, NAMES[1], time.time() - 20), stamp(plan, NAMES[1]))
    assert standing.words() == "2 of 4, about 45 s left"  # half of 40 + 30 + 20
    for name in NAMES[1:3]:
        finish(plan, name)
    last = Standing.of(note(plan, NAMES[3], time.time()), stamp(plan, NAMES[3]))
    assert last.words() == "4 of 4, about 20 s left"  # alone, it takes as long as it took
    finish(plan, NAMES[3])
    assert last.words(done=True) == "4 of 4"


def schedule_from(plan, began):
    path = plan.folder / NOTES / "schedule.json"
    return json.loads(path.read_text()) | {"began": began}


def test_the_committed_record_serves_where_the_study_has_not_run_here(plan, tmp_path):
    record(tmp_path / "one.json", wall=120.0)
    write_json(
        tmp_path / "study_runs.json", {"spring": json.loads((tmp_path / "one.json").read_text())}
    )
    write_schedule(plan, {})
    first = Standing.of(note(plan, NAMES[0], time.time()), stamp(plan, NAMES[0]))
    assert first.words() == "1 of 4, about 2 min 0 s left"


@pytest.mark.parametrize(("given", "cores"), [({"limit": 300}, None), ({}, 999)])
def test_other_parameters_or_another_machine_tell_no_time(plan, given, cores):
    record(plan.folder / RUN, cores=cores)
    write_schedule(plan, given)
    first = Standing.of(note(plan, NAMES[0], time.time()), stamp(plan, NAMES[0]))
    assert first.words() == "1 of 4"


def test_a_notebook_that_no_study_runs_has_no_place(plan):
    executed = note(plan, NAMES[0], time.time())
    assert Standing.of(executed, None).words() == ""
    assert Standing.of(executed, stamp(plan, NAMES[0])).words() == ""  # no run has begun


def test_the_place_is_known_from_any_folder(plan, tmp_path, monkeypatch):
    """Papermill changes into the notebook's folder."""
    write_schedule(plan, {})
    executed = note(plan, NAMES[0], time.time())
    monkeypatch.chdir(tmp_path)
    relative = [path.relative_to(tmp_path) for path in (executed, stamp(plan, NAMES[0]))]
    standing = Standing.of(*relative)
    monkeypatch.chdir("/")
    assert standing.words() == "1 of 4"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def client(plan, monkeypatch):
    """A client that runs no kernel, on a wide terminal."""
    write_schedule(plan, {})
    made = Client.__new__(Client)
    made.standing = Standing.of(note(plan, NAMES[0], time.time()), stamp(plan, NAMES[0]))
    metadata = {"papermill": {"input_path": f"notebooks/{NAMES[0]}.ipynb"}}
    made.nb = nbformat.v4.new_notebook(metadata=metadata)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("dtreward.study.progress.PapermillNotebookClient.execute_cell", skip)
    monkeypatch.setattr("dtreward.study.progress.PapermillNotebookClient.handle_comm_msg", skip)
    return made


def skip(*arguments, **options):
    """Stands for papermill's own work."""


def bar(text):
    return {"content": {"data": {"state": {"value": text}}}}


def test_one_line_says_notebook_place_section_and_what_the_bar_says(client, monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    client.execute_cell(nbformat.v4.new_markdown_cell("## How are ratings spread?\n\nText."), 3)
    client.handle_comm_msg([], bar("120/480 [00:10&lt;00:30, 12.0 answers/s]"), 4)
    lines = sys.stderr.getvalue().split("\r\x1b[K")[1:]
    assert lines == [
        "   01_load_pairs (1 of 4): How are ratings spread?",
        "   01_load_pairs (1 of 4): 120/480 [00:10<00:30, 12.0 answers/s] · How are ratings spread?",
    ]
    assert "\n" not in "".join(lines)


def test_a_narrow_terminal_keeps_the_line_one_line(client, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stderr", Terminal())
    client.execute_cell(nbformat.v4.new_markdown_cell(f"## {'Long ' * 40}"), 3)
    assert len(sys.stderr.getvalue().removeprefix("\r\x1b[K")) < 60


def test_start_and_end_say_the_place(plan, monkeypatch, capsys):
    record(plan.folder / RUN)
    write_schedule(plan, {})
    notebook = plan.folder / f"{NAMES[0]}.ipynb"
    notebook.write_text("{}")

    def pretend(notebook, executed, parameters, *, stamp, standing):
        assert standing.place == 1
        write_stamp(stamp, [])
        return 1.0

    monkeypatch.setattr(run_module, "run", pretend)
    run_module.run_aloud(notebook, notebook, {}, stamp=stamp(plan, NAMES[0]))
    started, ended = capsys.readouterr().out.splitlines()
    assert started == f"   {NAMES[0]} runs (1 of 4, about 1 min 0 s left)"
    # All but the first take 55 s side by side, and the longest of them alone takes 60 s.
    assert ended == f"   {NAMES[0]} is done after 0 s (1 of 4, about 1 min 0 s left)"
