"""Pairs whose attributes are the rewards that a loaded model reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from dtreward.models.comparison import RewardModel
from dtreward.models.head_model import HeadModel
from dtreward.pairs.columns import rating_columns
from dtreward.pairs.frame import ATTRIBUTES_ARE, Pairs, count_kept, response_index, responses


def rate_by_model(
    pairs: Pairs, model: RewardModel, name: str, attributes: Sequence[str] = ()
) -> Pairs:
    """Put a model's rewards in the place of the attributes that pairs have.

    Each response is read once, with its prompt. Pairs with a response that the model cannot read,
    for example because it is too long, are dropped and counted; a warning gives the reasons.

    Args:
        pairs: of `load_pairs(..., rated=False)`; attributes that they have are left out.
        model: of `load`, with a head that predicts attributes.
        name: of the model, for labels.
        attributes: names of rewards to use, in this order; () means all.

    Raises:
        ValueError: if the model gives no rewards, or none of a name that is asked for, or if it
            can read no pair.
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
    rewards = model.rewards(
        list(zip(read["prompt"], read["response"], strict=True)), on_error="record"
    )
    rows = response_index(pairs.frame, read)
    table = pd.DataFrame(rewards, columns=list(model.attributes))[list(wanted)]
    rated = pairs.frame.drop(columns=rating_columns(pairs.attributes))
    rated = rated.drop(columns=rating_columns(wanted), errors="ignore")
    place = rated.columns.tolist().index("preference")
    for attribute in reversed(wanted):
        for side in (2, 1):
            values = table[attribute].to_numpy(float)[rows[:, side - 1]]
            rated.insert(place, f"{attribute}_{side}", values)
    kept = _drop_unread(rated, wanted)
    if kept.empty:
        raise ValueError(f"{name} can read no pair; the warning above says why")
    kept.attrs = {ATTRIBUTES_ARE: f"read by {name}"}
    dropped = {f"not read by {name}": len(rated) - len(kept)}
    return replace(
        pairs,
        frame=kept,
        attributes=wanted,
        attributes_are=kept.attrs[ATTRIBUTES_ARE],
        counts=pairs.counts | dropped | count_kept(kept),
    )


def _drop_unread(rated: pd.DataFrame, attributes: Sequence[str]) -> pd.DataFrame:
    """Drop rows without rewards, and number prompts and pairs anew."""
    is_read = rated[rating_columns(attributes)].notna().all(axis=1)
    kept = rated[is_read].reset_index(drop=True)
    for number in ("prompt_id", "pair_id"):
        kept[number] = pd.factorize(kept[number])[0]
    return kept
