"""What `explore` shows to a person: in a real JupyterLab, in a real browser, by real clicks."""

import shutil

import browser
import pytest

from dtreward.study.run import run

pytestmark = pytest.mark.skipif(not browser.chromium(), reason="no Chromium on this machine")

NAME = "00_compare_two_responses.ipynb"
VERDICT = "document.querySelector('.jp-OutputArea .widget-html h3')?.textContent"
PICTURE = "document.querySelector('.jp-OutputArea .widget-html img')?.src"
TREE = "document.querySelector('.jp-OutputArea .widget-html object')"
SIDES = "[r.x, r.y, r.width, r.height]"
SWAP = "[...document.querySelectorAll('button')].find(b => b.textContent.includes('Swap'))"
RUN_ALL = "jupyterapp.commands.execute('notebook:run-all-cells').then(() => true)"
OPEN = """jupyterapp.commands.execute('docmanager:open', {path: 'notebooks/NAME'}).then(
    tab => Promise.all([tab.context.ready, tab.sessionContext.ready])).then(() => true)"""
STATIC = "document.querySelector('.jp-OutputArea .jp-RenderedHTML img[alt^=rewards]')"
FIRST = "[...document.querySelectorAll('.dtreward-responses textarea')][0]"
BOXES = (
    "JSON.stringify([...document.querySelectorAll('.widget-textarea textarea')].map(t => t.value))"
)


@pytest.fixture(scope="module")
def workshop(root, tmp_path_factory):
    """The notebook and the demo model, so that nothing is saved into this project."""
    folder = tmp_path_factory.mktemp("workshop")
    shutil.copytree(
        root / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns("exec*")
    )
    (folder / "data").symlink_to(root / "data")
    return folder


@pytest.fixture(scope="module")
def lab(workshop, root, tmp_path_factory):
    with browser.lab(workshop, tmp_path_factory.mktemp("lab"), root) as served:
        yield served


@pytest.fixture
def page(tmp_path):
    with browser.page(tmp_path) as opened:
        yield opened


def visit(page, lab, name):
    address, token = lab
    page.send("Page.navigate", url=f"{address}lab?token={token}")
    page.wait("JupyterLab", "window.jupyterapp?.restored.then(() => true)")
    page.wait("the notebook", OPEN.replace("NAME", name))


def test_the_notebook_runs_and_a_click_on_swap_turns_the_picture_over(page, lab):
    visit(page, lab, NAME)
    assert page.evaluate(RUN_ALL)
    before = page.wait("the widget's verdict", VERDICT)
    picture, boxes = page.evaluate(PICTURE), page.evaluate(BOXES)
    assert before.startswith("Response 1 is preferred")
    page.evaluate(f"{SWAP}.scrollIntoView()")
    page.screenshot("explore")
    page.evaluate(f"{TREE}.scrollIntoView({{block: 'center'}})")
    x, y, wide, tall = page.wait(
        "the tree", f"(r => r.height > 200 && {SIDES})({TREE}.getBoundingClientRect())"
    )
    pictures = []
    for place, share in {"beside": 0.01, "on_root": 0.5}.items():
        at = {"x": x + share * wide, "y": y + 0.06 * tall}
        page.send("Input.dispatchMouseEvent", type="mouseMoved", **at)
        pictures.append(page.screenshot(f"explore_mouse_{place}"))
    assert pictures[0] != pictures[1]  # what the mouse shows: tests/test_draw.py
    page.click(SWAP)
    after = page.wait("another verdict", f"{VERDICT} != {before!r} && {VERDICT}")
    assert after.startswith("Response 2 is preferred")
    assert page.evaluate(PICTURE) != picture and page.evaluate(BOXES) != boxes
    page.screenshot("explore_swapped")
    page.click(SWAP)
    page.wait("the first verdict again", f"{VERDICT} == {before!r}")
    assert page.evaluate(PICTURE) == picture and page.evaluate(BOXES) == boxes
    page.evaluate("document.querySelector('.dtreward-explorer').dataset.same = 'yes'")
    page.click(FIRST)
    page.evaluate(f"{FIRST}.select()")
    page.send("Input.insertText", text="9 apples.")
    page.wait("the faded result", "document.querySelector('.dtreward-faded')?.className")
    for kind in ("keyDown", "keyUp"):  # Ctrl+Enter, which runs the cell where nothing takes it
        at = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "modifiers": 2}
        page.send("Input.dispatchKeyEvent", type=kind, **at)
    page.wait("the comparison", "!document.querySelector('.dtreward-faded')")
    assert page.evaluate(PICTURE) != picture
    assert page.evaluate("document.querySelector('.dtreward-explorer').dataset.same") == "yes"
    page.evaluate("document.querySelector('.dtreward-explorer').scrollIntoView()")
    page.screenshot("explore_top")


def test_an_executed_copy_that_nobody_has_trusted_shows_the_picture_and_the_words(
    page, lab, workshop
):
    run(workshop / "notebooks" / NAME, workshop / "notebooks/executed.ipynb", {})
    visit(page, lab, "executed.ipynb")
    assert page.wait("the picture", f"{STATIC}?.complete && {STATIC}.naturalWidth") > 500
    text = page.evaluate(f"{STATIC}.closest('.jp-RenderedHTML').textContent")
    assert "Jane has 12 apples" in text and "Response 1 is preferred" in text
    assert "no smaller change" in text and "tree of GPT-4o" in text
    assert "Point at a node" not in text  # nothing of the tree, where its picture is left out
    assert not page.evaluate("document.body.textContent.includes('Error displaying widget')")
    page.evaluate(f"{STATIC}.scrollIntoView({{block: 'center'}})")
    page.screenshot("explore_static")
