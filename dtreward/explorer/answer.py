"""A comparison as HTML for the screen, and as Markdown and JSON to be copied."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dtreward.conversation import messages
from dtreward.explorer.reasons import percent, reasons_of
from dtreward.figures import draw_reward_bars
from dtreward.keyboard import as_values
from dtreward.models.comparison import Comparison
from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.page import tree_html
from dtreward.tree.tree import PreferenceTree

JUDGES = ("Human", "GPT-4o", "Llama-3.1-8B")
PROBABILITY = "probability that this response is better"
DEMO = (
    "This model is of the demo world, which this project invents. It shows how a reward model "
    "answers, and says nothing about real conversations."
)


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
    return f"response {preference + 1}", percent(share)


def answer_html(comparison: Comparison) -> str:
    """Write a comparison as HTML: verdict, reasons, decisions of the judges' trees, pictures."""
    points = "".join(f"<li>{escape(reason)}</li>" for reason in reasons_of(comparison))
    table = verdicts(comparison).to_html(border=0)
    reasons = f'<div style="flex:1 1 20em"><ul>{points}</ul></div>'
    decisions = f'<div style="flex:0 1 26em;overflow-x:auto">{table}</div>'
    columns = f'<div style="display:flex;flex-wrap:wrap;gap:0 2em">{reasons}{decisions}</div>'
    page = f"<h3>{escape(comparison.verdict)}</h3>{columns}"
    if comparison.attributes:
        page += _rewards_image(comparison)
    if comparison.attributes and comparison.tree:
        tree = tree_html(comparison.tree, comparison.path)
        page += f'<div style="overflow-x:auto">{tree}</div>'
    return f'<div class="jp-RenderedHTMLCommon">{page}</div>'


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
    image = f'alt="rewards: {numbers}" src="data:image/png;base64,{data}"'
    return f'<p><img width="860" style="max-width:100%;height:auto" {image}></p>'


def as_markdown(pair: tuple[Any, str, str], comparison: Comparison, *, demo: bool = False) -> str:
    """Write a pair and its comparison as Markdown, its texts in blocks that nothing in them ends.

    Args:
        pair: prompt, response 1, response 2.
        demo: whether the model is of the demo world, which is then said.

    Example:
        >>> one = Comparison.of_verdicts(0.0, 1.0)
        >>> as_markdown(("2 + 2?", "4", "5"), one).split("\\n")[0]
        '**Response 1 is preferred (100.0 % probable that response 1 is better).**'
    """
    prompt, response1, response2 = pair
    parts = [f"**{comparison.verdict}**"]
    if demo:
        parts.append(f"*{DEMO}*")
    for message in messages(prompt):
        parts += [f"{message['role'].capitalize()}:", _block(message["content"])]
    parts += ["Response 1:", _block(response1), "Response 2:", _block(response2)]
    _, table, _ = comparison.words()
    if not table.empty:
        rows = ["| | response 1 | response 2 | difference |", "|---|--:|--:|--:|"]
        for name, numbers in zip(table.index, table.to_numpy(), strict=True):
            name = re.sub(r"([|\\])", r"\\\1", str(name))
            rows.append(f"| {name} | " + " | ".join(f"{x:z.2f}" for x in numbers) + " |")
        parts.append("\n".join(rows))
    parts.append("\n".join(f"- {reason}" for reason in reasons_of(comparison)))
    return "\n\n".join(parts) + "\n"


def _block(text: str) -> str:
    """Fence a text with more backticks than it has in a row."""
    runs = [len(run) for run in re.findall("`+", text)]
    fence = "`" * max([3, *(run + 1 for run in runs)])
    return f"{fence}text\n{text}\n{fence}"


def as_json(pair: tuple[Any, str, str], comparison: Comparison, *, demo: bool = False) -> str:
    """Write a pair and its comparison as JSON, with the values that `dtreward compare --json` gives.

    Example:
        >>> one = Comparison.of_verdicts(0.0, 1.0)
        >>> json.loads(as_json(("2 + 2?", "4", "5"), one))["response_1"]
        '4'
    """
    texts: Mapping[str, Any] = dict(zip(("prompt", "response_1", "response_2"), pair, strict=True))
    record = {**texts, "demo_world": demo, **as_values(comparison)}
    return json.dumps(record, indent=2, ensure_ascii=False)
