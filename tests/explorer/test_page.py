"""The explorer as a page of its own: served by Voila, in a real browser, by real keys and clicks."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

import browser
import pytest
from conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not browser.chromium(), reason="no Chromium on this machine"),
]

VERDICT = "document.querySelector('.widget-html h3')?.textContent"
BUTTON = "[...document.querySelectorAll('button')].find(b => b.textContent.includes('{}'))"
BOXES = "[...document.querySelectorAll('.widget-textarea textarea')].filter(t => t.offsetParent)"
WIDTH = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of the demo model, with its token."""
    folder = tmp_path_factory.mktemp("page")
    log = folder / "log"
    command = [sys.executable, "-m", "dtreward.cli", "explore", str(ROOT / "data" / "demo")]
    with browser.running(command, log, cwd=ROOT):
        yield browser.wait_for("the page", lambda: _address(log))


def _address(log):
    words = log.read_text().split()
    return words[words.index("open") + 1] if "open" in words[:-1] else None


@pytest.fixture(scope="module")
def opened(address, tmp_path_factory):
    with browser.page(tmp_path_factory.mktemp("browser")) as page:
        page.send("Network.enable")
        page.send("Page.navigate", url=address)
        page.wait("the verdict", VERDICT)
        yield page


def press(page, key, modifiers=0):
    at = {"key": key, "code": key, "windowsVirtualKeyCode": 13, "modifiers": modifiers}
    page.send("Input.dispatchKeyEvent", type="keyDown", **at)
    page.send("Input.dispatchKeyEvent", type="keyUp", **at)


def write(page, place, text):
    """Replace the text of a box, as a person does who selects all and types."""
    page.click(f"{BOXES}[{place}]")
    page.evaluate(f"{BOXES}[{place}].select()")
    page.send("Input.insertText", text=text)


def test_ctrl_enter_compares_what_was_typed(opened):
    write(opened, 0, "2 + 2?")
    write(opened, 1, "2 + 2 = 5. The answer is 5.")
    write(opened, 2, "2 + 2 = 4. The answer is 4.")
    assert opened.wait("the faded result", "document.querySelector('.dtreward-faded') != null")
    assert opened.evaluate(BUTTON.format("Copy as Markdown") + ".disabled")
    press(opened, "Enter", modifiers=2)
    opened.wait("the comparison", "document.querySelector('.dtreward-faded') == null")
    assert opened.wait("the verdict", VERDICT).startswith("Response ")


def test_the_result_is_copied_or_shown_for_selection(opened):
    opened.evaluate("window.copied = null")
    opened.evaluate("navigator.clipboard.writeText = text => { copied = text }")
    opened.click(BUTTON.format("Copy as JSON"))
    record = json.loads(opened.wait("the copy", "window.copied"))
    assert record["response_2"].startswith("2 + 2 = 4") and record["demo_world"]
    opened.evaluate("navigator.clipboard.writeText = () => Promise.reject('no')")
    opened.evaluate("document.execCommand = () => false")
    opened.click(BUTTON.format("Copy as Markdown"))
    shown = opened.wait("the text", "document.querySelector('.dtreward-copy textarea').value")
    assert shown.startswith("**Response") and "demo world" in shown
    assert not opened.evaluate("document.querySelector('.dtreward-copy textarea').hidden")


def _asked_for_a_file(page):
    page.evaluate("1")  # reads what the browser has said meanwhile
    asked = [one for one in page.events if one["method"] == "Page.fileChooserOpened"]
    return asked[-1]["params"]["backendNodeId"] if asked else None


def test_a_file_is_loaded_and_markup_in_it_stays_text(opened, tmp_path):
    table = "prompt,response_1,response_2\n<img src=x onerror=window.hurt=1>,<b>one</b>,two\n"
    (tmp_path / "pairs.csv").write_text(table)
    opened.send("Page.setInterceptFileChooserDialog", enabled=True)
    opened.send("Page.enable")
    opened.click(BUTTON.format("Load pairs"))
    node = browser.wait_for("the dialog", lambda: _asked_for_a_file(opened))
    files = [str(tmp_path / "pairs.csv")]
    opened.send("DOM.setFileInputFiles", files=files, backendNodeId=node)
    opened.wait("the file's name", "document.body.textContent.includes('1 pair of pairs.csv')")
    assert opened.evaluate(f"{BOXES}[1].value") == "<b>one</b>"
    assert opened.evaluate("document.querySelectorAll('.dtreward-explorer img[src=x]').length") == 0
    assert opened.evaluate("window.hurt === undefined")


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("light", 1280, "light"), ("dark", 1280, "dark"), ("narrow", 390, "light")],
)
def test_it_fits_the_window_and_follows_dark_mode(opened, name, width, scheme):
    size = {"width": width, "height": 1500, "deviceScaleFactor": 1, "mobile": False}
    opened.send("Emulation.setDeviceMetricsOverride", **size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    opened.send("Emulation.setEmulatedMedia", features=features)
    time.sleep(1)
    opened.screenshot(f"page_{name}")
    assert opened.evaluate(WIDTH)
    assert opened.evaluate(
        "[...document.querySelectorAll('.dtreward-explorer .jp-RenderedHTMLCommon > *')]"
        ".every(one => one.getBoundingClientRect().right <= innerWidth)"
    )
    colour = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, colour[4:-1].split(","))) < 200) == (scheme == "dark")


def test_nothing_came_from_another_server(opened):
    answers = [one for one in opened.events if one["method"] == "Network.responseReceived"]
    addresses = [one["params"]["response"]["url"] for one in answers]
    assert addresses
    for one in addresses:
        assert one.startswith(("http://127.0.0.1:", "data:", "blob:")), one


def test_without_the_token_nothing_is_served_and_with_it_no_file(address):
    bare, _, token = address.partition("?")
    for path in ("", "voila/files/explorer.ipynb", "voila/files/../../../etc/passwd"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.build_opener(NoRedirect).open(bare + path)
        assert refused.value.code in (302, 403, 404), path
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{bare}voila/files/explorer.ipynb?{token}")
    assert refused.value.code in (403, 404)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A request that is sent to the login page counts as refused."""

    def redirect_request(self, *arguments):
        return None


def test_it_listens_on_this_machine_alone(address):
    port = int(address.split(":")[2].split("/")[0])
    listening = subprocess.run(
        [sys.executable, "-c", LISTENERS, str(port)], capture_output=True, text=True, check=True
    )
    assert json.loads(listening.stdout) == ["127.0.0.1"]


LISTENERS = """
import json, sys, psutil
port = int(sys.argv[1])
print(json.dumps(sorted({c.laddr.ip for c in psutil.net_connections("inet")
                         if c.status == "LISTEN" and c.laddr.port == port})))
"""
