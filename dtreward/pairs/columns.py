"""Names of the columns of a table of pairs, and the check that they are there."""

from __future__ import annotations

import pandas as pd

HELPSTEER2 = "nvidia/HelpSteer2"
HELPSTEER2_REVISION = "990b2711a36180dd19d9c94b8627844866f8982a"
HELPSTEER2_FILES = ["train.jsonl.gz", "validation.jsonl.gz", "preference/preference.jsonl.gz"]
TEXTS = ["prompt", "response_1", "response_2"]
SPLITS = ["train", "validation", "test"]
TAKEN = {"prompt", "prompt_id", "response", "split", "preference"}  # no names for attributes


def expect_columns(table: pd.DataFrame, columns: list[str]) -> None:
    """Raise a ValueError that names the columns expected, missing and found, if one is missing."""
    if missing := [name for name in columns if name not in table]:
        raise ValueError(f"expected columns {columns}, missing {missing}, found {list(table)}")
