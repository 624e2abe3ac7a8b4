"""Pairs whose attributes are the rewards that a loaded model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from dtreward.models.comparison import RewardModel
from dtreward.models.head_model import HeadModel
from dtreward.pairs.columns import rating_columns
from dtreward.pairs.frame import ATTRIBUTES_ARE, Pairs, response_index, responses


def rate_by_model(
    pairs: Pairs, model: RewardModel, name: str, attributes: Sequence[str] = ()
) -> Pairs:
    """Put a model's rewards in the place of the attributes that pairs have.

    Each response is read once, with its prompt.

    Args:
        pairs: of `load_pairs`; their own attributes are left out.
        model: of `load`, with a head that predicts attributes.
        name: of the model, for labels.
        attributes: names of rewards to use, in this order; () means all.

    Raises:
        ValueError: if the model gives no rewards, or none of a name that is asked for.
    """
    if not isinstance(model, HeadModel):
        raise ValueError(  # noqa: TRY004 (as of every other model that does not fit)
            f"{name} gives verdicts or scores and no rewards; expected a model with a head that "
            "predicts attributes, such as data/demo"
        )
    wanted = tuple(attributes) or model.attributes
    unknown = [attribute for attribute in wanted if attribute not in model.attributes]
    if unknown:
        raise ValueError(
            f"{name} predicts {list(model.attributes)}, not {unknown}; correct `attributes`, or "
            "leave them out to take all"
        )
    read = responses(pairs.frame, ())
    rewards = model.rewards(list(zip(read["prompt"], read["response"], strict=True)))
    rows = response_index(pairs.frame, read)
    table = pd.DataFrame(rewards, columns=list(model.attributes))[list(wanted)]
    rated = pairs.frame.drop(columns=rating_columns(pairs.attributes))
    rated = rated.drop(columns=rating_columns(wanted), errors="ignore")
    place = rated.columns.get_loc("preference")
    for attribute in reversed(wanted):
        for side in (2, 1):
            values = table[attribute].to_numpy(float)[rows[:, side - 1]]
            rated.insert(place, f"{attribute}_{side}", values)
    rated.attrs = {ATTRIBUTES_ARE: f"read by {name}"}
    return replace(
        pairs, frame=rated, attributes=wanted, attributes_are=rated.attrs[ATTRIBUTES_ARE]
    )
