"""Serve the explorer as a page of its own, by Voila, to this machine alone.

Voila runs a notebook of one cell for each browser tab, and takes no code from the browser. Nothing
here imports torch: the kernel of a tab loads the model.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

try:
    import nbformat
    from traitlets.config import Config
    from voila.app import Voila
except ImportError as error:
    raise ImportError('the page needs Voila: pip install "dtreward[app]"') from error

from dtreward.models.names import require_model

ADDRESS = "127.0.0.1"
PORT = 8866  # the first that is tried
# Nothing is fetched from elsewhere (Voila's template asks another server for icons), and no other
# page may frame this one.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; "
    "style-src 'self' 'unsafe-inline' blob: data:; img-src 'self' data: blob:; "
    "font-src 'self' data:; object-src data:; frame-src data:; "
    f"connect-src 'self' blob: data: ws://{ADDRESS}:*; frame-ancestors 'none'"
)
LARGEST_FILE = 100 * 2**20  # bytes of a message from the browser, such as a file of pairs
IDLE = 600  # seconds after which the kernel of a tab that was closed is ended
WIDGETS = [
    "@jupyter-widgets/jupyterlab-manager",
    "@voila-dashboards/widgets-manager8",
    "anywidget",
]
# In a box of its own it gives no static page, which Voila would show in place of the widgets.
CELL = """from ipywidgets import VBox

from dtreward import PreferenceTree, explore, load

tree = {tree!r}
if tree:
    tree = PreferenceTree.load(tree) if tree.endswith(".json") else PreferenceTree.published(tree)
model = load({model!r}, tree=tree or None, **{options!r})
VBox([explore(model, {pairs!r})]).add_class("dtreward-page")"""


class Server(Voila):
    """Voila, which prints the page's address once it listens, and reads no configuration files."""

    def launch_browser(self) -> None:
        """Print the address; whoever has its token may open the page."""
        token = self.identity_provider.token
        print(f"   open http://{ADDRESS}:{self.port}/?token={token}", flush=True)
        print("   Ctrl-C ends it", flush=True)


def serve(
    model: str, *, pairs: str = "", tree: str = "", port: int = PORT, options: Mapping[str, Any]
) -> None:
    """Serve the explorer of a model until Ctrl-C.

    Args:
        model: as given to `load`.
        pairs: a file of pairs to step through; "" takes the examples.
        tree: decides: a tree's JSON file, or the name of a published tree; "" takes the model's own.
        port: the first to try.
        options: of `load`.

    Raises:
        FileNotFoundError, ValueError: if there is no such model, or no such file of pairs.
    """
    require_model(model, options.get("revision"))
    if pairs and not Path(pairs).exists():
        raise FileNotFoundError(f"there is no file {pairs}; give a table of pairs, or none")
    with tempfile.TemporaryDirectory(prefix="explorer-") as folder:
        notebook = Path(folder, "explorer.ipynb")
        cell = CELL.format(
            model=_absolute(model), pairs=_absolute(pairs), tree=_absolute(tree), options=options
        )
        nbformat.write(_notebook(cell), notebook)
        server = Server(config=settings(notebook, port))
        server.initialize([])
        server.start()


def _notebook(source: str) -> nbformat.NotebookNode:
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source)]
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _absolute(name: str) -> str:
    """Name a file or folder so that it is found from the notebook's folder; others stay."""
    return os.path.abspath(name) if name and Path(name).exists() else name


def settings(notebook: Path, port: int) -> Config:
    """Give Voila's settings: this machine alone, a new token, no files, the widget libraries alone.

    Example:
        >>> config = settings(Path("explorer.ipynb"), 8866)
        >>> config.Voila.ip, config.VoilaConfiguration.file_allowlist
        ('127.0.0.1', [])
    """
    voila = {
        "ip": ADDRESS,
        "port": port,
        "token": secrets.token_hex(16),
        "notebook_path": str(notebook),
        "config_file_paths": [],
        "open_browser": True,  # calls launch_browser
        "log_level": "ERROR",
        "tornado_settings": {
            "websocket_max_message_size": LARGEST_FILE,
            "headers": {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"},
        },
    }
    page = {
        "file_allowlist": [],
        "file_denylist": [".*"],
        "extension_allowlist": WIDGETS,
        "show_tracebacks": True,
        "strip_sources": True,
    }
    kernels = {"cull_idle_timeout": IDLE, "cull_interval": 60}
    sockets = {"transport": "ipc"}  # files of this user; ports would be open to all of this machine
    return Config(
        Voila=voila,
        VoilaConfiguration=page,
        MappingKernelManager=kernels,
        KernelManager=sockets,
    )
