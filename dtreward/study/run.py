"""Run one notebook of a study through papermill, or publish a study that has run.

    python notebooks/run.py run NOTEBOOK EXECUTED PARAMETERS
    python notebooks/run.py publish STUDY

A run leaves EXECUTED whole or not at all. What a failed run did so far stays beside it as
`NAME.partial.ipynb`, for reading.
"""

import argparse
import contextlib
import difflib
import fcntl
import filecmp
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import nbformat
import papermill
import yaml
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from traitlets.config import Config

from dtreward.study.progress import CLEARED, ENGINE
from dtreward.study.readme import refresh

HERE = Path("notebooks")
SHOWN_METADATA = ("parameters",)  # the rest of papermill's are paths and clock times
TOLD = (
    "AssertionError",
    "FileNotFoundError",
    "ImportError",
    "MemoryError",
    "RuntimeError",
    "ValueError",
)
QUIET = (  # a kernel that is ended may meet sockets that are closed already: no error of the notebook's
    "--IPKernelApp.log_level=50",
    "--IPKernelApp.logging_config={'loggers': {'tornado': {'level': 'CRITICAL'}}}",
)
WIDGET = "application/vnd.jupyter.widget-view+json"  # shows nothing once its kernel has gone


def plain_name(study):
    """Give a study's name; a ValueError for one that would lead out of its folder."""
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", str(study)):
        raise ValueError(
            f"expected a study's name of letters, digits, - and _, came {str(study)!r:.80}"
        )
    return str(study)


def read_study(path):
    """Read a study's YAML; a ValueError for more than plain values, each written out once."""
    text = path.read_text(encoding="utf-8")
    try:
        if any(
            isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)
        ):
            raise ValueError("found an alias (*name); write its value out")
        study = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"{path}: expected plain YAML; {type(error).__name__}: {error}") from error
    for key, kind in {"notebooks": list, "parameters": dict}.items():
        if not isinstance(study, dict) or not isinstance(study.get(key), kind):
            wanted = f"{path}: expected a {kind.__name__} of {key}"
            raise ValueError(f"{wanted}; see notebooks/studies/demo.yaml")  # noqa: TRY004
    for name in study["notebooks"]:
        if not re.fullmatch(r"\d\d_\w+", str(name)) or not (HERE / f"{name}.ipynb").is_file():
            raise ValueError(
                f"{path}: expected names of notebooks in {HERE.name}/, came {name!r:.80}"
            )
    if plain_name(study["parameters"].get("study")) != path.stem:
        raise ValueError(
            f"{path}: expected `study: {path.stem}` among its parameters, as its file is named"
        )
    return study


def legal_parameters(notebook):
    """Name the parameters of a notebook, as its `parameters` cell declares them."""
    return set(papermill.inspect_notebook(str(notebook)))


def study_parameters(study, given, folder=HERE):
    """Split a study's parameters among its notebooks: {notebook: {name: value}}.

    Shared ones go to each notebook that has them, `given` (the command line) wins. A parameter
    that none of the study's notebooks has, a notebook's own that it lacks, or a value of another
    type than the notebook declares, is a ValueError.
    """
    legal = {name: legal_parameters(folder / f"{name}.ipynb") for name in study["notebooks"]}
    shared = study.get("parameters", {}) | given
    _refuse(shared, set().union(*legal.values()), "the study's notebooks")
    parameters = {}
    for name, names in legal.items():
        own = study.get(name) or {}
        if not isinstance(own, dict):
            wanted = f"{name}: expected its parameters as name: value"
            raise ValueError(f"{wanted}, came {own!r:.80}")  # noqa: TRY004
        _refuse(own, names, name)
        chosen = {key: value for key, value in shared.items() if key in names}
        parameters[name] = chosen | own | {key: given[key] for key in given if key in names}
        _check_types(parameters[name], folder / f"{name}.ipynb")
    _refuse({key: 0 for key in study if key[:2].isdigit()}, set(legal), "this study", "notebook")
    return parameters


def _refuse(given, legal, owner, kind="parameter"):
    if unknown := sorted(set(given) - set(legal)):
        near = [each for name in unknown for each in difflib.get_close_matches(str(name), legal, 1)]
        meant = f"; did you mean {', '.join(near)}?" if near else ""
        raise ValueError(
            f"no {kind} {', '.join(unknown)} in {owner}{meant}; the legal ones are {', '.join(sorted(legal))}"
        )


def _check_types(parameters, notebook):
    for name, declared in papermill.inspect_notebook(str(notebook)).items():
        kind, came = declared["inferred_type_name"], parameters.get(name)
        legal = ("float", "int") if kind == "float" else (kind,)
        if name in parameters and type(came).__name__ not in legal:
            raise ValueError(f"{notebook.stem}: expected {name} as {kind}, came {came!r:.80}")
        if kind in ("int", "float") and name != "jobs" and (came or 0) < 0:
            raise ValueError(f"{notebook.stem}: expected {name} not below 0, came {came}")


def run(notebook, executed, parameters):
    """Execute a notebook in notebooks/, with checked parameters; whole or absent."""
    _refuse(parameters, legal_parameters(notebook), notebook.name)
    _check_types(parameters, notebook)
    plain_name(parameters.get("study", "demo"))
    executed.parent.mkdir(parents=True, exist_ok=True)
    executed.unlink(missing_ok=True)
    partial = executed.with_suffix(".partial.ipynb")
    with _alone(executed):
        figures = executed.parent.glob(f"figures/{executed.name[:3]}*")
        before = {path: path.stat().st_mtime_ns for path in figures}
        _execute(notebook, partial, parameters)
        clean(partial)
        os.replace(partial, executed)
    for path, written in before.items():
        if (
            path.exists()
            and path.stat().st_mtime_ns == written
            and not parameters.get("figures_dir")
        ):
            path.unlink()  # of an earlier run, and not drawn by this one


@contextlib.contextmanager
def _alone(executed):
    """Hold a lock beside `executed`, so that the leftover of a killed study can't write into a new one."""
    lock = executed.with_name(f".{executed.stem}.running")
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            process = lock.read_text().strip() or "unknown"
            raise RuntimeError(
                f"process {process} runs it already: wait for it, or end it"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _execute(notebook, partial, parameters):
    # The kernel's sockets are files in a folder of its own: notebooks that start side by side
    # would else take the same ports, or the same names.
    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        papermill.execute_notebook(
            str(notebook),
            str(partial),
            parameters=parameters,
            cwd=str(HERE),
            kernel_name="python3",
            engine_name=ENGINE,
            progress_bar=False,
            config=Config(KernelManager={"transport": "ipc", "ip": f"{folder}/socket"}),
            extra_arguments=QUIET,
        )


def clean(path):
    """Drop what differs from run to run and machine to machine from an executed notebook.

    A widget leaves its static HTML if it has one; a progress bar, which is at its end, leaves nothing.
    What is printed in one go is one output, in however many pieces the kernel happened to send it,
    and objects are named without their place in memory.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    papermill_metadata = notebook.metadata.get("papermill", {})
    notebook.metadata["papermill"] = {
        key: papermill_metadata[key] for key in SHOWN_METADATA if key in papermill_metadata
    }
    for place, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{place:02d}"  # papermill draws that of its own cell by chance
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        for output in (outputs := cell.get("outputs", []))[:]:
            data = output.get("data", {})
            if data.pop(WIDGET, None) and "text/html" not in data:
                outputs.remove(output)
            if "text/plain" in data:
                data["text/plain"] = re.sub(r" at 0x[0-9a-f]{6,}", "", data["text/plain"])
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
    nbformat.write(notebook, path)


def publish(study, root=HERE.parent):
    """Copy a study's executed notebooks and figures, and the demo's model, to their committed places."""
    plain_name(study)
    made = root / "data" / study
    copies = {path: HERE / "executed" / study / path.name for path in executed_notebooks(made)}
    copies |= {path: root / "figures" / study / path.name for path in (made / "figures").iterdir()}
    copies |= {
        path: root / "figures" / study / "paper" / path.name for path in (made / "paper").glob("*")
    }
    if study == "demo":
        copies |= {path: made / path.name for path in (made / "checkpoint").glob("[!.]*")}
    changed = [target for source, target in copies.items() if _copy(source, target)]
    changed += [page for page in [root / "docs" / "demo-results.md"] if refresh(page)]
    print(f"{len(changed)} of {len(copies)} files were new or changed")
    print(*(f"  {target.relative_to(root)}" for target in changed), sep="\n")


def executed_notebooks(folder):
    """List a study's finished notebooks in order."""
    return [
        path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")) if ".partial" not in path.name
    ]


def _copy(source, target):
    if target.exists() and filecmp.cmp(source, target, shallow=False):
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    return True


def _tell(what):
    # In one write, so that notebooks side by side do not share a line where Python's output is unbuffered.
    print(f"{CLEARED * sys.stdout.isatty()}   {what}\n", end="", flush=True)


def main():
    """Parse the command line; errors in one line, exit status 1."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True, dest="command")
    runner = commands.add_parser("run")
    runner.add_argument("notebook", type=Path)
    runner.add_argument("executed", type=Path)
    runner.add_argument("parameters", type=json.loads, help="a JSON object")
    commands.add_parser("publish").add_argument("study")
    arguments = parser.parse_args()
    if arguments.command == "publish":
        return publish(arguments.study)
    partial = arguments.executed.with_suffix(".partial.ipynb")
    started, name = perf_counter(), arguments.notebook.stem
    _tell(f"{name} runs")
    try:
        run(arguments.notebook, arguments.executed, arguments.parameters)
        _tell(f"{name} is done after {perf_counter() - started:.0f} s")
    except papermill.PapermillExecutionError as error:
        short = error.evalue and error.ename in TOLD  # said in words; the traceback is in the copy
        print(f"{error.ename}: {error.evalue}" if short else error, file=sys.stderr)
        behind = [
            each
            for each in executed_notebooks(partial.parent)
            if each.name > arguments.executed.name
        ]
        older = "; executed copies of notebooks behind it are of an earlier run" if behind else ""
        sys.exit(f"{arguments.notebook.name} failed; read how far it came in {partial}{older}")
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"{arguments.notebook.name}: {type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{arguments.notebook.name} was interrupted; run it again to go on")


if __name__ == "__main__":
    main()
