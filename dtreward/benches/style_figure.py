"""The picture of RM-Bench's question: does a model prefer the fancier text?"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dtreward.benches.figures import BASELINE
from dtreward.benches.rmbench import DIFFICULTIES
from dtreward.figures import WIDTH, colour
from dtreward.stats import Interval

LEVELS = {"easy": "easy:\nright is fancier", "normal": "normal:\nsame style"}
LEVELS |= {"hard": "hard:\nright is plainer"}
MARKERS = "osD^vP"  # of models in turn: some of their colours are near to each other


def draw_style_effect(
    scores: Mapping[str, Mapping[str, Interval]],
    effects: Mapping[str, Mapping[str, Interval]],
    *,
    baselines: Sequence[str] = (),
) -> Figure:
    """Draw the share that is right by difficulty, and easy minus hard by domain, a colour a model.

    Args:
        scores: `RMBench.intervals` by model.
        effects: `RMBench.style_effect` by model.
        baselines: rows that need no model, drawn grey.
    """
    styles = {}
    for place, name in enumerate(scores):
        hue = BASELINE if name in baselines else colour(name)
        styles[name] = {"color": hue, "fmt": MARKERS[place % len(MARKERS)], "ms": 3, "lw": 0.9}
    figure, (levels, domains) = plt.subplots(
        1, 2, figsize=(WIDTH, 2.4), width_ratios=[1, 1.15], layout="constrained"
    )
    for place, (name, intervals) in enumerate(scores.items()):
        shown = [intervals[level] for level in DIFFICULTIES if level in intervals]
        shift = _shift(place, len(scores), 0.12)
        places = [number + shift for number in range(len(shown))]
        levels.errorbar(*_points(places, shown), ls="-", **styles[name])
    levels.axhline(50, color="black", lw=0.8, ls=":")
    levels.set(ylabel="right, in %", ylim=(-3, 103), xlim=(-0.4, len(DIFFICULTIES) - 0.6))
    levels.set_xticks(range(len(DIFFICULTIES)), [LEVELS[level] for level in DIFFICULTIES])
    _draw_effects(domains, effects, styles)
    figure.legend(*domains.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw_effects(
    axis: Axes,
    effects: Mapping[str, Mapping[str, Interval]],
    styles: Mapping[str, Mapping[str, Any]],
) -> None:
    """Draw easy minus hard of each domain, and of all of them, models side by side."""
    names = list(dict.fromkeys(domain for one in effects.values() for domain in one))
    for place, (name, intervals) in enumerate(effects.items()):
        shown = [intervals[domain] for domain in names]
        shift = _shift(place, len(effects), 0.16)
        places = [number + shift for number in range(len(names))]
        axis.errorbar(*_points(places, shown), ls="", label=name, **styles[name])
    axis.axhline(0, color="black", lw=0.8, ls=":")
    axis.set(ylabel="easy minus hard, in points", ylim=(-105, 105))
    axis.set_title("above 0: likes the fancier text", size=7)
    axis.set_xticks(range(len(names)), names)


def _shift(place: int, count: int, step: float) -> float:
    """Give how far the marks of one of several models stand beside the middle."""
    return step * (place - (count - 1) / 2)


def _points(
    places: Sequence[float], intervals: Sequence[Interval]
) -> tuple[list[float], list[float], list[list[float]]]:
    """Give places, estimates, and how far the intervals reach below and above them."""
    middle = [one.estimate for one in intervals]
    below = [max(0.0, one.estimate - one.low) for one in intervals]
    above = [max(0.0, one.high - one.estimate) for one in intervals]
    return list(places), middle, [below, above]
