"""A real JupyterLab and a real headless Chromium, steered through its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
import websocket

SCREENSHOTS = Path(__file__).with_name("screenshots")  # of the last run; git ignores them
PATIENCE = 120  # seconds until something that must come is given up
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
QUIET += " --disable-background-networking --disable-component-update --disable-dev-shm-usage"
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def chromium() -> str | None:
    """Where the browser is, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def wait_for(what, found):
    """Ask until the answer is true; give it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.2)
    raise TimeoutError(f"{what} did not come within {PATIENCE} s")


@contextmanager
def running(command, log, **options):
    """Run a command with all its children ended at the end."""
    with open(log, "w") as file:
        streams = {"stdout": file, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        process = subprocess.Popen(command, start_new_session=True, **streams, **options)
    try:
        yield process
    finally:
        for way in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, way)
                process.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass


@contextmanager
def lab(folder: Path, home: Path, pythonpath: Path):
    """Serve a folder by JupyterLab with its own settings, port and token; give (address, token)."""
    token = secrets.token_hex()
    for name, values in SETTINGS.items():
        path = home / f"settings/@jupyterlab/{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "IPYTHONDIR": "ipython"}
    places |= {"JUPYTER_RUNTIME_DIR": "runtime", "JUPYTERLAB_SETTINGS_DIR": "settings"}
    places |= {"JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    environment = os.environ | {key: str(home / name) for key, name in places.items()}
    environment |= {"PYTHONPATH": str(pythonpath)}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"]
    command += [f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}"]
    command += ["--LabApp.expose_app_in_browser=True", "--ServerApp.ip=127.0.0.1"]
    with running(command, home / "lab.log", env=environment) as process:
        record = home / f"runtime/jpserver-{process.pid}.json"

        def address():
            if process.poll() is not None:
                raise RuntimeError((home / "lab.log").read_text()[-2000:])
            try:
                url = json.loads(record.read_text())["url"]
                return urlopen(f"{url}api?token={token}", timeout=5).status == 200 and url
            except (OSError, ValueError):
                return None

        yield wait_for("JupyterLab", address), token


class Page:
    """One tab: look things up, click, type and take pictures, as a person does."""

    def __init__(self, address: str) -> None:
        self.socket = websocket.create_connection(
            address, timeout=PATIENCE, suppress_origin=True, max_size=None
        )
        self.number, self.events = 0, []

    def send(self, method: str, **parameters):
        """Ask the browser something, and give its answer."""
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv())).get("id") != self.number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def evaluate(self, script: str):
        """Give the value of a JavaScript expression; None where it fails."""
        options = {"returnByValue": True, "awaitPromise": True}
        return self.send("Runtime.evaluate", expression=script, **options)["result"].get("value")

    def wait(self, what: str, script: str):
        """Wait until a JavaScript expression is true; give its value."""
        return wait_for(what, lambda: self.evaluate(script))

    def click(self, script: str) -> None:
        """Press the mouse in the middle of the element that an expression gives."""
        self.evaluate(f"{script}.scrollIntoView({{block: 'center'}})")
        middle = f"(r => [r.x + r.width / 2, r.y + r.height / 2])({script}.getBoundingClientRect())"
        x, y = self.evaluate(middle)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def screenshot(self, name: str) -> bytes:
        """Give a picture of what is seen, and keep it as tests/screenshots/NAME.png."""
        picture = base64.b64decode(self.send("Page.captureScreenshot")["data"])
        SCREENSHOTS.mkdir(exist_ok=True)
        (SCREENSHOTS / f"{name}.png").write_bytes(picture)
        return picture


@contextmanager
def page(home: Path, *flags: str):
    """Start the browser with a profile of its own; give its page."""
    profile = home / "profile"
    command = [chromium(), *QUIET.split(), *flags, f"--user-data-dir={profile}"]
    command += ["--window-size=1280,1500", "--remote-debugging-port=0", "about:blank"]
    with running(command, home / "chromium.log"):
        port = wait_for(
            "Chromium", lambda: (profile / "DevToolsActivePort").is_file() and _port(profile)
        )
        tabs = json.load(urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE))
        (tab,) = [each for each in tabs if each["type"] == "page"]
        yield Page(tab["webSocketDebuggerUrl"])


def _port(profile):
    lines = (profile / "DevToolsActivePort").read_text().split()
    return lines[0] if len(lines) > 1 else None


@pytest.fixture(scope="module")
def offline_tab(tmp_path_factory):
    """Give a tab of a browser that resolves no name; skip where there is no browser."""
    if not chromium():
        pytest.skip("there is no Chromium on this machine")
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    with page(tmp_path_factory.mktemp("profile"), offline) as opened:
        yield opened
