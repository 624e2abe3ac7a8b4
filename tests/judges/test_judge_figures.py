"""Pictures of judges show every judge, in the order of the tables."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from scipy.spatial.distance import pdist

from dtreward.figures import colour
from dtreward.judges.agreement import agreement, consistency, nearest_to_people
from dtreward.judges.figures import (
    draw_agreement,
    draw_agreement_with_people,
    draw_clusters,
    draw_importances,
    draw_maps,
    draw_outcomes,
    draw_position_bias,
    draw_rates_by_group,
    draw_recurrence,
    draw_strengths,
)
from dtreward.judges.maps import JudgeMap, map_table

NAMES = ["Wordy-1", "Strict-1", "Noisy"]


@pytest.fixture(autouse=True)
def style(root):
    with plt.style.context(str(root / "notebooks" / "paper.mplstyle")):
        yield
    plt.close("all")


@pytest.fixture
def judges():
    """A row a judge: all decided, half by position, and one that could not be read."""
    rows = []
    for judge, torn in zip(NAMES, (0, 10, 20), strict=True):
        for pair in range(20):
            outcome = "inconsistent" if pair < torn else "decided"
            rows.append((judge, judge, pair, "A", outcome))
    rows.append(("Noisy", "Noisy", 20, None, "unparsed"))
    names = ["judge", "family", "prompt_id", "given", "outcome"]
    table = consistency(pd.DataFrame(rows, columns=names)).loc[NAMES]
    return table.assign(published=[0.5, np.nan, 0.1], dropped=["", "", "consistency < 0.2"])


@pytest.fixture
def votes():
    generator = np.random.default_rng(0)
    people = generator.integers(0, 2, 80).astype(float)
    other = np.where(generator.random(80) < 0.8, people, 1 - people)
    return pd.DataFrame({"Human": people, "Noisy": 1 - people, "Strict-1": other})


def labels(axis, which="y"):
    found = axis.get_yticklabels() if which == "y" else axis.get_xticklabels()
    return [label.get_text() for label in found]


def test_consistency_has_a_row_a_judge_and_dropped_ones_are_hollow(judges):
    published = pd.Series({"GPT-4o": 0.7, "Llama-3.1-8B": 0.4})
    table = judges.reset_index()
    figure = draw_position_bias(table, published, min_consistency=0.2, world="a world")
    ours, lean, theirs = figure.axes
    assert labels(ours) == NAMES and labels(theirs) == list(published.index)
    dots = [line for line in ours.lines if line.get_marker() == "o"]
    assert [dot.get_xdata()[0] for dot in dots] == judges["consistency"].to_list()
    assert [dot.get_markerfacecolor() for dot in dots][2] == "white"
    limits = [axis.lines[-1].get_xdata()[0] for axis in (ours, lean, theirs)]
    assert limits == [0.2, 0.5, 0.2]


def test_outcomes_add_up_to_one_and_those_of_nobody_are_left_out(judges):
    figure = draw_outcomes(judges, world="a world")
    (axis,) = figure.axes
    drawn = [bars.get_label() for bars in axis.containers]
    assert drawn == ["decided", "inconsistent", "unparsed"]
    widths = np.array([[bar.get_width() for bar in bars] for bars in axis.containers])
    assert widths.sum(axis=0) == pytest.approx(1)


def test_the_judge_nearest_to_people_stands_first_everywhere(votes):
    table = agreement(votes, range(80), resamples=50)
    people = nearest_to_people(table)
    figure = draw_agreement_with_people(people, world="a world")
    assert labels(figure.axes[0]) == ["Strict-1", "Noisy"]
    matrices = draw_agreement(table, world="a world").axes[:2]
    order = ["Human", "Strict-1", "Noisy"]
    assert labels(matrices[0]) == order
    for axis, name in zip(matrices, ("agreement", "kappa"), strict=True):
        assert labels(axis, "x") == order
        cells = axis.collections[0].get_array().reshape(3, 3)
        shown = [round(100 * value) for value in people[name]]
        assert cells[0, 1:].tolist() == shown and shown[0] > 0 >= shown[1]
        assert np.ma.getmaskarray(cells).diagonal().all()


def test_importances_stand_beside_published_ones_only_where_there_are_some():
    index = pd.MultiIndex.from_product([NAMES, ["h", "v"]], names=["judge", "attribute"])
    table = pd.DataFrame({"importance": 0.5, "low": 0.4, "high": 0.6}, index).reset_index()
    published = pd.DataFrame(np.nan, NAMES, ["v", "h"])
    assert len(draw_importances(table, published, world="a world").axes) == 1
    published.loc["Noisy"] = 0.25
    ours, theirs = draw_importances(table, published, world="a world").axes
    assert labels(ours) == NAMES and labels(theirs, "x") == ["v", "h"]
    assert {text.get_text() for text in ours.texts} == {"0.50\n0.40–0.60"}
    assert {text.get_text() for text in theirs.texts} == {"0.25"}


def test_clusters_join_the_nearest_judges_first():
    places = np.array([0.0, 0.1, 1.0])
    square = pd.DataFrame(np.abs(places[:, None] - places), NAMES, NAMES)
    (axis,) = draw_clusters({"gap": square}, world="a world").axes
    assert sorted(labels(axis)) == sorted(NAMES)
    joins = sorted(collection.get_paths()[0].vertices[1, 0] for collection in axis.collections)
    assert joins[0] == pytest.approx(0.1)
    dots = {line.get_color() for line in axis.lines}
    assert dots == {colour(name) for name in NAMES}


def crowd(judges, *, seed=0):
    """Places of judges on three maps, most of them in a heap, and two at one place."""
    names = [f"Family-{number % 5}.1-{number}B-Instruct" for number in range(judges)]
    generator = np.random.default_rng(seed)
    maps = {}
    for name in ("PCA", "MDS", "UMAP"):
        places = generator.normal(size=(judges, 2)) ** 3
        places[1] = places[0]
        maps[name] = JudgeMap(places, f"note of {name}")
    return map_table(maps, pd.Series("Family", names))


@pytest.mark.parametrize("judges", [5, 13, 30])
def test_maps_name_every_judge_and_no_name_or_point_hides_another(judges):
    places = crowd(judges)
    figure = draw_maps(places, world="a world")
    figure.set_dpi(200)  # as saved
    figure.canvas.draw()
    for axis, name in zip(figure.axes, ("PCA", "MDS", "UMAP"), strict=True):
        assert axis.get_title(loc="left") == name
        assert axis.get_xlabel() == f"note of {name}"
        named = "".join(text.get_text() for text in axis.texts).replace("\n", "")
        assert all(named.count(judge) == 1 for judge in places["judge"].unique())
        boxes = [Text.get_window_extent(text) for text in axis.texts]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        points = axis.transData.transform([line.get_xydata()[0] for line in axis.lines])
        # 4 points wide, at most a third of it behind another
        assert pdist(points).min() > 2.6 / 72 * figure.dpi
        assert len(points) == len(axis.texts) < judges


def test_a_point_has_its_judges_colour_and_is_grey_for_judges_of_two_colours():
    maps = {"PCA": JudgeMap(np.array([[0.0, 0.0], [5.0, 5.0], [5.0, 5.0]]))}
    figure = draw_maps(map_table(maps, pd.Series(NAMES, NAMES)), world="a world")
    (axis,) = figure.axes
    hues = {tuple(line.get_xydata()[0]): line.get_color() for line in axis.lines}
    assert hues == {(0.0, 0.0): colour("Wordy-1"), (5.0, 5.0): "0.4"}
    assert {text.get_text() for text in axis.texts} == {"Wordy-1", "Strict-1\nNoisy"}


def test_every_split_is_a_dot_of_its_own_and_only_findings_are_filled():
    splits = pd.DataFrame(
        {
            "judge": ["Noisy", "Noisy", "Noisy", "Strict-1"],
            "attribute": ["helpfulness", "wit", "helpfulness", "correctness"],
            "recurrence": [1.0, 0.5, 1.0, 0.79],
            "recurs": [True, False, True, False],
        }
    )
    (axis,) = draw_recurrence(splits, world="a world").axes
    dots = [line for line in axis.lines if line.get_marker() == "o"]
    places = [(dot.get_xdata()[0], dot.get_ydata()[0]) for dot in dots]
    assert len(set(places)) == 4 and [x for x, _ in places] == splits["recurrence"].to_list()
    filled = [dot.get_markerfacecolor() != "white" for dot in dots]
    assert filled == splits["recurs"].to_list()
    assert dots[0].get_color() == colour("helpfulness")
    assert labels(axis) == ["Noisy", "Strict-1"]


@pytest.mark.parametrize("judges", [3, 13])
def test_strength_stands_beside_importance_for_every_judge_and_attribute(judges):
    names = ["Human", *(f"judge {number}" for number in range(1, judges))]
    index = pd.MultiIndex.from_product([names, ["h", "a long name of an attribute"]])
    table = pd.DataFrame(index=index).rename_axis(["judge", "attribute"]).reset_index()
    for number, name in enumerate(("strength", "importance")):
        value = 0.1 * number + np.linspace(-0.5, 0.5, len(table)) * (1 - number)
        table[[name, f"{name}_low", f"{name}_high"]] = np.array([value, value - 0.1, value + 0.1]).T
    axes = draw_strengths(table, world="a world").axes
    assert [axis.get_title(loc="left") for axis in axes] == names
    for axis, (_, own) in zip(axes, table.groupby("judge", sort=False), strict=True):
        drawn = {line.get_label(): list(line.get_xdata()) for line in axis.lines}
        assert drawn["strength"] == own["strength"].tolist()
        assert drawn["importance"] == own["importance"].tolist()
    assert len({axis.get_position().y0 for axis in axes}) == -(-judges // 5)


def test_rates_by_group_have_a_dot_a_group_and_of_many_groups_the_largest_are_drawn():
    rows = []
    for measure in ("agrees with people", "prefers the longer response"):
        for judge in ("Noisy", "Strict-1"):
            for group in range(10):
                rate = {"n": 100 + group, "estimate": group / 10, "low": 0.0, "high": 1.0}
                rate |= {"measure": measure, "judge": judge, "group": group}
                rows.append(rate | {"p": 0.01 if group == 9 else np.nan})
    axes = draw_rates_by_group(pd.DataFrame(rows), world="a world").axes
    assert labels(axes[0]) == ["Human", "Noisy", "Strict-1"]
    for axis in axes:
        dots = [line for line in axis.lines if line.get_marker() == "o"]
        assert sorted({dot.get_xdata()[0] for dot in dots}) == [k / 10 for k in range(2, 10)]
        assert len({dot.get_ydata()[0] for dot in dots}) == len(dots) == 16
        filled = [dot for dot in dots if dot.get_markerfacecolor() != "white"]
        assert {dot.get_xdata()[0] for dot in filled} == {0.9}
