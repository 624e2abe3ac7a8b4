"""The guide to the command line: each command is run, and prints what the guide shows."""

import io
import re
import shlex

import pytest
from conftest import ROOT

from dtreward.cli import main

GUIDE = ROOT / "docs" / "command-line.md"
NUMBER = re.compile(r"-?\d+\.\d+")


def commands():
    """Each command of the guide, with what is shown below it."""
    blocks = re.findall(r"(?ms)^```console\n(.*?)^```$", GUIDE.read_text())
    return [tuple(block.removeprefix("$ ").split("\n", 1)) for block in blocks]


def test_the_guide_shows_every_command_for_models():
    words = " ".join(command for command, _ in commands())
    assert all(f"dtreward {name}" in words for name in ("compare", "score", "check", "--help"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the demo model and the guide's own table."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "data").mkdir()
    (folder / "data" / "demo").symlink_to(ROOT / "data" / "demo")
    (table,) = re.findall(r"(?ms)^```csv\n(.*?)^```$", GUIDE.read_text())
    (folder / "pairs.csv").write_text(table)
    return folder


@pytest.mark.parametrize(("command", "shown"), commands())
def test_each_command_of_the_guide_prints_what_it_shows(command, shown, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "80")
    before, _, after = command.rpartition(" | ")
    if before:
        monkeypatch.setattr("sys.stdin", io.StringIO(" ".join(shlex.split(before)[1:])))
    name, *words = shlex.split(after)
    assert name == "dtreward"
    with pytest.raises(SystemExit) as ended:
        main(words)
    printed = capsys.readouterr().out
    if isinstance(ended.value.code, str):
        printed += f"{ended.value.code}\n"
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", shown)
    found = [float(number) for number in NUMBER.findall(printed)]
    # Of a bfloat16 model the last digits differ on another machine, as in the tutorial's test.
    assert found == pytest.approx([float(number) for number in NUMBER.findall(shown)], abs=0.15)
