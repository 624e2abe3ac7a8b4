"""What the figures of benches compute before they draw."""

import numpy as np
import pandas as pd

from dtreward.benches.figures import draw_leaderboard, leaderboard_blocks, scored_columns
from dtreward.benches.leaderboard import leaderboard


def test_a_column_without_any_score_is_not_drawn():
    board = pd.DataFrame({"Chat": [1.0], "Chat low": [0.5], "Math": [np.nan], "Math low": [np.nan]})
    assert scored_columns(board) == ["Chat"]


def board_with_measured_rows():
    board = leaderboard([], {}, {})
    scores = {"Chat": 90.0, "Chat low": 80.0, "Chat high": 95.0}
    name = board["model"].iloc[0]
    rows = [{"model": name, "row": "measured"}, {"model": "longest response", "row": "baseline"}]
    return pd.concat([pd.DataFrame([row | scores for row in rows]), board], ignore_index=True)


def test_scores_of_two_benches_never_share_an_axis():
    board = board_with_measured_rows()
    for bench in ("RewardBench", "another"):
        blocks = leaderboard_blocks(board, bench=bench)
        assert len(blocks) == 2
        for rows in blocks.values():
            together = {name.split()[0] for name in rows["row"]}
            expected = bench == "RewardBench" and "baseline" not in together
            assert (together >= {"measured", "published"}) == expected


def test_a_block_of_the_leaderboard_fills_its_own_range():
    figure = draw_leaderboard(board_with_measured_rows(), bench="another", world="own")
    first_panels = [axis for axis in figure.axes if axis.get_subplotspec().is_first_col()]
    lows = [axis.get_xlim()[0] for axis in first_panels]
    assert lows[0] < 80 < lows[1] < 90  # the lowest published end is above 81
    assert first_panels[0].get_title() == "\nChat"
