"""Published importances and consistencies: as the files have them, and as a correlation must be."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from dtreward.figures import colour
from dtreward.judges.published import (
    consistency_correlations,
    draw_consistency_by_importance,
    draw_published_importances,
    published_judges,
)
from dtreward.published import PUBLISHED
from dtreward.tree.nodes import ATTRIBUTES


@pytest.fixture(scope="module")
def judges():
    return published_judges()


@pytest.fixture(scope="module")
def correlations(judges):
    return consistency_correlations(judges, resamples=500)


def test_every_published_judge_is_there_and_people_have_no_consistency(judges):
    importances = pd.read_csv(PUBLISHED / "importances.csv", index_col="judge")
    consistency = pd.read_csv(PUBLISHED / "consistency.csv", index_col="judge")["consistency_pct"]
    assert judges[list(ATTRIBUTES)].equals(importances[list(ATTRIBUTES)])
    unknown = judges.index[judges["consistency"].isna()]
    assert list(unknown) == ["Human"]
    known = judges.drop(index="Human")
    assert (100 * known["consistency"]).round(1).to_dict() == consistency[known.index].to_dict()
    assert judges.loc["Qwen-2-VL-72B", "family"] == "Qwen"


def test_consistent_judges_look_at_helpfulness_and_only_that_is_told(judges, correlations):
    known = judges.dropna()
    for attribute, row in correlations.iterrows():
        exact = spearmanr(known[attribute], known["consistency"])
        assert row["spearman"] == pytest.approx(exact.statistic)
        assert row["p"] == pytest.approx(exact.pvalue)
        assert row["low"] < row["spearman"] < row["high"]
    assert (correlations[["judges", "families"]] == [28, 9]).all(axis=None)
    rounded = correlations["spearman"].round(2).to_dict()
    assert rounded["helpfulness"] == 0.55 and rounded["verbosity"] == -0.38
    assert list(correlations.index[correlations["p_holm"] < 0.05]) == ["helpfulness"]
    assert correlations.loc["helpfulness", "family_low"] > 0
    assert correlations.loc["verbosity", "family_high"] > 0


def test_shuffled_consistency_goes_with_nothing(judges):
    shuffled = judges.copy()
    known = judges["consistency"].notna()
    values = np.random.default_rng(0).permutation(judges.loc[known, "consistency"])
    shuffled.loc[known, "consistency"] = values
    assert (consistency_correlations(shuffled, resamples=50)["p_holm"] > 0.05).all()


def test_the_pictures_show_every_judge_in_its_familys_colour_and_every_attribute(
    judges, correlations
):
    matrix, consistency = draw_published_importances(judges).axes
    names = [label.get_text() for label in matrix.get_yticklabels()]
    assert set(names) == set(judges.index) and names[:2] == ["Human", "GPT-4o"]
    assert [label.get_color() for label in matrix.get_yticklabels()] == [colour(n) for n in names]
    drawn = consistency.collections[1].get_offsets()
    assert len(drawn) == 29 and np.ma.masked_invalid(drawn[:, 0]).count() == 28
    figure = draw_consistency_by_importance(judges, correlations)
    titles = [axis.get_title().split("\n")[0] for axis in figure.axes]
    assert titles == list(ATTRIBUTES)
    plt.close("all")
