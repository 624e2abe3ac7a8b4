"""Tables are scored part by part: interrupted runs go on, and foreign or damaged files are refused."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import ROOT

from dtreward.models.comparison import RewardModel
from dtreward.models.loader import load
from dtreward.models.scoring import score_pairs
from dtreward.pairs.frame import load_pairs
from dtreward.tree.tree import PreferenceTree

ROWS = 4
PAIRS = 10


@pytest.fixture(scope="module")
def model():
    return load(ROOT / "data" / "demo", device="cpu", max_length=200)


@pytest.fixture(scope="module")
def pairs():
    """Ten pairs with a preference; of the fourth, one response is too long for the model."""
    texts = [(f"{n} + {n}?", f"It is {2 * n}.", f"{n} and {n} are {n}.") for n in range(PAIRS)]
    texts[3] = (texts[3][0], "so " * 500, texts[3][2])
    table = pd.DataFrame(texts, columns=["prompt", "response_1", "response_2"])
    return load_pairs(table.assign(preference=0), rated=False).frame


@pytest.fixture(scope="module")
def whole(model, pairs, tmp_path_factory):
    """What one run in a single part writes."""
    path = tmp_path_factory.mktemp("whole") / "out.parquet"
    score_pairs(model, pairs, path, rows=100)
    return pd.read_parquet(path)


class StopsAfter(RewardModel):
    """A model that is interrupted after so many calls."""

    kind = "decision-tree"

    def __init__(self, model, calls):
        self.model, self.calls = model, calls

    @property
    def identity(self):
        return self.model.identity

    def compare_many(self, *columns, **options):
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt
        return self.model.compare_many(*columns, **options)


def test_each_row_has_what_compare_says_of_it(model, pairs, whole):
    for place, row in enumerate(pairs.itertuples()):
        said = whole.iloc[place]
        assert (said["prompt"], said["response_1"]) == (row.prompt, row.response_1)
        if "so so" in row.response_1:
            assert "tokens longer" in said["unread"] and pd.isna(said["preference"])
            continue
        wanted = model.compare(row.prompt, row.response_1, row.response_2)
        for number, attribute in enumerate(wanted.attributes):
            for side in (0, 1):  # a response's rewards do not depend on the others, to the bit
                assert said[f"{attribute}_{side + 1}"] == wanted.rewards[side][number]
        assert said["preference"] == wanted.preference and said["probability"] == wanted.probability
        assert said["given_preference"] == 0 and pd.isna(said["unread"])
    assert whole["unread"].notna().sum() == 1


def test_an_interrupted_run_goes_on_and_ends_with_the_same_rows(model, pairs, whole, tmp_path):
    path = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        score_pairs(StopsAfter(model, 2), pairs, path, rows=ROWS)
    assert not path.exists()
    done = score_pairs(StopsAfter(model, 1), pairs, path, rows=ROWS)
    assert (done.rows, done.kept, done.unread) == (PAIRS, 2 * ROWS, 1)
    pd.testing.assert_frame_equal(pd.read_parquet(path), whole)
    assert [each.name for each in tmp_path.iterdir()] == ["out.parquet"]
    again = score_pairs(StopsAfter(model, 0), pairs, path, rows=ROWS)
    assert again.kept == PAIRS


def test_votes_on_the_same_texts_are_read_once(model, pairs, tmp_path):
    votes = pd.concat([pairs, pairs], ignore_index=True)
    asked = []

    class Counts(StopsAfter):
        def compare_many(self, *columns, **options):
            asked.append(len(columns[0]))
            return self.model.compare_many(*columns, **options)

    score_pairs(Counts(model, 0), votes, tmp_path / "out.parquet")
    assert asked == [PAIRS] and len(pd.read_parquet(tmp_path / "out.parquet")) == 2 * PAIRS


@pytest.fixture
def halfway(model, pairs, tmp_path):
    path = tmp_path / "out.parquet"
    with pytest.raises(KeyboardInterrupt):
        score_pairs(StopsAfter(model, 2), pairs, path, rows=ROWS)
    return path


def test_a_damaged_part_is_refused_and_the_others_are_kept(model, pairs, halfway):
    part = halfway.with_name("out.parquet.parts") / "000000000.parquet"
    whole = part.read_bytes()
    place = whole.index(b"It is")
    part.write_bytes(whole[:place] + b"Is it" + whole[place + 5 :])
    with pytest.raises(
        ValueError, match=r"000000000\.parquet is damaged .* the other parts are kept"
    ):
        score_pairs(model, pairs, halfway, rows=ROWS)
    part.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is damaged"):
        score_pairs(model, pairs, halfway, rows=ROWS)
    part.unlink()
    assert score_pairs(model, pairs, halfway, rows=ROWS).kept == ROWS


def test_parts_of_other_pairs_or_another_model_are_refused(model, pairs, halfway):
    others = pairs.assign(response_1=pairs["response_1"] + "!")
    with pytest.raises(ValueError, match=r"is of another run .*pairs"):
        score_pairs(model, others, halfway, rows=ROWS)
    tree = PreferenceTree.published("Human")
    other = load(ROOT / "data" / "demo", device="cpu", max_length=200, tree=tree)
    with pytest.raises(ValueError, match=r"is of another run .*tree"):
        score_pairs(other, pairs, halfway, rows=ROWS)


def test_a_foreign_output_is_refused_and_left_alone(model, pairs, halfway):
    pairs.to_parquet(halfway)
    before = halfway.read_bytes()
    with pytest.raises(ValueError, match="was not written by `dtreward score`"):
        score_pairs(model, pairs, halfway, rows=ROWS)
    assert halfway.read_bytes() == before
    with pytest.raises(ValueError, match=r"ends in \.parquet"):
        score_pairs(model, pairs, halfway.with_suffix(".csv"))


def test_the_output_is_a_table_of_pairs_with_the_models_ratings(model, pairs, whole):
    read = load_pairs(whole.dropna(subset=["preference"]).drop(columns="unread"))
    assert set(model.attributes) <= set(read.attributes)
    assert len(read.frame) == PAIRS - 1


def test_the_file_says_what_made_it(model, pairs, tmp_path):
    path = tmp_path / "out.parquet"
    score_pairs(model, pairs, path)
    key = json.loads(pq.read_schema(path).metadata[b"dtreward_scores"])
    assert key["model's kind"] == "decision-tree" and key["model's backbone dtype"] == "float32"
    copy = tmp_path / "copy.parquet"
    shutil.copyfile(path, copy)
    assert score_pairs(model, pairs, copy).kept == PAIRS
    assert np.isfinite(pd.read_parquet(copy)["probability"].dropna()).all()
