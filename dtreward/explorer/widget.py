"""Compare responses by hand in a notebook: type or pick a pair, swap it, see what decides and why."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from dtreward.explorer.answer import DEMO, answer_html, as_json, as_markdown
from dtreward.explorer.browser import BrowserSide
from dtreward.explorer.examples import (
    KNOWN,
    Pair,
    labels,
    published_examples,
    read_examples,
    read_upload,
)
from dtreward.explorer.reasons import list_words
from dtreward.explorer.turns import WIDE, PromptBoxes
from dtreward.models.comparison import RewardModel

try:
    import ipywidgets as widgets
except ImportError as error:
    raise ImportError('explore needs ipywidgets: pip install "dtreward[app]"') from error

FADED = "dtreward-faded"
REFUSALS = (ValueError, RuntimeError, OSError, MemoryError)  # too long; no memory; no endpoint
KEY = "Ctrl+Enter in a box compares, too."


class Explorer(widgets.VBox):
    """What `explore` gives. Where widgets do not run, it shows as a picture with the same words."""

    def __init__(self, model: RewardModel, pairs: Sequence[Pair]) -> None:
        """Lay out the boxes, connect the buttons, and compare the first pair."""
        self.model = model
        self.pairs: list[Pair] = []
        self._make_boxes()
        self._make_buttons()
        said = f"<b>demo world</b>{DEMO}" if model.demo else ""
        self.demo = widgets.HTML(said).add_class("dtreward-demo")
        self.demo.layout.display = None if model.demo else "none"
        self.status = widgets.HTML(KEY).add_class("dtreward-status")
        self.browser = BrowserSide()
        self.shown = widgets.HTML()
        stepping = [self.pick, self.previous, self.next, self.restore, self.upload]
        acting = [self.compare, self.swap, self.browser, self.status]
        rows = [
            self.demo,
            widgets.HBox(stepping).add_class("dtreward-row"),
            self.prompt,
            widgets.HBox(self.responses).add_class("dtreward-responses"),
            widgets.HBox(acting).add_class("dtreward-row"),
            self.shown,
        ]
        super().__init__(rows)
        self.add_class("dtreward-explorer")
        self.set_pairs(pairs)

    def _make_boxes(self) -> None:
        self.prompt = PromptBoxes(self._texts_changed)
        self.responses = []
        for number in (1, 2):
            layout = widgets.Layout(**WIDE)
            box = widgets.Textarea(description=f"Response {number}", rows=8, layout=layout)
            box.observe(self._texts_changed, "value")
            self.responses.append(box)
        self.pick = widgets.Dropdown(layout=widgets.Layout(**WIDE)).add_class("dtreward-pick")
        self.pick.observe(self._pick_pair, "value")

    def _make_buttons(self) -> None:
        self.previous = widgets.Button(description="Previous")
        self.next = widgets.Button(description="Next")
        self.restore = widgets.Button(description="Restore")
        self.restore.tooltip = "Bring back the texts of the pair in the list"
        self.upload = widgets.FileUpload(description="Load pairs", accept=",".join(KNOWN))
        self.compare = widgets.Button(description="Compare", button_style="primary")
        self.compare.add_class("dtreward-compare")
        self.swap = widgets.Button(description="Swap responses")
        self.previous.on_click(lambda _: self._step(-1))
        self.next.on_click(lambda _: self._step(1))
        self.restore.on_click(lambda _: self._open())
        self.upload.observe(self._load_file, "value")
        self.compare.on_click(lambda _: self._show())
        self.swap.on_click(lambda _: self._swap_responses())

    @property
    def texts(self) -> Pair:
        """What is written in the boxes: prompt, response 1, response 2."""
        response1, response2 = (box.value for box in self.responses)
        return self.prompt.prompt, response1, response2

    def set_pairs(self, pairs: Sequence[Pair]) -> None:
        """List pairs to step through, and compare the first."""
        self.pairs = list(pairs)
        self.pick.unobserve(self._pick_pair, "value")
        self.pick.options = [(label, place) for place, label in enumerate(labels(self.pairs))]
        self.pick.value = 0
        self.pick.observe(self._pick_pair, "value")
        self._open()

    def _pick_pair(self, change: Mapping[str, Any]) -> None:
        if change["new"] is not None:
            self._open()

    def _step(self, by: int) -> None:
        place = self.pick.value + by
        if 0 <= place < len(self.pairs):
            self.pick.value = place

    def _open(self) -> None:
        """Write the pair of the list into the boxes, and compare it."""
        self._fill(*self.pairs[self.pick.value])

    def _load_file(self, change: Mapping[str, Any]) -> None:
        """List the pairs of a file that was chosen; where it cannot be read, the list stays."""
        if not change["new"]:
            return
        file = change["new"][0]
        try:
            with self._working(f"Reading {file['name']} ..."):
                pairs = read_upload(file["name"], bytes(file["content"]))
        except REFUSALS as error:
            self.status.value = f"<b>Not loaded:</b> {escape(str(error))}"
            return
        finally:
            self.upload.value = ()  # so that the same file can be chosen again
        self.set_pairs(pairs)
        noun = "pair" if len(pairs) == 1 else "pairs"
        self.status.value = f"{len(pairs):,} {noun} of {escape(file['name'])}."

    def _texts_changed(self, _: Any) -> None:
        """Fade the result, because it belongs to the texts before the change."""
        self.shown.add_class(FADED)
        self.shown.tooltip = "The texts have changed: press Compare"
        self._copy("", "")
        self._enable()

    def _swap_responses(self) -> None:
        prompt, response1, response2 = self.texts
        self._fill(prompt, response2, response1)

    def _fill(self, prompt: Any, response1: str, response2: str) -> None:
        """Write a pair into the boxes, and compare it."""
        self.prompt.prompt = prompt
        for box, text in zip(self.responses, (response1, response2), strict=True):
            box.value = text
        self._show()

    def _show(self) -> None:
        """Show the comparison of the texts in the boxes, or why there is none."""
        with self._working("Comparing ..."):
            try:
                self.shown.value = self._compare_texts()
            except REFUSALS as error:
                self.shown.value = f"<p><b>No comparison:</b> {escape(str(error))}</p>"
                self._copy("", "")
        self.shown.remove_class(FADED)
        self.shown.tooltip = None

    def _compare_texts(self) -> str:
        boxes = [*self.prompt.shown, *self.responses]
        empty = [box.description for box in boxes if not box.value.strip()]
        if empty:
            raise ValueError(f"{list_words(empty)} without a text")
        texts = self.texts
        comparison = self.model.compare(*texts)
        demo = self.model.demo
        self._copy(as_markdown(texts, comparison, demo=demo), as_json(texts, comparison, demo=demo))
        result = answer_html(comparison)
        if texts[1] == texts[2]:
            result = f"<p>Both responses are the same text.</p>{result}"
        return result

    def _copy(self, markdown: str, json: str) -> None:
        self.browser.json = json
        self.browser.markdown = markdown

    @property
    def _controls(self) -> list[Any]:
        """What is not to be pressed while a pair is compared."""
        lists = [self.pick, self.previous, self.next, self.restore, self.upload]
        return [*lists, self.compare, self.swap, *self.prompt.buttons]

    @contextmanager
    def _working(self, words: str) -> Generator[None, None, None]:
        """Say what goes on, and take no click before it has ended."""
        self.status.value = escape(words)
        for control in self._controls:
            control.disabled = True
        try:
            yield
        finally:
            self.status.value = KEY
            for control in self._controls:
                control.disabled = False
            self._enable()

    def _enable(self) -> None:
        """Let only those buttons be pressed that have something to do."""
        place = self.pick.value
        if place is None or self.compare.disabled:
            return
        self.previous.disabled = place == 0
        self.next.disabled = place == len(self.pairs) - 1

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """Give the widget, and a static page with the same words for where no widget runs."""
        page = f"<p><b>demo world.</b> {DEMO}</p>" if self.model.demo else ""
        for box in [*self.prompt.shown, *self.responses]:
            paragraph = f"<p><b>{box.description}</b><br>{escape(box.value)}</p>"
            page += paragraph.replace("\n", "<br>")
        page += self.shown.value
        return super()._repr_mimebundle_(**options) | {"text/html": page}


def explore(model: RewardModel, pairs: Sequence[Pair] | str | Path | pd.DataFrame = ()) -> Explorer:
    """Show boxes for a prompt and two responses, and below them what a model says about the pair.

    Where widgets do not run, a static page shows the first pair.

    Args:
        pairs: to step through, each (prompt, response 1, response 2), the prompt a text or a list
            of chat messages; or a file or table in any form that `load_pairs` reads. By default the
            published example and one more.

    Raises:
        ValueError: for a file or table that `load_pairs` refuses.
    """
    listed: Sequence[Pair] = ()
    if isinstance(pairs, Path | pd.DataFrame) or (isinstance(pairs, str) and pairs):
        listed = read_examples(pairs)
    elif not isinstance(pairs, str):
        listed = pairs
    return Explorer(model, listed or published_examples())
