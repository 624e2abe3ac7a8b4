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
from filelock import FileLock
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
DEMO_LEAVES = ("data/demo", ".snakemake/metadata")  # in a folder in which the demo study has run


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
    """Run the Snakefile as `make study` does, in a copy of the folder's process; give the end."""
    call = snakemake_call(root, *config, options=options)
    call["args"] = copied(*call["args"])
    call["env"] = call["env"] | warm_environment(root)
    return subprocess.run(**call, check=False, capture_output=True)


def run_command(root, *words, **options):
    """Run `dtreward` in a folder, in a copy of its process; give the finished process."""
    environment = os.environ | warm_environment(root)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    command = copied("dtreward.cli", *words)
    return subprocess.run(command, check=False, cwd=root, env=environment, **pipes)


def copied(module, *words):
    """The command that runs a module in a copy of the process that the environment names."""
    return [sys.executable, "-P", warm.__file__, "-m", module, *words]


def warm_environment(root):
    """The variable that names the socket of a folder's process, if processes can be copied here."""
    of_hub = sorted(item for item in os.environ.items() if item[0].startswith("HF_"))
    address = _warm_address(root, tuple(of_hub))
    return {warm.ADDRESS: address} if address else {}


@cache
def _warm_address(root, _of_hub):
    """Start a process that has imported, with a folder's own code, what its studies import.

    The hub's client reads its variables when it is imported. The process ends with this one.
    """
    notebooks = sorted((root / "notebooks").glob("*.ipynb"))
    # tqdm shows bars as widgets only where ipykernel was imported before it.
    modules = ["dtreward.study.run", "ipykernel.kernelapp", "snakemake.cli", "dtreward.study.plan"]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(warm.ADDRESS, raising=False)
        patch.chdir(root)
        warm.start([*modules, *warm.imported_by(notebooks)])
        return os.environ.pop(warm.ADDRESS, None)


@pytest.fixture(scope="module")
def warm_kernels():
    """Let notebooks that a test runs by itself start as copies of such a process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, address in warm_environment(ROOT).items():
            patch.setenv(name, address)
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
def demo(workshop, tmp_path_factory):
    """The demo study on a seeded tenth of its pairs; pytest's workers share one run of it."""
    made = workshop / "data" / "demo"
    shared = tmp_path_factory.getbasetemp().parent / "shared"
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _run_demo(workshop)
        return made
    with FileLock(f"{shared}.lock"):
        if shared.exists():
            for name in DEMO_LEAVES:
                shutil.copytree(shared / name, workshop / name, dirs_exist_ok=True)
        else:
            _run_demo(workshop)
            for name in DEMO_LEAVES:
                shutil.copytree(workshop / name, shared / name)
    return made


def _run_demo(workshop):
    """Run it as `make study` does, in processes of its own."""
    call = snakemake_call(workshop, *SMALL_STUDY)
    done = subprocess.run(**call, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
