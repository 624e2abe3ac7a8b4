"""What fewer bits change in a model's features, rewards and preferences."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from dtreward.conversation import Conversations
from dtreward.engine.backbone import Backbone
from dtreward.engine.float8 import to_fp8
from dtreward.engine.forward import last_hidden_states
from dtreward.models.comparison import Prompts, Texts, conversations_of
from dtreward.models.head_model import HeadModel
from dtreward.stats import Interval

COLUMNS = ["mean change", "largest change", "standard deviation", "differences that change sign"]


def use_fp8(
    model: HeadModel | Backbone, prompts: Prompts, responses1: Texts, responses2: Texts
) -> tuple[Backbone, pd.DataFrame]:
    """Convert a model's matrices to float8, and measure the effect on a sample of pairs.

    The transformer is changed in place: the model that was passed computes in float8, too. Only
    the returned backbone has the identity that says so.

    Args:
        model: a reward model, or a backbone without a head, whose features alone are compared.

    Returns:
        the backbone, and a table with a row for the features, taken together, and one for each
        attribute: mean and largest absolute change, the standard deviation before, and the share of
        pairs whose difference changes its sign (nan for features). If the model has a preference,
        the row "preference" gives the share of pairs whose preference flips, in the last column.
    """
    conversations = conversations_of(prompts, responses1, responses2)
    backbone = model.backbone if isinstance(model, HeadModel) else model
    features_before = _features(backbone, conversations)
    rewards_before = _rewards(model, conversations)
    preferences_before = _preferences(model, prompts, responses1, responses2)
    to_fp8(backbone.transformer)
    backbone = replace(backbone, identity=backbone.identity | {"precision": "float8 rows"})
    features_after = _features(backbone, conversations)
    change = np.abs(features_after - features_before)
    spread = float(features_before.std(axis=0).mean())
    table = pd.DataFrame([[change.mean(), change.max(), spread, np.nan]], ["features"], COLUMNS)
    if rewards_before is not None:
        rewards_after = _rewards(model, conversations)
        table = pd.concat(
            [table, _compare_rewards(rewards_before, rewards_after, model.attributes)]
        )
    if preferences_before is not None:
        preferences_after = _preferences(model, prompts, responses1, responses2)
        table.loc["preference", COLUMNS[-1]] = np.mean(preferences_before != preferences_after)
    return backbone, table


def describe_formats(measured: Mapping[str, Any]) -> str:
    """Say what fewer bits changed in rewards and decisions of a model with trained weights.

    Args:
        measured: the content of `data/measured/trained_smollm2-135m.json`, or of another file that
            `tests/trained_weights.py` wrote.

    Example:
        >>> change = {"reward_error_over_spread": {"clarity": 0.1, "depth": 0.3}}
        >>> change["decisions_flip"] = {"estimate": 0.08, "low": 0.06, "high": 0.11}
        >>> made = {"model": "small.gguf", "prompts": 60, "machine": {"device": "a GPU"}}
        >>> told = describe_formats({**made, "pairs": 895, "formats": {"float8": change}})
        >>> told.endswith("deviation and flipped 0.080 [0.060, 0.110] of a tree's decisions.")
        True
    """
    parts = []
    for name, change in measured["formats"].items():
        errors = change["reward_error_over_spread"].values()
        flips = Interval(**change["decisions_flip"])
        parts.append(
            f"{name} moved the rewards by {min(errors):.2f} to {max(errors):.2f} of their standard "
            f"deviation and flipped {flips} of a tree's decisions"
        )
    made = f"{measured['pairs']:,} pairs with {measured['prompts']:,} prompts"
    device = measured["machine"]["device"]
    return f"In {measured['model']} ({made}, {device}), {'; '.join(parts)}."


def _features(backbone: Backbone, conversations: Conversations) -> Float[np.ndarray, "rows hidden"]:
    """Give the last hidden state of each conversation."""
    ids = [backbone.chat.token_ids(prompt, response).ids for prompt, response in conversations]
    return last_hidden_states(backbone, ids)


def _rewards(
    model: HeadModel | Backbone, conversations: Conversations
) -> Float[np.ndarray, "rows attributes"] | None:
    return model.rewards(conversations) if isinstance(model, HeadModel) else None


def _compare_rewards(
    before: Float[np.ndarray, "responses attributes"],
    after: Float[np.ndarray, "responses attributes"],
    attributes: tuple[str, ...],
) -> pd.DataFrame:
    """Tabulate how rewards change; rows of the arrays are response 1 and 2 of each pair in turn."""
    change = np.abs(after - before)
    sign_before = np.sign(before[1::2] - before[::2])
    sign_after = np.sign(after[1::2] - after[::2])
    flips = (sign_before != sign_after).mean(axis=0)
    values = [change.mean(axis=0), change.max(axis=0), before.std(axis=0), flips]
    return pd.DataFrame(np.transpose(values), list(attributes), COLUMNS)


def _preferences(
    model: HeadModel | Backbone, prompts: Prompts, responses1: Texts, responses2: Texts
) -> Int[np.ndarray, " pairs"] | None:
    """Give the preference for each pair, 0 or 1; None for a model without a preference."""
    if not isinstance(model, HeadModel) or model.kind == "multi-attribute":
        return None
    comparisons = model.compare_many(prompts, responses1, responses2)
    return np.array([comparison.preference for comparison in comparisons])
