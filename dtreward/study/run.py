"""Run one notebook of a study through papermill.

What a notebook writes, and its executed copy, replace those of its last run when it has ended well.
How far a failed run came stays beside them as `NAME.partial.ipynb`, for reading.
"""

import contextlib
import difflib
import fcntl
import os
import re
import sys
import tempfile
from pathlib import Path
from time import perf_counter

try:
    import nbformat
    import papermill
    import yaml
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor
    from nbformat.v4 import new_markdown_cell
    from traitlets.config import Config
except ImportError as error:
    raise ImportError(
        'running a notebook needs papermill: pip install "dtreward[study]"'
    ) from error

from dtreward.files import write_atomically
from dtreward.study.graph import read_graph
from dtreward.study.outcome_table import noted
from dtreward.study.progress import CLEARED, ENGINE, PEAK_MIB
from dtreward.study.schedule import Standing
from dtreward.study.scratch import Scratch
from dtreward.study.settings import (
    DATA_DIR,
    NOTEBOOKS,
    check_types,
    legal_parameters,
    plain_name,
    refuse_unknown,
    study_folder,
)
from dtreward.study.stamps import drop_stamps, write_stamp

SHOWN_METADATA = ("parameters",)  # the rest of papermill's are paths and clock times
SAID_IN_WORDS = (  # errors whose message is enough; the traceback is in the partial copy
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
PARAMETERS = (
    "# Parameters of this run. This copy is for reading: make lab STUDY={study} opens one to run"
)
CREDITS = "credits"  # tag of the cell that an executed copy ends with
SHOWN = "This copy shows numbers and figures; the texts stay with their sources."
WIDGET = "application/vnd.jupyter.widget-view+json"  # shows nothing once its kernel has gone


def run(notebook, executed, parameters, *, stamp=None, left_out=(), standing=None):
    """Execute a notebook in notebooks/ with checked parameters.

    Until it has run to its end, `executed` and the files that it writes are those of its last run.

    Args:
        stamp: the file to write when all is in its place (`dtreward.study.stamps`); None for none.
        left_out: notebooks whose results it must not see.
        standing: where it stands in the run of its study, for the line on the terminal.

    Returns:
        The most memory of the notebook's process, in MiB; 0 if it is not known.

    Raises:
        ValueError: for parameters that the notebook does not declare, or of another type.
        RuntimeError: if another process runs the notebook already.
        papermill.PapermillExecutionError: if a cell fails.
    """
    refuse_unknown(parameters, legal_parameters(notebook), notebook.name)
    check_types(parameters, notebook)
    study = plain_name(parameters.get("study", "demo"))
    made = study_folder(study, parameters.get("data_dir", DATA_DIR))
    executed.parent.mkdir(parents=True, exist_ok=True)
    partial = executed.with_suffix(".partial.ipynb")
    with _alone(executed.with_name(f".{executed.stem}.running")):
        if _writes_results(notebook):
            scratch = Scratch(notebook.stem, made, left_out)
            with _alone(scratch.data.with_suffix(".running")):
                peak_mib = _run_in_scratch(notebook, partial, parameters, scratch, standing)
        else:
            peak_mib = _execute(notebook, partial, parameters, standing)
            clean(partial)
        os.replace(partial, executed)
        if stamp is not None:
            _stamp(stamp, notebook.stem, made, executed)
    return peak_mib


def _writes_results(notebook):
    """Say whether a notebook is one of the study's that write into its folder."""
    declares = legal_parameters(notebook)
    return notebook.stem in read_graph() and "data_dir" in declares


def _run_in_scratch(notebook, partial, parameters, scratch, standing):
    """Run a notebook in its scratch folder; if it ends well, take over what it made.

    Gives the most memory of its process, in MiB.
    """
    names = ScratchNames(scratch, parameters.get("data_dir", DATA_DIR))
    scratch.prepare()
    try:
        peak_mib = _execute(notebook, partial, parameters | {"data_dir": names.data}, standing)
    except BaseException as error:
        scratch.discard()
        with contextlib.suppress(OSError):  # of a full disk: the error is what matters
            names.restore_file(partial)
        if isinstance(error, papermill.PapermillExecutionError):
            error.evalue = names.restore(error.evalue)
            error.traceback = [names.restore(line) for line in error.traceback]
        raise
    names.restore_file(partial)
    clean(partial)
    drop_stamps(scratch.made, notebook.stem)
    scratch.take_over(drew_elsewhere=bool(parameters.get("figures_dir")))
    return peak_mib


def _stamp(stamp, name, made, executed):
    outputs = [made / file for file in read_graph()[name].outputs]
    write_stamp(stamp, [*(path for path in outputs if path.exists()), executed])


class ScratchNames:
    """The scratch folder's paths, as a notebook says them, and those that they stand for."""

    def __init__(self, scratch, data_dir):
        self.data = str(Path(data_dir, scratch.data.relative_to(scratch.made.parent)))
        study = scratch.made.name
        self.folder = str(Path(self.data, study))
        self.real_data = data_dir
        self.real_folder = str(Path(data_dir, study))

    def restore(self, text):
        """Name the study's own folder where a text names the scratch folder."""
        return text.replace(self.folder, self.real_folder).replace(self.data, self.real_data)

    def restore_file(self, path):
        """Do so in an executed notebook, if it is there."""
        if path.exists():
            text = self.restore(path.read_text(encoding="utf-8"))
            write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


@contextlib.contextmanager
def _alone(lock):
    """Hold a lock, so that the leftover of a killed study can't write into a new one."""
    lock.parent.mkdir(parents=True, exist_ok=True)
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


def _execute(notebook, partial, parameters, standing):
    # The kernel's sockets are files in a folder of its own: notebooks that start side by side
    # would else take the same ports, or the same names.
    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        executed = papermill.execute_notebook(
            str(notebook),
            str(partial),
            parameters=parameters,
            cwd=str(NOTEBOOKS),
            kernel_name="python3",
            engine_name=ENGINE,
            progress_bar=False,
            config=Config(KernelManager={"transport": "ipc", "ip": f"{folder}/socket"}),
            extra_arguments=QUIET,
            standing=standing,
        )
    return executed.metadata.papermill.get(PEAK_MIB, 0.0)


def clean(path):
    """Drop what differs from run to run and machine to machine from an executed notebook.

    A widget leaves its static HTML if it has one; a progress bar, which is at its end, leaves nothing.
    What is printed in one go is one output, in however many pieces the kernel happened to send it,
    and objects are named without their place in memory. A study of public sources ends each copy with
    a cell that credits them.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.pop("widgets", None)
    papermill_metadata = notebook.metadata.get("papermill", {})
    notebook.metadata["papermill"] = {
        key: papermill_metadata[key] for key in SHOWN_METADATA if key in papermill_metadata
    }
    study = papermill_metadata.get("parameters", {}).get("study", "demo")
    credited = _credits_of(study)
    if credited:
        notebook.cells.append(new_markdown_cell(credited, metadata={"tags": [CREDITS]}))
    for place, cell in enumerate(notebook.cells):
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.source = cell.source.replace("# Parameters", PARAMETERS.format(study=study), 1)
        cell["id"] = f"cell-{place:02d}"  # papermill gives the cell that it adds a random one
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if _clean_output(output)]
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
    nbformat.write(notebook, path)


def _credits_of(study):
    """Say whose work a study's sources are; "" where its YAML lists none."""
    path = NOTEBOOKS / "studies" / f"{study}.yaml"
    plan = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not plan.get("sources"):
        return ""
    from dtreward.study.sources import read_sources, write_credits  # brings the client of servers

    return f"## Sources\n\n{SHOWN}\n\n{write_credits(read_sources(plan['sources']))}"


def _clean_output(output):
    """Drop widgets and addresses in memory from an output; say whether something is left to show."""
    data = output.get("data", {})
    widget = data.pop(WIDGET, None)
    if widget and "text/html" not in data:
        return False
    if "text/plain" in data:
        data["text/plain"] = re.sub(r" at 0x[0-9a-f]{6,}", "", data["text/plain"])
    return True


def run_aloud(notebook, executed, parameters, **options):
    """Run a notebook and print when it starts and ends; exit with status 1 and one line if it fails.

    Args:
        options: `stamp` and `left_out` of `run`.
    """
    _refuse_no_notebook(notebook)
    started = perf_counter()
    try:
        with noted(executed) as cost:
            standing = Standing.of(executed, options.get("stamp"))
            words = standing.words()
            _print_line(f"{notebook.stem} runs{f' ({words})' if words else ''}")
            options["standing"] = standing
            cost.peak_mib = run(notebook, executed, parameters, **options)
    except papermill.PapermillExecutionError as error:
        short = error.evalue and error.ename in SAID_IN_WORDS
        message = f"{error.ename}: {error.evalue}" if short else str(error)
        print(message.strip(), file=sys.stderr)
        sys.exit(_failed(notebook, executed))
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"{notebook.name}: {type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{notebook.name} was interrupted; run it again to go on")
    words = standing.words(done=True)
    taken = f"{notebook.stem} is done after {perf_counter() - started:.0f} s"
    _print_line(f"{taken}{f' ({words})' if words else ''}")


def _refuse_no_notebook(notebook):
    if notebook.is_file():
        return
    names = sorted(path.name for path in notebook.parent.glob("*.ipynb"))
    near = difflib.get_close_matches(notebook.name, names, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    there = f"those in {notebook.parent}/ are {', '.join(names)}" if names else "give its path"
    sys.exit(f"there is no notebook {notebook}{hint}; {there}")


def _failed(notebook, executed):
    """Say where the partial copy of a failed notebook is, and what is of its last run."""
    partial = executed.with_suffix(".partial.ipynb")
    kept = "; its results are those of its last run" if executed.exists() else ""
    return f"{notebook.name} failed; read how far it came in {partial}{kept}"


def _print_line(text):
    # One write: notebooks that run side by side would else share a line where output is unbuffered.
    start = CLEARED if sys.stdout.isatty() else ""
    print(f"{start}   {text}\n", end="", flush=True)
