"""How far a run of a study is: which of its notebooks this is, and how much time is left.

Time is told only from a record of an earlier run: the study's own last whole run, or the committed
one, on as many cores and with the study's own parameters.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtreward.files import write_json
from dtreward.study.outcome_table import NOTES, duration, read_note
from dtreward.study.stamps import FINISHED
from dtreward.study.study_runs import FREE, RUN, RUNS

if TYPE_CHECKING:  # its imports take a second
    from dtreward.study.plan import StudyPlan

SCHEDULE = "schedule.json"  # beside the notes on how notebooks went


@dataclass(frozen=True)
class Schedule:
    """What a run of a study has before it.

    Attributes:
        notebooks: all of the study's, those included that are up to date.
        began: when the run began, in seconds since 1970.
        seconds: how long each notebook took in an earlier run; empty where nobody knows.
        share: time of that whole run over the sum of its notebooks': less than 1 where some ran
            side by side.
    """

    notebooks: Sequence[str]
    began: float
    seconds: Mapping[str, float]
    share: float

    def time_left(self, running: Mapping[str, float], finished: set[str], now: float) -> float:
        """Estimate the seconds until the run ends.

        Args:
            running: when each notebook that runs was started.
            finished: the notebooks that are done.

        Example:
            >>> times = {"01": 10.0, "02": 30.0, "03": 20.0}
            >>> schedule = Schedule(("01", "02", "03"), 0.0, times, 0.5)
            >>> schedule.time_left({"02": 100.0}, {"01"}, now=110.0)
            20.0
        """
        left = [0.0]
        for name in self.notebooks:
            if name not in finished:
                spent = now - running[name] if name in running else 0.0
                left.append(max(0.0, self.seconds[name] - spent))
        return max(self.share * sum(left), *left)


def write_schedule(plan: StudyPlan, given: Mapping[str, Any]) -> None:
    """Write down what a run has before it, for the notebooks that it runs.

    Args:
        plan: the study, which is about to run.
        given: parameters of the command line.
    """
    seconds, share = _earlier_times(plan, given)
    schedule = Schedule(tuple(plan.notebooks), time.time(), seconds, share)
    write_json(plan.folder / NOTES / SCHEDULE, asdict(schedule))


def _earlier_times(plan: StudyPlan, given: Mapping[str, Any]) -> tuple[dict[str, float], float]:
    """Read what each notebook took in an earlier run like this one; nothing where none is known."""
    if set(given) - FREE:
        return {}, 1.0
    for run in (_read(plan.folder / RUN), _read(RUNS).get(plan.study, {})):
        costs = run.get("notebooks", {})
        if run.get("cores") == len(os.sched_getaffinity(0)) and set(plan.notebooks) <= set(costs):
            seconds = {name: costs[name]["seconds"] for name in plan.notebooks}
            total = sum(cost["seconds"] for cost in costs.values())
            return seconds, min(1.0, run["seconds"] / total) if total else 1.0
    return {}, 1.0


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


@dataclass(frozen=True)
class Standing:
    """Where one notebook stands in the run of its study.

    Attributes:
        folder: of executed copies, beside which notes are.
        made: the study's folder.
        place: 1 for the notebook that was started first, those included that were up to date; 0
            where no run of a study is known.
    """

    folder: Path
    made: Path
    place: int = 0

    @classmethod
    def of(cls, executed: Path, stamp: Path | None) -> Standing:
        """Find the place of a notebook that has just been noted as started.

        Args:
            executed: where its executed copy goes.
            stamp: the file that will say that it has finished; None where no study runs it.
        """
        folder = executed.parent.absolute()  # papermill runs a notebook from its own folder
        if stamp is None:
            return cls(folder, folder)
        found = cls(folder, stamp.parent.parent.absolute())
        schedule = found._schedule()
        if schedule is None or executed.stem not in schedule.notebooks:
            return found
        return replace(found, place=len(found._finished(schedule) | {*found._running(schedule)}))

    def words(self, *, done: bool = False) -> str:
        """Say "5 of 12, about 3 min left", without the time where nobody knows it; "" for no study.

        Args:
            done: the notebook has finished: count those that have.
        """
        schedule = self._schedule() if self.place else None
        if schedule is None:
            return ""
        finished = self._finished(schedule)
        place = len(finished) if done else self.place
        words = f"{place} of {len(schedule.notebooks)}"
        if schedule.seconds and len(finished) < len(schedule.notebooks):
            left = schedule.time_left(self._running(schedule), finished, time.time())
            words += f", about {duration(left)} left"
        return words

    def _schedule(self) -> Schedule | None:
        content = _read(self.folder / NOTES / SCHEDULE)
        return Schedule(**content) if content else None

    def _finished(self, schedule: Schedule) -> set[str]:
        stamps = [path.name for path in (self.made / FINISHED).glob("*")]
        return {
            name for name in schedule.notebooks if any(s.startswith(f"{name}-") for s in stamps)
        }

    def _running(self, schedule: Schedule) -> dict[str, float]:
        """Say when each notebook that runs now was started."""
        running = {}
        for name in schedule.notebooks:
            note = read_note(self.folder / f"{name}.ipynb")
            if note is not None and not note.ended and note.started >= schedule.began:
                running[name] = note.started
        return running
