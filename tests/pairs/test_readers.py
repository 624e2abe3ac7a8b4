"""Tables are read from any usual file, and what cannot be read says how to make it readable."""

import json
import subprocess

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dtreward.pairs.frame import load_pairs
from dtreward.pairs.readers import read_table


def pairs_table(rows=4):
    return pd.DataFrame(
        {
            "prompt": [f'question {row}, "quoted";\ttab' for row in range(rows)],
            "response_1": ["NA", "4", "näh\r\nja", "x"][:rows],
            "response_2": [f"two {row}" for row in range(rows)],
            "clarity_1": [1.0, 2.0, 3.0, 3.5][:rows],
            "clarity_2": [2.0, 2.0, 1.0, 1.0][:rows],
        }
    )


def write_separated(separator):
    def write(table, path):
        table.to_csv(path, index=False, sep=separator)

    return write


def write_pretty_json(table, path):
    path.write_text(json.dumps(table.to_dict("records"), indent=1))


def write_lines(table, path):
    table.to_json(path, orient="records", lines=True)


def write_lines_and_blanks(table, path):
    lines = table.to_json(orient="records", lines=True).splitlines()
    path.write_text("\n".join([lines[0], "", *lines[1:]]) + "\n\n  \n")


def write_columns(table, path):
    table.to_json(path)


WAYS = {
    "own.CSV": write_separated(","),
    "own.tsv": write_separated("\t"),
    "own.TSV.gz": write_separated("\t"),
    "tabs.csv": write_separated("\t"),
    "semicolons.csv": write_separated(";"),
    "commas.tsv": write_separated(","),
    "blanks.jsonl": write_lines_and_blanks,
    "own.json": write_pretty_json,
    "lines.json": write_lines,
    "columns.json": write_columns,
    "own.json.gz": write_lines,
    "own.PARQUET": lambda table, path: table.to_parquet(path),
}


@pytest.mark.parametrize("name", WAYS)
def test_each_way_to_write_a_table_is_read_alike(name, tmp_path):
    WAYS[name](pairs_table(), tmp_path / name)
    pd.testing.assert_frame_equal(
        read_table(tmp_path / name).reset_index(drop=True), pairs_table(), check_dtype=False
    )


def test_an_index_with_a_name_is_a_column(tmp_path):
    table = pairs_table().set_index(["prompt", "response_1"])
    table.to_parquet(tmp_path / "own.parquet")
    for source in (tmp_path / "own.parquet", table):
        assert load_pairs(source).frame["prompt"].tolist() == pairs_table()["prompt"].tolist()
    pairs_table().set_index(pd.Index([5, 6, 7, 8])).to_parquet(tmp_path / "own.parquet")
    assert list(read_table(tmp_path / "own.parquet")) == list(pairs_table())


def test_a_folder_of_parquet_files_is_one_table_with_its_splits(tmp_path):
    (tmp_path / "data").mkdir()
    table = pairs_table()
    table.iloc[:1].to_parquet(tmp_path / "data" / "train-00000-of-00002.parquet")
    table.iloc[1:2].to_parquet(tmp_path / "data" / "train-00001-of-00002.parquet")
    table.iloc[2:].to_parquet(tmp_path / "data" / "test-00000-of-00001.parquet")
    (tmp_path / "_SUCCESS").touch()
    found = read_table(tmp_path).sort_values("response_2")
    assert found["split"].tolist() == ["train", "train", "test", "test"]
    assert found["prompt"].tolist() == table["prompt"].tolist()
    table.assign(note="x").to_parquet(tmp_path / "more.parquet")
    with pytest.raises(ValueError, match=r"do not both have note; .*parts of one table"):
        read_table(tmp_path)
    table.to_parquet(tmp_path / "more.parquet")
    with pytest.raises(ValueError, match="of the splits test, train, others do not"):
        read_table(tmp_path)


def write_arrow(table, path):
    """Write a shard as `save_to_disk` does: an Arrow stream."""
    rows = pa.Table.from_pandas(table, preserve_index=False)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, rows.schema) as writer:
        writer.write_table(rows)


def save_to_disk(table, folder):
    """Write the files of `datasets.Dataset.save_to_disk`, in two shards, with a cache beside."""
    folder.mkdir(parents=True)
    names = [f"data-0000{number}-of-00002.arrow" for number in range(2)]
    for name, rows in zip(names, (table.iloc[:1], table.iloc[1:]), strict=True):
        write_arrow(rows, folder / name)
    write_arrow(table, folder / "cache-1f2e.arrow")
    state = {"_data_files": [{"filename": name} for name in names], "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")


def test_a_folder_of_save_to_disk_is_read_without_its_library(tmp_path):
    save_to_disk(pairs_table(), tmp_path / "one")
    pd.testing.assert_frame_equal(read_table(tmp_path / "one"), pairs_table(), check_dtype=False)
    save_to_disk(pairs_table(), tmp_path / "both" / "train")
    save_to_disk(pairs_table(2), tmp_path / "both" / "test")
    (tmp_path / "both" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    found = read_table(tmp_path / "both")["split"].value_counts().to_dict()
    assert found == {"train": 4, "test": 2}
    (tmp_path / "one" / "state.json").write_text("{}")
    with pytest.raises(ValueError, match=r"state\.json is not as save_to_disk .*KeyError"):
        read_table(tmp_path / "one")


def test_both_formats_of_an_arrow_file_are_read(tmp_path):
    write_arrow(pairs_table(), tmp_path / "stream.arrow")
    rows = pa.Table.from_pandas(pairs_table(), preserve_index=False)
    with (
        pa.OSFile(str(tmp_path / "file.arrow"), "wb") as file,
        pa.ipc.new_file(file, rows.schema) as writer,
    ):
        writer.write_table(rows)
    for name in ("stream.arrow", "file.arrow"):
        assert len(read_table(tmp_path / name)) == 4


def test_a_spreadsheet_is_refused_with_a_line_that_a_shell_understands(tmp_path):
    for name in ("own.xlsx", 'my "own" $1.XLSX'):
        (tmp_path / name).write_text("PK")
        with pytest.raises(ValueError, match=r"is a spreadsheet.* makes a .csv file") as raised:
            read_table(tmp_path / name)
        line = str(raised.value).split("first sheet: ")[1]
        install, convert = line.split(" && ")
        assert install.endswith("-m pip install openpyxl")
        # Stands for Python and prints its last argument: what the shell hands over.
        shown = subprocess.run(
            ["bash", "-c", 'set -f; printf "%s" ' + convert.split(" -c ")[1]],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        compile(shown, "line", "exec")
        assert repr(str(tmp_path / name)) in shown


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("own.csv", "prompt,prompt\na,b\n", "two columns of the header are called prompt"),
        ("own.csv", "prompt;response_1\na;b;c\n", "more fields than the header.*hold semicolons"),
        ("own.json", "17", "expected a list of objects"),
        ("own.json", '{"columns": ["prompt"], "data": []}', "came an object with columns, data"),
        ("own.json", '[{"prompt": "a"}, 3]', "entry 1 is not an object"),
        ("own.csv.zip", "PK", r"own\.csv\.zip is not a table \(\.zip\)"),
        ("own", "a", r"own is not a table \(no ending\)"),
    ],
)
def test_a_file_that_is_no_table_says_why(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_table(tmp_path / name)


@pytest.mark.parametrize("start", ["sep=;\n", "SEP=;\r\n", ""])
def test_a_separator_that_a_first_line_names_is_no_header(start, tmp_path):
    (tmp_path / "own.csv").write_text(start + "prompt;response\nWhy?;So, so.\n")
    assert read_table(tmp_path / "own.csv").to_dict("list") == {
        "prompt": ["Why?"],
        "response": ["So, so."],
    }


def test_a_table_of_another_code_is_to_be_saved_as_utf8(tmp_path):
    (tmp_path / "own.csv").write_text("prompt,response\nWhy?,So.\n", encoding="utf-16")
    with pytest.raises(ValueError, match="; save it again as UTF-8"):
        read_table(tmp_path / "own.csv")


def test_a_column_that_is_nearly_named_right_is_named(tmp_path):
    table = pairs_table().rename(columns={"prompt": "Prompt", "response_1": "response_1 "})
    with pytest.raises(ValueError, match="rename Prompt to prompt, 'response_1 ' to response_1;"):
        load_pairs(table)


@pytest.mark.parametrize("names", [("response_a", "response_b"), ("response_0", "response_1")])
def test_two_responses_of_other_names_are_renamed_together(names):
    table = pairs_table().rename(
        columns=dict(zip(("response_1", "response_2"), names, strict=True))
    )
    first, second = names
    with pytest.raises(ValueError, match=f"rename {first} to response_1, {second} to response_2;"):
        load_pairs(table)


def test_a_prompt_of_another_name_is_renamed():
    with pytest.raises(ValueError, match="if they are meant, rename question to prompt;"):
        load_pairs(pairs_table().rename(columns={"prompt": "question"}))


def test_a_parquet_file_of_a_text_that_is_not_utf8_is_refused(tmp_path):
    rows = pa.table({"prompt": pa.array([b"\xff"]).cast(pa.string(), safe=False)})
    pq.write_table(rows, tmp_path / "own.parquet")
    with pytest.raises(ValueError, match=r"own\.parquet is not a whole \.parquet table in UTF-8"):
        read_table(tmp_path / "own.parquet")
