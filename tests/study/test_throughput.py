"""What the benchmark measured: compared, drawn, and turned into costs."""

import matplotlib.pyplot as plt
import pytest

from dtreward.study.throughput import compare_rungs, draw_ladder, estimate_cost, last_rung

SPEEDS = {"loop": 10.0, "unsorted": 20.0, "sorted": 40.0, "packed": 80.0, "packed, fp8": 160.0}


def rungs():
    found = []
    for name, speed in SPEEDS.items():
        rung = {"rung": name, "attention": "sdpa", "tokens_per_second": speed}
        found.append(rung | {"effective_mfu": speed / 100})
    return found


def test_every_rung_is_compared_with_the_loop_and_with_sorted_batches():
    ladder = compare_rungs(rungs())
    assert ladder["times the loop"].tolist() == [1, 2, 4, 8, 16]
    assert ladder["times sorted batches"].tolist() == [0.25, 0.5, 1, 2, 4]


def test_a_rung_is_found_by_the_end_of_its_name():
    ladder = compare_rungs(rungs())
    assert last_rung(ladder, "packed")["step"] == "packed (sdpa)"
    with pytest.raises(ValueError, match=r"a rung that ends with 'pruned', the ladder has: loop"):
        last_rung(ladder, "pruned")


def test_costs_grow_with_the_responses_and_the_speed_saves_time_only():
    one = estimate_cost(1000, 500.0, tokens_per_second=100.0, hidden=64)
    more = estimate_cost(10_000, 500.0, tokens_per_second=100.0, hidden=64)
    faster = estimate_cost(1000, 500.0, tokens_per_second=200.0, hidden=64)
    for name, cost in one.items():
        assert more[name] == pytest.approx(10 * cost)
    assert faster["GPU hours"] == pytest.approx(one["GPU hours"] / 2)
    assert faster["features, GB"] == one["features, GB"] == 1000 * 64 * 4 / 1e9


def test_bars_are_thousands_of_tokens_and_padded_rungs_are_grey():
    figure = draw_ladder({"tiny-llama": compare_rungs(rungs())})
    (axis,) = figure.axes
    bars = axis.patches
    assert [bar.get_width() for bar in bars] == [speed / 1000 for speed in SPEEDS.values()]
    assert len({bar.get_facecolor() for bar in bars[:3]}) == 1
    assert bars[2].get_facecolor() != bars[3].get_facecolor()
    assert [text.get_text().strip() for text in axis.texts][-1] == "1.60"
    plt.close(figure)
