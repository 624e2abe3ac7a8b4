"""Run a module in a copy of a process that has imported its libraries already.

Importing torch, pandas and matplotlib takes each notebook of a study several seconds, twice: once
for papermill, once for the kernel. `start` begins a process that imports them once; from then on
`python -P warm.py -m MODULE ARGUMENTS` runs the module in a fork of it. Where there is no such process
the same line does what `python -m MODULE ARGUMENTS` does.

The file is run as a script and imports the standard library alone: it starts in 30 milliseconds.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import importlib
import json
import os
import runpy
import select
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

ADDRESS = "DTREWARD_WARM"  # the variable that names the process's socket
LONGEST_ADDRESS = 100  # bytes; the system's limit is 108
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ONE_THREAD = (  # as Snakemake sets them for each rule; read when the libraries are imported
    "OMP_NUM_THREADS",
    "GOTO_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux's prctl
COLUMNS_IN_A_KERNEL = 20  # that pandas shows of a table, if a kernel imports it
INLINE = "module://matplotlib_inline.backend_inline"  # a kernel's, which pyplot reads on import


def is_possible() -> bool:
    """Say whether a process can be copied here: on Linux, without an NVIDIA GPU.

    A fork of a process that has looked for CUDA devices can't use them.
    """
    return hasattr(os, "pidfd_open") and not Path("/dev/nvidiactl").exists()


def start(modules: Iterable[str]) -> subprocess.Popen | None:
    """Start such a process, if it is possible; it ends with this process, or with `stop`.

    Args:
        modules: what it imports, in this order; those that can't be imported are left out. A copy
            that is asked for earlier imports the rest by itself.
    """
    if os.environ.get(ADDRESS) or not is_possible():
        return None
    folder = tempfile.mkdtemp(prefix="warm-")
    address = f"{folder}/socket"
    if len(os.fsencode(address)) > LONGEST_ADDRESS:
        os.rmdir(folder)
        return None
    environment = os.environ | dict.fromkeys(ONE_THREAD, "1") | {"MPLBACKEND": INLINE}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        command = [sys.executable, "-P", "-Xfrozen_modules=off", __file__, "--serve"]
        process = subprocess.Popen(
            [*command, str(listener.fileno()), *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            env=environment,
            start_new_session=True,  # Ctrl+C reaches those that ask, who pass it on
        )
    os.environ[ADDRESS] = address
    return process


def stop(process: subprocess.Popen | None) -> None:
    """End the process and its copies."""
    if process is not None:
        os.environ.pop(ADDRESS, None)
        process.stdin.close()
        process.wait()


def imported_by(notebooks: Iterable[Path]) -> list[str]:
    """List the modules that notebooks import first of all, those of the first notebook first.

    What a later cell imports may depend on what that notebook does before it.
    """
    modules = {}
    for path in notebooks:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        imports = (list(_imported_by(source)) for source in sources)
        modules |= dict.fromkeys(next(filter(None, imports), []))
    return list(modules)


def _imported_by(source: str) -> Iterator[str]:
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.ImportFrom):
            yield statement.module
        elif isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)


class Server:
    """Imports libraries, and forks for each request until its standard input is closed."""

    def __init__(self, listener: socket.socket, modules: Iterable[str]) -> None:
        self.listener = listener
        self.modules = list(modules)
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ, "request")
        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, "end")
        self.copies: dict[int, tuple[int, socket.socket]] = {}  # by pidfd

    def serve(self) -> dict[str, Any] | None:
        """Give a request in the copy that is to carry it out, and None when all has ended."""
        while True:
            for key, _ in self.selector.select(0 if self.modules else None):
                if key.data == "end":
                    self._end()
                    return None
                if key.data == "request":
                    request = self._fork()
                    if request is not None:
                        return request
                elif key.data == "ended":
                    self._report(key.fd)
                else:
                    self._asker_left(key.fileobj)
            if self.modules:
                _import(self.modules.pop(0))

    def _fork(self) -> dict[str, Any] | None:
        """Give the request in the new copy, and None in the server."""
        connection, _ = self.listener.accept()
        try:
            request = _receive(connection)
        except (OSError, ValueError):
            connection.close()
            return None
        process = os.fork()
        if process == 0:
            _end_with_parent()
            self._forget(connection)
            return request
        for file in request["files"]:
            os.close(file)
        handle = os.pidfd_open(process)
        self.copies[handle] = (process, connection)
        self.selector.register(handle, selectors.EVENT_READ, "ended")
        self.selector.register(connection, selectors.EVENT_READ, "asker")
        with contextlib.suppress(OSError):
            connection.sendall(struct.pack("i", process))
        return None

    def _forget(self, connection: socket.socket) -> None:
        """Close in a copy what belongs to the server."""
        self.selector.close()
        self.listener.close()
        connection.close()
        for handle, (_, other) in self.copies.items():
            os.close(handle)
            other.close()

    def _report(self, handle: int) -> None:
        process, connection = self.copies.pop(handle)
        _, status = os.waitpid(process, 0)
        self.selector.unregister(handle)
        os.close(handle)
        with contextlib.suppress(KeyError):
            self.selector.unregister(connection)
        with contextlib.suppress(OSError):
            connection.sendall(struct.pack("i", os.waitstatus_to_exitcode(status)))
        connection.close()

    def _asker_left(self, connection: socket.socket) -> None:
        """Kill the copy of a process that has been killed itself, if it has not just been reported."""
        for process, other in self.copies.values():
            if other is connection:
                self.selector.unregister(connection)
                os.kill(process, signal.SIGKILL)

    def _end(self) -> None:
        shutil.rmtree(Path(self.listener.getsockname()).parent, ignore_errors=True)
        for process, _ in self.copies.values():
            os.kill(process, signal.SIGKILL)


def _end_with_parent() -> None:
    """Let the system kill this process when the one that it is a copy of has ended, however."""
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _import(name: str) -> None:
    with contextlib.suppress(Exception):  # the notebook that needs it will say why it fails
        importlib.import_module(name)
    if "pandas" in sys.modules:
        # Imported outside of a kernel it would show other columns than imported in one.
        sys.modules["pandas"].set_option("display.max_columns", COLUMNS_IN_A_KERNEL)


def _receive(connection: socket.socket) -> dict[str, Any]:
    size, files, _, _ = socket.recv_fds(connection, 4, 3)
    wanted = struct.unpack("I", size)[0]
    content = b""
    while len(content) < wanted:
        piece = connection.recv(wanted - len(content))
        if not piece:
            raise OSError("the asker has left")
        content += piece
    return json.loads(content) | {"files": files}


def _carry_out(request: dict[str, Any]) -> None:
    """Run the module of a request in this process, as `python -m` would."""
    for number, file in enumerate(request["files"]):
        os.dup2(file, number)
        os.close(file)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    module, *arguments = request["command"]
    sys.argv = [module, *arguments]
    sys.path[0] = request["folder"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _ask(address: str, command: list[str]) -> int | None:
    """Let the process run a module; give its exit status, or None where no process answers."""
    request = {"command": command, "folder": os.getcwd(), "environment": dict(os.environ)}
    content = json.dumps(request).encode()
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address)
        socket.send_fds(connection, [struct.pack("I", len(content))], [0, 1, 2])
        connection.sendall(content)
        process = _number(connection)
    except OSError:
        return None
    if process is None:
        return None

    def pass_on(number: int, _: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    return _wait(connection)


def _wait(connection: socket.socket) -> int:
    """Wait for the exit status, or for the end of the process that has started this one."""
    parent = os.getppid()
    while not select.select([connection], [], [], 1.0)[0]:
        if os.getppid() != parent:
            return 1
    status = _number(connection)
    return 1 if status is None else status


def _number(connection: socket.socket) -> int | None:
    content = connection.recv(4)
    return struct.unpack("i", content)[0] if len(content) == 4 else None


def _end_as(status: int) -> NoReturn:
    """End as the copy did: with its status, or by the signal that ended it."""
    if status < 0:
        if -status in PASSED_ON:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


def main(words: list[str]) -> None:
    """Serve, or run a module: `--serve FILE MODULE ...`, or `[OPTION ...] -m MODULE ARGUMENTS`."""
    if words[0] == "--serve":
        sys.path.insert(0, os.getcwd())  # as `python -m` does
        request = Server(socket.socket(fileno=int(words[1])), words[2:]).serve()
        if request is not None:
            _carry_out(request)
        return
    if os.environ.get(ADDRESS):
        status = _ask(os.environ[ADDRESS], words[words.index("-m") + 1 :])
        if status is not None:
            _end_as(status)
    os.execv(sys.executable, [sys.executable, *words])


if __name__ == "__main__":
    main(sys.argv[1:])
