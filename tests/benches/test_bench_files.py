"""Benches in files of a user: every form that is read, one item, and what is missing."""

import json

import numpy as np
import pandas as pd
import pytest

from dtreward.benches import load_bench
from dtreward.benches.scoring import Parts

MODELS = {"chosen_model": "m", "rejected_model": "n"}
PAIR = {"id": 1, "prompt": "2 + 2?", "chosen": "4", "rejected": "5", "subset": "math-prm"} | MODELS
THREE = {"id": "1", "prompt": "2 + 2?", "chosen": ["4", "It is 4", "**4**"], "rejected": ["5"] * 3}


@pytest.mark.parametrize("name", ["bench.parquet", "bench.jsonl", "bench.json"])
def test_rewardbench_is_read_from_every_form(name, tmp_path):
    rows = [PAIR, PAIR | {"id": 2, "subset": "poetry"}]
    if name.endswith("parquet"):
        pd.DataFrame(rows).to_parquet(tmp_path / name)
    else:
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    bench = load_bench(str(tmp_path / name))
    assert (bench.name, bench.items["chosen"].tolist()) == ("RewardBench", ["4", "4"])


def test_a_name_of_no_bench_names_those_that_are():
    with pytest.raises(ValueError, match="RewardBench 3 is no bench: expected RewardBench, "):
        load_bench("RewardBench 3")


def test_rows_of_several_responses_say_which_column_tells_their_bench(tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps(THREE))
    with pytest.raises(ValueError, match=r"subset \(RewardBench 2\) or domain \(RM-Bench\)"):
        load_bench(str(tmp_path / "rows.jsonl"))


def test_one_problem_says_nothing_of_others():
    parts = Parts(
        pd.DataFrame({"easy": [1.0], "hard": [0.0]}),
        pd.DataFrame({"all": [50.0, 50.0], "effect": [100.0, -100.0]}, index=["easy", "hard"]),
    )
    found = parts.intervals(pd.Series([7]))
    assert found["all"].as_dict() == {"estimate": 50.0, "low": 0.0, "high": 100.0}
    np.testing.assert_array_equal([found["effect"].low, found["effect"].high], [-100.0, 100.0])
