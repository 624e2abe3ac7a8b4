"""Judges are compared on pairs that have no attributes."""

import json

import numpy as np
import pandas as pd
import pytest

from dtreward.judges.votes import read_preferences
from dtreward.pairs.frame import load_pairs
from dtreward.study.run import run

pytestmark = pytest.mark.usefixtures("warm_kernels")


def test_judges_are_compared_without_attributes_and_the_trees_are_left_out(root, tmp_path):
    rng = np.random.default_rng(0)
    texts = {"prompt": "question", "response_1": "one", "response_2": "two"}
    table = pd.DataFrame({name: [f"{text} {k}" for k in range(60)] for name, text in texts.items()})
    table["preference"] = rng.integers(0, 2, 60)
    table.to_csv(tmp_path / "pairs.csv", index=False)
    answers = []
    for judge, wrong in (("A-1", 0.2), ("B-1", 0.4)):
        for index, preference in enumerate(table["preference"]):
            given = "AB"[int(preference != (rng.random() < wrong))]
            other = {"A": "B", "B": "A"}[given]
            swapped = given if rng.random() < 0.2 else other
            combined = {"AB": -1, "BA": 1}.get(given + swapped, 0)
            answers.append(("x", index, judge, given, swapped, combined))
    columns = ["split", "index", "model", "preference_orig_order", "preference_swapped_order"]
    pd.DataFrame(answers, columns=[*columns, "preference"]).to_csv(tmp_path / "j.csv", index=False)
    pairs = load_pairs(tmp_path / "pairs.csv", attributes=["words"])
    frame = pairs.frame.drop(columns=["words_1", "words_2"])
    frame["system"] = np.where(np.arange(len(frame)) < 35, "one", "other")
    made = tmp_path / "own"
    made.mkdir()
    frame.to_parquet(made / "pairs.parquet")
    judges = read_preferences(tmp_path / "j.csv", frame, table=tmp_path / "pairs.csv")
    judges.to_parquet(made / "judges.parquet")
    parameters = {"study": "own", "source": "own", "data_dir": str(tmp_path)}
    parameters |= {"resamples": 50, "bootstraps": 2, "group": "system"}
    run(root / "notebooks" / "07_compare_judges.ipynb", tmp_path / "07.ipynb", parameters)
    record = json.loads((made / "07_compare_judges.json").read_text())
    assert set(record["numbers"]["judges"]) == {"A-1", "B-1"}
    assert record["numbers"]["agreement_with_people"]["A-1"]["kappa"] > 0
    assert record["numbers"]["importances"] == record["numbers"]["tree_accuracy"] == {}
    assert json.loads((made / "judge_trees.json").read_text()) == {}
    rates = pd.DataFrame(record["numbers"]["groups"]["rates"])
    agrees = rates[(rates["measure"] == "agrees with people") & (rates["judge"] == "A-1")]
    assert agrees["group"].tolist() == ["one", "other"] and agrees["n"].sum() <= 60
    assert (made / "figures" / "07_groups.png").exists()
    cells = json.loads((tmp_path / "07.ipynb").read_text())["cells"]
    shown = json.dumps([cell["outputs"] for cell in cells if cell["cell_type"] == "code"])
    assert shown.count("no tree is fitted") == 1
    assert not any("tree" in claim["sentence"] for claim in record["claims"])
    (claim,) = [claim for claim in record["claims"] if "groups of system" in claim["sentence"]]
    assert claim["held"] is None  # no difference found is not equality
