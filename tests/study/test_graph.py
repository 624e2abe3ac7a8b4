"""The graph of notebooks is one, and the notebooks' first cells agree with it."""

import re

import nbformat
import pytest
from conftest import ROOT

from dtreward.study.graph import files_of_a_model, maker_of, parse_graph, read_graph
from dtreward.study.settings import legal_parameters

GRAPH = read_graph()
FILES = {file for notebook in GRAPH.values() for file in (*notebook.outputs, *notebook.keeps)}


def first_cell(name):
    """Give what the first cell of a notebook says it reads, and writes: two sets of file names."""
    path = ROOT / "notebooks" / f"{name}.ipynb"
    text = nbformat.read(path, as_version=4).cells[0].source
    reads, writes = re.search(r"\*\*Reads\*\*(.*)\*\*Writes\*\*(.*)\*\*Cost\*\*", text).groups()
    return [
        {re.sub("<.*", "", file) for file in re.findall("`([^`]+)`", part)}
        for part in (reads, writes)
    ]


def test_the_graph_has_every_notebook():
    assert set(GRAPH) == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_no_file_has_two_makers():
    outputs = [file for notebook in GRAPH.values() for file in notebook.outputs]
    assert len(outputs) == len(set(outputs))
    for notebook in GRAPH.values():
        assert all(maker_of(file) == notebook.name for file in notebook.outputs)


def test_a_notebook_reads_what_earlier_ones_make():
    done = set()
    for notebook in GRAPH.values():
        assert {maker_of(file) for file in (*notebook.reads, *notebook.may_read)} <= done
        done.add(notebook.name)


def test_a_file_that_nobody_writes_is_refused_by_name():
    with pytest.raises(ValueError, match=r"02_b reads lost\.csv, which no notebook writes"):
        parse_graph({"01_a": {"writes": ["a.csv"]}, "02_b": {"reads": ["lost.csv"]}})


def test_a_file_without_a_maker_is_a_key_error():
    with pytest.raises(KeyError, match=r"no notebook of graph.yaml writes lost\.csv"):
        maker_of("lost.csv")


@pytest.mark.parametrize("name", GRAPH)
def test_parameters_that_name_files_are_parameters_of_the_notebook(name):
    legal = legal_parameters(ROOT / "notebooks" / f"{name}.ipynb")
    assert set(GRAPH[name].file_parameters) <= legal


def test_what_a_study_without_a_model_lacks_is_read_only_where_it_may_be_missing():
    without = {"02_extract_features.json", "rewards.parquet", "probe.safetensors", "checkpoint/"}
    assert without <= files_of_a_model()
    assert not {"pairs.parquet", "tree.json", "judges.parquet"} & files_of_a_model()


@pytest.mark.parametrize("name", GRAPH)
def test_the_first_cell_says_what_the_graph_says(name):
    notebook = GRAPH[name]
    reads, writes = first_cell(name)
    records = {f"{other}.json" for other in GRAPH}
    assert writes & FILES == {*notebook.outputs, *notebook.keeps} - records
    if not notebook.reads_all:
        made = {file for file in reads & FILES if not file.startswith("features/")}
        assert made == set(notebook.reads) - records
