"""The comparison of two studies finds a changed value in each kind of file, and says where."""

import json
import shutil
import sqlite3
from contextlib import closing

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from same_study import compare_studies, main

ANSWERS = "CREATE TABLE answers (judge, shown, text)"


@pytest.fixture
def two(tmp_path):
    """Two equal folders with one file of each kind."""
    one = tmp_path / "one"
    one.mkdir()
    write_record(one, floor=0.5)
    table = pd.DataFrame({"judge": ["J", "K"], "share": [0.25, None]})
    table.to_parquet(one / "07_judges.parquet")
    table.to_csv(one / "09_table.csv", index=False)
    weight = torch.tensor([[1.0, 2.0]])
    save_file({"weight": weight, "half": weight.bfloat16()}, one / "probe.safetensors")
    with closing(sqlite3.connect(one / "judges.sqlite")) as database:
        database.execute(ANSWERS)
        database.execute("INSERT INTO answers VALUES ('J', 'ab', 'A')")
        database.execute("INSERT INTO answers VALUES ('K', 'ab', 'B')")
        database.commit()
    return one, shutil.copytree(one, tmp_path / "other")


def write_record(folder, *, floor, seconds=1.5, sentence="It held.", digest="ab"):
    """Write a record as a notebook does."""
    numbers = {"floor": floor, "seconds": seconds, "quality": {"tree": [0.75, 1]}}
    provenance = {"inputs": {"pairs.parquet": digest}}
    record = {"numbers": numbers, "claims": [{"sentence": sentence}], "provenance": provenance}
    (folder / "04_fit.json").write_text(json.dumps(record))


def places(two, *near):
    """Name the places where two studies differ."""
    return [difference.place for difference in compare_studies(*two, near)]


def test_equal_studies_have_no_difference(two, capsys):
    assert places(two) == []
    assert main([str(folder) for folder in two]) == 0
    assert capsys.readouterr().out == "differences: 0 in 5 files\n"


def test_words_provenance_and_times_are_not_compared(two):
    write_record(two[1], floor=0.5, seconds=9.0, sentence="It did hold.", digest="cd")
    (two[1] / "04_fit.ipynb").write_text("{}")
    assert places(two) == []


def test_a_changed_number_of_a_record_is_found(two, capsys):
    write_record(two[1], floor=0.5000000000000001)
    assert places(two) == ["04_fit.json: numbers.floor"]
    assert main([str(folder) for folder in two]) == 1
    printed = "04_fit.json: numbers.floor: 0.5 and 0.5000000000000001\ndifferences: 1 in 5 files\n"
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("name", ["07_judges.parquet", "09_table.csv"])
@pytest.mark.parametrize(
    ("column", "row", "value"), [("share", 0, 0.2500000000000001), ("share", 1, 0.0)]
)
def test_a_changed_number_of_a_table_is_found(two, name, column, row, value):
    table = pd.DataFrame({"judge": ["J", "K"], "share": [0.25, None]})
    table.loc[row, column] = value
    if name.endswith("parquet"):
        table.to_parquet(two[1] / name)
    else:
        table.to_csv(two[1] / name, index=False)
    assert places(two) == [f"{name}: {column}[{row}]"]


@pytest.mark.parametrize("key", ["weight", "half"])
def test_a_changed_number_of_a_tensor_is_found(two, key):
    weight = torch.tensor([[1.0, 2.0]])
    tensors = {"weight": weight, "half": weight.bfloat16()}
    tensors[key] = tensors[key] + torch.tensor([[0.0, 2**-6]], dtype=tensors[key].dtype)
    save_file(tensors, two[1] / "probe.safetensors")
    assert places(two) == [f"probe.safetensors: {key}[1]"]


def test_a_changed_type_shape_or_order_of_columns_is_found(two):
    save_file({"weight": torch.ones(2, 1), "half": torch.ones(1, 2)}, two[1] / "probe.safetensors")
    table = pd.DataFrame({"share": [0.25, None], "judge": ["J", "K"]})
    table.to_parquet(two[1] / "07_judges.parquet")
    wrong = ["probe.safetensors: half", "probe.safetensors: weight"]
    assert places(two) == ["07_judges.parquet: columns", *wrong]


def test_a_changed_answer_of_a_judge_is_found_and_their_order_is_not(two):
    with closing(sqlite3.connect(two[1] / "judges.sqlite")) as database:
        database.execute("DELETE FROM answers WHERE judge = 'J'")
        database.execute("INSERT INTO answers VALUES ('J', 'ab', 'A')")
        database.commit()
        assert places(two) == []
        database.execute("UPDATE answers SET text = 'B' WHERE judge = 'J'")
        database.commit()
    assert len(places(two)) == 2


def test_a_missing_file_is_found(two):
    (two[0] / "09_table.csv").unlink()
    (two[1] / "07_judges.parquet").unlink()
    assert places(two) == ["07_judges.parquet", "09_table.csv"]


def test_a_tolerance_holds_where_it_is_named_and_nowhere_else(two):
    write_record(two[1], floor=0.5 + 1e-13)
    assert places(two, "04_fit.json: numbers.floor") == []
    assert places(two, "04_fit.json: numbers.quality*") == ["04_fit.json: numbers.floor"]
    write_record(two[1], floor=0.5 + 1e-11)
    assert places(two, "*") == ["04_fit.json: numbers.floor"]
