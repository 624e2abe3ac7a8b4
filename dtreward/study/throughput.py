"""What `dtreward.benchmark` measured: read, set beside each other, drawn, and turned into costs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

WIDTH = 6.75  # inches: both columns of a page
PADDED = 3  # the first rungs of a ladder are padded batches, of which the first is the loop
SORTED = 2  # place of the rung of padded batches sorted by length
BYTES = 4  # of a token id, and of a number of features in float32


def read_measured(folder: str | Path, kind: str) -> tuple[list[Path], dict[str, dict[str, Any]]]:
    """Read what the benchmark wrote as KIND_*.json: the files, and the result of each shape.

    Raises:
        ValueError: for a file that the benchmark did not write.
    """
    files = sorted(Path(folder).glob(f"{kind}_*.json"))
    results = {}
    for path in files:
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            results[result["shape"]] = result
        except (ValueError, LookupError, TypeError) as error:
            remedy = f"python -m dtreward.benchmark SHAPE {path} makes it"
            message = f"{path} is no result of the benchmark ({error!r}); {remedy}"
            raise ValueError(message) from error
    return files, results


def compare_rungs(rungs: list[dict[str, Any]]) -> pd.DataFrame:
    """Set the rungs of one ladder beside its loop and beside its sorted batches.

    Args:
        rungs: as the benchmark wrote them: rung, attention, tokens_per_second and more. The first
            is the loop, the third are padded batches sorted by length.

    Returns:
        A row a rung: what was given, step (its name with the attention), times the loop, and times
        sorted batches.

    Example:
        >>> speeds = {"loop": 10.0, "unsorted": 20.0, "sorted": 40.0, "packed": 80.0}
        >>> rungs = [
        ...     {"rung": name, "attention": "sdpa", "tokens_per_second": speed}
        ...     for name, speed in speeds.items()
        ... ]
        >>> compare_rungs(rungs)["times sorted batches"].tolist()
        [0.25, 0.5, 1.0, 2.0]
    """
    ladder = pd.DataFrame(rungs)
    speed = ladder["tokens_per_second"]
    ladder["step"] = ladder["rung"] + " (" + ladder["attention"] + ")"
    ladder["times the loop"] = speed / speed.iloc[0]
    ladder["times sorted batches"] = speed / speed.iloc[SORTED]
    return ladder


def last_rung(ladder: pd.DataFrame, ending: str) -> pd.Series:
    """Give the last rung of a ladder whose name ends so.

    Raises:
        ValueError: if there is none.

    Example:
        >>> ladder = pd.DataFrame({"rung": ["packed", "packed, fp8"], "seconds": [2.0, 1.0]})
        >>> last_rung(ladder, "fp8")["seconds"].item()
        1.0
    """
    rows = ladder[ladder["rung"].str.endswith(ending)]
    if rows.empty:
        names = "; ".join(ladder["rung"])
        raise ValueError(
            f"expected a rung that ends with {ending!r}, the ladder has: {names}; run the "
            "benchmark again on a GPU"
        )
    return rows.iloc[-1]


def estimate_cost(
    responses: int, tokens: float, *, tokens_per_second: float, hidden: int
) -> dict[str, float]:
    """Estimate what reading some responses costs on one GPU.

    Args:
        responses: how many.
        tokens: mean number of tokens of a response with its prompt.
        tokens_per_second: the measured rate.
        hidden: width of the backbone; a response's features are so many numbers.

    Returns:
        "GPU hours"; "features, GB", as float32; "token ids, GB", of four bytes each.

    Example:
        >>> estimate_cost(7200, 500.0, tokens_per_second=1000.0, hidden=4096)["GPU hours"]
        1.0
    """
    return {
        "GPU hours": responses * tokens / tokens_per_second / 3600,
        "features, GB": responses * hidden * BYTES / 1e9,
        "token ids, GB": responses * tokens * BYTES / 1e9,
    }


def draw_ladder(ladders: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw tokens a second of each rung, a panel a shape; at each bar stands its effective MFU.

    Grey rungs are padded batches, as transformers runs them; blue rungs are packs.

    Args:
        ladders: for each shape a row a rung: step, tokens_per_second, effective_mfu.
    """
    size = (WIDTH, 4.6)
    figure, axes = plt.subplots(1, len(ladders), figsize=size, layout="constrained", squeeze=False)
    for axis, (name, rungs) in zip(axes[0], ladders.items(), strict=True):
        speed = rungs["tokens_per_second"] / 1000
        colours = ["0.7"] * PADDED + ["C0"] * (len(rungs) - PADDED)
        bars = axis.barh(range(len(rungs)), speed, color=colours)
        axis.bar_label(bars, [f" {one:.2f}" for one in rungs["effective_mfu"]], fontsize=6)
        axis.set(title=name, xlabel="thousand tokens a second", xlim=(0, 1.2 * speed.max()))
        axis.set(yticks=range(len(rungs)), ylim=(len(rungs) - 0.5, -0.5))
        axis.set_yticklabels([fill(step, 28) for step in rungs["step"]], size=6)
    figure.suptitle("Reading a backbone of random weights; at each bar its effective MFU")
    return figure
