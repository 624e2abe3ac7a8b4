"""Check at the door of a study what can be known without running it.

    dtreward preflight study=NAME [parameter=value ...]

The words are those that Snakemake gets. What the study needs of the machine comes first
(`preflight`), then its plan, then the files, columns, models and judges that the parameters of its
unfinished notebooks name. Nothing of the study is changed.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from dtreward.models.catalogue import CATALOGUE, find_entry
from dtreward.models.checkpoint_folder import read_config, weight_files
from dtreward.pairs.columns import group_of_pairs
from dtreward.pairs.formats import HELPSTEER2
from dtreward.pairs.split import check_shares
from dtreward.pairs.text_attributes import TEXT_ATTRIBUTES
from dtreward.study.hub import Download, find_commits
from dtreward.study.plan import (
    StudyPlan,
    is_missing_folder,
    local_path,
    nearest,
    plan_study,
)
from dtreward.study.preflight import REVISION_OF, check_needs
from dtreward.study.settings import (
    default_parameters,
    parse_words,
    refuse_unknown,
    seen_from_here,
)
from dtreward.tree.nodes import ATTRIBUTES

PAIRS = "01_load_pairs"
JUDGES = "06_collect_judge_preferences"
BENCH = "09_evaluate_rewardbench"
RATED_ON_FIVE = (
    "demo",
    HELPSTEER2,
)  # sources that are no table here, but whose attributes are known
NO_FILES = {"", "demo", "endpoints"}  # values of parameters of sources that name no file


def check_door(words: Sequence[str]) -> StudyPlan:
    """Check the study of a command line, given as words name=value, and give its plan.

    It exits with all that is wrong. A wrong word ends it at once, with one line.
    """
    given = parse_words(words)
    try:
        check_needs(given)
        plan = plan_study(given)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(str(error))
    wrong = list(find_faults(plan))
    if wrong:
        lines = [f"The study '{plan.study}' does not start:"]
        lines.extend(f"- {sentence}" for sentence in wrong)
        sys.exit("\n".join(lines))
    return plan


def find_faults(plan: StudyPlan) -> Iterator[str]:
    """Give a sentence for each thing that the study's unfinished notebooks cannot do with."""
    open_notebooks = [name for name in plan.notebooks if not plan.is_finished(name)]
    values = {name: default_parameters(name) | plan.parameters[name] for name in open_notebooks}
    yield from _wrong_revisions(values)
    if PAIRS in values:
        groups = {own["group"] for own in values.values() if own.get("group")}
        yield from _faults_of_pairs(values[PAIRS], groups)
        if values[PAIRS]["rated_by"]:
            yield from _wrong_raters(values[PAIRS])
    yield from _faults_of_models(plan, values)
    if JUDGES in values:
        yield from _faults_of_judges(values[JUDGES])
    if BENCH in values:
        yield from _missing_file("bench_source", values[BENCH]["bench_source"])
        for source in values[BENCH]["benches"]:
            yield from _missing_bench(source)


def _wrong_revisions(values: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Find revisions of what is no repository of the hub: they would say nothing."""
    named = {}
    for own in values.values():
        for parameter, revision in REVISION_OF.items():
            if own.get(revision) and local_path(own.get(parameter)):
                named[revision] = own[parameter]
    for revision, path in named.items():
        yield f"{revision} is a commit on the hub, and {path} is a file or folder here: leave it out"


def _faults_of_pairs(own: Mapping[str, Any], groups: Collection[str]) -> Iterator[str]:
    """Read a table as notebook 01 does, and give what it would say.

    Args:
        groups: columns by which other notebooks compare.
    """
    path = local_path(own["source"])
    if path is None:
        yield from _unknown_attributes(own)
        yield from _wrong_shares(own)
        return
    from dtreward.pairs.frame import load_pairs  # takes a second
    from dtreward.pairs.summary import what_is_lacking

    names = set(inspect.signature(load_pairs).parameters) - {"source"}
    options = {name: own[name] for name in names if name in own}
    options["rated"] = not own["rewards_of"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the notebook shows them
            frame = load_pairs(path, **options).frame
        for group in sorted(groups):
            group_of_pairs(frame, group)
    except (OSError, ValueError) as error:
        yield str(error)
        return
    lacking = what_is_lacking(frame)
    if lacking:
        yield f"{path}: {lacking}"


def _wrong_shares(own: Mapping[str, Any]) -> Iterator[str]:
    try:
        check_shares(own["validation_share"], own["test_share"])
    except ValueError as error:
        yield str(error)


def _unknown_attributes(own: Mapping[str, Any]) -> Iterator[str]:
    """Find attributes that the demo world and HelpSteer2 do not rate."""
    if own["source"] not in RATED_ON_FIVE or own.get("rewards_of"):
        return
    for name in own["attributes"]:
        if name not in (*ATTRIBUTES, *TEXT_ATTRIBUTES):
            near = difflib.get_close_matches(name, ATTRIBUTES, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            yield f"{own['source']} has no attribute {name}; it has {', '.join(ATTRIBUTES)}{hint}"


def _faults_of_models(plan: StudyPlan, values: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Check each model that a notebook loads once: its files here, or that the hub has it."""
    revisions: dict[str, str] = {}
    judges = []
    for own in values.values():
        if own.get("model"):
            revisions[own["model"]] = own.get("model_revision", "")
        if own.get("rewards_of"):
            revisions.setdefault(own["rewards_of"], "")
        for entry in own.get("models", ()):
            if isinstance(entry, str):
                revisions.setdefault(entry, own.get("revisions", {}).get(entry, ""))
            else:
                judges.append(entry)
    for name, revision in revisions.items():
        is_made_by_the_study = Path(name).parts[-2:] == (plan.folder.name, "checkpoint")
        if not is_made_by_the_study:
            yield from _faults_of_model(name, revision, on_hub=not plan.is_real)
    yield from _wrong_judges(judges, "models")


def _faults_of_model(name: str, revision: str, *, on_hub: bool) -> Iterator[str]:
    folder = local_path(name)
    if folder is not None:
        yield from _faults_of_folder(folder)
        return
    entry = find_entry(name)
    repo = name if entry is None else entry.repo
    is_of_the_hub = _is_hub_id(repo) and not is_missing_folder(repo)
    if is_of_the_hub and on_hub:
        yield from _faults_on_hub(Download(repo, "model", 0, revision))
    elif entry is None and not is_of_the_hub:
        yield (
            f"there is no model {seen_from_here(name)} here{nearest(name, CATALOGUE)}; expected a "
            "folder, a hub id (owner/name) or a name of the leaderboard"
        )


def _is_hub_id(name: str) -> bool:
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def _faults_of_folder(folder: Path) -> Iterator[str]:
    is_gguf = folder.is_file() and folder.suffix == ".gguf"
    if is_gguf and _first_bytes(folder, 4) == b"GGUF":
        return
    try:
        read_config(folder)
        weight_files(folder)
    except (OSError, ValueError) as error:
        yield f"{folder} is no model that can be loaded: {error}"


def _faults_on_hub(download: Download) -> Iterator[str]:
    """Ask the hub for a model; one that has been fetched before is taken as it is."""
    has_been_fetched = any(download.cache.glob("snapshots/*/config.json"))
    if not has_been_fetched:
        _, missing = find_commits([download])
        yield from (f"the model {download.name} is not here: {sentence}" for sentence in missing)


def _faults_of_judges(own: Mapping[str, Any]) -> Iterator[str]:
    source = own["judges_source"]
    if source == "demo" and own["source"] != "demo":
        yield (
            "judges_source='demo' are judges of the demo world, and know no other pairs: give "
            "'endpoints' with judges, a file or folder of preferences, or a hub data set"
        )
    if source == "endpoints" and not own["judges"]:
        yield (
            "judges_source='endpoints' asks the judges in `judges`, which is empty: give a list of "
            "{name, model, endpoint}"
        )
    yield from _missing_file("judges_source", source)
    yield from _missing_file("judges_table", own["judges_table"])
    if source == "endpoints":
        yield from _wrong_judges(own["judges"], "judges")
        yield from _unpriced_judges(own)
    yield from _wrong_template(own["template"])


def _unpriced_judges(own: Mapping[str, Any]) -> Iterator[str]:
    """Find judges without prices where there is a budget of money."""
    judges = [judge for judge in own["judges"] if isinstance(judge, Mapping)]
    prices = ("input_price", "output_price")
    unpriced = [
        str(judge.get("name"))
        for judge in judges
        if any(judge.get(price) is None for price in prices)
    ]
    if own["max_money"] and unpriced:
        yield (
            f"max_money needs prices; {', '.join(unpriced)} has none: give input_price and "
            "output_price (money for a million tokens; 0 for a server of your own)"
        )


def _wrong_raters(own: Mapping[str, Any]) -> Iterator[str]:
    """Check the judge that rates responses, and its rubrics; nothing is sent."""
    if len(own["rated_by"]) > 1:
        yield f"rated_by: expected one judge, came {len(own['rated_by'])}"
    if own["rated_by"] and own["rewards_of"]:
        yield "rated_by and rewards_of both give attributes: leave one of them out"
    yield from _wrong_judges(own["rated_by"], "rated_by")
    from dtreward.judges.ratings import rating_questions  # takes a second

    try:
        rating_questions(own["rubrics"])
    except ValueError as error:
        yield str(error)


def _missing_file(parameter: str, value: str) -> Iterator[str]:
    is_hub_id = value.count("/") == 1 and value[0] not in "./~" and not Path(value).suffix
    if value in NO_FILES or is_hub_id or local_path(value):
        return
    yield f"{parameter}: there is no {seen_from_here(value)} here{nearest(value, NO_FILES)}"


def _missing_bench(source: str) -> Iterator[str]:
    """Find what is neither a bench by its name, nor an id on the hub, nor a file or folder."""
    from dtreward.benches.reading import BENCHES, bench_name  # takes a second

    if not bench_name(source.partition(":")[0]):
        for sentence in _missing_file("benches", source):
            yield f"{sentence}; benches by name: {', '.join(BENCHES)}"


def _wrong_judges(judges: Sequence[Any], parameter: str) -> Iterator[str]:
    """Check fields, addresses and keys of judges; nothing is sent."""
    from dtreward.judges.judge import Judge  # takes a second

    names = []
    for number, settings in enumerate(judges, 1):
        where = f"{parameter}, entry {number}"
        if not isinstance(settings, Mapping):
            yield f"{where}: expected {{name, model, endpoint}}, came {settings!r:.80}"
            continue
        names.append(settings.get("name"))
        wrong_fields = list(_wrong_fields(settings, dataclasses.fields(Judge), where))
        yield from wrong_fields
        if wrong_fields:
            continue
        try:
            judge = Judge(**settings)
            _, key = judge.connection()
            judge.own_headers(key)
        except ValueError as error:
            yield str(error)
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        yield f"{parameter}: {', '.join(twice)} stands there twice; answers are kept by name"


def _wrong_fields(
    settings: Mapping[str, Any], fields: Sequence[dataclasses.Field], where: str
) -> Iterator[str]:
    """Find fields that no judge has, and those that each needs."""
    try:
        refuse_unknown(settings, {field.name for field in fields}, where, what="field")
    except ValueError as error:
        yield str(error)
    needed = {field.name for field in fields if _has_no_default(field)}
    missing = sorted(needed - set(settings))
    if missing:
        yield f"{where}: it lacks {', '.join(missing)}"


def _has_no_default(field: dataclasses.Field) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _wrong_template(template: str) -> Iterator[str]:
    if not template:
        return
    from dtreward.judges.judge import render

    try:
        render(template, "prompt", "one", "two")
    except ValueError as error:
        yield f"template: {error}"


def _first_bytes(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)
