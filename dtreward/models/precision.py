"""What float8 changes in a model's rewards and preferences."""

from dataclasses import replace

import numpy as np
import pandas as pd

from dtreward.engine.float8 import to_fp8
from dtreward.models.comparison import Texts, conversations_of
from dtreward.models.head_model import HeadModel


def use_fp8(
    model: HeadModel, prompts: Texts, responses1: Texts, responses2: Texts
) -> tuple[HeadModel, pd.DataFrame]:
    """Turn a model to float8, in place, and tell what that changes on a sample of pairs.

    Returns:
        the model, and a row an attribute: mean and largest absolute change of the reward, beside
        the reward's standard deviation; share of pairs whose difference changes its sign; and, in
        the row "preference", the share whose preference flips, where the model has one.
    """
    conversations = conversations_of(prompts, responses1, responses2)
    texts = prompts, responses1, responses2
    before, decided = model.rewards(conversations), _decisions(model, *texts)
    to_fp8(model.backbone.transformer)
    told = model.backbone.identity | {"precision": "float8 rows"}
    model = replace(model, backbone=replace(model.backbone, identity=told))
    after = model.rewards(conversations)
    signs = [np.sign(each[1::2] - each[::2]) for each in (before, after)]
    change = np.abs(after - before)
    columns = {"mean change": change.mean(axis=0), "largest change": change.max(axis=0)}
    columns |= {"standard deviation": before.std(axis=0)}
    columns |= {"differences that change sign": (signs[0] != signs[1]).mean(axis=0)}
    table = pd.DataFrame(columns, index=list(model.attributes))
    if decided is not None:
        now = _decisions(model, *texts)
        table.loc["preference", "differences that change sign"] = np.mean(decided != now)
    return model, table


def _decisions(model: HeadModel, *texts: Texts) -> np.ndarray | None:
    if model.kind == "multi-attribute":
        return None
    return np.array([each.preference for each in model.compare_many(*texts)])
