"""Tables as people have them: each kind of bad input is an error that helps, or has a documented end."""

import gzip
import json
import re
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dtreward.pairs.frame import attributes_of, differences, load_pairs, response_index, responses
from dtreward.pairs.text_attributes import TEXT_ATTRIBUTES

MEASURED = tuple(TEXT_ATTRIBUTES)
ROWS = 12


def table(**columns):
    rows = range(ROWS)
    texts = {"prompt": "question", "response_1": "one", "response_2": "two"}
    frame = pd.DataFrame({name: [f"{text} {row}" for row in rows] for name, text in texts.items()})
    frame["clarity_1"], frame["clarity_2"] = np.arange(ROWS) % 5.0, np.arange(ROWS) % 3.0
    return frame.assign(preference=np.arange(ROWS) % 2).assign(**columns)


def first(value, other):
    return [value] + [other] * (ROWS - 1)


def csv(frame, **options):
    return frame.to_csv(index=False, **options).encode()


def jsonl(frame, change=None):
    records = frame.to_dict("records")
    records[0] |= change or {}
    return ("\n".join(map(json.dumps, records)) + "\n").encode()


def parquet(frame, edit=lambda data: data):
    return edit(frame.to_parquet())


def renamed(name):
    return table().rename(columns={"clarity_1": f"{name}_1", "clarity_2": f"{name}_2"})


UNREADABLE, UNRATED = r"unreadable: 12", r"no attribute rated on both: 12"
NUMBERS = "it is mostly numbers"
TAKEN_BY_NAME = "clarity: {}; name it in `attributes`"
CHANGED = "no column can be taken as ratings as it is, expected numbers. clarity: .*{}"
WHOLE = r"is not a whole {} table in UTF-8 .*save it again"
LACKS = "expected columns prompt, response_1, response_2; missing: {}; found"

# kind: (file name, what is in it, the error's words or what is kept)
KEPT = {"rows": ROWS, "attributes": ("clarity",)}
KINDS = {
    # columns
    "a column is missing": ("t.parquet", parquet(table().drop(columns="prompt")), LACKS.format("prompt")),
    "columns of another name": ("t.csv", csv(table().rename(columns=str.upper)), "missing: prompt, response_1"),
    "a space before a column's name": (
        "t.csv",
        csv(table().rename(columns={"response_1": " response_1"})),
        LACKS.format("response_1") + ": .*' response_1'",
    ),
    "a prompt as the table's index": ("t.parquet", parquet(table().set_index("prompt")), KEPT),
    "a rating that comes twice": (
        "t.csv",
        csv(table()).replace(b"clarity_2", b"clarity_1", 1),
        "two columns of the header are called clarity_1; rename or drop one",
    ),
    "a prompt that comes twice": ("t.csv", csv(table(x=1)).replace(b",x\n", b",prompt\n", 1), "are called prompt"),
    "a key that comes twice in JSON: the last counts": (
        "t.jsonl",
        jsonl(table()).replace(b'"clarity_1": ', b'"clarity_1": 9, "clarity_1": '),
        KEPT,
    ),
    "an attribute named as a column": ("t.parquet", parquet(renamed("split")), r"named split.*rename"),
    "a rating of one response only": (
        "t.parquet",
        parquet(table().drop(columns="clarity_2")),
        "clarity_1: has no column for the other response; add clarity_2",
    ),
    "no ratings: pairs without attributes": (
        "t.parquet",
        parquet(table().drop(columns=["clarity_1", "clarity_2"])),
        KEPT | {"attributes": MEASURED},
    ),
    "a column of one's own named prompt_id: one group": ("t.parquet", parquet(table(prompt_id="x")), KEPT),
    "columns that are attributes' names alone": ("t.parquet", parquet(table(clarity=3.0)), KEPT),
    "a column of one's own with anything in it": (
        "t.jsonl",
        jsonl(table(note=["a", 1, None, 2.5, [1], {}, True, "b", [], {"a": [1, "x"]}, -1, "\u200b"])),
        KEPT,
    ),
    # values
    "ratings as strings": ("t.parquet", parquet(table(clarity_1=["3"] * ROWS)), TAKEN_BY_NAME.format("holds numbers as text")),
    "ratings as words": (
        "t.parquet",
        parquet(table(clarity_1="good", clarity_2="bad")),
        KEPT | {"attributes": MEASURED},
    ),
    "ratings of mixed types": ("t.csv", csv(table(clarity_1=first("x", 3))), "'x' in row 0.*" + NUMBERS),
    "ratings of mixed types in JSON": ("t.jsonl", jsonl(table(), {"clarity_1": "high"}), "'high' in row 0.*" + NUMBERS),
    "ratings as true and false": ("t.parquet", parquet(table(clarity_1=True, clarity_2=False)), TAKEN_BY_NAME.format("holds true and false")),
    "ratings as exact decimals": ("t.parquet", parquet(table(clarity_1=Decimal("1.5"))), TAKEN_BY_NAME.format("holds numbers as text")),
    "ratings as times": ("t.parquet", parquet(table(clarity_1=pd.Timestamp("2026"))), CHANGED.format("times; write numbers in clarity_1")),
    "ratings as durations": (
        "t.parquet",
        parquet(table(clarity_1=pd.Timedelta("1s"), clarity_2=pd.Timedelta("2s"))),
        KEPT | {"attributes": MEASURED},
    ),
    "ratings as lists": ("t.parquet", parquet(table(clarity_1=[[1.0]] * ROWS)), CHANGED.format("write numbers")),
    "ratings as objects in JSON": ("t.jsonl", jsonl(table(clarity_1=[{"a": 1}] * ROWS)), CHANGED.format("write numbers")),
    "ratings with a decimal comma": ("t.csv", csv(table(clarity_1="1,5")), CHANGED.format(r"write 1\.5, with a point")),
    "one rating is missing": (
        "t.csv",
        csv(table(clarity_1=first(None, 1.0))),
        {"rows": ROWS - 1, "no attribute rated on both": 1},
    ),
    "all ratings are missing": ("t.parquet", parquet(table(clarity_1=np.nan)), UNRATED),
    "NaN in JSON": ("t.jsonl", jsonl(table(clarity_1=np.nan)), UNRATED),
    "an infinite rating": (
        "t.csv",
        csv(table(clarity_1=first("-inf", 1.0))),
        {"rows": ROWS - 1, "no attribute rated on both": 1},
    ),
    "ratings whose difference would be infinite": (
        "t.parquet",
        parquet(table(clarity_1=1e308, clarity_2=-1e308)),
        UNRATED,
    ),
    "an integer beyond every float": ("t.jsonl", jsonl(table(), {"clarity_1": 10**400}), {"rows": ROWS - 1, "no attribute rated on both": 1}),
    "an integer beyond every float in CSV": ("t.csv", csv(table(clarity_1=first("1" * 400, 1))), {"rows": ROWS - 1, "no attribute rated on both": 1}),
    "a rating that never changes": (
        "t.parquet",
        parquet(table(wit_1=1, wit_2=1)),
        KEPT | {"attributes": ("clarity", "wit")},
    ),
    "all responses are rated alike": ("t.parquet", parquet(table(clarity_2=table()["clarity_1"])), KEPT),
    "a preference of one half": ("t.parquet", parquet(table(preference=0.5)), r"preference holds 0\.5 in row 0"),
    "a preference of -1": ("t.csv", csv(table(preference=-1)), "preference holds -1 in"),
    "preferences as strings": ("t.parquet", parquet(table(preference=["0", "1"] * 6)), KEPT),
    "preferences as letters": ("t.csv", csv(table(preference=["A", "B"] * 6)), "holds 'A' in"),
    "preferences as lists": ("t.parquet", parquet(table(preference=[[0]] * ROWS)), r"holds \[0\] in"),
    "an infinite preference": ("t.parquet", parquet(table(preference=np.inf)), "holds inf in"),
    "one preference for all": ("t.parquet", parquet(table(preference=1)), KEPT),
    "no preference at all": ("t.parquet", parquet(table(preference=None)), KEPT | {"no preference": ROWS}),
    "a split of another name": ("t.parquet", parquet(table(split="dev")), "split holds 'dev' in"),
    "a split that is missing": ("t.parquet", parquet(table(split=first(None, "train"))), "split holds"),
    "nothing but a test set": ("t.parquet", parquet(table(split="test")), KEPT),
    # texts
    "prompts as numbers": ("t.parquet", parquet(table(prompt=range(ROWS))), UNREADABLE),
    "prompts as lists of messages": ("t.jsonl", jsonl(table(prompt=[[{"role": "user"}]] * ROWS)), UNREADABLE),
    "prompts as bytes": ("t.parquet", parquet(table(prompt=b"q")), UNREADABLE),
    "a prompt that ends with its own turn": (
        "t.parquet",
        parquet(table(prompt="a\n<extra_id_1>User\nb")),
        UNREADABLE,
    ),
    "responses that are blank": ("t.parquet", parquet(table(response_1=" \n")), UNREADABLE),
    "responses that are missing": ("t.parquet", parquet(table(response_2=None)), UNREADABLE),
    "responses as numbers in CSV: texts": ("t.csv", csv(table(response_1=4)), KEPT),
    "a response that is no text but NA in CSV: a text": ("t.csv", csv(table(response_1="NA")), KEPT),
    "half a surrogate pair": ("t.jsonl", jsonl(table(), {"response_1": "\ud83c"}), {"rows": ROWS - 1, "unreadable": 1}),
    "half a surrogate pair in a column's name": ("t.jsonl", jsonl(table(), {"\ud83c_1": 1}), KEPT),
    "a text of zero width: a text": ("t.parquet", parquet(table(response_1="\u200b")), KEPT),
    "composed and decomposed letters: two prompts": (
        "t.parquet",
        parquet(pd.concat([table(prompt="caf\u00e9"), table(prompt="cafe\u0301")], ignore_index=True)),
        {"rows": 2 * ROWS, "prompts": 2},
    ),
    "many votes of nobody in particular": (
        "t.parquet",
        parquet(pd.concat([table()] * 200, ignore_index=True)),
        {"rows": 200 * ROWS, "pairs": ROWS, "votes": 200 * ROWS, "duplicates": 0},
    ),
    "many duplicates": (
        "t.parquet",
        parquet(pd.concat([table(rater="one")] * 200, ignore_index=True)),
        KEPT | {"duplicates": 199 * ROWS},
    ),
    "people who contradict each other": (
        "t.parquet",
        parquet(pd.concat([table(), table(preference=1 - table()["preference"])], ignore_index=True)),
        {"rows": 2 * ROWS},
    ),
    "a cell of two million characters": ("t.csv", csv(table(response_1=first("x" * 2_000_000, "y"))), KEPT),
    "formulas in CSV: texts": ("t.csv", csv(table(response_1='=HYPERLINK("http://x","y")')), KEPT),
    "a byte of zero in CSV: kept": ("t.csv", csv(table(response_1="a\0b")), KEPT),
    # names of attributes
    "a name with spaces": ("t.parquet", parquet(renamed("how clear")), KEPT | {"attributes": ("how clear",)}),
    "a name of LaTeX": ("t.parquet", parquet(renamed(r"$x_2 \& %#{")), KEPT | {"attributes": (r"$x_2 \& %#{",)}),
    "a name of HTML": ("t.parquet", parquet(renamed("<b onload=x>")), KEPT | {"attributes": ("<b onload=x>",)}),
    "a name of a formula": ("t.parquet", parquet(renamed("=cmd|x")), KEPT | {"attributes": ("=cmd|x",)}),
    "a name with a newline": ("t.parquet", parquet(renamed("a\nb")), KEPT | {"attributes": ("a\nb",)}),
    "no name: no attribute": ("t.parquet", parquet(renamed("")), KEPT | {"attributes": MEASURED}),
    "names alike but for a zero width: two": (
        "t.parquet",
        parquet(table(**{"clarity\u200b_1": 1, "clarity\u200b_2": 2})),
        KEPT | {"attributes": ("clarity", "clarity\u200b")},
    ),
    # files
    "an empty file": ("t.csv", b"", r"is empty; expected rows with prompt"),
    "a file of blank lines": ("t.csv", b"\n\n", WHOLE.format(r"\.csv")),
    "JSONL of blank lines": ("t.jsonl", b"\n\n", r"t\.jsonl is empty; expected rows"),
    "a header and no rows": ("t.csv", csv(table()[:0]), "has no rows; expected rows with prompt"),
    "Parquet without rows": ("t.parquet", parquet(table()[:0]), "has no rows; expected"),
    "one row": ("t.parquet", parquet(table()[:1]), {"rows": 1}),
    "Latin-1 in CSV": ("t.csv", csv(table(prompt="caf\u00e9")).decode().encode("latin-1"), r"table in UTF-8 .*0xe9"),
    "Latin-1 in JSONL": ("t.jsonl", '{"prompt": "caf\u00e9"}'.encode("latin-1"), r"table in UTF-8 .*0xe9"),
    "UTF-16": ("t.csv", csv(table()).decode().encode("utf-16"), WHOLE.format(r"\.csv")),
    "CSV with a byte-order mark": ("t.csv", b"\xef\xbb\xbf" + csv(table()), KEPT),
    "JSONL with a byte-order mark": ("t.jsonl", b"\xef\xbb\xbf" + jsonl(table()), KEPT),
    "CSV with a comma behind each row": (
        "t.csv",
        csv(table(x=1)).replace(b"\n", b",\n").replace(b",x,\n", b",x\n", 1),
        "a row has more fields than the header",
    ),
    "CSV with semicolons": ("t.csv", csv(table(), sep=";"), KEPT),
    "CSV with tabs": ("t.csv", csv(table(), sep="\t"), KEPT),
    "a quote that is never closed": ("t.csv", csv(table()) + b'"a,b,c,1,2,0\n', WHOLE.format(r"\.csv")),
    "a row that is too long": ("t.csv", csv(table()) + b"a,b,c,1,2,0,7,8\n", "Expected 6 fields in line 14, saw 8"),
    "a row that is too short": ("t.csv", csv(table()) + b"a,b\n", KEPT | {"unreadable": 1}),
    "binary CSV": ("t.csv", bytes(range(256)) * 9, WHOLE.format(r"\.csv")),
    "binary JSONL": ("t.jsonl", bytes(range(255, 0, -1)), WHOLE.format(r"\.jsonl")),
    "a broken line of JSON": ("t.jsonl", jsonl(table()) + b'{"prompt": "x', r"t\.jsonl is not .*line 13 is not a JSON object"),
    "JSON that is an array": ("t.jsonl", b"[" + jsonl(table())[:50], r"t\.jsonl is not .*line 1 is not a JSON object"),
    "JSON nested a hundred thousand deep": ("t.jsonl", b"[" * 100_000, r"t\.jsonl is not .*line 1 is not a JSON object"),
    "Parquet that is cut off": ("t.parquet", parquet(table(), lambda data: data[:-100]), WHOLE.format(r"\.parquet")),
    "Parquet that lost its start": ("t.parquet", parquet(table(), lambda data: data[99:]), WHOLE.format(r"\.parquet")),
    "Parquet with other bytes inside": (
        "t.parquet",
        parquet(table(), lambda data: data[:200] + b"\xff" * 300 + data[500:]),
        WHOLE.format(r"\.parquet"),
    ),
    "Parquet with text that is no UTF-8": (
        "t.parquet",
        parquet(table(), lambda data: data.replace(b"question 1", b"\x80uestion 1")),
        WHOLE.format(r"\.parquet"),
    ),
    "CSV named Parquet": ("t.parquet", csv(table()), WHOLE.format(r"\.parquet")),
    "gzip that is cut off": ("t.jsonl.gz", gzip.compress(jsonl(table()))[:-20], WHOLE.format(r"\.jsonl")),
    "gzip with other bytes inside": (
        "t.jsonl.gz",
        b"\xff".join([gzip.compress(jsonl(table()))[:40], gzip.compress(jsonl(table()))[60:]]),
        WHOLE.format(r"\.jsonl"),
    ),
    "a name of gzip, and plain text": ("t.csv.gz", csv(table()), r"Not a gzipped file"),
    "a spreadsheet": ("t.xlsx", b"PK\x03\x04", r"is a spreadsheet; expected a .*This line makes a \.csv file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_an_error_that_helps_or_ends_as_documented(kind, tmp_path):
    name, data, expected = KINDS[kind]
    (tmp_path / name).write_bytes(data)
    if isinstance(expected, str):
        with pytest.raises(ValueError, match="(?s)" + expected) as error:
            load_pairs(tmp_path / name)
        assert type(error.value) is ValueError and len(str(error.value)) < 800
        return
    pairs = load_pairs(tmp_path / name)
    assert len(pairs.frame) == expected["rows"]
    assert pairs.attributes == expected.get("attributes", ("clarity",))
    counts = {key: value for key, value in expected.items() if key not in ("rows", "attributes")}
    assert counts.items() <= pairs.counts.items()
    _is_whole(pairs, tmp_path)


def _is_whole(pairs, folder):
    """What every later notebook relies on, through the file that notebook 01 writes."""
    pairs.frame.to_parquet(folder / "pairs.parquet")
    frame = pd.read_parquet(folder / "pairs.parquet")
    assert attributes_of(frame) == pairs.attributes
    assert np.isfinite(differences(frame, pairs.attributes, missing=0.0)).all()
    rated = responses(frame, pairs.attributes)
    assert response_index(frame, rated).shape == (len(frame), 2)
    assert frame.groupby("prompt_id")["split"].nunique().max() == 1


def test_there_are_enough_kinds():
    assert len(KINDS) >= 40


def test_texts_come_through_every_file_unchanged(tmp_path):
    told = [
        "=SUM(A1:A9)",
        "+1",
        "-1",
        "@x",
        ' "quoted", and\nbroken',
        "a\0b",
        "NA",
        "\u200b!",
        "e\u0301",
        "7",
        "1e5",
        "x",
    ]
    for name, write in {"t.csv": csv, "t.jsonl": jsonl, "t.parquet": parquet}.items():
        (tmp_path / name).write_bytes(write(table(response_1=told)))
        assert load_pairs(tmp_path / name).frame["response_1"].tolist() == told


@pytest.mark.parametrize(
    "options",
    [
        {"limit": -1},
        {"test_share": -0.1},
        {"test_share": 1.0},
        {"validation_share": 0.9},
        {"test_share": np.nan},
    ],
)
def test_numbers_out_of_range_are_refused(options, tmp_path):
    (tmp_path / "t.parquet").write_bytes(parquet(table()))
    with pytest.raises(ValueError, match=r"whose sum is below 1|expected limit as"):
        load_pairs(tmp_path / "t.parquet", **options)


cells = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
)  # fmt: skip
names = st.one_of(
    st.sampled_from(
        ["prompt", "response_1", "response_2", "a_1", "a_2", "b_1", "b_2", "preference", "split"]
    ),
    st.text(max_size=4),
)


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(st.lists(st.dictionaries(names, cells), max_size=6), st.sampled_from(["", "a"]))
def test_any_values_give_whole_pairs_or_a_value_error(tmp_path, rows, order_by):
    """JSONL holds any value in any column; what is kept must serve the notebooks."""
    base = [dict(record) for record in table().to_dict("records")[: len(rows)]]
    lines = [json.dumps(one | two, default=str) for one, two in zip(base, rows, strict=True)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n")
    _load_or_refuse(tmp_path / "t.jsonl", order_by)


@settings(suppress_health_check=list(HealthCheck), deadline=None)
@given(st.sampled_from(["csv", "jsonl", "parquet", "jsonl.gz"]), st.data())
def test_damaged_tables_give_whole_pairs_or_a_value_error(tmp_path, suffix, data):
    made = {
        "csv": csv,
        "jsonl": jsonl,
        "parquet": parquet,
        "jsonl.gz": lambda t: gzip.compress(jsonl(t)),
    }
    content = bytearray(made[suffix](table()))
    for place, byte in data.draw(
        st.lists(
            st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=4
        )
    ):
        content[place] = byte
    (tmp_path / f"t.{suffix}").write_bytes(content)
    _load_or_refuse(tmp_path / f"t.{suffix}", "")


def _load_or_refuse(path, order_by):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pairs = load_pairs(path, order_by=order_by)
        except ValueError as error:
            assert re.search(
                "expected|must|cannot|has no two|have no numeric column|mostly numbers|no pair|is for|is not",
                str(error),
            )
            return
    _is_whole(pairs, path.parent)
