"""A table with several votes a pair and with missing ratings, through notebooks 01 and 04."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dtreward.study.run import run

pytestmark = pytest.mark.usefixtures("warm_kernels")
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
PAIRS = 80


def ballots():
    """Three readers vote on each pair, mostly for the clearer response; a third has no depth."""
    rng = np.random.default_rng(0)
    pair = np.repeat(np.arange(PAIRS), 3)
    clarity = rng.permuted(np.tile(np.arange(5.0), (PAIRS, 1)), axis=1)[pair]
    clearer = (clarity[:, 1] > clarity[:, 0]).astype(int)
    table = pd.DataFrame({"prompt": [f"question {number}" for number in pair]})
    for side in (1, 2):
        table[f"response_{side}"] = [f"answer {side} to {number}" for number in pair]
        table[f"clarity_{side}"] = clarity[:, side - 1]
        table[f"depth_{side}"] = np.where(pair % 3 == 0, np.nan, rng.integers(0, 5, PAIRS)[pair])
    votes = np.where(rng.random(len(table)) < 0.8, clearer, 1 - clearer)
    return table.assign(preference=votes, annotator=np.tile(["ann", "bob", "cat"], PAIRS))


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """What the two notebooks record."""
    folder = tmp_path_factory.mktemp("votes")
    ballots().to_parquet(folder / "ballots.parquet")
    shared = {"study": "ballots", "source": str(folder / "ballots.parquet")}
    shared["data_dir"] = str(folder)
    options = {"model": "", "resamples": 100, "min_leaf": 10, "bootstraps": 5, "group": "reader"}
    options["rivals"] = ["longest response", "one attribute", "one threshold", "monotone tree"]
    for name, more in (("01_load_pairs", {}), ("04_fit_preference_tree", options)):
        run(NOTEBOOKS / f"{name}.ipynb", folder / f"{name}.ipynb", shared | more)
    names = ("01_load_pairs", "04_fit_preference_tree")
    records = (folder / "ballots" / f"{name}.json" for name in names)
    return [json.loads(record.read_text())["numbers"] for record in records]


def test_each_vote_and_each_rating_that_there_is_counts(numbers):
    loaded, fitted = numbers
    counts = loaded["counts"]
    assert (counts["pairs"], counts["votes"]) == (PAIRS, 3 * PAIRS)
    assert counts["pairs with several votes"] == PAIRS
    rated_pairs = PAIRS - len(range(0, PAIRS, 3))
    assert loaded["rated"] == {
        "responses": {"clarity": 2 * PAIRS, "depth": 2 * rated_pairs},
        "votes": {"clarity": 3 * PAIRS, "depth": 3 * rated_pairs},
    }
    assert sum(loaded["direction"]["depth"].values()) == pytest.approx(1, abs=1e-5)
    assert sum(fitted["votes"].values()) == 3 * sum(fitted["pairs"].values()) == 3 * PAIRS


def test_what_readers_agree_on_is_the_ceiling_of_the_tree(numbers):
    loaded, fitted = numbers
    # Readers who are each right with 0.8 agree with 0.8² + 0.2² = 0.68.
    assert loaded["agreement"]["share"]["low"] < 0.68 < loaded["agreement"]["share"]["high"]
    ceiling = fitted["ceiling_of_votes"]
    assert ceiling["ratings"]["estimate"] <= ceiling["ceiling"]["estimate"] < 1
    accuracy = fitted["quality"]["ratings, tree"]["accuracy"]
    assert accuracy == ceiling["ratings"]  # all test pairs have several votes
    assert accuracy["low"] > 0.5
    # A leaf of ten pairs holds thirty votes.
    leaves = [n for n in fitted["trees"]["ratings"]["nodes"] if n.get("attribute") is None]
    assert min(leaf["share"] for leaf in leaves) >= 30 / fitted["votes"]["train"] - 1e-9


def test_few_test_prompts_give_way_to_cross_validation_over_all_votes(numbers):
    _, fitted = numbers
    assert fitted["cross_validated"]
    by_reader = fitted["by_group"]["ratings"]
    assert {row["model"] for row in by_reader} >= {"tree", "constant"}
    assert {(row["group"], row["n"]) for row in by_reader} == {
        (reader, PAIRS) for reader in ("ann", "bob", "cat")
    }
    assert all(0 < row["p"] <= 1 for row in by_reader)  # 80 prompts each: there are enough
