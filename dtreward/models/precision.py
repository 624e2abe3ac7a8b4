"""What float8 changes in a model's rewards and preferences."""

from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from dtreward.engine.float8 import to_fp8
from dtreward.models.comparison import Prompts, Texts, conversations_of
from dtreward.models.head_model import HeadModel


def use_fp8(
    model: HeadModel, prompts: Prompts, responses1: Texts, responses2: Texts
) -> tuple[HeadModel, pd.DataFrame]:
    """Convert a model's matrices to float8, and measure the effect on a sample of pairs.

    The transformer is changed in place: the model that was passed computes in float8, too. Only
    the returned model has the identity that says so.

    Returns:
        the model, and a table with a row for each attribute: mean and largest absolute change of
        the reward, the reward's standard deviation before, and the share of pairs whose
        difference changes its sign. If the model has a preference, the row "preference" gives the
        share of pairs whose preference flips, in the last column.
    """
    conversations = conversations_of(prompts, responses1, responses2)
    rewards_before = model.rewards(conversations)
    preferences_before = _preferences(model, prompts, responses1, responses2)
    to_fp8(model.backbone.transformer)
    identity = model.backbone.identity | {"precision": "float8 rows"}
    model = replace(model, backbone=replace(model.backbone, identity=identity))
    rewards_after = model.rewards(conversations)
    table = _compare_rewards(rewards_before, rewards_after, model.attributes)
    if preferences_before is not None:
        preferences_after = _preferences(model, prompts, responses1, responses2)
        flipped = np.mean(preferences_before != preferences_after)
        table.loc["preference", "differences that change sign"] = flipped
    return model, table


def _compare_rewards(
    before: Float[np.ndarray, "responses attributes"],
    after: Float[np.ndarray, "responses attributes"],
    attributes: tuple[str, ...],
) -> pd.DataFrame:
    """Tabulate how rewards change; rows of the arrays are response 1 and 2 of each pair in turn."""
    change = np.abs(after - before)
    sign_before = np.sign(before[1::2] - before[::2])
    sign_after = np.sign(after[1::2] - after[::2])
    columns = {
        "mean change": change.mean(axis=0),
        "largest change": change.max(axis=0),
        "standard deviation": before.std(axis=0),
        "differences that change sign": (sign_before != sign_after).mean(axis=0),
    }
    return pd.DataFrame(columns, index=list(attributes))


def _preferences(
    model: HeadModel, prompts: Prompts, responses1: Texts, responses2: Texts
) -> Int[np.ndarray, " pairs"] | None:
    """Give the preference for each pair, 0 or 1; None for a model without a preference."""
    if model.kind == "multi-attribute":
        return None
    comparisons = model.compare_many(prompts, responses1, responses2)
    return np.array([comparison.preference for comparison in comparisons])
