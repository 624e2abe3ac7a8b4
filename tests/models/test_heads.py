"""Kept results stay valid: a head's identity is the one that it had when they were made."""

import pytest
import torch
from conftest import ROOT

from dtreward.models.head_model import HeadModel
from dtreward.models.heads import make_head
from dtreward.models.loader import load

HIDDEN = 4
WIDTH = 3  # of the gates' hidden layers
REWARDS = ("a", "b")


def ramp(*shape):
    """Make a tensor whose values are exact in binary: -3/8, -2/8, ..."""
    count = torch.Size(shape).numel()
    return (torch.arange(count, dtype=torch.float32).reshape(shape) - 3) / 8


def linear_layer(name, outputs, inputs, *, bias=True):
    tensors = {f"{name}.weight": ramp(outputs, inputs)}
    if bias:
        tensors[f"{name}.bias"] = ramp(outputs)
    return tensors


def norm_layer(name):
    return {
        f"{name}.weight": ramp(WIDTH) + 1,
        f"{name}.bias": ramp(WIDTH),
        f"{name}.running_mean": ramp(WIDTH),
        f"{name}.running_var": ramp(WIDTH) + 1,
        f"{name}.num_batches_tracked": torch.tensor(7),
    }


def linear_head():
    tensors = {"score.weight": ramp(1, HIDDEN)}
    return make_head(tensors, {"hidden_size": HIDDEN})


def linear_head_of_two_rewards():
    return make_head(linear_layer("score", 2, HIDDEN), {"hidden_size": HIDDEN}, REWARDS)


def two_layer_head():
    tensors = linear_layer("score.0", HIDDEN, HIDDEN) | linear_layer("score.2", 1, HIDDEN)
    config = {"hidden_size": HIDDEN, "architectures": ["INFORMForSequenceClassification"]}
    return make_head(tensors, config)


def gate_with_norms(*places):
    """Make QRM's head: linear layers at the places, a batch norm after each but the last."""
    first, second, last = (f"gating.layers.{place}" for place in places)
    norms = [f"gating.layers.{place + 1}" for place in places[:2]]
    tensors = {
        "regression_layer.weight": ramp(6, HIDDEN),
        "gating.logit_scale": torch.ones(1),
        **linear_layer(first, WIDTH, HIDDEN, bias=False),
        **norm_layer(norms[0]),
        **linear_layer(second, WIDTH, WIDTH, bias=False),
        **norm_layer(norms[1]),
        **linear_layer(last, len(REWARDS), WIDTH),
    }
    config = {
        "hidden_size": HIDDEN,
        "num_quantiles": 3,
        "gating_temperature": 10,
        "gating_n_hidden": 2,
        "gating_hidden_dim": WIDTH,
    }
    return make_head(tensors, config, REWARDS)


def gate_without_norms(*, depth, rewards=REWARDS, width=WIDTH):
    """Make ArmoRM's head."""
    count = len(rewards)
    sizes = [HIDDEN, *[width] * depth, count]
    tensors = {
        "regression_layer.weight": ramp(count, HIDDEN),
        "reward_transform_matrix": ramp(count, count),
        "gating.logit_scale": torch.ones(1),
    }
    for place in range(depth + 1):
        name = f"gating.layers.{place}"
        tensors |= linear_layer(name, sizes[place + 1], sizes[place])
    config = {
        "hidden_size": HIDDEN,
        "gating_temperature": 10,
        "gating_n_hidden": depth,
        "gating_hidden_dim": width,
    }
    return make_head(tensors, config, rewards)


@pytest.fixture(scope="module")
def identity_of():
    """A function that gives the head's part of the identity of a model with that head."""
    demo = load(ROOT / "data" / "demo", device="cpu")
    return lambda head: HeadModel(demo.backbone, head).identity["head"]


# Computed when the hashed text was still what torch 2.13 prints for a module.
RECORDED = [
    (
        "linear, one reward",
        linear_head(),
        "ccd3c233c290c3581b9c8bba8abccb6fd059d103d1e8b95790168f78dfc0f014",
    ),
    (
        "linear, two rewards",
        linear_head_of_two_rewards(),
        "3dde65513f45ce8013c05aebd562861b3c74ce2c1b896f657113390b680442e3",
    ),
    (
        "two layers",
        two_layer_head(),
        "02782bd7cd5bfe437515532cad0b174e71b3d479ce2b396e6ba85fc919966f32",
    ),
    (
        "gate with norms, one place without a tensor",
        gate_with_norms(0, 3, 6),
        "42248b8eb46f2035f9a7a7baa3060b7599891aee527106d91872d8ec6e10693e",
    ),
    (
        "gate with norms, two places without a tensor",
        gate_with_norms(0, 4, 8),
        "d419f3bd5fc97ae71fc8dd3d458932691253fb186fe9c69f7f795e7b3bf71f6b",
    ),
    (
        "gate of one hidden layer",
        gate_without_norms(depth=1),
        "aa42a29d8946156f62bb00ad0057f6f9489b14261d3cd707a75a920afe907d26",
    ),
    (
        "gate of two hidden layers",
        gate_without_norms(depth=2),
        "479623b504facd91a831022088d308530d47f2eb9de170762c3d8cbd7f92a452",
    ),
    (
        "gate with equal neighbours",
        gate_without_norms(depth=3),
        "dc90a0a39d6efaefa540279d8715a603760cd79f63ec5fbaaa6c0432d7eb039e",
    ),
    (
        "gate of equal layers only",
        gate_without_norms(depth=3, rewards=tuple("abcd"), width=HIDDEN),
        "dbc3b43462d18cca892a06f3c97bf8a1b81b895812ef7541c26f46ab557c2fba",
    ),
]


@pytest.mark.parametrize(
    ("head", "recorded"), [pytest.param(head, value, id=name) for name, head, value in RECORDED]
)
def test_the_identity_of_a_head_is_the_recorded_one(identity_of, head, recorded):
    assert identity_of(head) == recorded


def test_the_identity_of_a_head_changes_with_a_single_number(identity_of):
    head = linear_head()
    before = identity_of(head)
    head.score.weight[0, 0] += 0.125
    assert identity_of(head) != before


NORM = "BatchNorm1d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)"
GATE_TEXT = f"""
GatedHead(
  (regression_layer): Linear(in_features=4, out_features=6, bias=False)
  (gating): Module(
    (layers): ModuleList(
      (0): Linear(in_features=4, out_features=3, bias=False)
      (1): {NORM}
      (2-3): 2 x Identity()
      (4): Linear(in_features=3, out_features=3, bias=False)
      (5): {NORM}
      (6-7): 2 x Identity()
      (8): Linear(in_features=3, out_features=2, bias=True)
    )
  )
)
"""


def test_the_text_of_a_gated_head_lists_its_layers():
    assert gate_with_norms(0, 4, 8).identity_text() == GATE_TEXT.strip()
