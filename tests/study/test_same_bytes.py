"""The byte comparison of two runs sees every difference but those that it names."""

import json
import shutil

import pandas as pd
import pytest
from same_bytes import differing


@pytest.fixture
def two(tmp_path):
    one = tmp_path / "one"
    (one / "figures").mkdir(parents=True)
    (one / "figures" / "a.png").write_bytes(b"picture")
    record = {
        "numbers": {"seconds": 1.5, "resumed": False, "rows": 3},
        "claims": [],
        "provenance": {"inputs": {}},
    }
    (one / "02_extract_features.json").write_text(json.dumps(record))
    (one / "02_extract_features.ipynb").write_text('{"text": [\n"3 responses, 9 tokens/s"\n]}')
    pd.DataFrame({"judge": ["J"], "x": [1.0], "y": [2.0]}).to_parquet(one / "07_umap.parquet")
    (one / ".running").write_text("1")
    return one, shutil.copytree(one, tmp_path / "other")


def edit(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new))


def test_copies_and_named_differences_are_the_same_study(two):
    one, other = two
    assert differing(one, other) == []
    edit(other / "02_extract_features.json", b"1.5", b"2.5")
    edit(other / "02_extract_features.json", b"false", b"true")
    edit(other / "02_extract_features.ipynb", b"9 tokens/s", b"8 tokens/s")
    pd.DataFrame({"judge": ["J"], "x": [1.0 + 1e-13], "y": [2.0]}).to_parquet(
        other / "07_umap.parquet"
    )
    (other / ".running").write_text("2")
    assert differing(one, other) == []


def test_any_other_difference_is_seen(two):
    one, other = two
    edit(other / "02_extract_features.json", b'"rows": 3', b'"rows": 4')
    edit(other / "figures" / "a.png", b"picture", b"pictures")
    edit(other / "02_extract_features.ipynb", b"text", b"test")
    pd.DataFrame({"judge": ["J"], "x": [1.001], "y": [2.0]}).to_parquet(other / "07_umap.parquet")
    (other / "more.json").write_text("{}")
    found = ["02_extract_features.ipynb", "02_extract_features.json", "07_umap.parquet"]
    assert differing(one, other) == [*found, "figures/a.png", "more.json"]
