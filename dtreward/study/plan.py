"""Plan a study: which notebooks run, with which parameters, from which files to which files.

The Snakefile turns a `StudyPlan` into rules. Paths are relative to the repository's folder, where
Snakemake runs; parameters that name files are relative to `notebooks/`, where notebooks run.
"""

import difflib
import fcntl
import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from dtreward.study.by_hand import is_by_hand
from dtreward.study.graph import files_of_a_model, maker_of, read_graph
from dtreward.study.own import (
    as_own_study,
    choose_name,
    find_study,
    needs_source,
    own_file,
    results,
    write_own_file,
)
from dtreward.study.preflight import REVISIONS, pin
from dtreward.study.settings import (
    DATA_DIR,
    LEAST_IN,
    NOTEBOOKS,
    read_study,
    require_repository,
    seen_from_here,
    study_folder,
    study_parameters,
)
from dtreward.study.stamps import is_current, stamp_path

# Only these files of a model's folder are inputs: a study's results may lie in the same folder.
MODEL_FILES = (
    "config.json",
    "tokenizer*",
    "*_tokens*.json",
    "vocab.*",
    "merges.txt",
    "chat_template.jinja",
    "model*.safetensors*",
    "*.bin*",
    "decision_tree.*",
)
FOLDER_FILES = {
    "model": MODEL_FILES,
    "rewards_of": MODEL_FILES,
    "models": MODEL_FILES,
    "measured": ("*.json",),
}
DATA_FILES = ("*.gz", "*/*.gz", "*.csv", "*.parquet", "*/*.parquet", "*.arrow", "*/*.arrow")
DEFAULT_PATHS = {  # read also where the study does not name them
    "few_bits": "../data/measured/trained_smollm2-135m.json",
    "measured": "../data/measured",
    "recurrence": "../data/measured/split_recurrence.json",
}
COMPARE = "00_compare_two_responses"
COLLECT = "06_collect_judge_preferences"
EXTRACT = "02_extract_features"
LAST_LAYER = -1
CHECKPOINT = "checkpoint/"
FILES_OF_A_HEAD = ("probe.safetensors", CHECKPOINT)
JUDGE_PARAMETERS = ("judges_source", "judges", "judges_table")
WORLDS = ("demo", "nvidia/HelpSteer2")  # sources that are no files here


@dataclass(frozen=True)
class StudyPlan:
    """What one run of a study does.

    Attributes:
        study: its name.
        folder: where its results go, data/<study>.
        notebooks: the notebooks that run, in order.
        left_out: notebooks of the study that need a reward model, a checkpoint or judges, where it
            has none.
        parameters: the parameters of each notebook, {notebook: {name: value}}.
        has_model: whether the study has a reward model.
        has_head: whether its probe becomes a head, and so a checkpoint: it reads the last layer.
        is_real: whether it stands on commits of the hub, and one model at a time fits on the GPU.
        package: hash of the package's files.
        own: the YAML to write for a table's own study, else None.
    """

    study: str
    folder: Path
    notebooks: tuple[str, ...]
    left_out: tuple[str, ...]
    parameters: dict
    has_model: bool
    has_head: bool
    is_real: bool
    package: str
    own: dict | None = None

    def inputs(self, name):
        """Give the input files of a notebook: stamps of others, then what its parameters name.

        A file of a notebook that the study does not run is an input itself.
        """
        notebook = read_graph()[name]
        files = []
        makers = [other for other in self.notebooks if notebook.reads_all and other != name]
        for file in self._expected(notebook.reads):
            maker = maker_of(file)
            if maker in self.notebooks:
                makers.append(maker)
            else:
                files.append(f"{self.folder}/{file.rstrip('/')}")
        optional = {maker_of(file) for file in notebook.may_read}
        makers.extend(other for other in self.notebooks if other in optional)
        stamps = [self.stamp(maker) for maker in dict.fromkeys(makers)]
        for parameter in notebook.file_parameters:
            default = DEFAULT_PATHS.get(parameter, "")
            value = self.parameters[name].get(parameter, default)
            files.extend(named_files(parameter, value, self.folder))
        return stamps + files

    def outputs(self, name):
        """Give the output files and folders of a notebook, its record last, its executed copy apart."""
        files = self._expected(read_graph()[name].outputs)
        return [f"{self.folder}/{file.rstrip('/')}" for file in files]

    def stamp(self, name):
        """Give the file that says that a notebook has finished with these parameters and this code."""
        parts = (
            self.parameters_as_json(name),
            text_digest(name),
            self.package,
            *self.hidden_from(name),
        )
        return str(stamp_path(self.folder, name, *parts))

    def parameters_as_json(self, name):
        """Give the parameters of a notebook as JSON."""
        return json.dumps(self.parameters[name], sort_keys=True)

    def hidden_from(self, name):
        """Name the notebooks whose earlier results a notebook must not see: those left out."""
        return self.left_out if read_graph()[name].reads_all else ()

    def drop_outdated_stamps(self):
        """Delete the stamps of notebooks whose files have been deleted or changed since.

        Snakemake then runs these notebooks again.
        """
        for name in self.notebooks:
            if not self._is_as_left(name):
                Path(self.stamp(name)).unlink(missing_ok=True)

    def is_finished(self, name):
        """Say whether a notebook has run, with these parameters and on its inputs as they are."""
        if not self._is_as_left(name):
            return False
        finished = Path(self.stamp(name)).stat().st_mtime
        inputs = [Path(path) for path in self.inputs(name)]
        return all(path.exists() and path.stat().st_mtime <= finished for path in inputs)

    def _is_as_left(self, name):
        files = [*self.outputs(name), self.executed(name)]
        return is_current(Path(self.stamp(name)), map(Path, files))

    def needs_gpu(self, name):
        """Say whether a notebook needs the GPU for itself."""
        return self.is_real and read_graph()[name].on_gpu

    def executed(self, name):
        """Give the path of a notebook's executed copy."""
        return f"{self.folder}/{name}.ipynb"

    def _expected(self, files):
        absent = set()
        if not self.has_model:
            absent.update(files_of_a_model())
        if not self.has_head:
            absent.update(FILES_OF_A_HEAD)
        return [file for file in files if file not in absent]


def plan_study(command_line):
    """Plan the study that a command line names, {"study": name, parameter: value, ...}.

    Raises:
        FileNotFoundError: outside the repository, or where the commits of a real study are missing.
        ValueError: for a study, parameter, table or model that does not exist, in one line.
    """
    require_repository()
    study_file = find_study(command_line.get("study", "demo") or "")
    study = read_study(study_file)
    given = _given(command_line)
    if "sources" in study:
        given.pop("source", None)  # a copy of the study's files, which the preflight has taken
    _refuse_missing_source(study_file.stem, study["parameters"] | given)
    own = _own_study(study, given, command_line.get("name") or "")
    if own is not None:
        study = own
        given = {}
    shared = study["parameters"] | given
    _refuse_missing_model(shared)
    left_out = _left_out(study, shared)
    parameters = _parameters(study, given, left_out)
    folder = study_folder(shared["study"], shared.get("data_dir", DATA_DIR))
    if is_by_hand(folder):
        raise ValueError(
            f"data_dir={shared['data_dir']} is for notebooks run by hand: leave it out"
        )
    if COMPARE in parameters:  # it asks the model that the study makes
        parameters[COMPARE]["model"] = os.path.relpath(folder / "checkpoint", NOTEBOOKS)
    if "needs" in study:
        parameters = pin(parameters, _commits(study_file.stem, folder))
    return StudyPlan(
        study=shared["study"],
        folder=folder,
        notebooks=tuple(parameters),
        left_out=tuple(left_out),
        parameters=parameters,
        has_model=bool(shared.get("model")),
        has_head=_has_head(study, shared),
        is_real="needs" in study,
        package=package_digest(),
        own=own,
    )


def _left_out(study, shared):
    """Name the notebooks that need a reward model, a checkpoint or judges, where a study has none."""
    graph = read_graph()
    has_head = _has_head(study, shared)
    has_model = bool(shared.get("model"))
    has_no_judges = _has_no_judges(study, shared)
    names = []
    for name in study["notebooks"]:
        lacks_model = graph[name].needs_model and not has_model
        lacks_head = CHECKPOINT in graph[name].reads and not has_head
        if lacks_model or lacks_head or (graph[name].needs_judges and has_no_judges):
            names.append(name)
    return names


def _has_head(study, shared):
    """Say whether the study reads the features of the last layer, on which a head can be put."""
    layer = shared.get("layer", study.get(EXTRACT, {}).get("layer", LAST_LAYER))
    return layer == LAST_LAYER


def _parameters(study, given, left_out):
    """Give the parameters of each notebook of a study that runs."""
    shared = study["parameters"]
    if _has_no_judges(study, shared | given):
        shared = _without_judges(shared)
        given = _without_judges(given)
    notebooks = [name for name in study["notebooks"] if name not in left_out]
    try:
        return study_parameters(study | {"notebooks": notebooks, "parameters": shared}, given)
    except ValueError as error:
        if (shared | given).get("model") or not left_out:
            raise
        hint = "notebooks on a reward model run only with MODEL=<hub id or folder>"
        raise ValueError(f"{error}; {hint}") from error


def _own_study(study, given, name):
    """Give the YAML of the study of one table, or None for a study that is not for any table.

    Raises:
        ValueError: if the folder of that study holds another's results.
    """
    shared = study["parameters"] | given
    data_dir = shared.get("data_dir", DATA_DIR)
    if needs_source(study):
        return as_own_study(study, given, choose_name(name, shared["source"], data_dir))
    if name:
        raise ValueError(
            f"the study '{shared['study']}' has its name already; NAME is for a table's study: "
            "make study STUDY=own SOURCE=<file> NAME=<name>"
        )
    if own_file(shared["study"], data_dir).exists():
        choose_name(shared["study"], shared["source"], data_dir)
    return None


def _given(command_line):
    """Give the parameters of the command line, with paths as notebooks see them."""
    given = {}
    for name, value in command_line.items():
        if name not in ("study", "name"):
            given[name] = "" if value is None else _typed(name, value)
    for notebook in read_graph().values():
        for name in notebook.file_parameters:
            if name in given:
                given[name] = seen_from_notebooks(_as_name(name, given[name]))
    return given


def _as_name(name, value):
    """Give the name of a file or folder that YAML has read as something else.

    Raises:
        ValueError: for "a: b", which YAML takes for a mapping.
    """
    if isinstance(value, dict):
        raise ValueError(  # noqa: TRY004 (a wrong value, as of every other parameter)
            f"expected {name} as the name of a file, folder or data set, came {value!r:.80}; "
            "rename it without a colon before a space"
        )
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _typed(name, value):
    """Read what Snakemake leaves as text: true, false, numbers in a list, and a judge's settings."""
    if value in ("true", "false"):
        return value == "true"
    if not isinstance(value, list):
        return value
    holds_numbers = name in LEAST_IN
    entries = []
    for entry in value:
        if isinstance(entry, dict):  # {name, model, endpoint, max_tokens, ...}
            names = {key: entry[key] for key in ("name", "model", "family") if key in entry}
            entries.append({key: _as_yaml(text) for key, text in entry.items()} | names)
        else:
            entries.append(_as_yaml(entry) if holds_numbers else entry)
    return entries


def _as_yaml(value):
    return yaml.safe_load(value) if isinstance(value, str) else value


def _refuse_missing_source(study, shared):
    source = shared.get("source", "demo")
    if not source:
        raise ValueError(
            f"the study '{study}' needs a table: make study STUDY={study} SOURCE=<file>"
        )
    if source in WORLDS or local_path(source):
        return
    raise ValueError(
        f"there is no {seen_from_here(source)} here{nearest(source, WORLDS)}; SOURCE is a table, a "
        "file or a folder: see docs/your-own-attributes.md"
    )


def _refuse_missing_model(shared):
    model = shared.get("model") or ""
    if is_missing_folder(model):
        raise ValueError(
            f"there is no {seen_from_here(model)} here{nearest(model)}; MODEL is a folder with a "
            "model, or a hub id: owner/name"
        )


def nearest(name, words=()):
    """Ask, in brackets, whether something is meant that is nearly called so; "" if nothing is.

    Args:
        name: a parameter's value that names nothing: a path from here or from `notebooks/`, or a word.
        words: that it may be, beside files and folders.
    """
    matches = difflib.get_close_matches(name, words, 1)
    for place in (Path(name).parent, NOTEBOOKS / Path(name).parent):
        if place.is_dir():
            beside = {path.name: path for path in place.iterdir() if path.name[0] != "."}
            near = difflib.get_close_matches(Path(name).name, beside, 1)
            matches.extend(os.path.normpath(beside[match]) for match in near)
    return f" (did you mean {matches[0]}?)" if matches else ""


def _has_no_judges(study, shared):
    """Say whether a study leaves its judges open: it has the parameters, and all are empty."""
    named = shared | (study.get(COLLECT) or {})
    return "judges_source" in named and not any(named.get(name) for name in JUDGE_PARAMETERS)


def _without_judges(parameters):
    return {name: value for name, value in parameters.items() if name not in JUDGE_PARAMETERS}


def is_missing_folder(model):
    """Say whether a model's name is a path that leads nowhere.

    A hub id, owner/name, is in no folder that exists here.
    """
    path = Path(str(model))
    if len(path.parts) < 2 or local_path(str(path)):
        return False
    return path.parent.is_dir() or local_path(str(path.parent)) is not None


def _commits(study, folder):
    path = folder / REVISIONS
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there: make study STUDY={study}, or dtreward preflight study={study}, "
            "writes it"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def local_path(name):
    """Give the path from here of what a parameter names, or None for a hub id or another word.

    Args:
        name: a parameter's value, a path as notebooks see it.
    """
    if not name or not isinstance(name, str):
        return None
    path = Path(os.path.normpath(NOTEBOOKS / name))
    if not path.exists():
        return None
    return Path(os.path.abspath(path)) if path.parts[0] == ".." else path


def seen_from_notebooks(value):
    """Turn a path of the command line, or a list of them, into one relative to `notebooks/`.

    Other values stay as they are, and so does a hub id. A checkpoint that the study has yet to make
    is a path too.

    Example:
        >>> seen_from_notebooks("data/mine/checkpoint"), seen_from_notebooks("owner/model")
        ('../data/mine/checkpoint', 'owner/model')
    """
    if isinstance(value, list):
        return [seen_from_notebooks(entry) for entry in value]
    if not isinstance(value, str) or not value:
        return value
    value = os.path.expanduser(value)
    parts = Path(value).parts
    to_be_made = len(parts) > 2 and parts[0] != ".." and parts[-1] == "checkpoint"
    if to_be_made or Path(value).exists():
        return os.path.relpath(value, NOTEBOOKS)
    return value


def named_files(parameter, value, folder):
    """List the files that a parameter names: a file, those of a folder, or those of each in a list.

    What the study itself makes in `folder` is not listed.
    """
    if isinstance(value, list):
        files = []
        for entry in value:
            files.extend(named_files(parameter, entry, folder))
        return files
    path = local_path(value)
    if path is None or path == folder / "checkpoint":
        return []
    if path.is_file():
        return [str(path)]
    patterns = FOLDER_FILES.get(parameter, DATA_FILES)
    files = {file for pattern in patterns for file in path.glob(pattern)}
    if parameter not in FOLDER_FILES:
        files = {file for file in files if folder not in file.parents or file.suffix == ".gz"}
    return sorted(str(file) for file in files)


def text_digest(name):
    """Hash what a notebook says and does, without the outputs that JupyterLab saved in it."""
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    cells = []
    for cell in json.loads(text)["cells"]:
        cells.append([cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags")])
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def package_digest(package=Path("dtreward")):
    """Hash the files of the package and the figures' style; hidden files and caches are left out."""
    paths = [NOTEBOOKS / "paper.mplstyle", *package.rglob("*")]
    digest = hashlib.sha256()
    for path in sorted(paths):
        if path.is_file() and not re.search(r"(^|/)(\.|__pycache__)", str(path)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def begin_study(plan):
    """Lock a study, and write the YAML of a table's own study if nothing of it has finished yet.

    Gives what `lock_study` does.
    """
    lock = lock_study(plan)
    if plan.own is not None and not results(plan.folder):
        write_own_file(plan.own, plan.folder)
    return lock


def end_study(plan):
    """Keep the YAML of a table's own study, all of which has finished; set aside what it leaves out."""
    if plan.own is not None:
        write_own_file(plan.own, plan.folder)
    set_aside(plan)


def lock_study(plan):
    """Lock a study's folder and give the open file; the lock lasts as long as that is open.

    The lock ends with the process, even one that is killed; Snakemake's own would stay behind.

    Raises:
        RuntimeError: if the study is already running.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    file = open(plan.folder / ".running", "a")  # noqa: SIM115 (stays open)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RuntimeError(
            f"The study '{plan.study}' is already running: wait for it, or end it."
        ) from None
    return file


def set_aside(plan):
    """Move what notebooks that are left out wrote earlier into the study's folder `earlier/`.

    It would else pass for this run's. Features and answers stay where they are.
    """
    for name in plan.left_out:
        figures = (plan.folder / "figures").glob(f"{name[:3]}*")
        for path in [*plan.folder.glob(f"{name}.*"), *figures]:
            os.renames(path, plan.folder / "earlier" / path.name)


def reopen_unfinished(plan):
    """Print which notebooks left questions or models open, and let the next run go on with questions.

    The executed copy of a notebook with open questions becomes its partial copy, so that Snakemake
    runs it again. A model that failed may fail for ever; it is only printed.
    """
    for name in plan.notebooks:
        record = plan.folder / f"{name}.json"
        executed = Path(plan.executed(name))
        if not record.exists() or not executed.exists():
            continue
        numbers = json.loads(record.read_text(encoding="utf-8"))["numbers"]
        open_questions = numbers.get("questions_without_an_answer")
        if open_questions:
            executed.replace(executed.with_suffix(".partial.ipynb"))
            again = "run the study again to ask them"
            print(f"   {name} has no answer to {open_questions:,} questions: {again}")
        failed = numbers.get("failed")
        if failed:
            again = f"to try again, delete {executed} and run the study"
            print(f"   {name} has no row of {', '.join(failed)}: {again}")
