"""Compare responses by hand in a notebook: type or pick a pair, swap it, see what decides and why."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Real
from matplotlib.figure import Figure

from dtreward.figures import draw_reward_bars
from dtreward.models.comparison import Comparison, RewardModel
from dtreward.published import PUBLISHED
from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.page import tree_html
from dtreward.tree.tree import PreferenceTree

try:
    import ipywidgets as widgets
except ImportError as error:
    raise ImportError('explore needs ipywidgets: pip install "dtreward[app]"') from error

OLD = "<div style='opacity:0.3' title='The texts have changed: press Compare'>"
LEGS = "How many legs do 3 cats have?", "3 × 4 = 11. So 11 legs.", "3 × 4 = 12. So 12 legs."


class Flip(NamedTuple):
    """A change of one attribute's difference, the others as they are, that flips a preference."""

    attribute: str
    change: float
    to: float  # the difference after it: on a threshold, or the next number above one


def smallest_flip(tree: PreferenceTree, difference: Real[np.ndarray, " attributes"]) -> Flip | None:
    """Find the smallest change of one attribute's difference that flips the tree's preference.

    None where no attribute alone can. Of changes as small as each other, the first in preorder.

    >>> smallest_flip(PreferenceTree.single_split("helpfulness", 0.5), np.array([2.0]))
    Flip(attribute='helpfulness', change=-1.5, to=0.5)
    """
    (preference,), flips = tree.predict(difference[None]), []
    for node in np.flatnonzero(tree.feature >= 0):  # between thresholds nothing changes
        column, limit = tree.feature[node], tree.threshold[node]
        for to in (limit.item(), np.nextafter(limit, np.inf).item()):
            moved = np.where(np.arange(len(difference)) == column, to, difference)
            if tree.predict(moved[None])[0] != preference:
                flips.append(Flip(tree.attributes[column], to - float(difference[column]), to))
    return min(flips, key=lambda flip: abs(flip.change), default=None)


def verdicts(comparison: Comparison) -> pd.DataFrame:
    """Say how the model, and the published judges' trees, decide on the model's rewards.

    One row each: the response it prefers, and that response's probability. The judges' trees are
    of ratings of five attributes: a model of others has its own row alone.
    """
    rows = {"this model": (comparison.preference, comparison.probability)}
    gaps = dict(zip(comparison.attributes, comparison.differences, strict=True))
    for judge in ("Human", "GPT-4o", "Llama-3.1-8B") if set(gaps) == set(ATTRIBUTES) else ():
        tree, pair = PreferenceTree.published(judge), np.array([[gaps[key] for key in ATTRIBUTES]])
        rows[f"tree of {judge}"] = tree.predict(pair)[0], tree.probability(pair)[0]
    told = [(f"response {one + 1}", f"{p if one else 1 - p:.1%}") for one, p in rows.values()]
    return pd.DataFrame(told, list(rows), ["prefers", "probability"])


class Explorer(widgets.VBox):
    """What `explore` gives. Where widgets do not run, it shows as a picture with the same words."""

    def __init__(self, model: RewardModel, pairs: Sequence[tuple[str, str, str]]) -> None:
        wide, rows = widgets.Layout(width="100%"), {"Prompt": 3, "Response 1": 8, "Response 2": 8}
        options = [("Pick a pair …", None), *((each[0][:90], each) for each in pairs)]
        self.pick = widgets.Dropdown(options=options, layout=wide)
        self.texts = [widgets.Textarea(description=k, rows=n, layout=wide) for k, n in rows.items()]
        self.compare = widgets.Button(description="Compare", button_style="primary")
        self.swap = widgets.Button(description="Swap responses", icon="exchange")
        self.model, self.shown, buttons = model, widgets.HTML(), [self.compare, self.swap]
        self._fill(*pairs[0])
        self.pick.observe(lambda change: change.new and self._fill(*change.new), "value")
        for box in self.texts:
            box.observe(self._fade, "value")
        self.compare.on_click(lambda _: self._show())
        self.swap.on_click(lambda _: self._fill(*(self.texts[n].value for n in (0, 2, 1))))
        rows = [self.pick], self.texts[:1], self.texts[1:], buttons, [self.shown]
        super().__init__([widgets.HBox(row) for row in rows])

    def _fade(self, _: Mapping[str, Any]) -> None:
        if not self.shown.value.startswith(OLD):  # what shows is of the texts before
            self.shown.value = f"{OLD}{self.shown.value}</div>"

    def _fill(self, *texts: str) -> None:
        for box, text in zip(self.texts, texts, strict=True):
            box.value = text
        self.pick.value = None  # so that the same pair can be picked again
        self._show()

    def _show(self) -> None:
        texts = [box.value for box in self.texts]
        try:
            if empty := [box.description for box in self.texts if not box.value.strip()]:
                raise ValueError(f"{' and '.join(empty)} without a text")
            same = "<p>Both responses are the same text.</p>" * (texts[1] == texts[2])
            self.shown.value = same + _html(self.model.compare(*texts))
        except (ValueError, RuntimeError, OSError) as error:  # too long; no memory; no endpoint
            self.shown.value = f"<p><b>No comparison:</b> {escape(str(error))}</p>"

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        told = (f"<p><b>{box.description}</b><br>{escape(box.value)}</p>" for box in self.texts)
        static = "".join(told).replace("\n", "<br>") + self.shown.value
        return super()._repr_mimebundle_(**options) | {"text/html": static}


def explore(model: RewardModel, pairs: Sequence[tuple[str, str, str]] = ()) -> Explorer:
    """Show boxes for a prompt and two responses, and below what a model says of them.

    `pairs` to pick from are (prompt, response 1, response 2); left out, the published example and
    another. Where widgets do not run, a picture of the first pair shows.
    """
    example = json.loads((PUBLISHED / "usage_example.json").read_text("utf-8"))
    published = example["prompt"], example["response1"], example["response2"]
    return Explorer(model, pairs or (published, LEGS))


def _html(comparison: Comparison) -> str:
    verdict, _, reasons = comparison.words()
    if comparison.tree:
        flip = smallest_flip(comparison.tree, np.array(comparison.differences))
        words = flip and f"{flip.attribute} difference {flip.change:+.3g}, across {flip.to:.4g}"
        reasons.append(f"Smallest change of one attribute that flips it: {words or 'none can'}.")
    points = "".join(f"<li>{escape(each)}</li>" for each in reasons)
    table = f"<div style='flex:none'>{verdicts(comparison).to_html(border=0)}</div>"
    beside = f'<div style="display:flex;gap:2em"><div><ul>{points}</ul></div>{table}</div>'
    told = f"<h3>{verdict}</h3>{beside}{_image(comparison) if comparison.attributes else ''}"
    return f'<div class="jp-RenderedHTMLCommon">{told}</div>'


def _image(comparison: Comparison) -> str:
    figure, file = Figure((6.75, 0.8 + 0.36 * len(comparison.attributes))), io.BytesIO()
    names = [*map("{}\ndifference {:+.2f}".format, comparison.attributes, comparison.differences)]
    draw_reward_bars(figure.subplots(), np.array(comparison.rewards), names)
    figure.savefig(file, dpi=150, bbox_inches="tight", metadata={"Software": None})
    data = base64.b64encode(file.getvalue()).decode()
    told = escape(comparison.words()[1].round(2).to_csv(sep=" ", lineterminator="; "))
    bars = f'<p><img width="860" alt="rewards: {told}" src="data:image/png;base64,{data}"></p>'
    return bars + (tree_html(comparison.tree, comparison.path) if comparison.tree else "")
