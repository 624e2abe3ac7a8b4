"""What the paper's figures compute before they draw."""

import numpy as np
import pandas as pd

from dtreward.study.drawings import nearest_to_people, scored_columns


def test_the_judge_that_agrees_most_with_people_comes_first():
    rows = {
        "judge": ["Human", "Human", "A"],
        "other": ["A", "B", "B"],
        "agreement": [0.6, 0.8, 0.9],
    }
    assert nearest_to_people(pd.DataFrame(rows))["other"].to_list() == ["B", "A"]


def test_a_column_without_any_score_is_not_drawn():
    board = pd.DataFrame({"Chat": [1.0], "Chat low": [0.5], "Math": [np.nan], "Math low": [np.nan]})
    assert scored_columns(board) == ["Chat"]
