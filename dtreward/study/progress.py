"""How far a notebook is that papermill runs, on the terminal: one line that updates.

It names the notebook, its place in the study and the time left, what its bar says, and the section
that runs. Where the output is no terminal (a log, a cluster's job) it is a line a minute.
"""

import html
import shutil
import sys
from pathlib import Path
from time import monotonic

try:
    from jupyter_client import AsyncKernelManager
    from papermill.clientwrap import PapermillNotebookClient
    from papermill.engines import NBClientEngine, papermill_engines
except ImportError as error:
    raise ImportError('progress bars need papermill: pip install "dtreward[study]"') from error

from dtreward.study import warm
from dtreward.study.schedule import Standing

ENGINE = "progress"  # its name for papermill
CLEARED = "\r\x1b[K"  # back to the start of the line, which is emptied
PAUSE = 60.0  # seconds between the lines of a log
# What a kernel answers: the most memory that its process has had at a time, in KiB.
PEAK = "__import__('resource').getrusage(__import__('resource').RUSAGE_SELF).ru_maxrss"
PEAK_MIB = "peak_mib"  # its name in papermill's metadata of the executed notebook


class KernelManager(AsyncKernelManager):
    """Starts a kernel as a copy of a process that has imported its libraries, where there is one."""

    def format_kernel_cmd(self, extra_arguments=None):
        """Give the command line of the kernel."""
        python, *words = super().format_kernel_cmd(extra_arguments)
        return [python, "-P", warm.__file__, *words] if "-m" in words else [python, *words]


class Client(PapermillNotebookClient):
    """Runs a notebook, and says where it is: its section, and 120/480 [00:10<00:30, 12.0 answers/s].

    Attributes:
        standing: where it stands in the run of its study; None where no study runs it.
    """

    last = -PAUSE
    standing: Standing | None = None
    section = ""

    def execute_cell(self, cell, cell_index, **options):
        """Run a cell, and say which section begins with it."""
        if cell.cell_type == "markdown" and cell.source.startswith("## "):
            self.section = cell.source.removeprefix("## ").split("\n", 1)[0]
            self.tell()
        return super().execute_cell(cell, cell_index, **options)

    def papermill_execute_cells(self):
        """Run the cells, and ask the kernel how much memory that took."""
        super().papermill_execute_cells()
        asked = {"silent": True, "store_history": False, "user_expressions": {"peak": PEAK}}
        reply = self.wait_for_reply(self.kc.execute("", **asked))
        peak = reply["content"]["user_expressions"]["peak"]
        if peak["status"] == "ok":
            kib = int(peak["data"]["text/plain"])
            self.nb.metadata.papermill[PEAK_MIB] = round(kib / 1024, 1)

    def handle_comm_msg(self, outs, msg, cell_index):
        """Take a widget's new state; a bar's text is the value of its last part."""
        super().handle_comm_msg(outs, msg, cell_index)
        value = msg["content"].get("data", {}).get("state", {}).get("value")
        if not isinstance(value, str):
            return
        text = " ".join(html.unescape(value).split())
        if "[" in text:
            self.tell(text)

    def tell(self, bar=""):
        """Show the notebook, its place and the time left, what its bar says, and its section.

        What a narrow terminal has no room for is the section's end.
        """
        name = Path(self.nb.metadata.papermill["input_path"]).stem
        words = self.standing.words() if self.standing else ""
        parts = [part for part in (bar, self.section) if part]
        self.show(f"   {name}{f' ({words})' if words else ''}: {' · '.join(parts)}")

    def show(self, line):
        """Write over the line before, or a line of its own once a minute."""
        if sys.stderr.isatty():
            room = shutil.get_terminal_size((100, 24)).columns - 1  # a line that wraps would stay
            print(f"{CLEARED}{line[:room]}", end="", file=sys.stderr, flush=True)
        elif monotonic() > self.last + PAUSE:
            self.last = monotonic()
            print(f"{line}\n", end="", file=sys.stderr, flush=True)


class Engine(NBClientEngine):
    """Papermill's own engine, with that client."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man, kernel_name, start_timeout=60, *, config, extra_arguments, standing=None, **_
    ):
        """Run the notebook's cells one after the other."""
        options = {
            "config": config,
            "extra_arguments": extra_arguments,
            "startup_timeout": start_timeout,
            "kernel_manager_class": KernelManager,
        }
        client = Client(nb_man, kernel_name=kernel_name, **options)
        client.standing = standing
        return client.execute()


papermill_engines.register(ENGINE, Engine)
