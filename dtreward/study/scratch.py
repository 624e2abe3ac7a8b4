"""Run a notebook in a scratch folder, and keep the study's last files until the new ones are whole.

A notebook reads and writes under `Path(data_dir, study)`. While it runs, that is a folder of its
own, `data/<study>/.unfinished/<notebook>/<study>/`: what other notebooks made is linked there, and
what this one makes stays there. Once it has run to its end, its files replace the old ones.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from dtreward.files import write_json
from dtreward.study.graph import read_graph

UNFINISHED = ".unfinished"  # of a study's folder: what running notebooks make
FIGURES = "figures"
WHOLE = "whole.json"  # beside a scratch folder: its notebook ended, its files are being moved


@dataclass(frozen=True)
class Scratch:
    """The scratch folder of one notebook of a study.

    Attributes:
        notebook: its name in the graph.
        made: the study's folder, seen from here.
        left_out: notebooks whose results this run must not see.
    """

    notebook: str
    made: Path
    left_out: Collection[str] = ()

    @property
    def data(self) -> Path:
        """Give the folder that stands in for `data/`."""
        return self.made / UNFINISHED / self.notebook

    @property
    def folder(self) -> Path:
        """Give the folder that stands in for the study's."""
        return self.data / self.made.name

    def prepare(self) -> None:
        """Make the folder anew, with links to what the other notebooks made.

        Where an earlier run was killed while its files were being moved, the rest is moved first.
        What a notebook keeps from run to run (features, answers) is linked too, and grows in place.
        """
        if (self.data / WHOLE).exists():
            self._move()
        shutil.rmtree(self.data, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for notebook in read_graph().values():
            if notebook.name == self.notebook:
                self._link_own(notebook.keeps)
            elif notebook.name in self.left_out:
                self._link(notebook.keeps)
            else:
                self._link((*notebook.keeps, *notebook.outputs))

    def _link_own(self, keeps: Iterable[str]) -> None:
        """Link what the notebook keeps; a file that is not there yet is made through its link."""
        for name in keeps:
            if name.endswith("/"):
                (self.made / name).mkdir(exist_ok=True)
            (self.folder / name.rstrip("/")).symlink_to(self._way_to(name))

    def _link(self, names: Iterable[str]) -> None:
        for name in names:
            if (self.made / name).exists():
                (self.folder / name.rstrip("/")).symlink_to(self._way_to(name))

    def _way_to(self, name: str) -> Path:
        return Path("..", "..", "..", name)  # three folders up, the study's

    def take_over(self, *, drew_elsewhere: bool = False) -> None:
        """Put the files that the notebook made in the place of those of its last run.

        Figures of the last run that this one did not draw again are deleted, unless it drew in
        another folder.
        """
        figures = None
        if not drew_elsewhere:
            figures = sorted(path.name for path in (self.folder / FIGURES).glob("*"))
        write_json(self.data / WHOLE, {FIGURES: figures})
        self._move()
        shutil.rmtree(self.data)

    def _move(self) -> None:
        drawn = json.loads((self.data / WHOLE).read_text(encoding="utf-8"))[FIGURES]
        if drawn is not None:
            self._move_figures(drawn)
        for path in sorted(self.folder.glob("[!.]*")):
            if path.name != FIGURES and not path.is_symlink():
                self._replace(path, self.made / path.name)

    def _move_figures(self, drawn: Collection[str]) -> None:
        folder = self.made / FIGURES
        folder.mkdir(exist_ok=True)
        for path in sorted((self.folder / FIGURES).glob("*")):
            os.replace(path, folder / path.name)
        for path in folder.glob(f"{self.notebook[:3]}*"):
            if path.name not in drawn:
                path.unlink()

    def _replace(self, new: Path, old: Path) -> None:
        if new.is_dir() and old.exists():  # a folder does not replace one that has files
            aside = self.data / f"old {old.name}"
            shutil.rmtree(aside, ignore_errors=True)
            os.replace(old, aside)
        os.replace(new, old)

    def discard(self) -> None:
        """Delete what a failed run has left."""
        shutil.rmtree(self.data, ignore_errors=True)
