"""The models beside a tree: what each may do, how large it is, and that none sees what it is asked."""

import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from interpret.glassbox import ExplainableBoostingClassifier
from pystreed import STreeDClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from dtreward.pairs.split import plan_evaluations
from dtreward.study.settings import CHOICES_IN
from dtreward.tree.ablation import Sample, Settings
from dtreward.tree.quality import measure_rival
from dtreward.tree.rivals import (
    Fitted,
    Rival,
    choose_rivals,
    constant_answer,
    directions_of,
    fit_classifier,
    fit_constant,
    fit_longest,
    fit_one_attribute,
    fit_tree,
)
from dtreward.tree.tree import PreferenceTree

NAMES = ("noise", "good", "bad", "flat")
NO_ROWS = np.array([], int)
GROWTH = {"max_depth": 3, "settings": Settings(min_leaf=5), "candidates": [1.0]}


@pytest.fixture(scope="module")
def sample():
    """200 pairs of 100 prompts: `good` speaks for response 2, `bad` against it."""
    random = np.random.default_rng(0)
    differences = random.normal(size=(200, 4))
    differences[:, 3] = 0
    says = 2 * differences[:, 1] - differences[:, 2] + random.normal(size=200)
    prompts = np.arange(200) // 2
    longer = random.integers(-9, 9, 200).astype(float)
    return Sample(NAMES, differences, (says > 0).astype(int), prompts, longer)


def validation_of(sample):
    return sample.take(NO_ROWS)


def test_names_in_the_notebook_are_those_that_the_door_knows_in_its_order():
    notebook = nbformat.read(ROOT / "notebooks/04_fit_preference_tree.ipynb", as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    comment = next(line for line in code[0].split("\n") if line.startswith("rivals:"))
    assert tuple(re.findall(r'"([^"]+)"', comment)) == CHOICES_IN["rivals"]
    offered = re.findall(r'^    Rival\("([^"]+)"', "\n".join(code), re.MULTILINE)
    assert tuple(offered) == CHOICES_IN["rivals"]


def test_an_unknown_rival_is_refused_with_the_nearest_name():
    offered = [Rival("constant", fit_constant), Rival("longest response", fit_longest)]
    with pytest.raises(ValueError, match="came 'longest'; did you mean 'longest response'"):
        choose_rivals(offered, ["longest"])
    assert choose_rivals(offered, []) == offered


def test_directions_are_those_of_the_training_pairs(sample):
    assert directions_of(sample)[1:] == [1, -1, 0]


@pytest.mark.parametrize(
    "fit",
    [
        lambda *parts: fit_tree(*parts, monotone=True, **GROWTH),
        lambda *parts: fit_classifier(
            *parts, classifier=HistGradientBoostingClassifier(max_depth=3), monotone=True
        ),
    ],
    ids=["tree", "boosting"],
)
def test_a_monotone_model_lets_each_attribute_count_in_one_direction(sample, fit):
    model = fit(sample, validation_of(sample))
    steps = np.linspace(-3, 3, 60)
    for column, direction in ((1, 1), (2, -1)):
        for start in sample.differences[:20]:
            rows = np.tile(start, (len(steps), 1))
            rows[:, column] = steps
            assert (direction * np.diff(model.predict(rows, np.zeros(60))) >= -1e-12).all()


def test_without_the_constraint_a_tree_bends_where_preferences_do(sample):
    bent = (sample.differences, (np.abs(sample.differences[:, 1]) < 1).astype(int))
    free = PreferenceTree.fit(*bent, attributes=NAMES)
    monotone = PreferenceTree.fit(*bent, attributes=NAMES, directions=[0, 1, 0, 0])
    line = np.zeros((61, 4))
    line[:, 1] = np.linspace(-3, 3, 61)
    assert (np.diff(free.probability(line)) < 0).any() and (
        np.diff(free.probability(line)) > 0
    ).any()
    assert (np.diff(monotone.probability(line)) >= 0).all()


def test_the_one_attribute_is_the_one_that_explains_most(sample):
    model = fit_one_attribute(sample, validation_of(sample))
    assert (model.detail, model.numbers) == ("good", 3)
    moved = sample.differences + np.array([5.0, 0, 5, 5])
    np.testing.assert_array_equal(
        model.predict(moved, sample.longer), model.predict(sample.differences, sample.longer)
    )


def test_an_additive_model_is_a_sum_of_curves_and_flips_with_the_swap(sample):
    additive = ExplainableBoostingClassifier(interactions=0, outer_bags=2, n_jobs=1, random_state=0)
    model = fit_classifier(sample, validation_of(sample), classifier=additive, averaged=True)
    both = model.predict(sample.differences, sample.longer)
    swapped = model.predict(-sample.differences, -sample.longer)
    np.testing.assert_allclose(both + swapped, 1, atol=1e-12)
    fitted = additive.fit(sample.differences, sample.preference)
    steps = [1 + np.count_nonzero(np.diff(scores[1:-1])) for scores in fitted.term_scores_]
    assert model.numbers == 1 + sum(2 * count - 1 for count in steps)
    assert steps[3] == 1  # an attribute that is always the same has a flat curve


def test_sizes_count_what_each_model_holds(sample):
    parts = (sample, validation_of(sample))
    assert fit_constant(*parts).numbers == fit_longest(*parts).numbers == 1
    assert fit_classifier(*parts, classifier=LogisticRegression()).numbers == len(NAMES) + 1
    tree = PreferenceTree.fit(
        sample.differences, sample.preference, attributes=NAMES, max_depth=3, min_leaf=5
    )
    assert fit_tree(*parts, **GROWTH).numbers == 2 * len(tree.splits) + tree.n_leaves
    optimal = STreeDClassifier("accuracy", max_depth=1, n_thresholds=4)
    assert fit_classifier(*parts, classifier=optimal).numbers == 2 + 2
    boosting = HistGradientBoostingClassifier(max_depth=1, max_iter=7, min_samples_leaf=1)
    assert fit_classifier(*parts, classifier=boosting).numbers == 1 + 7 * 4
    with pytest.raises(TypeError, match="came GaussianNB; count its numbers"):
        fit_classifier(*parts, classifier=GaussianNB())


def test_cross_validation_asks_each_pair_once_of_a_model_that_has_not_seen_its_prompt(sample):
    few = sample.take(np.arange(60))  # 30 prompts, 10 of them for test
    split = pd.Series(np.where(few.prompts < 10, "test", "train"))
    parts = plan_evaluations(split, pd.Series(few.prompts), folds=4)
    seen = []

    def fit(train, validation):
        seen.append(set(train.prompts.tolist()))
        return Fitted(constant_answer(train.preference), numbers=len(seen))

    measured = measure_rival(Rival("spy", fit), few, parts, NO_ROWS)
    assert len(measured.predictions.given) == 60 and measured.numbers == 2.5
    for known, part in zip(seen, parts, strict=True):
        assert known.isdisjoint(few.prompts[part.test].tolist())
    order = np.concatenate([part.test for part in parts])
    np.testing.assert_array_equal(measured.predictions.preference, few.preference[order])
