"""What one whole run of a study took: noted at its end, and committed when the study is published."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtreward.files import write_json
from dtreward.record import provenance
from dtreward.study.outcome_table import NOTES, Note, read_note

if TYPE_CHECKING:  # its imports take a second
    from dtreward.study.plan import StudyPlan

RUN = Path(NOTES, "whole_run.json")  # seen from a study's folder
RUNS = Path("data", "measured", "study_runs.json")  # seen from the repository; a study each entry
FREE = {
    "study",
    "source",
    "jobs",
}  # parameters that change no result: where copies lie, and workers


@dataclass(frozen=True)
class StudyRun:
    """One run in which every notebook of a study was made, with the study's own parameters.

    Attributes:
        seconds: from the start of the first notebook to the end of the last.
        memory_mib: at most so much at a time: the peaks of notebooks that ran at once, added up.
        cores: that the run could use.
        date: on which it ended, such as "2026-11-30".
        notebooks: seconds and memory (MiB) of each.
    """

    study: str
    seconds: float
    memory_mib: float
    cores: int
    date: str
    machine: str
    versions: dict[str, str]
    notebooks: dict[str, dict[str, float]]


def measure_run(plan: StudyPlan, since: float, given: Mapping[str, Any]) -> StudyRun | None:
    """Sum up a run of a study; None if it did not make all notebooks, or not with its own parameters.

    Args:
        plan: the study, as it was run.
        since: when the run began, in seconds since 1970.
        given: parameters of the command line.
    """
    notes = {name: read_note(Path(plan.executed(name))) for name in plan.notebooks}
    is_whole = all(
        note is not None and note.outcome == "made" and note.started >= since
        for note in notes.values()
    )
    if not is_whole or set(given) - FREE:
        return None
    made_by = provenance({})
    last = max(note.ended for note in notes.values())
    first = min(note.started for note in notes.values())
    costs = {}
    for name, note in sorted(notes.items()):
        costs[name] = {"seconds": round(note.ended - note.started, 1), "memory_mib": note.peak_mib}
    return StudyRun(
        study=plan.study,
        seconds=round(last - first, 1),
        memory_mib=most_memory(notes.values()),
        cores=len(os.sched_getaffinity(0)),
        date=time.strftime("%Y-%m-%d", time.gmtime(last)),
        machine=made_by["machine"],
        versions=made_by["versions"],
        notebooks=costs,
    )


def most_memory(notes: Iterable[Note]) -> float:
    """Add up the peaks of the notebooks that ran at one time, where the sum is largest.

    Example:
        >>> one, other = Note("made", "", 0.0, 10.0, 100.0), Note("made", "", 5.0, 20.0, 200.0)
        >>> most_memory([one, other]), most_memory([one, Note("made", "", 10.0, 20.0, 200.0)])
        (300.0, 200.0)
    """
    notes = list(notes)
    sums = []
    for one in notes:
        at_once = [note for note in notes if note.started <= one.started < note.ended]
        sums.append(sum(note.peak_mib for note in at_once))
    return max(sums, default=0.0)


def note_run(plan: StudyPlan, since: float, given: Mapping[str, Any]) -> None:
    """Keep what a whole run took in the study's folder; the note of a run that was none stays."""
    run = measure_run(plan, since, given)
    if run is not None:
        write_json(plan.folder / RUN, asdict(run))


def record_run(made: Path, root: Path) -> Path | None:
    """Enter a study's last whole run into the committed file, and give that file if it has changed.

    Args:
        made: the study's folder.
        root: the repository.
    """
    noted = made / RUN
    if not noted.exists():
        return None
    run = json.loads(noted.read_text(encoding="utf-8"))
    path = root / RUNS
    runs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if runs.get(run["study"]) == run:
        return None
    write_json(path, dict(sorted((runs | {run["study"]: run}).items())))
    return path


def describe_run(run: Mapping[str, Any]) -> str:
    """Say what a run took.

    Example:
        >>> describe_run({"seconds": 75.4, "memory_mib": 2048, "cores": 2, "date": "2026-11-30"})
        'One whole run took 1.3 minutes on 2 cores and at most 2.0 GiB of memory (2026-11-30).'
    """
    minutes = run["seconds"] / 60
    gib = run["memory_mib"] / 1024
    return (
        f"One whole run took {minutes:.1f} minutes on {run['cores']} cores and at most {gib:.1f} GiB "
        f"of memory ({run['date']})."
    )
