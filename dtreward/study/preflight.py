"""Say what a study needs before it starts, and stop where something of it is missing.

    dtreward preflight study=NAME [parameter=value ...]

A study that needs more than this repository says so under `needs` in its YAML: `gpu_gb` (left out
where it needs no GPU), `memory_gb`, `disk_gb` beside the downloads, `hours`, and `downloads` ({hub id: kind, gb,
revision}). Only the downloads that a parameter names are looked at. Their commits are kept in
data/<study>/revisions.json; a repository that has moved to another commit since is an error.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil
from huggingface_hub import constants, try_to_load_from_cache

from dtreward.files import write_json
from dtreward.study.hub import Download, columns_of, find_commits, read_downloads
from dtreward.study.inputs import repository
from dtreward.study.own import find_study
from dtreward.study.settings import DATA_DIR, read_study, study_folder
from dtreward.study.sources import SOURCES, fetch_sources, sources_in_use

REVISIONS = "revisions.json"
# A parameter that may name a repository, and the one that takes its commit.
REVISION_OF = {
    "source": "revision",
    "model": "model_revision",
    "judges_source": "judges_revision",
    "bench_source": "bench_revision",
}
Parameters = Mapping[str, Any]


def pin(
    parameters: Mapping[str, dict[str, Any]], commits: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Fill in the empty revisions of each notebook's parameters.

    Args:
        parameters: by notebook.
        commits: by repository.

    Example:
        >>> pin({"01": {"source": "a/b", "revision": ""}}, {"a/b": "c0ffee"})
        {'01': {'source': 'a/b', 'revision': 'c0ffee'}}
    """
    return {name: _pinned(own, commits) for name, own in parameters.items()}


def _pinned(own: dict[str, Any], commits: Mapping[str, str]) -> dict[str, Any]:
    filled = dict(own)
    for parameter, revision in REVISION_OF.items():
        commit = commits.get(repository(own.get(parameter) or ""))
        if own.get(revision) == "" and commit is not None:
            filled[revision] = commit
    if "revisions" in own:
        named = repositories([*own.get("models", []), *own.get("benches", [])])
        known = {repo: commits[repo] for repo in named if repo in commits}
        filled["revisions"] = known | own["revisions"]
    return filled


def repositories(values: Iterable[Any]) -> set[str]:
    """Give the hub ids behind names; values that are no texts, as judges' settings, have none."""
    return {repository(value) for value in values if isinstance(value, str)}


def repositories_of(study: Parameters, given: Parameters) -> set[str]:
    """Give the repositories that a study's parameters name.

    Args:
        study: the YAML of the study.
        given: parameters of the command line, which win over the study's.
    """
    blocks = [study["parameters"]]
    blocks += [study.get(name) or {} for name in study["notebooks"]]
    named = set()
    for block in blocks:
        overridden = {name: given[name] for name in given if name in block}
        for value in (block | overridden).values():
            named |= repositories(value if isinstance(value, list) else [value])
    return named


def check(study: Parameters, given: Parameters, folder: Path) -> list[str]:
    """Print what a study needs, record its commits, and give a sentence for all that is missing.

    Args:
        study: the YAML, with `needs`.
        given: parameters of the command line, which win over the study's.
        folder: where the study's results go.
    """
    needs = study["needs"]
    parameters = study["parameters"] | given
    device = parameters.get("device", "")
    named = repositories_of(study, given)
    downloads = [one for one in read_downloads(needs["downloads"]) if one.name in named]
    gpu_gb = needs.get("gpu_gb", 0)
    print(
        f"The study '{parameters['study']}' needs "
        f"{f'a GPU of {gpu_gb} GB' if gpu_gb else 'no GPU'}, "
        f"{needs['memory_gb']} GB of memory, {needs['disk_gb']} GB of disk beside the downloads, "
        f"and about {needs['hours']} h on {'one H100' if gpu_gb else 'two cores'}."
    )
    missing = []
    if gpu_gb and device == "cpu":
        print("  device=cpu: GPU and memory are not checked; it takes days instead of hours")
    else:
        if gpu_gb:
            missing += missing_gpu(gpu_gb, device)
        missing += missing_memory(needs["memory_gb"])
    missing += missing_disk(needs["disk_gb"], downloads, folder)
    missing += _check_commits(downloads, folder, record=not missing)
    return missing or check_models(downloads, folder) or _show_columns(downloads, folder)


def check_models(downloads: list[Download], folder: Path) -> list[str]:
    """Check the models that are still to be downloaded, by their small files and weights' headers.

    Prints what differs from what was published, and gives a sentence for each model that `load`
    would refuse after hours of downloading.

    Args:
        downloads: of a study; those of data sets, and models in the hub's cache, are left out.
        folder: of the study, where the commits are kept.
    """
    from dtreward.models.check import check_model  # imports torch, which takes seconds

    commits = json.loads((folder / REVISIONS).read_text(encoding="utf-8"))
    wrong = []
    for one in downloads:
        commit = commits[one.name]
        is_here = try_to_load_from_cache(one.name, "config.json", revision=commit) is not None
        if one.kind != "model" or is_here:
            continue
        try:
            found = check_model(one.name, commit)
        except (OSError, ValueError) as error:
            wrong.append(f"{one.name}: {' '.join(str(error).split())}")
            continue
        print(f"  {one.name}: {found.verdict}")
        for fact in found.differences:
            print(f"    {fact.name} {fact.outcome}: {fact.found}; expected {fact.expected}")
        if found.refused:
            wrong.append(f"{one.name}: {found.reason}")
    return wrong


def _show_columns(downloads: list[Download], folder: Path) -> list[str]:
    """Print the columns of the tables that a study has not seen before, and say what is wrong."""
    commits = json.loads((folder / REVISIONS).read_text(encoding="utf-8"))
    wrong = []
    for one in downloads:
        try:
            tables = columns_of(one, commits[one.name])
        except (OSError, ValueError) as error:
            wrong.append(f"{one.name}: {' '.join(str(error).split())}")
            continue
        for name, (rows, columns) in tables.items():
            print(f"  {one.name}, {name}: {rows:,} rows with {', '.join(columns)}")
    return wrong


def _check_commits(downloads: list[Download], folder: Path, *, record: bool) -> list[str]:
    """Print the commits of the downloads, and say which of them have moved or cannot be reached."""
    file = folder / REVISIONS
    before = json.loads(file.read_text()) if file.exists() else {}
    commits, missing = find_commits(downloads)
    for one in downloads:
        commit = commits.get(one.name) or one.describe_revision(before.get(one.name, ""))
        print(f"  {one.name}, {one.kind}, {commit}: {_what_is_left(one, commits)}")
    if constants.HF_HUB_OFFLINE:
        print(f"  nothing is downloaded (HF_HUB_OFFLINE=1); the cache is {constants.HF_HUB_CACHE}")
    else:
        total = sum(one.gb_left for one in downloads)
        print(f"  {total:.1f} GB to download into {constants.HF_HUB_CACHE}")
    for one in downloads:
        now = commits.get(one.name)
        recorded = before.get(one.name)
        is_fixed_by_the_study = len(one.revision) == 40
        if now and recorded and now != recorded and not is_fixed_by_the_study:
            missing.append(
                f"{one.name} is at {now} now, this study was made with {recorded}: to go on with "
                "that, write it as its revision under needs in the study's YAML; to take the new "
                f"one, delete {file}"
            )
    if record and not missing:
        write_json(file, before | commits)
    return missing


def _what_is_left(one: Download, commits: Mapping[str, str]) -> str:
    if not constants.HF_HUB_OFFLINE:
        return f"{one.gb_left:.2f} GB to download"
    return "in the cache" if one.name in commits else "not in the cache"


def missing_gpu(needed_gb: int | float, device: str) -> list[str]:
    """Say so if no GPU is large enough, or, with device "auto", all of them together."""
    import torch  # takes seconds

    sizes = [
        torch.cuda.get_device_properties(number).total_memory / 1e9
        for number in range(torch.cuda.device_count())
    ]
    available = sum(sizes) if device == "auto" else max(sizes, default=0)
    if available >= needed_gb:
        return []
    if sizes:
        number = "its GPUs together have" if device == "auto" else "its largest GPU has"
        found = f"{number} {available:.0f} GB"
    elif torch.version.cuda or torch.version.hip:
        found = "torch finds no GPU here"
    else:
        found = f"the installed torch {torch.__version__} is built without GPU support"
    advice = "run it on a machine with one, or on the CPU with SET=device=cpu (days)"
    return [f"a GPU of {needed_gb} GB is needed, {found}: {advice}"]


def missing_memory(needed_gb: int | float) -> list[str]:
    """Say so if the machine has less memory."""
    available = psutil.virtual_memory().total / 1e9
    if available >= needed_gb:
        return []
    return [f"{needed_gb} GB of memory are needed, this machine has {available:.0f} GB"]


def missing_disk(needed_gb: int | float, downloads: list[Download], folder: Path) -> list[str]:
    """Say which disk has too little room for results or downloads.

    The two may lie on different disks. Then the checkpoint of a study cannot be linked to the
    download of its backbone, and is a copy.
    """
    results = _nearest_existing(folder)
    cache = _nearest_existing(Path(constants.HF_HUB_CACHE))
    fetched = sum(one.gb_left for one in downloads)
    if results.stat().st_dev == cache.stat().st_dev:
        needed = {results: needed_gb + fetched}
    else:
        copied = max((one.gb for one in downloads), default=0)
        needed = {results: needed_gb + copied, cache: fetched}
    missing = []
    for path, gb in needed.items():
        free = shutil.disk_usage(path).free / 1e9
        if free < gb:
            missing.append(
                f"{gb:.0f} GB of disk are needed at {path}, {free:.0f} GB are free: make room, or "
                "move the downloads with HF_HOME"
            )
    return missing


def _nearest_existing(path: Path) -> Path:
    absolute = path.absolute()
    return next(place for place in (absolute, *absolute.parents) if place.exists())


def check_needs(words: Mapping[str, Any]) -> None:
    """Check what the study of a command line needs, if it says so; exit with what is missing.

    Public files that the study names as its sources are fetched first.

    Raises:
        ValueError: if there is no such study, if its YAML cannot be read, or if a source cannot be
            fetched.
    """
    given = {name: value for name, value in words.items() if name not in ("study", "name")}
    path = find_study(words.get("study", "demo") or "")
    study = read_study(path)
    if "sources" in study:
        copy = given.get("source") or ""
        fetch_sources(sources_in_use(study, given), SOURCES, copy)
    if "needs" not in study:
        return
    shared = study["parameters"] | given
    missing = check(study, given, study_folder(shared["study"], shared.get("data_dir", DATA_DIR)))
    if missing:
        lines = [f"The study '{path.stem}' does not start:"]
        lines.extend(f"- {sentence}" for sentence in missing)
        sys.exit("\n".join(lines))
