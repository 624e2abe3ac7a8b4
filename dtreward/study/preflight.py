"""Say what a study needs before it starts, and stop where something of it is missing.

    dtreward preflight study=NAME [parameter=value ...]

A study that needs more than this repository says so under `needs` in its YAML: `gpu_gb`, `memory_gb`,
`disk_gb` beside the downloads, `hours`, and `downloads` ({hub id: kind, gb, revision}), of which those
count that a parameter names. Commits are kept in data/<study>/revisions.json, and from then on a
repository that has another is an error.
"""

import json
import os
import shutil
import sys
from pathlib import Path

import psutil
import yaml
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    RepositoryNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from dtreward.files import write_json
from dtreward.study.inputs import repository
from dtreward.study.settings import NOTEBOOKS, STUDIES, plain_name, read_study

REVISIONS = "revisions.json"
# A parameter that may name a repository, and the one that takes its commit.
PINS = {
    "source": "revision",
    "model": "model_revision",
    "judges_source": "judges_revision",
    "bench_source": "bench_revision",
}


def pin(parameters, commits):
    """Fill the empty revisions of each notebook's parameters with the commits of what they name."""
    return {name: _pinned(own, commits) for name, own in parameters.items()}


def _pinned(own, commits):
    found = {
        pins: commits.get(repository(own.get(names) or ""))
        for names, pins in PINS.items()
        if own.get(pins) == ""
    }
    if "revisions" in own:
        named = {
            repo: commits[repo] for repo in _repositories(own.get("models", [])) if repo in commits
        }
        found["revisions"] = named | own["revisions"]
    return own | {name: commit for name, commit in found.items() if commit is not None}


def check(study, given, folder):
    """Print what a study needs, record its commits in `folder`, and say what is missing: [sentence].

    Args:
        study: the YAML, with `needs`.
        given: parameters of the command line, which win over it.
        folder: where the study's results go.
    """
    needs = study["needs"]
    parameters = study["parameters"] | given
    kept = folder / REVISIONS
    before = json.loads(kept.read_text()) if kept.exists() else {}
    named = _named(study, given)
    downloads = {name: each for name, each in needs["downloads"].items() if name in named}
    print(
        f"The study '{parameters['study']}' needs a GPU of {needs['gpu_gb']} GB, {needs['memory_gb']} GB of "
        f"memory, {needs['disk_gb']} GB of disk beside the downloads, and about {needs['hours']} h on one H100."
    )
    device = parameters.get("device", "")
    missing = _no_gpu(needs["gpu_gb"], device) + _no_disk(needs["disk_gb"], downloads, folder)
    missing += [] if device == "cpu" else _no_memory(needs["memory_gb"])
    commits, unreachable = _commits(downloads)
    for name, each in downloads.items():
        commit = commits.get(name, "commit unknown")
        print(f"  {name}, {each['kind']}, {commit}: {_left(name, each):.2f} GB to download")
    print(
        f"  {sum(_left(*each) for each in downloads.items()):.1f} GB to download into {constants.HF_HUB_CACHE}"
    )
    for name in commits.keys() & before.keys():
        if commits[name] != before[name] and len(downloads[name]["revision"]) < 40:
            missing.append(
                f"{name} is at {commits[name]} now, this study was made with {before[name]}: to go on with that, "
                f"write it as its revision under needs in the study's YAML; to take the new one, delete {kept}"
            )
    missing += unreachable
    if not missing:
        write_json(kept, before | commits)
    return missing


def _named(study, given):
    """What the parameters name, the command line's instead of the study's."""
    blocks = [study["parameters"], *(study.get(name) or {} for name in study["notebooks"])]
    values = [
        (block | {key: given[key] for key in given if key in block}).values() for block in blocks
    ]
    flat = [each if isinstance(each, list) else [each] for block in values for each in block]
    return {repo for values in flat for repo in _repositories(values)}


def _repositories(names):
    """Hub ids behind names, which may stand among judges' settings."""
    return {repository(each) for each in names if isinstance(each, str)}


def _no_gpu(needed, device):
    if device == "cpu":
        print("  device=cpu: neither GPU nor memory is looked for; it takes days instead of hours")
        return []
    import torch  # takes seconds

    found = [
        torch.cuda.get_device_properties(n).total_memory / 1e9
        for n in range(torch.cuda.device_count())
    ]
    largest = sum(found) if device == "auto" else max(found, default=0)
    advice = f"run it on a machine with one, or on the CPU with SET=device=cpu (days); this one has {largest:.0f} GB"
    return [] if largest >= needed else [f"a GPU of {needed} GB is needed: {advice}"]


def _no_memory(needed):
    has = psutil.virtual_memory().total / 1e9
    return (
        []
        if has >= needed
        else [f"{needed} GB of memory are needed, this machine has {has:.0f} GB"]
    )


def _no_disk(needed, downloads, folder):
    """Disk for results and downloads, which may lie on two; a checkpoint is a copy only between those."""
    made, cache = (_existing(path) for path in (folder, Path(constants.HF_HUB_CACHE)))
    fetched = sum(_left(*each) for each in downloads.items())
    apart = made.stat().st_dev != cache.stat().st_dev
    copied = max((each["gb"] for each in downloads.values()), default=0)
    wanted = {made: needed + copied, cache: fetched} if apart else {made: needed + fetched}
    free = {path: shutil.disk_usage(path).free / 1e9 for path in wanted}
    return [
        f"{wanted[path]:.0f} GB of disk are needed at {path}, {free[path]:.0f} GB are free: "
        "make room, or move the downloads with HF_HOME"
        for path in wanted
        if free[path] < wanted[path]
    ]


def _existing(path):
    return next(each for each in [path.absolute(), *path.absolute().parents] if each.exists())


def _cache(name, kind):
    return Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type=kind))


def _left(name, download):
    """GB still to fetch: of a download that was begun, the rest."""
    blobs = (_cache(name, download["kind"]) / "blobs").glob("*")
    here = sum(path.stat().st_size for path in blobs) / 1e9
    return 0.0 if constants.HF_HUB_OFFLINE else max(0.0, download["gb"] - here)


def _commits(downloads):
    """Commits by repository, and what keeps others away; nothing more is asked where no hub answers."""
    commits = {}
    unreachable = []
    for name, each in downloads.items():
        try:
            commits[name] = _commit(name, each["kind"], each["revision"])
        except (HfHubHTTPError, LookupError) as error:
            unreachable.append(_told(name, error))
        except (OSError, HTTPError) as error:
            advice = (
                "mend the network, or set HF_HUB_OFFLINE=1 where everything has been downloaded"
            )
            unreachable.append(
                f"{constants.ENDPOINT} does not answer ({type(error).__name__}): {advice}"
            )
            break
    return commits, unreachable


def _commit(name, kind, wanted):
    """The whole commit: of `wanted`, which may be its first digits, or of the newest ("")."""
    if constants.HF_HUB_OFFLINE:
        here = _cache(name, kind)
        if wanted:
            found = [path.name for path in here.glob(f"snapshots/{wanted}*")]
        else:
            found = [path.read_text() for path in here.glob("refs/main")]
        if not found:
            raise LookupError(
                f"it is not in {constants.HF_HUB_CACHE} at {wanted or 'main'}; unset HF_HUB_OFFLINE"
            )
        return found[0]
    hub = HfApi()
    hub.auth_check(name, repo_type=kind)
    if not 0 < len(wanted) < 40:
        return hub.repo_info(name, repo_type=kind, revision=wanted or None).sha
    commits = [each.commit_id for each in hub.list_repo_commits(name, repo_type=kind)]
    if len(found := [each for each in commits if each.startswith(wanted)]) != 1:
        raise LookupError(
            f"{len(found)} of its commits begin with {wanted}; correct it in the study's YAML"
        )
    return found[0]


def _told(name, error):
    if isinstance(error, GatedRepoError):
        where = f"accept its terms at {constants.ENDPOINT}/{name}"
        return f"{name} is gated: {where}, and give a token of that account (HF_TOKEN, or hf auth login)"
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{name} is not on {constants.ENDPOINT}, or only for those who are logged in (HF_TOKEN)"
        )
    return f"{name}: {' '.join(str(error.args[0]).split())}"


def preflight(words):
    """Check the study of the command line, given as words name=value; exit with what is missing.

    A study that cannot be read is left to the plan, which says what is wrong with it.
    """
    given = parse_words(words)
    try:
        path = STUDIES / f"{plain_name(given.pop('study', 'demo'))}.yaml"
        study = read_study(path)
    except (OSError, ValueError):
        return
    if "needs" not in study:
        return
    shared = study["parameters"] | given
    folder = Path(os.path.normpath(NOTEBOOKS / shared.get("data_dir", "../data") / shared["study"]))
    missing = check(study, given, folder)
    if missing:
        lines = [f"The study '{path.stem}' does not start:"]
        lines.extend(f"- {sentence}" for sentence in missing)
        sys.exit("\n".join(lines))


def parse_words(words):
    """Read the words of a command line, name=value, with values as in YAML; exit if one is none.

    Example:
        >>> parse_words(["study=demo", "limit=500"])
        {'study': 'demo', 'limit': 500}
    """
    values = {}
    for word in words:
        if "=" not in word:
            sys.exit(f"expected name=value, came {word!r}; for example SET='limit=500 seed=1'")
        name, value = word.split("=", 1)
        values[name] = yaml.safe_load(value)
    return values
