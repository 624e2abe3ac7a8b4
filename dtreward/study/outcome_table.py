"""What became of each notebook of a study: noted by every run, shown as one table at the end."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dtreward.files import write_json
from dtreward.study.graph import maker_of, read_graph

if TYPE_CHECKING:  # its imports take a second, and every run notes its end
    from dtreward.study.plan import StudyPlan

NOTES = ".outcomes"  # of a study's folder; times are no part of executed notebooks
LONGEST_REASON = 200  # characters; the partial copy has the whole error
Outcome = Literal[
    "made", "kept", "failed", "interrupted", "open", "outdated", "not made", "left out"
]

WAITED_FOR = {  # what is said of a notebook because of which another did not run
    "failed": "failed",
    "interrupted": "was interrupted",
    "open": "has open questions",
    "outdated": "is outdated",
    "not made": "has not run",
}
# What is made from these is not of the study as it is now, even if it is younger than they are.
BEHIND = {"failed", "interrupted", "outdated", "not made"}


@dataclass(frozen=True)
class Note:
    """How the last run of a notebook went.

    Attributes:
        outcome: "interrupted", as long as it runs, then "made" or "failed".
        reason: the error of a failed run, in one line.
        started, ended: seconds since 1970; `ended` is 0 as long as it runs.
        peak_mib: most memory of the notebook's process, in MiB; 0 if it is not known.
    """

    outcome: Literal["made", "failed", "interrupted"]
    reason: str
    started: float
    ended: float = 0.0
    peak_mib: float = 0.0


@dataclass
class Cost:
    """What a run learns of its cost; `peak_mib` as in `Note`."""

    peak_mib: float = 0.0


@dataclass(frozen=True)
class Row:
    """One notebook in the table.

    Attributes:
        seconds: how long its run took; None if it did not run now.
        file: the notebook to open; "" if there is none.
    """

    notebook: str
    outcome: Outcome
    reason: str
    seconds: float | None
    file: str


@contextlib.contextmanager
def noted(executed: Path) -> Iterator[Cost]:
    """Note how the run of a notebook in this block goes; until it ends, it counts as interrupted.

    Yields what the block may fill in: the cost of the run.

    Args:
        executed: where the executed copy goes.
    """
    started = time.time()
    cost = Cost()
    _write_note(executed, Note("interrupted", "", started))
    try:
        yield cost
    except KeyboardInterrupt:
        _write_note(executed, Note("interrupted", "", started, time.time()))
        raise
    except Exception as error:
        with contextlib.suppress(OSError):  # of a full disk: the error is what matters
            _write_note(executed, Note("failed", _in_one_line(error), started, time.time()))
        raise
    _write_note(executed, Note("made", "", started, time.time(), cost.peak_mib))


def _in_one_line(error: Exception) -> str:
    """Give the error of a cell, or another one, with the first line of its message."""
    name = getattr(error, "ename", type(error).__name__)  # papermill's errors name the cell's
    message = str(getattr(error, "evalue", error)).strip()
    line = f"{name}: {message}".split("\n", maxsplit=1)[0]
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}..."


def _write_note(executed: Path, note: Note) -> None:
    write_json(_place(executed), asdict(note))


def _place(executed: Path) -> Path:
    return executed.parent / NOTES / f"{executed.stem}.json"


def read_note(executed: Path) -> Note | None:
    """Read how the last run of a notebook went; None if it has never run."""
    try:
        return Note(**json.loads(_place(executed).read_text(encoding="utf-8")))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def list_outcomes(plan: StudyPlan, since: float) -> list[Row]:
    """Say what became of each notebook in a run of the study.

    Args:
        plan: the study, as it was run.
        since: when that run began, in seconds since 1970.
    """
    rows = {name: _row(name, plan, since) for name in sorted(plan.notebooks)}
    for name in plan.notebooks:  # in the order in which they run
        outcomes = {rows[maker].outcome for maker in _makers(name, rows)}
        if rows[name].outcome == "kept" and outcomes & BEHIND:
            rows[name] = replace(rows[name], outcome="outdated")
    for name, row in rows.items():
        if row.outcome in ("outdated", "not made"):
            rows[name] = Row(name, row.outcome, _why_not(name, rows), None, row.file)
    for name in plan.left_out:
        rows[name] = Row(name, "left out", _what_it_needs(name, plan), None, "")
    return [rows[name] for name in sorted(rows)]


def _what_it_needs(name: str, plan: StudyPlan) -> str:
    """Say what a study must be given for a notebook that is left out."""
    if read_graph()[name].needs_judges:
        return "needs judges: judges_source and judges, or judges_table (docs/judges.md)"
    if plan.has_model and not plan.has_head:
        return "needs a head on the last layer: layer=-1"
    return "needs a reward model: MODEL=<hub id or folder>"


def _row(name: str, plan: StudyPlan, since: float) -> Row:
    executed = Path(plan.executed(name))
    partial = executed.with_suffix(".partial.ipynb")
    note = read_note(executed)
    ran = note is not None and note.started >= since
    seconds = max(0.0, (note.ended or time.time()) - note.started) if ran else None
    copies = [str(path) for path in (executed, partial) if path.exists()]
    file = copies[0] if copies else ""
    if plan.is_finished(name):
        reason = _open_models(plan.folder / f"{name}.json")
        return Row(name, "made" if ran else "kept", reason, seconds, file)
    questions = _open_questions(plan.folder / f"{name}.json")
    if ran and note.outcome == "made" and questions:
        return Row(name, "open", questions, seconds, file)
    if ran and note.outcome != "made":
        reason = note.reason or "run the study again to go on"
        return Row(name, note.outcome, reason, seconds, copies[-1] if copies else "")
    return Row(name, "outdated" if executed.exists() else "not made", "", None, file)


def _open_models(record: Path) -> str:
    """Say which models failed in a bench whose notebook ran to its end."""
    failed = _numbers(record).get("failed")
    return f"no row of {', '.join(failed)}" if failed else ""


def _open_questions(record: Path) -> str:
    count = _numbers(record).get("questions_without_an_answer")
    return f"{count:,} questions have no answer; the next run asks them" if count else ""


def _numbers(record: Path) -> dict:
    try:
        return json.loads(record.read_text(encoding="utf-8"))["numbers"]
    except FileNotFoundError:
        return {}


def _why_not(name: str, rows: dict[str, Row]) -> str:
    """Name the notebook because of which another did not run."""
    for maker in _makers(name, rows):
        if rows[maker].outcome in WAITED_FOR:
            return f"{maker} {WAITED_FOR[rows[maker].outcome]}"
    if rows[name].outcome == "outdated":
        return "its text, parameters or inputs have changed, and it has not run since"
    return "it has not run yet"


def _makers(name: str, rows: dict[str, Row]) -> list[str]:
    """List the notebooks that make what one reads, in order."""
    notebook = read_graph()[name]
    if notebook.reads_all:
        return [other for other in rows if other != name]
    makers = [maker_of(file) for file in (*notebook.reads, *notebook.may_read)]
    return [maker for maker in dict.fromkeys(makers) if maker in rows]


def show_outcomes(plan: StudyPlan, since: float) -> str:
    """Give the table as text, with a line above that counts, and one below that says where all is."""
    rows = list_outcomes(plan, since)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.outcome] = counts.get(row.outcome, 0) + 1
    if set(counts) <= {"kept", "left out"}:
        summary = f"nothing to do, {counts['kept']} of {counts['kept']} notebooks are up to date"
    else:
        summary = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
        summary += f", in {duration(time.time() - since)}"
    cells = [["notebook", "", "time", "open", "why"]]
    for row in rows:
        taken = "" if row.seconds is None else duration(row.seconds)
        cells.append([row.notebook, row.outcome, taken, row.file, row.reason])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [f"== Study '{plan.study}': {summary}"]
    for line in cells:
        padded = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
        lines.append("   " + "  ".join(padded).rstrip())
    lines.append(f"== Executed notebooks, figures, tables and models are in {plan.folder}/")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Write a time for people.

    Example:
        >>> duration(7.2), duration(75.0), duration(4000.0)
        ('7 s', '1 min 15 s', '1 h 6 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
