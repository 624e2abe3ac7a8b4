"""Eight-bit products are near, keep rows apart, and their change is shown truly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from replicas import make_decision_tree_replica, make_replica
from torch import nn

from dtreward.engine.float8 import Fp8Linear, to_fp8
from dtreward.engine.forward import last_hidden_states
from dtreward.models.load_checkpoint import load_language_model
from dtreward.models.loader import load
from dtreward.models.precision import use_fp8

TEXTS = (
    [f"What is {n} + {n}?" for n in range(12)],
    [f"It is {2 * n}." for n in range(12)],
    [f"It is {n}, or so I think." * (1 + n % 3) for n in range(12)],
)
CONVERSATIONS = [(TEXTS[0][row], TEXTS[side][row]) for row in range(12) for side in (1, 2)]


@pytest.mark.parametrize("bias", [True, False])
def test_a_product_of_eight_bits_is_near_that_of_float32(bias):
    """e4m3 keeps 3 bits: each factor is off by at most 1/16, the sum of 512 by far less."""
    torch.manual_seed(0)
    exact, states = nn.Linear(512, 64, bias=bias), torch.randn(2, 7, 512)
    given, wanted = Fp8Linear(exact)(states), exact(states)
    assert given.shape == wanted.shape
    assert 0.001 < (given - wanted).norm() / wanted.norm() < 1 / 16
    turned = Fp8Linear(exact)(states.flip(1)).flip(1)
    assert torch.equal(turned, given)  # each row has a scale of its own


def test_a_row_of_zeros_stays_zeros():
    assert Fp8Linear(nn.Linear(32, 8, bias=False))(torch.zeros(1, 3, 32)).eq(0).all()


def test_the_table_tells_what_changed(tmp_path):
    folder = make_decision_tree_replica(tmp_path / "tree")
    exact = load(folder)
    model = load(folder)
    backbone, table = use_fp8(model, *TEXTS)
    assert backbone.transformer is model.backbone.transformer
    features = np.abs(model.features(CONVERSATIONS) - exact.features(CONVERSATIONS))
    assert np.isclose(table.loc["features", "mean change"], features.mean())
    before, after = exact.rewards(CONVERSATIONS), model.rewards(CONVERSATIONS)
    change = np.abs(after - before)
    rows = table.loc[list(model.attributes)]
    assert 0 < change.max() and np.allclose(rows["mean change"], change.mean(axis=0))
    assert np.allclose(rows["largest change"], change.max(axis=0))
    flips = [
        a["preference"] != b["preference"]
        for a, b in zip(exact.compare_many(*TEXTS), model.compare_many(*TEXTS), strict=True)
    ]
    assert table.loc["preference", "differences that change sign"] == np.mean(flips)
    signs = [np.sign(each[1::2] - each[::2]) for each in (before, after)]
    assert np.allclose(rows["differences that change sign"], (signs[0] != signs[1]).mean(axis=0))


def test_features_of_a_model_turned_to_float8_have_another_key(tmp_path):
    model = load(make_replica(tmp_path / "score"))
    with pytest.warns(UserWarning, match="several times as often as bfloat16"):
        turned, table = use_fp8(load(tmp_path / "score"), *TEXTS)
    assert turned.identity != model.backbone.identity
    assert "preference" in table.index
    assert not any(isinstance(each, nn.Linear) for each in turned.transformer.modules())


def test_of_a_backbone_without_a_head_the_features_are_compared(tmp_path):
    folder = make_replica(tmp_path / "score")
    backbone, table = use_fp8(load_language_model(folder), *TEXTS)
    assert backbone.identity["precision"] == "float8 rows"
    assert list(table.index) == ["features"]
    assert table.loc["features", "mean change"] > 0


@pytest.mark.parametrize("turned", [False, True])
def test_a_copy_for_another_device_gives_the_same_bits(tmp_path, turned):
    """Here to the same device: the copy shares no tensor, and its last layer reads rows, too."""
    own = load(make_replica(tmp_path / "gemma2", "gemma2")).backbone
    if turned:
        to_fp8(own.transformer)
    (only,) = own.everywhere(["cpu"])
    assert only is own
    copy, ids = own._copy(torch.device("cpu")), [np.arange(20), np.arange(30)]
    layers = [each.transformer.layers[-1] for each in (copy, own)]
    assert layers[0] is not layers[1] and layers[0].forward.__self__ is layers[0]
    assert np.array_equal(*(last_hidden_states(each, ids) for each in (copy, own)))


def test_a_model_without_a_decision_has_no_row_of_preferences(tmp_path):
    folder = make_replica(tmp_path / "five", rows=5)
    _, table = use_fp8(load(folder), *TEXTS)
    assert "preference" not in table.index and len(table) == 1 + 5
