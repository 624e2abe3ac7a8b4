"""Paths, and the small study that has run, which several tests need."""

import os
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from dtreward.study import warm

# How long an example takes says more about the machine's other work than about the code.
TIMELESS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("timeless", **TIMELESS)
settings.register_profile("long", max_examples=3000, **TIMELESS)  # --hypothesis-profile=long
settings.load_profile("timeless")

# Files that take minutes, the longest first: begun last, one of them would leave a core idle.
LONGEST = (
    "test_study",
    "test_rehearsal",
    "test_real_studies",
    "test_paper_figures",
    "test_pages",
    "test_site",
    "test_wheel",
    "test_rewardbench",
    "test_reward_models",
    "test_faults",
)
ROOT = Path(__file__).parents[1]
# Libraries that the package imports. jaxtyping's hook would have each of their modules compiled anew
# if one of the package's modules were the first to import it.
LIBRARIES = (
    *("torch._dynamo", "transformers.modeling_utils", "papermill", "nbconvert", "typer"),
    *("seaborn", "sklearn.ensemble", "statsmodels.stats.proportion", "interpret.glassbox"),
)
for library in LIBRARIES:
    import_module(library)
SNAKEMAKE_OPTIONS = ("--cores", "2", "--nolock", "--rerun-incomplete")
SMALL = 300  # pairs: a tenth of the demo world
# What the small demo study is given: few pairs, few resampled trees, few pairs to time, few
# responses for random weights and edits.
SMALL_STUDY = (
    *("study=demo", f"limit={SMALL}", "seed=1", "bootstraps=20", "pairs=4"),
    *("random_backbone=100", "edits=15", "sweep=2"),
)


def pytest_collection_modifyitems(items):
    """Put the files that take longest first."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data sets that are not part of the project; the test skips where they are absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.exists():
        pytest.skip("the real data sets are not on this machine")
    return folder


def snakemake_call(root, *config, options=()):
    """The arguments with which subprocess runs the Snakefile of a folder as `make study` does."""
    environment = os.environ | {"PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}
    environment.pop(warm.ADDRESS, None)  # a folder's Snakefile starts a process with its own code
    command = ["snakemake", *SNAKEMAKE_OPTIONS, *options, "--config", *config]
    return {"args": command, "cwd": root, "env": environment, "text": True}


def snakemake(root, *config, options=()):
    """Run the Snakefile as `make study` does; give the finished process.

    It and its notebooks are copies of one process of the folder, which has imported its libraries.
    """
    call = snakemake_call(root, *config, options=options)
    address = warm_address(root)
    if address:
        call["args"] = [sys.executable, "-P", warm.__file__, "-m", *call["args"]]
        call["env"][warm.ADDRESS] = address
    return subprocess.run(**call, check=False, capture_output=True)


@cache
def warm_address(root):
    """Start a process that has imported, with a folder's own code, what its studies import.

    Returns:
        the address of its socket; None where processes can't be copied. It ends with this process.
    """
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    modules = ["snakemake.cli", "dtreward.study.plan", "dtreward.study.run", "ipykernel.kernelapp"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(warm.ADDRESS, raising=False)
        patch.chdir(root)
        warm.start([*modules, *warm.imported_by(notebooks)])
        return os.environ.pop(warm.ADDRESS, None)


@pytest.fixture(scope="module")
def warm_kernels():
    """Let notebooks that a test runs by itself start as copies of such a process."""
    with pytest.MonkeyPatch.context() as patch:
        if warm_address(ROOT):
            patch.setenv(warm.ADDRESS, warm_address(ROOT))
        yield


@pytest.fixture(scope="session")
def workshop(root, tmp_path_factory):
    """A copy of the committed project, so that runs leave no trace in this one."""
    named = "somebody's project"  # shells trip over such names
    return copy_project(root, tmp_path_factory.mktemp("workshop") / named)


def copy_project(root, copy):
    """Copy what the project has committed, but for its tests and executed notebooks."""
    kept = shutil.ignore_patterns(
        ".venv", ".git", ".snakemake", "__pycache__", "executed", "tests", "*.partial.ipynb"
    )
    shutil.copytree(
        root,
        copy,
        ignore=lambda folder, names: kept(folder, names) | _made_by_studies(root, folder, names),
    )
    return copy


def _made_by_studies(root, folder, names):
    """What .gitignore excludes of data/: all but the names that it takes back."""
    if folder not in (str(root / "data"), str(root / "data" / "demo")):
        return set()
    taken_back = [
        line[2:].rstrip("/")
        for line in (root / ".gitignore").read_text().splitlines()
        if line.startswith("!/data/")
    ]
    here = Path(folder).relative_to(root)
    return {
        name for name in names if not any(fnmatch(str(here / name), each) for each in taken_back)
    }


@pytest.fixture(scope="session")
def demo(workshop):
    """The demo study on a seeded tenth of its pairs."""
    done = snakemake(workshop, *SMALL_STUDY)
    assert done.returncode == 0, done.stderr[-3000:]
    return workshop / "data" / "demo"
