# The study as a graph: one rule a notebook. `make study` is the front door.
#   snakemake --cores all --config study=demo limit=500
# A study is notebooks/studies/NAME.yaml: which notebooks it runs and their parameters. What is given
# with --config wins over it. A rule runs again when its notebook, its inputs, its parameters, the
# package or the published numbers have changed. Notebooks that need a reward model are left out where
# the study has none.
import fcntl
import hashlib
import json
import os
import re
import shlex
import sys
from pathlib import Path

from dtreward.study.run import plain_name, read_study, study_parameters

# notebook: what it reads and writes under data/<study>/, besides its record NN_name.json. The shards
# of 02, the answers of 06 and the per-pair results of 09 are no outputs: they must survive a failed run, to be resumed.
NOTEBOOKS = {
    "01_load_pairs": ([], ["pairs.parquet"]),
    "02_extract_features": (["pairs.parquet"], []),
    "03_fit_attribute_probe": (
        ["pairs.parquet", "02_extract_features.json"],
        ["probe.safetensors", "rewards.parquet"],
    ),
    "04_fit_preference_tree": (
        ["pairs.parquet", "02_extract_features.json", "rewards.parquet", "probe.safetensors"],
        ["tree.json", "checkpoint"],
    ),
    "00_compare_two_responses": (["checkpoint"], []),
    "05_ablate_depth_and_leaves": (["pairs.parquet", "rewards.parquet"], ["05_ablation.parquet"]),
    "06_collect_judge_preferences": (["pairs.parquet"], ["judges.parquet"]),
    "07_compare_judges": (
        ["pairs.parquet", "judges.parquet"],
        ["judge_trees.json"]
        + [f"07_{table}.parquet" for table in ("judges", "agreement", "importances", "umap")],
    ),
    "08_compare_shap": (
        ["pairs.parquet", "judges.parquet", "judge_trees.json"],
        ["08_shap.parquet", "08_global.parquet"],
    ),
    "09_evaluate_rewardbench": (["pairs.parquet", "checkpoint"], ["09_table.csv", "09_table.md", "09_table.tex"]),
    "10_measure_throughput": ([], []),  # reads data/measured
    "99_draw_paper_figures": ([], ["paper"]),  # reads what all others of the study wrote
}
NEED_A_MODEL = (
    "00_compare_two_responses",
    "02_extract_features",
    "03_fit_attribute_probe",
    "09_evaluate_rewardbench",
    "10_measure_throughput",
)
ON_THE_GPU = (*NEED_A_MODEL, "04_fit_preference_tree")  # 04 asks its checkpoint one question
OF_A_MODEL = ("02_extract_features.json", "rewards.parquet", "probe.safetensors", "checkpoint")  # read and written only with one
FOLDERS = ("checkpoint", "paper")
RECORDLESS = ("00_compare_two_responses",)
OUTSIDE = {  # parameters that may name files or folders
    "01_load_pairs": ["source"],
    "02_extract_features": ["model"],
    "10_measure_throughput": ["model", "measured"],
    "06_collect_judge_preferences": ["judges_source", "judges_table"],
    "09_evaluate_rewardbench": ["bench_source", "models"],
}
OF_A_MODEL_S_FOLDER = ("config.json", "tokenizer*", "*_tokens*.json", "vocab.*", "merges.txt", "chat_template.jinja")
OF_A_MODEL_S_FOLDER += ("model*.safetensors*", "*.bin*", "decision_tree.*")  # not all: a study's results may lie there
OF_FOLDERS = {"model": OF_A_MODEL_S_FOLDER, "models": OF_A_MODEL_S_FOLDER, "measured": ("*.json",)}
OF_OTHERS = ("*.gz", "*/*.gz", "*.csv", "*.parquet", "*/*.parquet")

try:
    STUDY = Path(f"notebooks/studies/{plain_name(config.get('study', 'demo') or '')}.yaml")
    if not STUDY.exists():
        known = ", ".join(sorted(path.stem for path in STUDY.parent.glob("*.yaml")))
        raise ValueError(f"there is no study '{STUDY.stem}'; those in {STUDY.parent}/ are {known}")
    study = read_study(STUDY)
except ValueError as error:
    sys.exit(str(error))


def local(name):
    """The path from here of a file or folder that a parameter names, or None for a hub id or a word."""
    path = Path(os.path.normpath(Path("notebooks", name))) if name and isinstance(name, str) else None
    return path if path and path.exists() else None


def files_of(parameter, value):
    """The files that a parameter names: one, those of a folder, or those of each model of a list."""
    if isinstance(value, list):
        return [file for each in value for file in files_of(parameter, each)]
    path = local(value)
    if path == Path(f"{DATA}/checkpoint"):  # which a rule makes
        return []
    if path is None or path.is_file():
        return [str(path)] if path else []
    found = {file for kind in OF_FOLDERS.get(parameter, OF_OTHERS) for file in path.glob(kind)}
    own = {file for file in found if Path(DATA) in file.parents and parameter not in OF_FOLDERS and file.suffix != ".gz"}
    return sorted(map(str, found - own))  # not what the study itself makes


def seen_from_notebooks(value):
    """A path of the command line, or each of a list, where paths start here; a study may have to make it first."""
    if isinstance(value, list):
        return [seen_from_notebooks(each) for each in value]
    parts = Path(value).parts if isinstance(value, str) else ()
    made = len(parts) > 2 and parts[0] != ".." and parts[-1] == "checkpoint"  # a hub id has two parts
    return os.path.relpath(value, "notebooks") if made or (parts and Path(value).exists()) else value


given = {key: "" if value is None else value for key, value in config.items() if key != "study"}
given |= {each: seen_from_notebooks(given[each]) for names in OUTSIDE.values() for each in names if each in given}
shared = study["parameters"] | given
if "source" in shared and not shared["source"]:
    sys.exit(f"the study '{STUDY.stem}' needs a table: make study STUDY={STUDY.stem} SOURCE=<file>")
if shared.get("source", "demo") not in ("demo", "nvidia/HelpSteer2") and not local(shared["source"]):
    sys.exit(f"there is no {shared['source']} here; SOURCE is a .parquet, .csv or .jsonl file: see docs/your-own-attributes.md")
model = Path(str(shared.get("model") or ""))  # a hub id has no folder here that it could be in
if len(model.parts) > 1 and not local(model) and (model.parent.is_dir() or local(model.parent)):
    sys.exit(f"there is no {model} here; MODEL is a folder with a model, or a hub id: owner/name")
LEFT_OUT = [name for name in study["notebooks"] if name in NEED_A_MODEL and not shared.get("model")]
if LEFT_OUT:
    study["notebooks"] = [name for name in study["notebooks"] if name not in LEFT_OUT]
try:
    PARAMETERS = study_parameters(study, given)
except ValueError as error:
    hint = "" if shared.get("model") else "; notebooks on a reward model run only with MODEL=<hub id or folder>"
    sys.exit(str(error) + hint)

DATA = os.path.normpath(os.path.join("notebooks", shared.get("data_dir", "../data"), shared["study"]))
if "00_compare_two_responses" in PARAMETERS:  # it asks the model that the study makes
    PARAMETERS["00_compare_two_responses"]["model"] = os.path.relpath(f"{DATA}/checkpoint", "notebooks")
if "needs" in study:  # of a real study, which stands on commits of the hub
    from dtreward.study.preflight import REVISIONS, pin

    if not (commits := Path(DATA, REVISIONS)).exists():
        sys.exit(f"{commits} is not there: make study STUDY={STUDY.stem}, or python -m dtreward.study.preflight, writes it")
    PARAMETERS = pin(PARAMETERS, json.loads(commits.read_text()))
HELPERS = [Path("notebooks/paper.mplstyle"), *Path("dtreward").rglob("*")]
HELPERS = [path for path in HELPERS if path.is_file() and not re.search(r"(^|/)(\.|__pycache__)", str(path))]
PACKAGE = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(HELPERS))).hexdigest()


def reads(name):
    """Input files of a notebook: the study's, and those that its parameters name."""
    own = [f"{DATA}/{file}" for file in NOTEBOOKS[name][0] if shared.get("model") or file not in OF_A_MODEL]
    if name == "99_draw_paper_figures":
        own += [file for other in study["notebooks"] if other != name for file in writes(other)]
        own = [file for file in own if file != f"{DATA}/checkpoint"]
    usual = {"measured": "../data/measured"}
    given = {each: PARAMETERS[name].get(each, usual.get(each, "")) for each in OUTSIDE.get(name, [])}
    return own + [file for parameter, value in given.items() for file in files_of(parameter, value)]


def writes(name):
    """Output files of a notebook, the executed copy apart."""
    own = [file for file in NOTEBOOKS[name][1] if shared.get("model") or file not in OF_A_MODEL]
    records = [] if name in RECORDLESS else [f"{name}.json"]
    return [directory(f"{DATA}/{file}") if file in FOLDERS else f"{DATA}/{file}" for file in own + records]


def text_of(name):
    """What a notebook says and does, without what JupyterLab saved of running it by hand."""
    cells = json.loads(Path(f"notebooks/{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    told = [[each["cell_type"], "".join(each["source"]), each["metadata"].get("tags")] for each in cells]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


HELD = []


onstart:  # one run of a study at a time; the lock goes with this process, Snakemake's own would stay behind
    os.makedirs(DATA, exist_ok=True)
    HELD.append(open(f"{DATA}/.running", "a"))  # open for as long as this process lives
    try:
        fcntl.flock(HELD[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"The study '{STUDY.stem}' is already running: wait for it, or end it.")
    for name in LEFT_OUT:  # what an earlier run with a model said would pass for this one's
        for old in [*Path(DATA).glob(f"{name}.*"), *Path(DATA, "figures").glob(f"{name[:3]}*")]:
            os.renames(old, f"{DATA}/earlier/{old.name}")


def leave_open():
    """Say what finished without all that it asked for; with open questions, its executed copy goes aside.

    Without its executed copy the next run goes on. A model that failed may fail for ever, so that it is only told.
    """
    for name in study["notebooks"]:
        record, executed = Path(f"{DATA}/{name}.json"), Path(f"{DATA}/{name}.ipynb")
        numbers = json.loads(record.read_text())["numbers"] if record.exists() and executed.exists() else {}
        if missing := numbers.get("questions_without_an_answer"):
            executed.replace(executed.with_suffix(".partial.ipynb"))
            print(f"   {name} has no answer to {missing:,} questions: run the study again to ask them")
        if failed := numbers.get("failed"):
            print(f"   {name} has no row of {', '.join(failed)}: to try again, delete {executed} and run the study")


onsuccess:
    leave_open()


onerror:
    leave_open()


rule all:
    input:
        [f"{DATA}/{name}.ipynb" for name in study["notebooks"]],
        [file for name in study["notebooks"] for file in writes(name)],


for each in study["notebooks"]:

    rule:
        name:
            each[3:]
        input:
            reads(each),
            notebook=ancient(f"notebooks/{each}.ipynb"),
        output:
            writes(each),
            executed=f"{DATA}/{each}.ipynb",
        params:
            json=json.dumps(PARAMETERS[each], sort_keys=True),
            package=PACKAGE,
            text=text_of(each),
        resources:
            gpu=int("needs" in study and each in ON_THE_GPU),  # one model at a time fits on it
        shell:
            shlex.quote(sys.executable) + " -m dtreward.study.run run {input.notebook:q} {output.executed:q} {params.json:q}"
