"""What contributors are told is true: files, commands, hooks, the workflow, the release."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"(?ms)^## ([^\n]+)\n(.*?)(?=^## |\Z)", GUIDE))
TASKS = [title for title in SECTIONS if title.startswith("Add a ")]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
UGLY = {
    "ruff-check": ("ugly.py", "import os\n\n\ndef f(x):\n    return x\n"),
    "ruff-format": ("ugly.py", "x = {  'a':1 }\n"),
    "nbstripout": ("01_ugly.ipynb", (ROOT / "notebooks/executed/demo/01_load_pairs.ipynb")),
}


def test_the_guide_says_how_to_add_each_thing():
    assert TASKS == ["Add a head", "Add a format of pairs", "Add a bench", "Add a notebook"]
    for title in TASKS:
        steps = re.findall(r"(?m)^\d\. ", SECTIONS[title])
        assert 4 <= len(steps) <= 8 and SECTIONS[title].count("\nRun: `pytest -q ") == 1


def test_every_file_that_the_guide_names_exists():
    names = re.findall(r"`([\w.-]+(?:/[\w.-]+)*)`", GUIDE)
    paths = [name for name in names if "/" in name or Path(name).suffix in {".md", ".toml", ".cff"}]
    missing = [name for name in paths if "NN_" not in name and not (ROOT / name).exists()]
    assert len(paths) > 25 and not missing


@pytest.mark.parametrize("title", TASKS)
def test_the_tests_that_the_guide_runs_exist_and_hold_tests(title):
    (command,) = re.findall(r"Run: `pytest -q ([^`]+)`", SECTIONS[title])
    for name in command.split():
        assert "\ndef test_" in (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("title", TASKS)
def test_the_names_of_code_that_the_guide_mentions_are_in_the_files_beside_them(title):
    files = [
        ROOT / name for name in re.findall(r"`((?:dtreward|notebooks)/[\w./-]+)`", SECTIONS[title])
    ]
    text = "".join(path.read_text(encoding="utf-8") for path in files if path.is_file())
    names = set(re.findall(r"`([A-Za-z_]{4,})`", SECTIONS[title])) - {"NN_verb_object"}
    assert names and {name for name in names if not re.search(rf"\b{name}\b", text)} == set()


def run_hook(hook, folder, *files):
    """Run a hook as pre-commit does: its entry, then the files, in the repository's folder."""
    environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    command = [*shlex.split(hook["entry"]), *hook.get("args", []), *files]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("hook", HOOKS[0]["hooks"], ids=lambda hook: hook["id"])
def test_each_hook_runs_and_mends_or_refuses_what_is_wrong(hook, tmp_path):
    assert HOOKS[0]["repo"] == "local" and len(HOOKS) == 1 and hook["language"] == "system"
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    name, content = UGLY[hook["id"]]
    before = content if isinstance(content, str) else content.read_text(encoding="utf-8")
    (tmp_path / name).write_text(before, encoding="utf-8")
    done = run_hook(hook, tmp_path, name)
    assert "not found" not in done.stderr
    if hook["id"] == "ruff-check":
        assert done.returncode == 1 and "F401" in done.stdout
    else:
        assert (tmp_path / name).read_text(encoding="utf-8") != before, done.stderr
    if hook["id"] == "nbstripout":
        assert re.match(hook["files"], "notebooks/01_load_pairs.ipynb")
        assert not re.match(hook["files"], "notebooks/executed/demo/01_load_pairs.ipynb")


def test_the_workflow_installs_the_least_python_and_runs_what_ci_runs():
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    workflow = yaml.load(text, yaml.BaseLoader)  # a plain loader reads "on" as true
    assert {"push", "pull_request"} <= set(workflow["on"])
    (job,) = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"} and os.access(ROOT / ".ci" / "run", os.X_OK)
    (python,) = [step["with"]["python-version"] for step in job["steps"] if "with" in step]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == f">={python}"
    assert all(re.search(r"@v\d+$", step["uses"]) for step in job["steps"] if "uses" in step)


def test_the_version_is_the_same_wherever_it_is_written():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "version"
    ]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"(?m)^## (\d+\.\d+\.\d+) · (\d{4}-\d\d-\d\d)$", changes)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert released[0] == (version, str(cited["date-released"])) and cited["version"] == version
    assert [number for number, _ in released] == sorted(
        (number for number, _ in released),
        key=lambda number: [int(part) for part in number.split(".")],
        reverse=True,
    )
