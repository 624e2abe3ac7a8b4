"""What the figures of benches compute before they draw."""

import numpy as np
import pandas as pd

from dtreward.benches.figures import scored_columns


def test_a_column_without_any_score_is_not_drawn():
    board = pd.DataFrame({"Chat": [1.0], "Chat low": [0.5], "Math": [np.nan], "Math low": [np.nan]})
    assert scored_columns(board) == ["Chat"]
