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

FADED = "<div style='opacity:0.3' title='The texts have changed: press Compare'>"
LABEL_LENGTH = 90  # characters of a prompt in the list of pairs
JUDGES = ("Human", "GPT-4o", "Llama-3.1-8B")
PROBABILITY = "probability that this response is better"
Pair = tuple[str, str, str]  # prompt, response 1, response 2
LEGS = (
    "How many legs do 3 cats have?",
    "3 × 4 = 11. So 11 legs.",
    "3 × 4 = 12. So 12 legs.",
)


class Flip(NamedTuple):
    """A change of one attribute's difference that flips a preference.

    Attributes:
        attribute: whose difference changes; the others stay as they are.
        change: what is added to the difference.
        to: the difference afterwards: on a threshold, or the next number above one.
    """

    attribute: str
    change: float
    to: float


def smallest_flip(tree: PreferenceTree, difference: Real[np.ndarray, " attributes"]) -> Flip | None:
    """Find the smallest change of one attribute's difference that flips the tree's preference.

    Of several changes of the same size it is the first in the tree's preorder.

    Args:
        difference: response 2 minus response 1, shape (attributes,).

    Returns:
        the change, or None if no change of a single attribute flips the preference.

    Example:
        >>> smallest_flip(PreferenceTree.single_split("helpfulness", 0.5), np.array([2.0]))
        Flip(attribute='helpfulness', change=-1.5, to=0.5)
    """
    preference = tree.predict(difference[None])[0]
    flips = []
    for node in np.flatnonzero(tree.feature >= 0):  # between thresholds nothing changes
        column = tree.feature[node]
        threshold = tree.threshold[node]
        for value in (threshold.item(), np.nextafter(threshold, np.inf).item()):
            moved = np.array(difference, dtype=float)
            moved[column] = value
            if tree.predict(moved[None])[0] != preference:
                change = value - float(difference[column])
                flips.append(Flip(tree.attributes[column], change, value))
    return min(flips, key=lambda flip: abs(flip.change), default=None)


def verdicts(comparison: Comparison) -> pd.DataFrame:
    """Tabulate how the model and the published judges' trees decide on the model's rewards.

    The judges' trees need differences of HelpSteer2's five attributes; for a model with other
    attributes, the table has only the model's own row.

    Returns:
        a row for each decision: the preferred response, and the probability that it is better.
    """
    rows = {"this model": _verdict(comparison.preference, comparison.probability)}
    differences = dict(zip(comparison.attributes, comparison.differences, strict=True))
    if set(differences) == set(ATTRIBUTES):
        pair = np.array([[differences[attribute] for attribute in ATTRIBUTES]])
        for judge in JUDGES:
            tree = PreferenceTree.published(judge)
            preference = int(tree.predict(pair)[0])
            probability = float(tree.probability(pair)[0])
            rows[f"tree of {judge}"] = _verdict(preference, probability)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["prefers", PROBABILITY])


def _verdict(preference: int, probability: float) -> tuple[str, str]:
    """Name the preferred response, and the probability that it is better.

    Args:
        probability: that response 2 is better.
    """
    share = probability if preference == 1 else 1 - probability
    return f"response {preference + 1}", f"{share:.1%}"


class Explorer(widgets.VBox):
    """What `explore` gives. Where widgets do not run, it shows as a picture with the same words."""

    def __init__(self, model: RewardModel, pairs: Sequence[Pair]) -> None:
        """Lay out the boxes, connect the buttons, and compare the first pair."""
        wide = widgets.Layout(width="100%")
        options = [("Pick a pair …", None)]
        for pair in pairs:
            prompt = pair[0]
            options.append((prompt[:LABEL_LENGTH], pair))
        self.model = model
        self.pick = widgets.Dropdown(options=options, layout=wide)
        self.texts = [
            widgets.Textarea(description="Prompt", rows=3, layout=wide),
            widgets.Textarea(description="Response 1", rows=8, layout=wide),
            widgets.Textarea(description="Response 2", rows=8, layout=wide),
        ]
        self.compare = widgets.Button(description="Compare", button_style="primary")
        self.swap = widgets.Button(description="Swap responses", icon="exchange")
        self.shown = widgets.HTML()
        self._fill(*pairs[0])
        self.pick.observe(self._pick_pair, "value")
        for box in self.texts:
            box.observe(self._fade, "value")
        self.compare.on_click(self._compare_texts)
        self.swap.on_click(self._swap_responses)
        prompt_box, *response_boxes = self.texts
        rows = [
            [self.pick],
            [prompt_box],
            response_boxes,
            [self.compare, self.swap],
            [self.shown],
        ]
        super().__init__([widgets.HBox(row) for row in rows])

    def _pick_pair(self, change: Mapping[str, Any]) -> None:
        """Fill the boxes with the pair that was picked."""
        if change["new"]:
            self._fill(*change["new"])

    def _fade(self, _: Mapping[str, Any]) -> None:
        """Fade the result, because it belongs to the texts before the change."""
        if not self.shown.value.startswith(FADED):
            self.shown.value = f"{FADED}{self.shown.value}</div>"

    def _compare_texts(self, _: widgets.Button) -> None:
        self._show()

    def _swap_responses(self, _: widgets.Button) -> None:
        prompt, response1, response2 = [box.value for box in self.texts]
        self._fill(prompt, response2, response1)

    def _fill(self, *texts: str) -> None:
        """Write a pair into the boxes, and compare it."""
        for box, text in zip(self.texts, texts, strict=True):
            box.value = text
        self.pick.value = None  # so that the same pair can be picked again
        self._show()

    def _show(self) -> None:
        """Show the comparison of the texts in the boxes, or why there is none."""
        prompt, response1, response2 = [box.value for box in self.texts]
        try:
            empty = [box.description for box in self.texts if not box.value.strip()]
            if empty:
                raise ValueError(f"{' and '.join(empty)} without a text")
            result = _html(self.model.compare(prompt, response1, response2))
        except (ValueError, RuntimeError, OSError) as error:  # too long; no memory; no endpoint
            self.shown.value = f"<p><b>No comparison:</b> {escape(str(error))}</p>"
            return
        if response1 == response2:
            result = f"<p>Both responses are the same text.</p>{result}"
        self.shown.value = result

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """Give the widget, and a static page with the same words for where no widget runs."""
        page = ""
        for box in self.texts:
            paragraph = f"<p><b>{box.description}</b><br>{escape(box.value)}</p>"
            page += paragraph.replace("\n", "<br>")
        page += self.shown.value
        return super()._repr_mimebundle_(**options) | {"text/html": page}


def explore(model: RewardModel, pairs: Sequence[Pair] = ()) -> Explorer:
    """Show boxes for a prompt and two responses, and below them what a model says about the pair.

    Where widgets do not run, a static page shows the first pair.

    Args:
        pairs: to pick from, each (prompt, response 1, response 2); by default the published
            example and one more.
    """
    example = json.loads((PUBLISHED / "usage_example.json").read_text("utf-8"))
    published = (example["prompt"], example["response1"], example["response2"])
    return Explorer(model, pairs or (published, LEGS))


def _html(comparison: Comparison) -> str:
    """Write a comparison as HTML: verdict, reasons, decisions of the judges' trees, pictures."""
    verdict, _, reasons = comparison.words()
    if comparison.tree:
        reasons.append(_flip_sentence(comparison.tree, np.array(comparison.differences)))
    points = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    table = verdicts(comparison).to_html(border=0)
    columns = f"<div><ul>{points}</ul></div><div style='flex:none;max-width:26em'>{table}</div>"
    page = f'<h3>{verdict}</h3><div style="display:flex;gap:2em">{columns}</div>'
    if comparison.attributes:
        page += _rewards_image(comparison)
    if comparison.attributes and comparison.tree:
        page += tree_html(comparison.tree, comparison.path)
    return f'<div class="jp-RenderedHTMLCommon">{page}</div>'


def _flip_sentence(tree: PreferenceTree, difference: np.ndarray) -> str:
    """Say in a sentence which smallest change of one attribute flips the preference."""
    flip = smallest_flip(tree, difference)
    words = "none can"
    if flip is not None:
        words = f"{flip.attribute} difference {flip.change:+.3g}, across {flip.to:.4g}"
    return f"Smallest change of one attribute that flips it: {words}."


def _rewards_image(comparison: Comparison) -> str:
    """Draw the rewards of both responses as a PNG inside an HTML element."""
    labels = []
    for attribute, difference in zip(comparison.attributes, comparison.differences, strict=True):
        labels.append(f"{attribute}\ndifference {difference:+.2f}")
    figure = Figure((6.75, 0.8 + 0.36 * len(labels)))
    draw_reward_bars(figure.subplots(), np.array(comparison.rewards), labels)
    file = io.BytesIO()
    figure.savefig(file, dpi=150, bbox_inches="tight", metadata={"Software": None})
    data = base64.b64encode(file.getvalue()).decode()
    _, table, _ = comparison.words()
    numbers = escape(table.round(2).to_csv(sep=" ", lineterminator="; "))
    return f'<p><img width="860" alt="rewards: {numbers}" src="data:image/png;base64,{data}"></p>'
