"""Laws of the division of prompts into parts."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from dtreward.pairs.split import plan_evaluations


@given(st.integers(2, 19), st.integers(2, 30), st.integers(0, 99))
def test_few_test_prompts_are_cross_validated_and_no_prompt_is_on_both_sides(prompts, folds, seed):
    prompt_id = pd.Series(np.repeat(np.arange(prompts), 3))
    split = pd.Series(np.where(prompt_id == 0, "test", "train"))
    parts = plan_evaluations(split, prompt_id, folds=folds, seed=seed)
    assert len(parts) == min(folds, prompts)
    tested = np.concatenate([part.test for part in parts])
    assert sorted(tested) == list(range(len(prompt_id)))
    for part in parts:
        assert not set(prompt_id[part.train]) & set(prompt_id[part.test])
        assert len(part.train) + len(part.test) == len(prompt_id)


def test_twenty_test_prompts_are_measured_once_and_validation_stays_out():
    prompt_id = pd.Series(range(60))
    split = pd.Series(["test"] * 20 + ["validation"] * 10 + ["train"] * 30)
    (part,) = plan_evaluations(split, prompt_id, folds=5)
    assert part.test.tolist() == list(range(20))
    assert part.train.tolist() == list(range(30, 60))


def test_without_folds_a_small_test_part_stays_as_it_is():
    split = pd.Series(["test", "train", "train"])
    (part,) = plan_evaluations(split, pd.Series(range(3)), folds=0)
    assert part.test.tolist() == [0]
