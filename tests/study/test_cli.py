"""The command `dtreward`: its words, and where it runs."""

import subprocess
import sys

import pytest
from conftest import ROOT


def call(*words, folder=ROOT):
    """Run the command; give the finished process."""
    command = [sys.executable, "-m", "dtreward.cli", *words]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)


def test_help_names_the_commands():
    text = call("--help").stdout
    assert all(word in text for word in ("run", "preflight", "outcome", "lab", "report", "publish"))


def test_a_study_that_is_not_there_is_named_before_jupyterlab_starts():
    done = call("lab", "study=domo")
    assert done.returncode == 1 and "there is no study 'domo'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [("publish", "demo"), ("report", "demo"), ("preflight", "study=demo"), ("lab",), ("outcome",)],
)
def test_away_from_the_repository_it_says_so_in_one_line(words, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = call(*words, folder=tmp_path)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "expected the repository as the working directory" in done.stderr


def test_a_notebook_that_is_not_there_is_named_without_a_traceback(tmp_path):
    done = call("run", "notebooks/nowhere.ipynb", str(tmp_path / "done.ipynb"), "{}")
    assert done.returncode == 1 and "there is no notebook notebooks/nowhere.ipynb" in done.stderr
    assert "those in notebooks/ are 00_compare_two_responses.ipynb, " in done.stderr
    assert "Traceback" not in done.stderr and "Errno" not in done.stderr


@pytest.mark.parametrize("text", ["{limit: 3}", "[1]", ""])
def test_parameters_that_are_no_json_object_are_refused_with_an_example(text, tmp_path):
    done = call("run", "notebooks/01_load_pairs.ipynb", str(tmp_path / "done.ipynb"), text)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"""expected a JSON object such as '{{"limit": 300}}', came {text!r}""" in done.stderr
