"""Which notebook reads and writes which file of a study: the graph that `graph.yaml` holds."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml


@dataclass(frozen=True)
class Notebook:
    """One notebook of the graph; the file that describes it explains each field.

    Names of files are relative to the study's folder. `reads_all` is True for the notebook that
    reads what every other notebook of the study wrote.
    """

    name: str
    reads: tuple[str, ...] = ()
    reads_all: bool = False
    may_read: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    writes_with_model: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    record: bool = True
    needs_model: bool = False
    needs_judges: bool = False
    on_gpu: bool = False
    file_parameters: tuple[str, ...] = ()

    @property
    def outputs(self):
        """Every file and folder that the notebook makes, its record last."""
        records = (f"{self.name}.json",) if self.record else ()
        return (*self.writes, *self.writes_with_model, *records)


@cache
def read_graph():
    """Give the notebooks of the graph by name, in the order of `graph.yaml`.

    Raises:
        ValueError: if a notebook reads a file that no notebook writes.

    Example:
        >>> read_graph()["03_fit_attribute_probe"].writes
        ('probe.safetensors', 'rewards.parquet')
    """
    text = Path(__file__).with_name("graph.yaml").read_text(encoding="utf-8")
    return parse_graph(yaml.safe_load(text))


def parse_graph(entries):
    """Turn the entries of a graph's YAML, {notebook: {field: value}}, into notebooks by name.

    Raises:
        ValueError: if a notebook reads a file that no notebook writes.

    Example:
        >>> parse_graph({"01_make": {"writes": ["a.csv"]}})["01_make"].outputs
        ('a.csv', '01_make.json')
    """
    graph = {name: _notebook(name, fields or {}) for name, fields in entries.items()}
    written = {file for notebook in graph.values() for file in notebook.outputs}
    for notebook in graph.values():
        for file in (*notebook.reads, *notebook.may_read):
            if file not in written:
                raise ValueError(
                    f"{notebook.name} reads {file}, which no notebook writes; "
                    "correct `reads` or `writes` in graph.yaml"
                )
    return graph


def _notebook(name, fields):
    values = {}
    for field, value in fields.items():
        values[field] = tuple(value) if isinstance(value, list) else value
    if values.get("reads") == "all":
        values["reads"] = ()
        values["reads_all"] = True
    return Notebook(name, **values)


def maker_of(file):
    """Name the notebook that makes a file or folder of a study.

    Raises:
        KeyError: if no notebook makes it.

    Example:
        >>> maker_of("rewards.parquet"), maker_of("checkpoint")
        ('03_fit_attribute_probe', '04_fit_preference_tree')
    """
    for notebook in read_graph().values():
        if file in notebook.outputs or f"{file}/" in notebook.outputs:
            return notebook.name
    raise KeyError(f"no notebook of graph.yaml writes {file}")


@cache
def files_of_a_model():
    """Give the files and folders that exist only in a study with a reward model.

    Example:
        >>> "rewards.parquet" in files_of_a_model(), "pairs.parquet" in files_of_a_model()
        (True, False)
    """
    files = set()
    for notebook in read_graph().values():
        files.update(notebook.writes_with_model)
        if notebook.needs_model:
            files.update(notebook.outputs)
    return frozenset(files)
