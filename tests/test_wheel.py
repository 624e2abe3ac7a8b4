"""The package away from its repository: a wheel, alone in an environment without any extra."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

ALONE = """
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

for room in ("pairs", "tree", "engine", "models", "benches", "judges.agreement", "judges.store",
             "judges.votes", "benchmark", "figures"):
    import_module(f"dtreward.{room}")
import dtreward

home = Path(dtreward.__file__).parent
assert "site-packages" in home.parts, home
assert (home / "py.typed").exists()  # type checkers read the package's types

model = dtreward.load(sys.argv[1])
output = model.compare("What is 2 + 2?", "2 + 2 = 4. The answer is 4.", "2 + 2 = 5. The answer is 5.")
assert output["preference"] in (0, 1) and len(output["attributes"]) == 5

people = dtreward.PreferenceTree.published("Human")
assert people.predict(np.array([[3.0, 3.0, 0.0, 0.0, 0.0]])).tolist() == [1]

import pandas as pd
from dtreward.benches import section_scores

results = pd.DataFrame({"subset": ["math-prm", "hep-go", "hep-go"], "correct": [1, 1, 0]})
assert round(section_scores(results)["Reasoning"], 1) == 92.9

for module, extra in (("judges.attribution", "study"), ("explorer.widget", "app"), ("study.run", "study"),
                      ("study.site", "docs")):
    if module == "judges.attribution":
        from dtreward.judges.attribution import shap_values
        use = lambda: shap_values(people, np.zeros((1, 5)), background=np.zeros((1, 5)))
    else:
        use = lambda: import_module(f"dtreward.{module}")
    try:
        use()
    except ImportError as error:
        assert f"dtreward[{extra}]" in str(error), error
    else:
        raise AssertionError(f"{module} works without the extra {extra}")
print("whole")
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The Python of a new environment that holds the wheel and what it requires, nothing else."""
    folder = tmp_path_factory.mktemp("alone")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    source = folder / "source"
    kept = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "dtreward", source / "dtreward", ignore=kept)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run(wheel, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    install = [*pip, "--python", str(python), "install", "--no-deps"]
    subprocess.run([*install, *map(str, folder.glob("*.whl"))], check=True)
    link_requirements(next((folder / "venv").glob("lib/python*/site-packages")))
    return python


def link_requirements(packages):
    """Give an environment what dtreward requires without an extra, as links: no 2 GB are copied."""
    required = {}
    asked = ["dtreward"]
    while asked:
        for line in distribution(asked.pop()).requires or []:
            requirement = Requirement(line)
            is_needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            if is_needed and requirement.name not in required:
                required[requirement.name] = distribution(requirement.name)
                asked.append(requirement.name)
    assert len(required) > 20 and "papermill" not in required
    for one in required.values():
        tops = {Path(file).parts[0] for file in one.files} - {"..", "__pycache__"}
        for top in tops:
            source = Path(one.locate_file(top))
            if source.exists() and not (packages / top).exists():
                (packages / top).symlink_to(source)


def test_a_wheel_works_away_from_the_repository(alone, tmp_path):
    checkpoint = shutil.copytree(ROOT / "data" / "demo", tmp_path / "checkpoint")
    program = tmp_path / "alone.py"
    program.write_text(ALONE)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [alone, program, checkpoint],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "whole", done.stderr[-3000:]
