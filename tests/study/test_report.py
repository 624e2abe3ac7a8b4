"""The report of a study: a site that opens from the disk, loads nothing, and hides no failure."""

import base64
import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import browser
import nbformat
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dtreward.files import file_digest
from dtreward.record import Claim, write_result
from dtreward.study import report

SCRIPT = "<script>alert('seen')</script>"
SPOT = (  # one white pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
)
LOADS = {"src", "srcset", "poster", "data", "background", "action", "formaction", "xlink:href"}


def image():
    return new_output("display_data", data={"image/png": SPOT, "text/plain": "<Figure>"})


def markdown(text):
    return new_output("execute_result", data={"text/markdown": text, "text/plain": "Markdown"})


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

    def report(self):
        """Build the site and give its index."""
        target = self.made / "report"
        figures = self.made / "figures"
        paper = self.made / "paper"
        report.build("own", self.made, self.made, figures, paper, target, sources=self.sources)
        return page(target / "index.html")


def page(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def state(index, name):
    return index.find(id=name).find(class_="state").text


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


@pytest.fixture
def hostile(study):
    """A study whose every text tries to break out, and whose second notebook failed."""
    study.plan("01_load_pairs", "02_extract_features", "03_never_ran", "04_lost")
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
        inputs=[study.made / "pairs.parquet"],
        source="/srv/jane/pairs.csv",
    )
    study.ran(
        "02_extract_features",
        executed(
            "02",
            new_code_cell("say", outputs=[printed("held: It began well.\n")]),
            new_code_cell("stop", outputs=[failure(f"no such {SCRIPT} in {Path.home()}/x/y.bin")]),
        ),
        partial=True,
    )
    study.recorded("02_extract_features", Claim("An answer of an earlier run.", True))
    (study.made / "04_lost.ipynb").write_text('{"cells": [')
    study.index = study.report()
    return study


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The site of the committed copies of the demo study."""
    made = tmp_path_factory.mktemp("demo")
    executed_copies, figures = ROOT / "notebooks" / "executed" / "demo", ROOT / "figures" / "demo"
    return report.build(
        "demo", made, executed_copies, figures, figures / "paper", made / "report"
    ).parent


@pytest.fixture(params=["made up", "committed"])
def site(request):
    if request.param == "committed":
        return request.getfixturevalue("demo")
    return request.getfixturevalue("hostile").made / "report"


def test_no_page_loads_anything_from_outside_or_runs_anything(site):
    for path in site.glob("*.html"):
        soup = page(path)
        assert not soup.find_all(["script", "iframe", "object", "embed", "base", "form", "svg"])
        for element in soup.find_all(True):
            assert not [name for name in element.attrs if name.startswith("on")]
            loaded = [element[name] for name in LOADS & set(element.attrs)]
            loaded += [element["href"]] if element.name == "link" else []
            for address in loaded:
                assert not urlsplit(address).netloc and urlsplit(address).scheme in ("", "data")
            assert urlsplit(element.get("href", "")).scheme in ("", "http", "https", "mailto")
            assert "url(" not in element.get("style", "")
        policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})
        assert policy["content"].startswith("default-src 'none'")
    css = (site / "style.css").read_text()
    assert "url(" not in css and "@import" not in css


def test_every_link_and_image_within_the_site_exists(site):
    pages = {path.name: page(path) for path in site.glob("*.html")}
    seen = 0
    for name, soup in pages.items():
        for element in soup.find_all(True):
            for address in (element.get("href", ""), element.get("src", "")):
                parts = urlsplit(address)
                if not address or parts.scheme:
                    continue
                assert not parts.path.startswith("/") and ".." not in parts.path
                file = unquote(parts.path) or name
                assert (site / file).is_file(), f"{name} leads to {address}"
                assert not parts.fragment or pages[file].find(id=unquote(parts.fragment))
                seen += 1
    assert seen > 20


def test_no_page_names_a_place_on_this_machine(site):
    for path in site.glob("*.html"):
        text = path.read_text()
        assert str(ROOT) not in text and sys.prefix not in text
        assert not re.search(r"/home/|/opt/someone|jane", text)


def test_hostile_texts_are_shown_as_the_text_that_they_are(hostile):
    first = hostile.index.find(id="01_load_pairs")
    assert f"It is so {SCRIPT}." in first.text and "It is & it isn't." in first.text
    assert SCRIPT.split("/")[0] in first.find(class_="key").text
    names = [title.text for title in hostile.index.select("#figures h4")]
    assert names == ["100% sure?", "<b>bold & 'quoted'"]
    shown = page(hostile.made / "report" / "01_load_pairs.html")
    assert SCRIPT in shown.find("h2").text
    assert f"{SCRIPT} …/pairs.csv" in shown.text
    assert "</pre><script>" in shown.text
    assert "tail" in shown.text and "0%|" not in shown.text and "ran" not in shown.text.split()
    assert [link["href"] for link in shown.select(".output_html a[href]")] == ["https://good.org/x"]
    assert "an image that is not in this report: far" in shown.text


def test_a_notebook_that_stopped_is_shown_as_failed_with_what_it_did_so_far(hostile):
    assert state(hostile.index, "01_load_pairs") == "done"
    assert state(hostile.index, "02_extract_features") == "failed"
    answer = hostile.index.find(id="02_extract_features").text
    assert f"ValueError: no such {SCRIPT}" in answer
    assert "It began well." in answer and "An answer of an earlier run." not in answer
    shown = page(hostile.made / "report" / "02_extract_features.html")
    assert "failed" in shown.find(class_="warning").text
    assert f"ValueError: no such {SCRIPT}" in shown.text and "tree.py:12" in shown.text


def test_an_interrupted_notebook_is_unfinished_and_not_done(study):
    study.ran("01_load_pairs", executed("01", new_code_cell("wait")), partial=True)
    assert state(study.report(), "01_load_pairs") == "unfinished"


def test_notebooks_of_the_study_that_have_not_run_are_listed_so(hostile):
    assert state(hostile.index, "03_never_ran") == "not run"
    assert state(hostile.index, "04_lost") == "unreadable"  # its file is cut
    assert not hostile.index.find(id="03_never_ran").select("a[href$='.html']")
    assert "1 of 4 notebooks" in " ".join(hostile.index.text.split())


def test_a_notebook_that_has_not_run_shows_the_parameters_of_its_plan(study):
    study.plan("01_load_pairs")
    plan = study.sources / "studies" / "own.yaml"
    plan.write_text(plan.read_text() + "parameters:\n  source: theirs\n01_load_pairs:\n  seed: 3\n")
    nbformat.write(executed("01"), study.sources / "01_load_pairs.ipynb")
    told = [cell.text for cell in study.report().find(id="01_load_pairs").select("td")]
    assert '"theirs" (set by the study)' in told and "3 (set by the study)" in told


def test_a_study_without_figures_records_or_runs_still_has_a_report(study):
    study.plan("01_load_pairs")
    shutil.rmtree(study.made / "figures")
    assert "There are none yet." in study.report().text
    study.ran("01_load_pairs", executed("01", new_code_cell("save(drawn / '01_lost')")))
    index = study.report()
    assert state(index, "01_load_pairs") == "done" and not index.find("img")


def test_figures_get_the_italic_text_below_them_by_the_name_they_are_saved_under(study):
    study.drew("01_first", "01_second", "01_shared", "01_alone", "01_old", "10_other")
    cells = [
        new_markdown_cell("## One"),
        new_code_cell(
            "save(drawn / '01_second')", outputs=[image(), markdown("*The second.* Read **it**.")]
        ),
        new_code_cell("save(drawn / f'01_{which}st')", outputs=[image(), markdown("*The first.*")]),
        new_markdown_cell("## Two"),
        new_code_cell("save(drawn / '01_shared')", outputs=[image()]),
        new_code_cell("show()", outputs=[image(), markdown("*Both of them.*")]),
        new_markdown_cell("## Three"),
        new_code_cell("save(drawn / '01_alone')", outputs=[image()]),
    ]
    study.ran("01_load_pairs", executed("01", *cells), partial=True)
    index = study.report()
    captions = {
        card["id"]: " ".join(card.find("figcaption").get_text(" ").split()).replace(" .", ".")
        for card in index.select(".card")
    }
    assert captions["01_first"].startswith("First The first.")
    assert captions["01_second"].startswith("Second The second. Read it.")
    assert captions["01_shared"].startswith("Shared Both of them.")
    assert "From the section “Three”." in captions["01_alone"]
    assert "Drawn by an earlier run" in captions["01_old"]
    assert captions["10_other"].startswith("Other")
    assert index.find(id="01_second").find("em").text == "The second."
    assert index.find(id="01_second").find("img")["alt"] == "Second: The second. Read it."
    assert {link.text for link in index.find(id="01_second").select(".downloads a")} == {
        "PDF",
        "PNG",
    }


def test_parameters_are_those_that_ran_with_their_meaning(study):
    study.ran("01_load_pairs", executed("01", source="mine.csv"))
    study.recorded("01_load_pairs", source="mine.csv", seed=7)
    rows = [
        [" ".join(cell.text.split()) for cell in row.find_all(["th", "td"])]
        for row in study.report().select("details tbody tr")
    ]
    assert rows == [
        ["source", '"mine.csv" (set by the study)', "where the pairs came from"],
        ["seed", "0 used: 7", "decides shuffles"],
    ]


def test_an_input_that_changed_since_a_notebook_read_it_is_named(study):
    pairs = study.made / "pairs.parquet"
    pairs.write_bytes(b"before")
    study.ran("01_load_pairs", executed("01"))
    study.recorded("01_load_pairs", inputs=[pairs])
    index = study.report()
    told = index.find(id="provenance").text
    assert file_digest(pairs) in told and "as it is now" in told
    assert state(index, "01_load_pairs") == "done"
    pairs.write_bytes(b"after")
    index = study.report()
    assert "has changed since" in index.find(id="provenance").text
    assert state(index, "01_load_pairs") == "outdated" and "0 of 1 notebooks" in index.text
    chapter = page(study.made / "report" / "01_load_pairs.html")
    assert "read files that have changed since. Run the study again." in chapter.text


def test_the_same_inputs_give_the_same_bytes_and_nothing_old_stays(hostile):
    def content():
        folder = hostile.made / "report"
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first = content()
    (hostile.made / "report" / "old.html").write_text("old")
    hostile.report()
    assert content() == first
    assert sorted(path.name for path in hostile.made.iterdir() if path.is_dir()) == [
        "figures",
        "report",
    ]


def test_every_page_of_the_demo_study_says_demo_world_first_and_no_other_does(demo, hostile):
    for path in demo.glob("*.html"):
        soup = page(path)
        assert soup.find("header").text.strip().startswith("Demo world")
        assert "demo world" in soup.title.text
    assert "demo world" not in hostile.index.text.lower()


def test_a_study_that_stops_early_is_not_called_demo_world_for_notebooks_yet_to_run(study):
    study.plan("01_load_pairs", "02_extract_features")
    shutil.copy(ROOT / "notebooks" / "02_extract_features.ipynb", study.sources)  # source: "demo"
    study.ran("01_load_pairs", executed("01", source="mine.csv"), partial=True)
    assert "demo world" not in study.report().text.lower()
    study.ran("01_load_pairs", executed("01", source="demo"), partial=True)
    assert study.report().text.lower().count("demo world") == 2  # title and head


def test_the_committed_copies_give_claims_key_figures_and_captions(demo):
    index = page(demo / "index.html")
    names = sorted(path.stem for path in (ROOT / "notebooks" / "executed" / "demo").iterdir())
    for name in names:
        chapter = index.find(id=name)
        assert state(index, name) == "done" and chapter.find(class_="key").find("img")
        assert chapter.find(class_="question").text.strip()
        printed_claims = re.findall(
            r'"(?:held|did not hold): ',
            (ROOT / "notebooks" / "executed" / "demo" / f"{name}.ipynb").read_text(),
        )
        assert len(chapter.select(".claims li")) == len(printed_claims)
    drawn = {path.stem for path in (ROOT / "figures" / "demo").glob("*.png")}
    cards = {card["id"]: card for card in index.select("#figures .card")}
    assert set(cards) == drawn
    for stem, card in cards.items():
        assert card.find("figcaption").find("p", class_=None), f"{stem} has no caption"


def test_what_notebook_99_drew_has_captions_tables_and_downloads(demo):
    index, drawn = page(demo / "index.html"), ROOT / "figures" / "demo" / "paper"
    entries = json.loads((drawn / "index.json").read_text())["drawn"]
    assert len(entries) > 20
    for stem, entry in entries.items():
        shown = index.find(id=f"paper-{stem}")
        assert " ".join(entry["caption"].split()) in " ".join(shown.get_text(" ").split())
        got = [link["href"] for link in shown.select(".downloads a")]
        assert got == [f"paper/{name}" for name in entry["files"]]
        assert all(
            (demo / one).read_bytes() == (drawn / Path(one).name).read_bytes() for one in got
        )
        assert (shown.find("img") is None) == (shown.find("table") is not None)


def test_a_paper_figure_of_other_data_than_its_index_says_is_left_out(study):
    study.plan("99_draw_paper_figures")
    paper = study.made / "paper"
    paper.mkdir()
    entries = {}
    for stem in ("01_kept", "02_changed", "03_lost"):
        files = [f"{stem}.{kind}" for kind in ("pdf", "png", "csv")]
        for name in files:
            (paper / name).write_bytes(base64.b64decode(SPOT))
        told = {"files": files, "sha256": file_digest(paper / files[-1])}
        entries[stem] = told | {"caption": f"Of /srv/jane/x.csv {SCRIPT}"}
    (paper / "index.json").write_text(json.dumps({"drawn": entries}))
    (paper / "02_changed.csv").write_text("other")
    (paper / "03_lost.pdf").unlink()
    index = study.report()
    assert [one["id"] for one in index.select("#paper figure")] == ["paper-01_kept"]
    assert f"Of …/x.csv {SCRIPT}" in index.find(id="paper").text


def test_pages_can_be_read_without_seeing_them(site):
    for path in site.glob("*.html"):
        soup = page(path)
        levels = [int(heading.name[1]) for heading in soup.find_all(re.compile(r"^h[1-6]$"))]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        assert all(picture["alt"].strip() for picture in soup.find_all("img"))
        assert soup.html["lang"] == "en" and soup.title.text.strip()
        found = [element["id"] for element in soup.find_all(id=True)]
        assert len(found) == len(set(found))


def test_words_stand_out_from_their_ground_as_wcag_asks():
    css = (ROOT / "dtreward" / "study" / "report_files" / "style.css").read_text()
    colours = dict(re.findall(r"--(\w+): (#\w{6});", css))
    grounds = {"white": "#ffffff", "pale": colours["pale"]}
    pairs = list(itertools.product(("ink", "soft", "link", "good", "bad"), grounds.values()))
    pairs = [(colours[word], ground) for word, ground in pairs]
    pairs += re.findall(r"[ {]color: (#\w{6}); background: (#\w{6})", css)
    pairs += [(colours["good"], "#eaf6ed"), (colours["bad"], "#fff2e6")]
    assert len(pairs) >= 13
    for word, ground in pairs:
        assert contrast(word, ground) >= 4.5, (word, ground)
    assert contrast("#ffffff", "#000000") == pytest.approx(21)  # the definition's largest


def contrast(first, second):
    """WCAG 2.2's contrast ratio."""

    def luminance(colour):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


def test_paths_lose_all_but_their_last_name_and_other_texts_stay():
    assert report.clean_text("/srv/jane/pairs.csv") == "…/pairs.csv"
    assert report.clean_text("at '../../../srv/jane/p.csv'") == "at '…/p.csv'"
    assert report.clean_text("C:\\Users\\jane\\p.csv") == "…/p.csv"
    assert report.clean_text("file:///srv/jane/p.csv") == "…/p.csv"
    assert report.clean_text(f"{ROOT}/data/p.csv") == "./data/p.csv"
    same = (
        "../data/demo and/or 1/2/3, RLHFlow/LLM-Preferences, https://a.org/b/c, </b></i>, a\\nb\\nc"
    )
    assert report.clean_text(same) == same


def test_a_study_that_has_not_run_gives_one_line_that_says_what_to_do():
    command = [sys.executable, "-m", "dtreward.cli", "report", "nowhere"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "make study STUDY=nowhere" in done.stderr
    assert not (ROOT / "data" / "nowhere").exists()


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    """A tab of a Chromium that resolves no name."""
    if not browser.chromium():
        pytest.skip("there is no Chromium on this machine")
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    with browser.page(tmp_path_factory.mktemp("profile"), offline) as opened:
        yield opened


MEASURE = """JSON.stringify({
  wide: document.documentElement.scrollWidth, window: innerWidth,
  broken: [...document.images].filter(image => !image.naturalWidth).length,
  styled: getComputedStyle(document.body).marginTop === "0px",
})"""


def visit(tab, path, width):
    """Open a file in a window of that width; give what it measures and what it asked for."""
    tab.send("Page.enable")
    tab.send("Network.enable")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    tab.send("Emulation.setDeviceMetricsOverride", **size)
    tab.events.clear()
    tab.send("Page.navigate", url=path.as_uri())
    tab.wait(path.name, f"location.href + document.readyState == '{path.as_uri()}complete'")
    measured = json.loads(tab.evaluate(MEASURE))
    sent = [event for event in tab.events if event["method"] == "Network.requestWillBeSent"]
    return measured | {"asked": [event["params"]["request"]["url"] for event in sent]}


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_pages_fit_the_window_and_ask_for_files_alone(tab, site, width):
    for path in sorted(site.glob("*.html")):
        seen = visit(tab, path, width)
        assert seen["window"] == width and seen["wide"] <= width, path.name
        assert seen["styled"] and not seen["broken"], path.name
        assert seen["asked"] and all(url.startswith(("file:", "data:")) for url in seen["asked"])


def test_what_is_printed_has_all_that_is_folded_away_on_a_screen(tab, demo, tmp_path):
    visit(tab, demo / "index.html", 1280)
    tab.send("Emulation.setEmulatedMedia", media="print")
    folded = "[...document.querySelectorAll('details table')].filter(e => e.checkVisibility(ALL))"
    everything = "{contentVisibilityAuto: true}"
    tables = tab.evaluate("document.querySelectorAll('details table').length")
    assert tab.evaluate(f"{folded.replace('ALL', everything)}.length") == tables > 10
    tab.send("Emulation.setEmulatedMedia", media="screen")
    assert tab.evaluate(f"{folded.replace('ALL', everything)}.length") == 0


def test_the_browser_sees_it_where_a_page_is_too_wide_or_asks_outside(tab, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><meta name='viewport' content='width=device-width'>"
        "<p style='width:900px'>wide</p><img src='https://evil.org/a.png'>"
    )
    seen = visit(tab, bad, 390)
    assert seen["wide"] > 390 and seen["broken"] == 1 and not seen["styled"]
    assert "https://evil.org/a.png" in seen["asked"]
