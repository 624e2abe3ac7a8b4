"""What is installed, declared and committed agrees with itself."""

import csv
import json
import re
import subprocess
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def lock(root):
    lines = (root / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"==[^,*]+", str(pin.specifier)) for pin in pins)
    return {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in pins}


@pytest.fixture(scope="module")
def environment(root):
    return yaml.safe_load((root / "environment.yml").read_text())


def test_the_lock_satisfies_every_requirement_that_make_installs(project, lock):
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + extras["judges"] + extras["dev"]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        assert name in lock, f"{name} is not in requirements.lock"
        assert lock[name] in requirement.specifier, (
            f"{name} {lock[name]} is not {requirement.specifier}"
        )


def test_the_extras_that_only_some_need_are_not_in_the_lock(project, lock):
    for extra in ("ray", "gpu"):
        for requirement in map(Requirement, project["optional-dependencies"][extra]):
            assert canonicalize_name(requirement.name) not in lock
    assert "flash-attn" not in lock


def test_the_conda_environment_pins_exactly_and_takes_its_packages_from_the_lock(
    environment, project
):
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    pins = dict(line.split("=") for line in conda)
    assert set(pins) == {"python", "pip"}
    assert pins["python"] in Requirement(f"python{project['requires-python']}").specifier
    assert all(re.fullmatch(r"\d+(\.\d+)+", version) for version in pins.values())
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    assert pip == ["-r requirements.lock", "-e .[study,judges,docs,dev]"]
    assert environment["name"] == "dtreward"  # the Makefile knows the environment by this name


def test_make_installs_the_lock_and_nothing_else(root):
    installs = re.findall(r"\.venv/bin/python -m pip install (.*)", (root / "Makefile").read_text())
    assert len(installs) == 2
    assert "-r requirements.lock" in installs[0]
    assert "--no-deps" in installs[1] and "--editable ." in installs[1]


def test_what_is_installed_is_what_the_lock_says(lock):
    from importlib.metadata import version

    for name in ("torch", "transformers", "scikit-learn", "papermill", "snakemake", "pandas"):
        assert version(name).split("+")[0] == lock[name]


def test_every_published_file_has_its_source(root):
    folder = root / "dtreward" / "published"
    table = (folder / "README.md").read_text()
    facts = [path for path in folder.iterdir() if path.suffix in (".csv", ".json")]
    assert len(facts) >= 9
    for path in facts:
        assert f"`{path.name}`" in table
        if path.suffix == ".json":
            assert "https://" in json.loads(path.read_text())["source"]


def test_published_numbers_agree_with_each_other(root):
    """Subset counts and leaderboard come from different places; chat accuracy must be the same."""
    folder = root / "dtreward" / "published"
    board = {row["model"]: row for row in csv.DictReader((folder / "leaderboard.csv").open())}
    chat = {
        "alpacaeval-easy",
        "alpacaeval-length",
        "alpacaeval-hard",
        "mt-bench-easy",
        "mt-bench-med",
    }
    won, total = {}, {}
    for row in csv.DictReader((folder / "subset_counts.csv").open()):
        if row["subset"] in chat:
            won[row["model"]] = won.get(row["model"], 0) + int(row["correct"])
            total[row["model"]] = total.get(row["model"], 0) + int(row["total"])
    compared = set(won) & set(board)
    assert len(compared) >= 5 and set(total.values()) == {358}
    for model in compared:
        assert (
            abs(100 * won[model] / 358 - float(board[model]["chat"])) < 0.051
        )  # one printed decimal


def committed(root):
    listed = subprocess.run(
        ["git", "ls-files"], check=False, cwd=root, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\n") if name and (path := root / name).is_file()]


def test_no_path_of_a_machine_and_no_secret_is_committed(root):
    home = re.compile(
        r"/(?:home|root|Users|work|tmp)/[A-Za-z0-9_.]+/|\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9]{20,}"
    )
    for path in committed(root):
        if path.suffix in {
            ".py",
            ".ipynb",
            ".md",
            ".json",
            ".yaml",
            ".yml",
            ".toml",
            ".csv",
            ".lock",
            "",
        }:
            found = home.search(path.read_text(errors="ignore"))
            assert not found or path.name == "test_setup.py", f"{path}: {found and found[0]}"


def test_no_committed_file_is_large(root):
    for path in committed(root):
        assert path.stat().st_size <= 8_000_000, f"{path} has {path.stat().st_size:,} bytes"
