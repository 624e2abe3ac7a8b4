"""Run one notebook of a study through papermill.

A run leaves the executed notebook whole or not at all. What a failed run did so far stays beside it
as `NAME.partial.ipynb`, for reading.
"""

import contextlib
import fcntl
import os
import re
import sys
import tempfile
from time import perf_counter

try:
    import nbformat
    import papermill
    from nbconvert.preprocessors import CoalesceStreamsPreprocessor
    from traitlets.config import Config
except ImportError as error:
    raise ImportError(
        'running a notebook needs papermill: pip install "dtreward[study]"'
    ) from error

from dtreward.study.progress import CLEARED, ENGINE
from dtreward.study.publish import executed_notebooks
from dtreward.study.settings import (
    DATA_DIR,
    NOTEBOOKS,
    check_types,
    legal_parameters,
    plain_name,
    refuse_unknown,
)

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
WIDGET = "application/vnd.jupyter.widget-view+json"  # shows nothing once its kernel has gone


def run(notebook, executed, parameters):
    """Execute a notebook in notebooks/ with checked parameters; `executed` is whole or absent.

    Figures of an earlier run that this one did not draw again are deleted.

    Raises:
        ValueError: for parameters that the notebook does not declare, or of another type.
        RuntimeError: if another process runs the notebook already.
        papermill.PapermillExecutionError: if a cell fails.
    """
    legal = legal_parameters(notebook)
    refuse_unknown(parameters, legal, notebook.name)
    if "data_dir" in legal:
        parameters = {"data_dir": DATA_DIR} | parameters
    check_types(parameters, notebook)
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
    if parameters.get("figures_dir"):
        return
    for path, written in before.items():
        if path.exists() and path.stat().st_mtime_ns == written:
            path.unlink()


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
            cwd=str(NOTEBOOKS),
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
        cell["id"] = f"cell-{place:02d}"  # papermill gives the cell that it adds a random one
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            cell["outputs"] = [output for output in cell["outputs"] if _clean_output(output)]
    notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
    nbformat.write(notebook, path)


def _clean_output(output):
    """Drop widgets and addresses in memory from an output; say whether something is left to show."""
    data = output.get("data", {})
    widget = data.pop(WIDGET, None)
    if widget and "text/html" not in data:
        return False
    if "text/plain" in data:
        data["text/plain"] = re.sub(r" at 0x[0-9a-f]{6,}", "", data["text/plain"])
    return True


def run_aloud(notebook, executed, parameters):
    """Run a notebook and print when it starts and ends; exit with status 1 and one line if it fails."""
    started = perf_counter()
    _print_line(f"{notebook.stem} runs")
    try:
        run(notebook, executed, parameters)
    except papermill.PapermillExecutionError as error:
        short = error.evalue and error.ename in SAID_IN_WORDS
        print(f"{error.ename}: {error.evalue}" if short else error, file=sys.stderr)
        sys.exit(_failed(notebook, executed))
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"{notebook.name}: {type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"{notebook.name} was interrupted; run it again to go on")
    _print_line(f"{notebook.stem} is done after {perf_counter() - started:.0f} s")


def _failed(notebook, executed):
    """Say where the partial copy of a failed notebook is, and whether later ones are outdated."""
    partial = executed.with_suffix(".partial.ipynb")
    later = [path for path in executed_notebooks(executed.parent) if path.name > executed.name]
    older = "; executed copies of notebooks behind it are of an earlier run" if later else ""
    return f"{notebook.name} failed; read how far it came in {partial}{older}"


def _print_line(text):
    # One write: notebooks that run side by side would else share a line where output is unbuffered.
    start = CLEARED if sys.stdout.isatty() else ""
    print(f"{start}   {text}\n", end="", flush=True)
