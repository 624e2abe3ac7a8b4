"""The site of a study opens from the disk, loads nothing from elsewhere, and hides no failure."""

import base64
import itertools
import json
import os
import re
import shutil
import sys
from contextlib import redirect_stdout
from functools import cache, partial
from io import StringIO
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from browser import offline_tab
from bs4 import BeautifulSoup
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell

from dtreward.record import Claim, write_result
from dtreward.study import site as site_module
from dtreward.study.chapters import Places, read_chapters
from dtreward.study.site import build, find_places, provenance, published_studies, real_study
from dtreward.tree import PreferenceTree

__all__ = ["offline_tab"]  # a fixture
SCRIPT = "<script>alert('seen')</script>"
SPOT = (  # one white pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
)
BROKEN_IMAGE = {"output_type": "display_data", "metadata": {}, "data": {"image/png": "a"}}
DAMAGED = {  # no whole notebooks
    "04_cut_off": '{"cells": [',
    "05_a_list": "[]",
    "06_no_source": json.dumps(
        {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}
    ),
    "07_broken_image": nbformat.writes(
        new_notebook(cells=[new_code_cell("x", outputs=[nbformat.from_dict(BROKEN_IMAGE)])])
    ),
}
LOADS = {"src", "srcset", "poster", "data", "background", "action", "formaction", "xlink:href"}


def image():
    return new_output("display_data", data={"image/png": SPOT, "text/plain": "<Figure>"})


def markdown(text):
    return new_output("execute_result", data={"text/markdown": text, "text/plain": "Markdown"})


def shown(kind, value, plain):
    return new_output("display_data", data={kind: value, "text/plain": plain})


def printed(text):
    return new_output("stream", name="stdout", text=text)


def executed(number, *cells, **parameters):
    """A notebook as papermill leaves it."""
    cells = [
        new_markdown_cell(
            f"# {number} · Ask a thing\n\nIs it so?\n\n**Reads** `pairs.parquet` · **Cost** none"
        ),
        new_code_cell(
            'source: str = ""  # where the pairs came from\nseed: int = 0  # decides shuffles',
            metadata={"tags": ["parameters"]},
        ),
        *cells,
    ]
    for place, cell in enumerate(cells):
        cell["id"] = f"cell-{place:02d}"
    return new_notebook(cells=cells, metadata={"papermill": {"parameters": parameters}})


def failure(message):
    line = f"\x1b[36mFile \x1b[39m\x1b[32m{ROOT}/dtreward/tree.py:12\x1b[39m, in fit"
    return new_output(
        "error",
        ename="ValueError",
        evalue=message,
        traceback=[line, "File /opt/someone/lib/pandas/core.py:3", f"ValueError: {message}"],
    )


class Study:
    """A made-up study in a folder of its own."""

    def __init__(self, folder):
        self.made, self.sources = folder / "data" / "own", folder / "notebooks"
        (self.made / "figures").mkdir(parents=True)
        (self.sources / "studies").mkdir(parents=True)

    def plan(self, *names):
        lines = "".join(f"  - {name}\n" for name in names)
        (self.sources / "studies" / "own.yaml").write_text(f"notebooks:\n{lines}")

    def ran(self, name, notebook, partial=False):
        nbformat.write(notebook, self.made / f"{name}{'.partial' if partial else ''}.ipynb")

    def drew(self, *stems):
        for stem, kind in itertools.product(stems, ("png", "pdf")):
            (self.made / "figures" / f"{stem}.{kind}").write_bytes(base64.b64decode(SPOT))

    def recorded(self, name, *claims, inputs=(), **parameters):
        path, copy = self.made / f"{name}.json", self.made / f"{name}.ipynb"
        ran = copy.read_bytes() if copy.exists() else b""
        write_result(path, numbers={}, claims=claims, parameters=parameters, inputs=inputs)
        if ran:  # a study writes it after the record
            copy.write_bytes(ran)

    @property
    def places(self):
        figures, paper = self.made / "figures", self.made / "paper"
        return Places(self.made, self.made, figures, paper, self.sources)

    def chapters(self):
        return read_chapters("own", self.places)

    def site(self, name="report"):
        """Build the site and give its folder."""
        return build("own", self.places, self.made / name).parent


@cache
def page(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def chapter(site, name):
    """Give the page of a notebook."""
    return page(site / "notebooks" / f"{name}.html")


def state(site, name):
    return chapter(site, name).find(class_="about-run").find(class_="state").text


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A study whose every text tries to break out, and whose second notebook failed."""
    study = Study(tmp_path_factory.mktemp("hostile"))
    study.plan("01_load_pairs", "02_extract_features", "03_never_ran", *DAMAGED)
    (study.made / "pairs.parquet").write_bytes(b"pairs")
    drawing = f"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'>{SCRIPT}</svg>"
    html = (
        f"<table><tr><td>{SCRIPT}</td></tr></table><img src='https://evil.org/a.png' alt='far'>"
        f"<img src='near.png' onerror='alert(1)'><a href='javascript:alert(1)'>go</a>{drawing}"
        "<iframe src='https://evil.org'></iframe><link rel='stylesheet' href='https://evil.org/a.css'>"
        "<style>@import url(https://evil.org/b.css)</style><a href='https://good.org/x'>good</a>"
        "<p style=\"background: url('https://evil.org/c.png')\">tail</p>"
    )
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "0%|"}
    script = {"application/javascript": "alert('ran')"}
    study.ran(
        "01_load_pairs",
        executed(
            "01",
            new_markdown_cell(f"## {SCRIPT} ![far](https://evil.org/d.png) [near](../data/x.md)"),
            new_code_cell(
                'save_figure(figure, drawn / f"01_{name}")\nprint("</pre><script>")',
                outputs=[image(), markdown(f"*Caption {SCRIPT} ![far](https://evil.org/e.png)*")],
            ),
            new_code_cell("html", outputs=[new_output("display_data", data={"text/html": html})]),
            new_markdown_cell(f"```{{raw}} html\n{SCRIPT}\n```\n\n{{download}}`../conf.py`"),
            new_markdown_cell(f"```{{}}{{raw}} html\n{SCRIPT}\n```"),
            new_markdown_cell(
                f"[`](x)``{{raw}} html\n{SCRIPT}\n```\n\n[{{download}}](x)`../conf.py`"
            ),
            new_markdown_cell(
                "![far][f] [near][n] <file:conf.py>\n\n[f]: https://evil.org/f.png\n[n]: ../conf.py"
            ),
            new_raw_cell(f"a raw cell\n```\n```{{raw}} html\n{SCRIPT}\n```\n"),
            new_code_cell("formula", outputs=[shown("text/latex", "$x$", "the formula x")]),
            new_code_cell("drawing", outputs=[shown("image/svg+xml", drawing, "<SVG>")]),
            new_code_cell(
                "two",
                outputs=[image(), markdown("*First caption.*"), image(), markdown("*Second one.*")],
            ),
            new_markdown_cell(f"{SCRIPT}\n\n<div onclick=\"alert('seen')\">\n{SCRIPT}\n</div>"),
            new_code_cell("bar", outputs=[new_output("display_data", data=widget)]),
            new_code_cell("run", outputs=[new_output("display_data", data=script)]),
            new_code_cell("say", outputs=[printed(SCRIPT + " /srv/jane/secret/pairs.csv\n")]),
            source=f"../../../srv/jane/{SCRIPT}",
        ),
    )
    study.drew("01_<b>bold & 'quoted'", "01_100% sure?")
    study.recorded(
        "01_load_pairs",
        Claim(f"It is so {SCRIPT}.", True),
        Claim("It is & it isn't.", False),
        Claim(f"It breaks out\n```\n\n```{{raw}} html\n{SCRIPT}\n```", True),
        inputs=[study.made / "pairs.parquet"],
        source="/srv/jane/pairs.csv",
    )
    study.ran(
        "02_extract_features",
        executed(
            "02",
            new_code_cell("say", outputs=[printed("held: It began well.\n")]),
            new_code_cell(
                "end",
                outputs=[printed("held: It began well.\ncannot tell: Too few saw its end.\n")],
            ),
            new_code_cell("stop", outputs=[failure(f"no such {SCRIPT} in {Path.home()}/x/y.bin")]),
        ),
        partial=True,
    )
    study.recorded("02_extract_features", Claim("An answer of an earlier run.", True))
    for name, text in DAMAGED.items():
        (study.made / f"{name}.ipynb").write_text(text)
    study.folder = study.site()
    return study


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The site of the committed copies of the demo study, with guides and reference."""
    executed_copies, figures = ROOT / "notebooks" / "executed" / "demo", ROOT / "figures" / "demo"
    made = tmp_path_factory.mktemp("demo")
    shutil.copyfile(ROOT / "data" / "demo" / "decision_tree.json", made / "decision_tree.json")
    places = Places(made, executed_copies, figures, figures / "paper", ROOT / "notebooks")
    notebooks = published_copies(tmp_path_factory.mktemp("real"))
    with redirect_stdout(StringIO()) as said, pytest.MonkeyPatch.context() as patch:
        patch.setattr(site_module, "published_studies", partial(published_studies, notebooks))
        patch.setattr(site_module, "real_study", partial(real_study, notebooks=notebooks))
        index = build("demo", places, made / "docs", with_docs=True)
    assert "WARNING" not in said.getvalue(), said.getvalue()
    return index.parent


def published_copies(folder):
    """Give a folder of notebooks with the committed copies of a made-up study of public sources."""
    notebooks = folder / "notebooks"
    copies = notebooks / "executed" / "owls"
    copies.mkdir(parents=True)
    (notebooks / "studies").mkdir()
    (notebooks / "studies/owls.yaml").write_text(
        "notebooks: [01_load_pairs, 07_compare_judges]\nsources: {owls: {licence: MIT}}\n"
    )
    (notebooks / "studies/own.yaml").write_text("notebooks: [01_load_pairs]\n")
    cells = [
        new_code_cell("say", outputs=[printed("held: Owls prefer mice.\n")]),
        new_code_cell("draw", outputs=[image(), markdown("*Mice by owls.*")]),
        new_markdown_cell("## Sources\n\n- **owls** (MIT): A. Author."),
    ]
    nbformat.write(executed("01", *cells, source="owls"), copies / "01_load_pairs.ipynb")
    return notebooks


@pytest.fixture(params=["made up", "committed"])
def site(request):
    if request.param == "committed":
        return request.getfixturevalue("demo")
    return request.getfixturevalue("hostile").folder


def own_pages(site):
    left_out = {"_static", "_modules"}  # the theme's, and code that Sphinx prints
    return [path for path in sorted(site.rglob("*.html")) if left_out.isdisjoint(path.parts)]


def test_no_page_loads_anything_from_outside(site):
    for path in own_pages(site):
        for element in page(path).find_all(True):
            loaded = [element[name] for name in LOADS & set(element.attrs)]
            loaded += [element["href"]] if element.name == "link" else []
            for address in loaded:
                assert not urlsplit(address).netloc, f"{path}: {address}"
                assert urlsplit(address).scheme in ("", "data"), f"{path}: {address}"
            assert "url(" not in element.get("style", "")
        assert not page(path).find_all(["iframe", "object", "embed", "base"])
    for path in site.glob("_static/**/*.css"):
        style = path.read_text(encoding="utf-8")
        assert not re.search(r"url\(\s*['\"]?(\w+:)?//|@import ['\"]?\w+:", style), path


def test_no_text_of_a_notebook_runs(hostile):
    for path in own_pages(hostile.folder):
        soup = page(path)
        for script in soup.find_all("script"):
            is_data = script.get("type") == "application/json"
            assert is_data or "alert" not in script.text, path
        for element in soup.find_all(True):
            handlers = [name for name in element.attrs if name.startswith("on")]
            assert not handlers or "alert" not in str(element[handlers[0]]), path
            assert not element.get("href", "").startswith("javascript:"), path
            source = element.get("src", "")
            if source.startswith("data:image/svg+xml"):
                assert element.name == "img", "a drawing is an image, in which nothing runs"


def test_every_link_and_image_within_the_site_exists(site):
    seen = 0
    for path in own_pages(site):
        for element in page(path).find_all(["a", "img", "link", "script"]):
            for address in (element.get("href", ""), element.get("src", "")):
                parts = urlsplit(address)
                if address and not parts.scheme and parts.path:
                    file = (path.parent / unquote(parts.path)).resolve()
                    assert file.is_file(), f"{path.name} leads to {address}"
                    assert site.resolve() in file.parents
                    seen += 1
    assert seen > 100


def test_no_page_names_a_place_on_this_machine(site):
    for path in [*own_pages(site), site / "searchindex.js"]:
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text and sys.prefix not in text, path
        assert not re.search(r"/opt/someone|srv/jane|/home/\w", text), path


def test_hostile_texts_are_shown_as_the_text_that_they_are(hostile):
    first = chapter(hostile.folder, "01_load_pairs")
    claims = first.find(class_="claims").text
    assert f"It is so {SCRIPT}." in claims and "It is & it isn't." in claims
    assert "<script>alert(‘seen’)</script>" in first.find("h2").text
    assert "…/pairs.csv" in first.text and "</pre><script>" in first.text
    figures = page(hostile.folder / "figures.html")
    titles = {title.text for title in figures.select("figcaption strong")}
    assert titles == {"100% sure?", "<b>bold & 'quoted'"}
    assert "good" in first.text and "https://good.org/x" in str(first)


def test_directives_and_roles_of_a_notebook_are_shown_and_not_obeyed(hostile):
    first = chapter(hostile.folder, "01_load_pairs")
    assert any(SCRIPT in block.text for block in first.find_all("pre"))
    assert not list(hostile.folder.rglob("conf.py*"))
    assert "```{raw} html" in first.find(class_="claims").text


def test_a_build_that_fails_leaves_the_site_of_before(hostile, monkeypatch):
    def fail(*_):
        raise RuntimeError("stopped")

    before = (hostile.folder / "index.html").read_bytes()
    monkeypatch.setattr("dtreward.study.site._run_sphinx", fail)
    with pytest.raises(RuntimeError):
        hostile.site()
    assert (hostile.folder / "index.html").read_bytes() == before


def test_what_a_page_can_show_of_an_output_is_shown(hostile):
    first = chapter(hostile.folder, "01_load_pairs")
    assert "the formula x" in first.text
    assert "a raw cell" in first.text
    drawings = first.select('img[src^="data:image/svg+xml"]')
    assert len(drawings) == 2  # one stands in HTML, one alone


def test_an_image_has_the_words_of_the_caption_below_it(hostile):
    words = [one.get("alt") for one in chapter(hostile.folder, "01_load_pairs").select("img")]
    assert {"First caption.", "Second one."} <= set(words)
    assert not [word for word in words if not word]


def test_widgets_and_scripts_of_outputs_are_left_out(hostile):
    text = (hostile.folder / "notebooks" / "01_load_pairs.html").read_text()
    assert "vnd.jupyter" not in text and "alert('ran')" not in text and "0%|" not in text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("01_load_pairs", "done"),
        ("02_extract_features", "failed"),
        ("03_never_ran", "not run"),
        *((name, "unreadable") for name in DAMAGED),
    ],
)
def test_every_notebook_has_a_page_that_says_how_far_it_came(hostile, name, expected):
    assert state(hostile.folder, name) == expected
    index = page(hostile.folder / "notebooks" / "index.html")
    link = index.find("table", class_="glance").find("a", href=f"{name}.html")
    assert link.find_parent("tr").find(class_="state").text == expected


def test_a_failed_notebook_shows_its_error_and_no_claims_of_an_earlier_run(hostile):
    failed = chapter(hostile.folder, "02_extract_features")
    error = failed.find(class_="error").text
    assert error.startswith("ValueError: no such") and "y.bin" in error
    assert failed.find(class_="claims").text.count("It began well.") == 1
    [untold] = failed.find(class_="claims").find_all("li", class_="cannot-tell")
    assert untold.text == "cannot tell Too few saw its end."
    counted = failed.find("details").find("summary").text
    assert counted == "Claims: 1 held, 0 did not hold, 1 cannot tell"
    assert "An answer of an earlier run." not in failed.text
    first = page(hostile.folder / "index.html")
    assert "stopped at an error" in first.text


def test_a_record_of_changed_files_is_outdated(tmp_path):
    study = Study(tmp_path)
    pairs = study.made / "pairs.parquet"
    pairs.write_bytes(b"before")
    study.ran("01_load_pairs", executed("01", new_code_cell("1")))
    study.recorded("01_load_pairs", Claim("So.", True), inputs=[pairs])
    assert [one.state for one in study.chapters()] == ["done"]
    copy = study.made / "report" / pairs.name  # a copy is not what notebooks read
    copy.parent.mkdir()
    pairs.rename(copy)
    pairs.write_bytes(b"after")
    [outdated] = study.chapters()
    assert outdated.state == "outdated"
    [compared] = provenance([outdated], study.made)["inputs"]
    assert compared[-1] == "changed since"


def test_a_failed_attempt_after_a_finished_run_is_not_hidden(tmp_path):
    study = Study(tmp_path)
    study.ran("01_load_pairs", executed("01", new_code_cell("1")))
    os.utime(study.made / "01_load_pairs.ipynb", (1, 1))
    failed = executed("01", new_code_cell("1", outputs=[failure("no")]))
    study.ran("01_load_pairs", failed, partial=True)
    assert [one.state for one in study.chapters()] == ["failed"]


def test_two_builds_in_two_folders_have_the_same_bytes(hostile):
    again = hostile.site("again")
    files = {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
    before = {p.relative_to(hostile.folder) for p in hostile.folder.rglob("*") if p.is_file()}
    assert files == before
    for name in files:
        assert (again / name).read_bytes() == (hostile.folder / name).read_bytes(), name


def test_the_landing_page_has_a_finding_a_figure_four_numbers_and_ways_on(demo):
    first = page(demo / "index.html")
    assert len(first.select(".numbers dt")) == 4
    assert re.search(r"claims held; \d+ did not, \d+ cannot tell", first.text)
    assert re.search(r"accuracy of 0\.\d+ \[", first.find(class_="finding").text)
    assert "–" not in {number.text for number in first.select(".numbers dt")}
    assert first.find("img", class_="paper")
    ways = {link.text for link in first.select(".ways a")}
    assert ways >= {"Notebooks", "Figures and tables", "Trees", "Pairs to read", "BibTeX"}
    assert "@software{dtreward" in first.text.replace("\n", "")
    banner = first.find(class_="bd-header-announcement")
    assert "Demo world" in banner.text


def test_published_real_studies_are_shown_beside_the_demo_and_told_apart(demo):
    first = page(demo / "index.html")
    assert "owls/index.html" in [link["href"] for link in first.select(".ways a")]
    banner = first.find(class_="bd-header-announcement").text
    assert "The exception: the pages of owls show real judges and data." in banner
    shown = page(demo / "owls/01_load_pairs.html")
    assert "Owls prefer mice." in shown.find(class_="claims").text
    assert "A. Author" in shown.text and shown.find("img", alt=re.compile("Mice by owls"))
    listed = page(demo / "owls/index.html").select(".glance tbody tr")
    assert len(listed) == 1  # what is not published is not listed
    assert (demo / "_static/downloads/owls-01_load_pairs.ipynb").is_file()
    assert "Owls" not in page(demo / "notebooks/01_load_pairs.html").text


def test_code_is_folded_and_figures_say_what_is_seen(demo):
    tree = chapter(demo, "04_fit_preference_tree")
    cells = tree.select("div.cell")
    assert cells
    for cell in cells:
        assert cell.select_one("details.hide") or "tag_remove-input" in cell["class"]
    seen = 0
    for path in sorted((demo / "notebooks").glob("[0-9]*.html")):
        for image in page(path).select('img[src^="../_images"]'):
            assert len(image.get("alt", "")) > 40, f"{path.stem}: {image.get('alt')}"
            assert "without a caption" not in image["alt"], path.stem
            assert image.find_parent("a")["href"] == image["src"], "it can be enlarged"
            seen += 1
    assert seen > 40


def test_a_study_without_records_shows_the_tree_of_its_model_as_nested_questions(demo):
    trees = page(demo / "trees.html")
    tree = PreferenceTree.load(ROOT / "data" / "demo" / "decision_tree.json")
    assert len(trees.select(".tree-outline li")) == len(tree.feature)


def test_the_reference_says_each_field_of_a_named_tuple_once(demo):
    reference = page(demo / "reference" / "dtreward.explorer.html")
    fields = reference.select('[id^="dtreward.explorer.reasons.Flip."]')
    assert [one["id"].rpartition(".")[2] for one in fields] == ["attribute", "change", "to"]


def test_each_figure_of_the_gallery_has_words_and_files_to_download(demo):
    figures = page(demo / "figures.html")
    cards = figures.select("figure.exhibit")
    assert len(cards) > 40
    for card in cards:
        assert len(card.find("img")["alt"]) > 20, card["id"]
        kinds = {link.text for link in card.select(".downloads a")}
        assert {"PDF", "PNG"} <= kinds, card["id"]
        assert "CSV" in kinds or not card["id"].startswith("paper-"), card["id"]
    tables = figures.select("details[id^=paper-table]")
    assert len(tables) == len([*(ROOT / "figures/demo/paper").glob("table_*.md")]) > 0
    assert all({"TEX", "MD"} == {a.text for a in one.select(".downloads a")} for one in tables)


def test_a_study_that_has_not_run_says_how_to_run_it(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(FileNotFoundError, match="make study STUDY=no-such-study"):
        find_places("no-such-study")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser_without_network_no_page_complains_or_scrolls_sideways(
    offline_tab, demo, width, scheme
):
    for domain in ("Page", "Runtime", "Network", "Log"):
        offline_tab.send(f"{domain}.enable")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    offline_tab.send("Emulation.setDeviceMetricsOverride", **size)
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    offline_tab.send("Emulation.setEmulatedMedia", features=media)
    names = ("index", "figures", "trees", "pairs", "notebooks/04_fit_preference_tree", "search")
    for name in names:
        address = (demo / f"{name}.html").as_uri()
        offline_tab.events.clear()
        offline_tab.send("Page.navigate", url=address)
        offline_tab.wait(name, f"location.href + document.readyState == '{address}complete'")
        assert offline_tab.evaluate("document.documentElement.dataset.theme") == scheme
        wide = offline_tab.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} wide"
        offline_tab.screenshot(f"site-{name.replace('/', '-')}-{width}-{scheme}")
        methods = [event.get("method") for event in offline_tab.events]
        assert "Runtime.exceptionThrown" not in methods, name
        errors = [
            event["params"]["entry"]["text"]
            for event in offline_tab.events
            if event.get("method") == "Log.entryAdded"
            and event["params"]["entry"]["level"] == "error"
        ]
        assert not errors, f"{name}: {errors}"


def test_in_a_browser_the_search_finds_a_word_without_a_network(offline_tab, demo):
    address = (demo / "search.html").as_uri() + "?q=calibration"
    offline_tab.send("Page.enable")
    offline_tab.send("Page.navigate", url=address)
    found = "[...document.querySelectorAll('#search-results li')].map(e => e.textContent).join()"
    offline_tab.wait("the search", f"{found}.includes('Fit the preference tree')")
