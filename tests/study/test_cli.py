"""The command `dtreward`: its words, and where it runs."""

import io
import json
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from dtreward import load
from dtreward.cli import main


def call(*words, folder=ROOT):
    """Run the command; give the finished process."""
    command = [sys.executable, "-m", "dtreward.cli", *words]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)


def test_help_names_the_commands():
    text = call("--help").stdout
    words = (
        "compare",
        "score",
        "check",
        "run",
        "preflight",
        "try-judges",
        "outcome",
        "lab",
        "report",
        "publish",
    )
    assert all(re.search(rf"(?m)^  {word} ", text) for word in words)
    assert call().stdout == text


@pytest.mark.parametrize(
    "words", [("--help",), ("compare", "dmo", "a", "b", "c"), ("check", "dmo"), ("compar",)]
)
def test_the_help_and_a_wrong_name_import_neither_torch_nor_transformers(words):
    code = (
        "import atexit, sys; from dtreward.cli import main; "
        "atexit.register(lambda: print({'torch', 'transformers', 'sklearn'} & set(sys.modules))); "
        f"main({list(words)!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "set()"
    assert done.stderr.count("\n") == (words != ("--help",)) and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("compare", "dmo", "a", "b", "c"), "no folder dmo"),
        (("compare", "data/demo", "a", "b"), "expected a prompt and two responses, came 2 texts"),
        (("compare", "data/demo", "@none.txt", "b", "c"), "none.txt cannot be read"),
        (("check",), "name one or more models, or give --all"),
        (("score", "dmo", "pairs.csv", "-o", "out.parquet"), "no folder dmo"),
        (("score", "data/demo", "nowhere.csv", "-o", "out.parquet"), "there is no nowhere.csv"),
    ],
)
def test_errors_of_the_commands_for_models_are_one_line(words, reason, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    told = f"{ended.value}{capsys.readouterr().err}"
    assert reason in told and "\n" not in told.strip() and ended.value.code not in (0, None)


def test_lines_of_json_and_texts_in_files_give_the_same_comparison(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(ROOT)
    pair = {"prompt": "2 + 2?", "response_1": "4", "response_2": "It is 5."}
    words = []
    for name, text in pair.items():
        (tmp_path / name).write_text(f"{text}\n")
        words.append(f"@{tmp_path / name}")
    said = []
    for given, lines in (
        (words, ""),
        (list(pair.values()), ""),
        (["-", *words[1:]], "2 + 2?\n"),
        ([], json.dumps(pair) + "\n"),
        ([], json.dumps(pair | {"prompt": [{"role": "user", "content": "2 + 2?"}]})),
    ):
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        with pytest.raises(SystemExit) as ended:
            main(["compare", "data/demo", *given, "--json", "--device", "cpu"])
        assert not ended.value.code
        said.append(json.loads(capsys.readouterr().out))
    assert all(each == said[0] for each in said)
    wanted = load("data/demo", device="cpu").compare(*pair.values())
    assert said[0]["rewards"] == wanted.rewards and said[0]["path"][0]["attribute"]


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
