"""What befalls a study: kills, full and read-only disks, two runs at once, cut downloads, bad tables.

Each leaves a clear error, loses no finished work, and the next run ends as an undisturbed one does.
"""

import fcntl
import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL_STUDY, copy_project, run_command, snakemake, snakemake_call
from huggingface_hub import constants
from judge_server import endpoint, says, shown_first
from replicas import make_decision_tree_replica
from same_bytes import contents, differing

from dtreward import load
from dtreward.files import write_json
from dtreward.judges.ask import collect
from dtreward.judges.judge import Judge
from dtreward.judges.store import stored_answers
from dtreward.study.scratch import UNFINISHED
from dtreward.tree.tree import PreferenceTree

RESUMED = ["01_load_pairs", "02_extract_features", "06_collect_judge_preferences"]
LONGER = [*RESUMED[:2], "03_fit_attribute_probe", "04_fit_preference_tree", RESUMED[2]]


def write_study(workshop, name, notebooks, **parameters):
    given = {"study": name, "source": "demo", "model": "../data/demo", "seed": 0, "limit": 60}
    given |= {"resamples": 200, "judged": 20} | parameters
    plan = {"notebooks": notebooks, "parameters": given}
    (workshop / "notebooks" / "studies" / f"{name}.yaml").write_text(json.dumps(plan))
    return workshop / "data" / name


def start(workshop, *config, options=()):
    """Start snakemake as make does, in a process group of its own."""
    call = snakemake_call(workshop, *config, options=options) | {"start_new_session": True}
    return subprocess.Popen(**call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def undisturbed(workshop):
    """A small study that nothing befell; while it ran, a second run of it was tried."""
    folder, started = write_study(workshop, "calms", RESUMED), time.monotonic()
    first = start(workshop, "study=calms")
    while not (folder / ".running").exists():
        time.sleep(0.1)
        assert first.poll() is None, first.stdout.read()
    time.sleep(0.5)
    second = snakemake(workshop, "study=calms")
    told = first.communicate()[0]
    assert first.returncode == 0, told[-3000:]
    return folder, second, time.monotonic() - started


def test_a_second_run_at_the_same_time_is_refused_and_does_no_harm(undisturbed):
    folder, second, _ = undisturbed
    assert second.returncode != 0
    assert (
        "The study 'calms' is already running: wait for it, or end it."
        in second.stdout + second.stderr
    )
    assert sorted(path.stem for path in folder.glob("*.ipynb")) == RESUMED


def test_make_refuses_a_second_run_as_snakemake_does(undisturbed, workshop):
    conda = {
        "CONDA_DEFAULT_ENV": "dtreward",
        "CONDA_PREFIX": os.path.dirname(os.path.dirname(sys.executable)),
    }
    with open(undisturbed[0] / ".running") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = subprocess.run(
            ["make", "study", "STUDY=calms", "SET=seed=5"], check=False, cwd=workshop,
            env=os.environ | conda, capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode != 0 and "already running" in done.stdout + done.stderr


def killed(workshop, name, notebooks, moments):
    """Run a study, kill all its processes after each of so many seconds, then let it end."""
    folder = write_study(workshop, name, notebooks)
    for moment in moments:
        running = start(workshop, f"study={name}")
        try:
            running.wait(moment)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
        _is_whole(folder)
    done = snakemake(workshop, f"study={name}")
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return folder


def _is_whole(folder):
    """Whatever stands under its final name can be read."""
    for path in folder.glob("[!.]*.parquet"):
        assert len(pd.read_parquet(path))
    for path in [*folder.glob("[!.]*.ipynb"), *folder.glob("[!.]*.json")]:
        if ".partial" not in path.name:
            assert json.loads(path.read_text())


def _like(folder, other, name):
    """A copy of a study as it would be under another name: the name is in its records."""
    copy = shutil.copytree(folder, other)
    for path in [*copy.glob("*.ipynb"), *copy.glob("*.json")]:
        path.write_text(path.read_text().replace(folder.name, name))
    return copy


def test_killed_at_three_moments_it_ends_as_if_undisturbed(undisturbed, workshop, tmp_path):
    moments = undisturbed[2] * np.random.default_rng(0).uniform(0.1, 0.6, size=3)
    folder = killed(workshop, "harms", RESUMED, moments.tolist())
    assert differing(_like(undisturbed[0], tmp_path / "harms", "harms"), folder) == []


@pytest.mark.slow
def test_killed_at_fifty_moments_it_ends_as_if_undisturbed(workshop, tmp_path):
    folder, started = write_study(workshop, "harms", LONGER), time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    assert snakemake(workshop, "study=harms").returncode == 0
    whole = time.monotonic() - started
    calm = shutil.move(folder, tmp_path / "calm")  # of the same name: it is in probe and checkpoint
    rng = np.random.default_rng(1)
    for turn in range(10):  # each time from the start, so that all notebooks are met
        moments = (whole * rng.uniform(0.1, 0.6, size=5)).tolist()
        assert differing(calm, killed(workshop, "harms", LONGER, moments)) == [], (turn, moments)
        shutil.rmtree(folder)


# ------------------------------------------------------------------------------------- bad tables


def test_bad_input_loses_no_finished_work(undisturbed, workshop, tmp_path):
    """The pairs are made anew; features and answers, which take hours, stay and serve again."""
    folder, before = undisturbed[0], contents(undisturbed[0])
    kept = [*folder.glob("features/*/*.safetensors")]
    written = {path: path.stat().st_mtime_ns for path in kept}
    bad = tmp_path / "bad.csv"
    bad.write_bytes(b"prompt,response_1,response_2\nq,caf\xe9,b\n")
    failed = snakemake(workshop, "study=calms", f"source={bad}")
    said = failed.stdout + failed.stderr
    assert failed.returncode != 0 and "is not a whole .csv table in UTF-8" in said
    assert "01_load_pairs.ipynb failed" in said and "its results are those of its last run" in said
    partial = (folder / "01_load_pairs.partial.ipynb").read_text()
    assert "save it again" in partial and UNFINISHED not in partial
    assert contents(folder) == before
    again = snakemake(workshop, "study=calms")
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == written


def test_a_notebook_that_is_killed_loses_nothing_of_its_last_run(undisturbed, workshop, tmp_path):
    shutil.copytree(undisturbed[0], tmp_path / "calms")
    before = contents(tmp_path / "calms")
    given = {"study": "calms", "data_dir": str(tmp_path), "limit": 20}
    command = [sys.executable, "-m", "dtreward.cli", "run", "notebooks/01_load_pairs.ipynb"]
    command += [str(tmp_path / "calms" / "01_load_pairs.ipynb"), json.dumps(given)]
    running = subprocess.Popen(command, cwd=workshop, start_new_session=True)
    drawn = tmp_path / "calms" / UNFINISHED / "01_load_pairs" / "calms" / "figures"
    while not drawn.exists():  # which it draws before its last cell
        assert running.poll() is None
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert contents(tmp_path / "calms") == before


TABLES = {
    "no ratings": (
        {"drop": ["clarity_1", "clarity_2", "depth_1", "depth_2"]},
        "",
    ),
    "no preference": ({"preference": None}, "no pair of the source has a preference"),
    "nothing to test on": ({"split": "train"}, ""),
    "one class": ({"preference": 1}, "all preferences are the same"),
    "one prompt": ({"prompt": "q"}, "expected 3 or more different prompts, to split by, came 1"),
    "names of markup": ({"names": [r"$x_2 \& %#{", "<b onload=x>\n"]}, ""),
    "an attribute that never changes": ({"clarity_1": 1, "clarity_2": 1}, ""),
}


def own_table(path, drop=(), names=("clarity", "depth"), **columns):
    rng, rows = np.random.default_rng(0), 120
    frame = pd.DataFrame({"prompt": [f"question {row // 2}" for row in range(rows)]})
    for side in (1, 2):
        frame[f"response_{side}"] = [
            f"{side} {row} {'w ' * rng.integers(9)}" for row in range(rows)
        ]
        frame[f"clarity_{side}"], frame[f"depth_{side}"] = rng.integers(0, 5, (2, rows))
    gap = frame["clarity_2"] - frame["clarity_1"] + rng.normal(size=rows)
    frame = frame.assign(preference=(gap > 0).astype(int)).assign(**columns).drop(columns=[*drop])
    for name, given in zip(("clarity", "depth"), names, strict=True):
        frame = frame.rename(columns={f"{name}_{side}": f"{given}_{side}" for side in (1, 2)})
    frame.to_parquet(path)


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_that_cannot_be_studied_says_why_and_one_that_can_is_studied(
    kind, workshop, tmp_path
):
    changes, words = TABLES[kind]
    own_table(tmp_path / "own.parquet", **changes)
    shared = {"study": "own", "source": str(tmp_path / "own.parquet"), "data_dir": str(tmp_path)}
    done = run_notebook(workshop, "01_load_pairs", tmp_path, shared)
    if done.returncode == 0:
        more = {"model": "", "resamples": 100}
        done = run_notebook(workshop, "04_fit_preference_tree", tmp_path, shared | more)
    assert (done.returncode != 0) == bool(words), done.stderr[-2000:]
    assert words in done.stderr
    assert (tmp_path / "own" / "tree.json").exists() == (not words)


def run_notebook(workshop, name, folder, parameters):
    words = [f"notebooks/{name}.ipynb", str(folder / f"{name}.ipynb"), json.dumps(parameters)]
    return run_command(workshop, "run", *words)


SPOILT = {
    "pairs that changed after their features": (
        "pairs.parquet",
        "features in .* are of other conversations",
    ),
    "a shard that is cut off": ("shard", "is missing or damaged; run extract_features again"),
    "a record that is cut off": ("02_extract_features.json", "JSONDecodeError"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_the_probe_is_not_fitted_to_what_does_not_belong_together(
    kind, undisturbed, workshop, tmp_path
):
    file, words = SPOILT[kind]
    made = shutil.copytree(undisturbed[0], tmp_path / "calms")
    path = next(made.glob("features/*/*.safetensors")) if file == "shard" else made / file
    if file == "pairs.parquet":
        pairs = pd.read_parquet(path)
        pairs.assign(response_1=pairs["response_1"] + "!").to_parquet(path)
    else:
        path.write_bytes(path.read_bytes()[:-9])
    given = {"study": "calms", "source": "demo", "data_dir": str(tmp_path), "resamples": 100}
    done = run_notebook(workshop, "03_fit_attribute_probe", tmp_path, given)
    assert done.returncode != 0 and re.search(words, done.stderr)
    assert not (made / "probe.safetensors").exists()


# ------------------------------------------------------------------------------------------ disks


@contextmanager
def disk(folder, size):
    """A file system of so many bytes, or skip where this machine may not mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_full_disk_stops_a_notebook_clearly_and_with_room_it_goes_on(
    undisturbed, workshop, tmp_path
):
    with disk(tmp_path / "disk", 2**20) as small:
        (small / "calms").mkdir()
        shutil.copy(undisturbed[0] / "pairs.parquet", small / "calms")
        (small / "filler").write_bytes(
            bytes(2**20 - 2**16 - sum(p.stat().st_size for p in small.rglob("*.parquet")))
        )
        given = {
            "study": "calms",
            "source": "demo",
            "data_dir": str(small),
            "model": str(workshop / "data" / "demo"),
        }
        done = run_notebook(workshop, "02_extract_features", small / "calms", given)
        assert done.returncode != 0 and "No space left on device" in done.stderr
        assert not (small / "calms" / "02_extract_features.ipynb").exists()
        assert not (small / "calms" / "02_extract_features.json").exists()
        remount(small, "size=64m")
        done = run_notebook(workshop, "02_extract_features", small / "calms", given)
        assert done.returncode == 0, done.stderr[-2000:]
        mine, theirs = contents(small / "calms"), contents(undisturbed[0])
        shards = [name for name in theirs if name.startswith("features/")]
        assert shards and all(mine[name] == theirs[name] for name in shards)


def test_answers_stay_when_the_disk_fills_and_are_not_asked_for_again(tmp_path):
    pairs = pd.DataFrame([(n, f"prompt {n}", f"one {n}", f"two {n}") for n in range(60)])
    pairs.columns = ["prompt_id", "prompt", "response_1", "response_2"]

    def reply(body, headers):
        return says(
            ("A is" if shown_first(body)[1] == "one" else "B is")
            + " the better response"
            + "." * 9000
        )

    with disk(tmp_path / "disk", 2**19) as small, endpoint(reply) as (url, came):
        judge = Judge("J", "m", url)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            collect(small / "judges.sqlite", pairs, [judge])
        remount(small, "size=16m")
        kept = len(stored_answers(small / "judges.sqlite", [judge]))
        assert 5 < kept < 120
        came.clear()
        rest = collect(small / "judges.sqlite", pairs, [judge])
        assert rest.stored == len(came) == 120 - kept and not rest.missing["J"]


def test_a_read_only_folder_is_named_before_any_work(workshop, tmp_path):
    with disk(tmp_path / "disk", 2**20) as small:
        (small / "kept.txt").write_text("kept")
        remount(small, "ro")
        given = {"study": "calms", "data_dir": str(small), "limit": 20}
        done = run_notebook(workshop, "01_load_pairs", small / "calms", given)
        assert done.returncode != 0 and "Traceback" not in done.stderr
        assert "Read-only file system" in done.stderr and str(small) in done.stderr
        assert [path.name for path in small.iterdir()] == ["kept.txt"]


def test_a_write_that_meets_a_limit_leaves_the_old_file_and_nothing_else(tmp_path):
    """RLIMIT_FSIZE stops a write as a full disk does, on any machine."""
    tree, big = PreferenceTree.single_split("a", 0.5), {"numbers": list(range(9999))}
    tree.save(tmp_path / "tree.json")
    before = (tmp_path / "tree.json").read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_json(tmp_path / "tree.json", big)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert (tmp_path / "tree.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["tree.json"]


# ------------------------------------------------------------------------------------- downloads


def hub_cache(folder, monkeypatch):
    """A cache as huggingface_hub lays it out, with one whole model, and no network."""
    home = folder / "hub" / "models--owner--model"
    snapshot = home / "snapshots" / ("a" * 40)
    make_decision_tree_replica(folder / "model", "llama")
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("a" * 40)
    (home / "blobs").mkdir()
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted((folder / "model").iterdir())):
        blob = home / "blobs" / f"{number:040d}"
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(f"../../blobs/{blob.name}")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    return snapshot


@pytest.mark.parametrize("damage", ["none", "cut off", "incomplete", "absent", "configuration"])
def test_a_truncated_download_is_named_and_a_whole_one_loads(damage, tmp_path, monkeypatch):
    snapshot = hub_cache(tmp_path, monkeypatch)
    weights = snapshot / "model.safetensors"
    blob = weights.resolve()
    if damage == "cut off":
        blob.write_bytes(blob.read_bytes()[:-100])
    if damage == "incomplete":  # what an interrupted fetch leaves
        blob.rename(f"{blob}.incomplete")
    if damage == "absent":
        weights.unlink()
    if damage == "configuration":
        (snapshot / "config.json").resolve().write_bytes(b'{"model_type": "lla')
    if damage == "none":
        assert load("owner/model").attributes
        return
    with pytest.raises(ValueError, match=r"fetch it again|has no model\.safetensors") as error:
        load("owner/model")
    assert str(snapshot) in str(error.value)


# ------------------------------------------------------------------------------------ determinism

MOST = [
    "03_fit_attribute_probe",
    "04_fit_preference_tree",
    "06_collect_judge_preferences",
    "07_compare_judges",
]


@pytest.mark.slow
def test_another_folder_and_other_threads_give_the_same_bytes(demo, root, tmp_path, monkeypatch):
    """Up to notebook 07, on one thread for linear algebra; tests/same_bytes.py names what may differ."""
    copy = copy_project(root, tmp_path / "another")
    for library in ("OMP", "OPENBLAS", "MKL"):
        monkeypatch.setenv(
            f"{library}_NUM_THREADS", "1" if (os.environ.get("OMP_NUM_THREADS") != "1") else "2"
        )
    targets = [name[3:] for name in MOST]  # the names of their rules
    done = snakemake(copy, *SMALL_STUDY, options=targets)
    assert done.returncode == 0, done.stderr[-3000:]
    wrong = set(differing(demo, copy / "data" / "demo"))
    made = set(contents(copy / "data" / "demo"))
    assert len(made) > 60 and not wrong & made


@pytest.mark.slow
def test_the_whole_demo_study_gives_the_same_bytes_on_one_core_and_on_two(root, tmp_path):
    """Two runs of all pairs: with two rules side by side on one thread each, and one after the other on two."""
    for cores, threads in ((2, 1), (1, 2)):
        copy = tmp_path / f"{cores}"
        subprocess.run(["git", "clone", "-q", str(root), str(copy)], check=True)
        environment = os.environ | {
            f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")
        }
        environment |= {
            "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
            "PYTHONPATH": str(copy),
        }
        command = ["snakemake", "--cores", str(cores), "--nolock", "--config", "study=demo"]
        subprocess.run(command, cwd=copy, env=environment, check=True, capture_output=True)
    assert differing(tmp_path / "1" / "data" / "demo", tmp_path / "2" / "data" / "demo") == []
