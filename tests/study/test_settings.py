"""Parameters are checked before a notebook runs: their type, and their least and largest value."""

import typing

import pytest
import torch

from dtreward import load
from dtreward.benches.rewardbench import SECTIONS
from dtreward.engine.attention import KERNELS
from dtreward.models.comparison import RewardModel
from dtreward.models.load_backbone import DTYPES
from dtreward.study.settings import (
    CHOICES,
    CHOICES_IN,
    LEAST,
    LEAST_IN,
    MOST,
    NOT_EMPTY,
    NOTEBOOKS,
    check_types,
    default_parameters,
    legal_parameters,
    parse_words,
)
from dtreward.tree.growth import ORDERS
from dtreward.tree.tree import PreferenceTree

PROBE = "03_fit_attribute_probe"
TREE = "04_fit_preference_tree"
ABLATION = "05_ablate_depth_and_leaves"
NOTEBOOK_FILES = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))


@pytest.mark.parametrize(
    ("notebook", "parameters", "message"),
    [
        (PROBE, {"strength_folds": 1}, "expected strength_folds of 2 or more, came 1"),
        ("02_extract_features", {"layer": -2}, "expected layer of -1 or more, came -2"),
        (PROBE, {"words": 0}, "expected words of 1 or more, came 0"),
        (TREE, {"max_depth": 0}, "expected max_depth of 1 or more, came 0"),
        (TREE, {"resamples": 1}, "expected resamples of 2 or more, came 1"),
        (TREE, {"seed": -1}, "expected seed from 0 to 4294967295, came -1"),
        (TREE, {"seed": "a"}, "expected seed as a whole number, came 'a'"),
        (ABLATION, {"jobs": 0}, "expected jobs of 1 or more, or -1 for one a core, came 0"),
        (ABLATION, {"jobs": -2}, "expected jobs of -1 or more, came -2"),
        (ABLATION, {"depths": [3, 0]}, "expected each of depths of 1 or more, came 0"),
        (ABLATION, {"leaves": ["x"]}, "expected each of leaves of 2 or more, came 'x'"),
        (ABLATION, {"added": float("nan")}, "expected added of 0 or more, came nan"),
        ("01_load_pairs", {"attributes": "x"}, "expected attributes as a list, came 'x'"),
        ("01_load_pairs", {"limit": -1}, "expected limit of 0 or more, came -1"),
        (ABLATION, {"criterion": "log_los"}, "expected criterion as one of 'log_loss', 'gini'"),
        (TREE, {"softening": []}, "expected one or more in the list softening, came none"),
        (TREE, {"softening": [-1.0]}, "expected each of softening of 0 or more, came -1.0"),
        (TREE, {"loss_margin": 0.0}, "expected loss_margin of 0.0001 or more, came 0.0"),
        (TREE, {"rivals": ["one treshold"]}, "expected each of rivals as .*mean 'one threshold'"),
        (TREE, {"orders": "bth"}, "expected orders as one of .*did you mean 'both'"),
        ("07_compare_judges", {"min_consistency": 1.5}, "expected min_consistency from 0 to 1"),
    ],
)
def test_a_value_of_another_kind_or_out_of_range_is_refused(notebook, parameters, message):
    with pytest.raises(ValueError, match=f"{notebook}: {message}"):
        check_types(parameters, NOTEBOOKS / f"{notebook}.ipynb")


def test_the_values_at_the_ends_are_legal():
    check_types(
        {"strength_folds": 2, "folds": 0, "words": 1, "resamples": 2}, NOTEBOOKS / f"{PROBE}.ipynb"
    )
    ends = {"jobs": -1, "depths": [1], "leaves": [2], "prunings": [0, 0.5], "seed": 2**32 - 1}
    check_types(ends, NOTEBOOKS / f"{ABLATION}.ipynb")


def test_every_range_is_of_a_parameter_that_a_notebook_has():
    named = set().union(*map(legal_parameters, NOTEBOOK_FILES))
    assert {*LEAST, *MOST, *LEAST_IN, *CHOICES, *CHOICES_IN, *NOT_EMPTY} <= named


def test_the_sign_of_a_rank_comes_through_the_command_line():
    assert parse_words(["order_by=-rank"]) == {"order_by": "-rank"}


def test_the_words_to_choose_from_are_those_that_the_package_takes():
    assert CHOICES["attention"] == ("", *KERNELS)
    assert set(CHOICES["dtype"]) == {"", *DTYPES}
    assert CHOICES["orders"] == ORDERS
    assert CHOICES["sort_by"] == (*SECTIONS, "overall", "model")
    for function, names in ((PreferenceTree.fit, ["criterion"]), (load, ["too_long"])):
        # `load` imports torch only when it is called, so its module does not have these names.
        names_of_load = {
            "torch": torch,
            "RewardModel": RewardModel,
            "PreferenceTree": PreferenceTree,
        }
        types = typing.get_type_hints(function, localns=names_of_load)
        for name in names:
            assert CHOICES[name] == typing.get_args(types[name])


@pytest.mark.parametrize("notebook", NOTEBOOK_FILES, ids=lambda path: path.stem)
def test_every_default_is_legal(notebook):
    check_types(default_parameters(notebook.stem), notebook)
