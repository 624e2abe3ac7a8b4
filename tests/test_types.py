"""Types of the public surface hold, and a type checker tells users what they get."""

import os
import re
import subprocess
import sys
import tomllib

from conftest import ROOT

SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ty"]
PUBLIC_ROOMS = ("pairs", "judges", "models", "benches")
USE = """
from typing import assert_type

import dtreward
from dtreward.models import Comparison, RewardModel
from dtreward.pairs import Pairs

model = dtreward.load("data/demo")
assert_type(model, RewardModel)
assert_type(model.attributes, tuple[str, ...])
output = model.compare("2 + 2?", "4", "5")
assert_type(output, Comparison)
assert_type(output.probability, float)
assert_type(output.preference, int)
assert_type(dtreward.load_pairs("pairs.csv"), Pairs)
dtreward.PreferenceTree.published("Human")
dtreward.explore(model)
"""


def check(*words):
    """Run the type checker in the repository; give the finished process."""
    command = [sys.executable, "-m", "ty", "check", "--python", sys.prefix, *words]
    return subprocess.run(
        [*command, "--output-format", "concise"],
        cwd=ROOT,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_public_modules_have_the_types_that_they_say():
    done = check()
    assert done.returncode == 0 and "All checks passed" in done.stdout, done.stdout + done.stderr


def test_a_users_code_has_the_types_of_the_guides_and_its_mistakes_are_told(tmp_path):
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(USE)
    wrong.write_text(f"{USE}\ndtreward.load(3)\noutput.preferences\n")
    options = ("--config", f"environment.extra-paths=['{ROOT}']")
    assert check(*options, str(right)).returncode == 0
    told = check(*options, str(wrong)).stdout
    assert "Found 2 diagnostics" in told and "invalid-argument-type" in told


def test_every_public_name_is_of_a_module_that_is_checked():
    checked = {path.resolve() for name in SETTINGS["src"]["include"] for path in ROOT.glob(name)}
    assert all(any(ROOT.glob(name)) for name in SETTINGS["src"]["include"])
    rooms = [ROOT / "dtreward" / "__init__.py"]
    rooms += [ROOT / "dtreward" / name / "__init__.py" for name in PUBLIC_ROOMS]
    text = "".join(path.read_text(encoding="utf-8") for path in rooms)
    homes = set(re.findall(r"from (dtreward\.[\w.]+) import", text))
    assert len(homes) > 15
    for name in homes:
        path = (ROOT / f"{name.replace('.', '/')}.py").resolve()
        assert {path, *path.parents} & checked, f"{name} is public, and [tool.ty.src] lacks it"


def test_no_file_is_left_out_of_the_check_and_the_package_says_that_it_is_typed():
    assert "exclude" not in SETTINGS["src"] and "rules" not in SETTINGS
    assert (ROOT / "dtreward" / "py.typed").exists()
    for path in (ROOT / "dtreward").rglob("*.py"):
        assert "type: ignore" not in path.read_text(encoding="utf-8")
