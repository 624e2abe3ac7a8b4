"""What the paper's figures compute before they draw."""

import numpy as np
import pandas as pd
import pytest

from dtreward.study.drawings import constant_floors, nearest_to_people, scored_columns


@pytest.mark.parametrize(("train", "validation"), [(0.6, 0.55), (0.6, 0.4), (0.3, 0.2)])
def test_the_floors_are_those_of_the_constant_answer_of_the_training_pairs(train, validation):
    answers = np.repeat([1.0, 0.0], [round(100 * validation), round(100 - 100 * validation)])
    losses = -np.log(np.where(answers == 1, train, 1 - train))
    floors = constant_floors(train, validation)
    assert floors["log_loss"] == pytest.approx(losses.mean(), abs=1e-12)
    right = float(((train > 0.5) == answers).mean())
    assert floors["accuracy"] == pytest.approx(max(0.5, right), abs=1e-12)


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
