"""The form of the notebooks, read from their JSON; tests/test_study.py runs them."""

import ast
import re
import statistics

import nbformat
import pytest
import yaml
from conftest import ROOT

from dtreward.study.settings import legal_parameters, study_parameters

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
SHARED = {"study": str, "seed": int, "limit": int, "model": str, "source": str, "attributes": list}
SHARED |= {"data_dir": str, "figures_dir": str}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_sources_are_committed_without_outputs(notebook):
    for cell in code(notebook):
        assert not cell.outputs and cell.execution_count is None
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}


def test_it_opens_with_its_question_and_what_it_reads_writes_and_costs(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and re.match(r"# \d\d · [A-Z]", first.source)
    assert all(f"**{word}**" in first.source for word in ("Reads", "Writes", "Cost"))
    assert "?" in first.source or "what" in first.source.lower()


def test_parameters_are_annotated_commented_literals(notebook):
    cells = [cell for cell in code(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(cells) == 1 and cells[0] is code(notebook)[0]
    for line in cells[0].source.split("\n"):
        assert re.match(r"\w+: \w+ = .+  # .+", line), line
    for node in ast.parse(cells[0].source).body:
        value = ast.literal_eval(node.value)
        assert type(value).__name__ == node.annotation.id
        assert isinstance(value, SHARED.get(node.target.id, object))


def test_no_magics_installs_filters_or_path_tricks(notebook):
    for cell in code(notebook):
        assert not re.search(
            r"(?m)^[%!]|pip install|filterwarnings|sys\.path|/home/|class \w+:", cell.source
        )


def test_cells_are_short_and_so_are_functions(notebook):
    assert 12 <= len(notebook.cells) <= 66
    lengths = []
    for cell in code(notebook)[2:]:  # after parameters and imports
        lines = cell.source.split("\n")
        assert len(lines) <= 20, cell.source
        assert max(map(len, lines)) <= 100, cell.source
        lengths.append(len(lines))
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                assert body[-1].end_lineno - body[0].lineno < 6, node.name
    assert statistics.median(lengths) <= 11


def test_no_function_hides_among_the_imports(notebook):
    imports = code(notebook)[1]
    assert not [node for node in ast.parse(imports.source).body if hasattr(node, "body")]


def test_titles_and_claims_name_no_path(notebook):
    path = re.compile(r"\{(model|source|made|folder|rewards_of|data_dir)[}:!]")
    for cell in code(notebook):
        for line in cell.source.split("\n"):
            if re.search(r"title|caption|world =|Claim\(|wanted =|found =|sentence", line):
                assert not path.search(line), line


def test_it_ends_by_recording_and_stating_claims(notebook):
    source = "\n".join(cell.source for cell in code(notebook))
    if "**Writes** nothing" not in notebook.cells[0].source:
        assert "write_result(" in source and "Claim(" in source


@pytest.mark.parametrize(
    "study", sorted((ROOT / "notebooks/studies").glob("*.yaml")), ids=lambda p: p.stem
)
def test_every_study_names_only_legal_parameters(study):
    parameters = yaml.safe_load(study.read_text())
    given = study_parameters(parameters, {})
    assert list(given) == parameters["notebooks"]
    for name, values in given.items():
        assert set(values) <= legal_parameters(ROOT / "notebooks" / f"{name}.ipynb")
        assert values.get("study", study.stem) == study.stem


def test_an_unknown_parameter_names_the_legal_ones():
    with pytest.raises(
        ValueError, match=r"no parameter depht in .*; the legal ones are .*max_depth"
    ):
        study_parameters({"notebooks": ["04_fit_preference_tree"]}, {"depht": 3})
    with pytest.raises(ValueError, match=r"no parameter max_depth in 01_load_pairs"):
        study_parameters({"notebooks": ["01_load_pairs"], "01_load_pairs": {"max_depth": 3}}, {})


def test_a_study_that_configures_a_notebook_it_does_not_run_is_an_error():
    with pytest.raises(ValueError, match="no notebook 04_fit_preference_tree"):
        study_parameters({"notebooks": ["01_load_pairs"], "04_fit_preference_tree": {}}, {})
