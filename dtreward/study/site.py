"""Make the site of a study with Sphinx: it opens from the disk and loads nothing from the network.

    dtreward report STUDY [--texts]    the study's notebooks, figures, trees, pairs and provenance
    dtreward docs                      the same of the demo study, with guides and reference

The site shows what the study made in data/STUDY, or its committed copies where it has not run here.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dtreward.files import write_json
from dtreward.pairs.text_attributes import MEASURED
from dtreward.record import count_claims
from dtreward.study import gallery
from dtreward.study.chapters import (
    STATES,
    Chapter,
    Places,
    compare_input,
    read_chapters,
    read_plan,
    read_record,
)
from dtreward.study.cleaning import clean_text, markdown_html
from dtreward.study.gallery import Figure
from dtreward.study.listing import REWARDS, read_trees
from dtreward.study.macros import list_macros, macro_name
from dtreward.study.pages import cells_of_html, cells_of_notebook, html_cell, write_page
from dtreward.study.pairs_page import pairs_page
from dtreward.study.publish import executed_notebooks
from dtreward.study.settings import NOTEBOOKS
from dtreward.tree.outline import STYLE, tree_outline
from dtreward.tree.tree import PreferenceTree

try:
    import jinja2
    import nbformat
    import sphinx  # noqa: F401  it is called as a program
    from nbformat.v4 import new_notebook
except ImportError as error:
    raise ImportError('the site needs Sphinx and others: pip install "dtreward[docs]"') from error

TEMPLATES = Path(__file__).with_name("site_files")
ROOT = NOTEBOOKS.resolve().parent
GUIDES = ROOT / "docs"
PAGES = {  # their titles, in the order of the site's contents
    "figures": "Figures and tables",
    "trees": "Trees",
    "pairs": "Pairs to read",
    "claims": "Claims",
    "provenance": "Provenance",
}


@dataclass(frozen=True)
class Site:
    """All that the pages of a study's site show."""

    study: str
    world: str
    chapters: list[Chapter]
    figures: dict[str, Figure]
    paper: list[Figure]
    numbers: dict[str, str]
    with_docs: bool
    folder: str = "notebooks"  # of the pages of its notebooks
    real: tuple[Site, ...] = ()  # real studies that are shown beside it

    @property
    def is_demo(self) -> bool:
        """Say whether the study is of the demo world."""
        return self.world == "demo world"

    @property
    def has_trees(self) -> bool:
        """Say whether the site has a page with the study's trees."""
        return self.folder == "notebooks"

    def download_of(self, chapter: Chapter) -> str:
        """Give the name of a notebook's file in the downloads."""
        return f"{chapter.name if self.has_trees else f'{self.study}-{chapter.name}'}.ipynb"

    def figures_of(self, chapter: Chapter) -> list[Figure]:
        """List the figures that a notebook saved."""
        return [one for stem, one in self.figures.items() if stem[:2] == chapter.name[:2]]


def make_report(study: str, *, texts: bool = False) -> Path:
    """Make the site of a study, and give its first page.

    Args:
        texts: shows the texts of prompts and responses among the pairs to read, for this machine
            alone; those of the demo world always show.

    Raises:
        FileNotFoundError: if the study has neither run here nor committed copies.
    """
    places = find_places(study)
    return build(study, places, places.made / "report", texts=texts)


def make_docs() -> Path:
    """Make the site of the demo study with guides, reference and the real studies that are published.

    Gives its first page.
    """
    places = find_places("demo")
    return build("demo", places, places.made / "docs", with_docs=True)


def find_places(study: str) -> Places:
    """Find what a study made: in its folder, else as it was committed."""
    made = NOTEBOOKS.parent / "data" / study
    if list(made.glob("[0-9][0-9]_*.ipynb")):
        return Places(made, made, made / "figures", made / "paper", NOTEBOOKS)
    executed = NOTEBOOKS / "executed" / study
    figures = NOTEBOOKS.parent / "figures" / study
    if not executed.is_dir() or not executed_notebooks(executed):
        raise FileNotFoundError(
            f"expected executed notebooks in data/{study}, there are none: make study STUDY={study}"
        )
    print(f"   {study} has not run here: the site shows its committed copies")
    return Places(made, executed, figures, figures / "paper", NOTEBOOKS)


def published_studies(notebooks: Path = NOTEBOOKS) -> list[str]:
    """List the studies of public sources whose executed copies are committed."""
    found = []
    for path in sorted((notebooks / "studies").glob("*.yaml")):
        plan = yaml.safe_load(path.read_text(encoding="utf-8"))
        executed = notebooks / "executed" / path.stem
        if plan.get("sources") and executed.is_dir() and executed_notebooks(executed):
            found.append(path.stem)
    return found


def real_study(study: str, notebooks: Path = NOTEBOOKS) -> Site:
    """Read the committed copies of a real study, whatever a run here has made since."""
    executed = notebooks / "executed" / study
    figures = notebooks.parent / "figures" / study
    places = Places(executed, executed, figures, figures / "paper", notebooks)
    chapters = [one for one in read_chapters(study, places) if one.state == "done"]
    return Site(study, study, chapters, {}, [], {}, with_docs=False, folder=study)


def build(
    study: str, places: Places, target: Path, *, with_docs: bool = False, texts: bool = False
) -> Path:
    """Write the site of a study into the folder `target`, which is replaced.

    Args:
        places: where the parts of the study lie.
        with_docs: adds the guides and the reference of the package.
        texts: shows the texts of the pairs, see `make_report`.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        _write_source(study, places, source, with_docs=with_docs, texts=texts)
        print("   Sphinx builds the pages", flush=True)
        made = Path(folder, "site")
        _run_sphinx(source, made, Path(folder, "doctrees"))
        _replace(target, made)
    return target / "index.html"


def _replace(target: Path, made: Path) -> None:
    """Put a new site in the place of the old one, which stays until the new one is whole."""
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(made, fresh)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def _run_sphinx(source: Path, target: Path, doctrees: Path) -> None:
    """Build the pages in a process of its own.

    Raises:
        RuntimeError: with the end of what Sphinx printed, if it fails.
    """
    command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-d", str(doctrees)]
    done = subprocess.run(
        [*command, str(source), str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"Sphinx could not build the site:\n{done.stderr[-2000:]}")
    warnings = [line for line in done.stderr.splitlines() if "WARNING" in line]
    for line in warnings:
        print(f"   {line.replace(str(source), '')}")


def _write_source(
    study: str, places: Places, source: Path, *, with_docs: bool, texts: bool
) -> None:
    """Write what Sphinx reads: pages, cleaned notebooks, figures and settings."""
    downloads = source / "_static" / "downloads"
    downloads.mkdir(parents=True)
    chapters = read_chapters(study, places)
    site = Site(
        study=study,
        world=_world(study, places),
        chapters=chapters,
        figures=gallery.copy_figures(places.figures, downloads, chapters),
        paper=gallery.copy_paper(places.paper, downloads),
        numbers=key_numbers(chapters, places.paper),
        with_docs=with_docs,
        real=tuple(map(real_study, published_studies())) if with_docs else (),
    )
    for number, chapter in enumerate(chapters, 1):
        print(f"   {number} of {len(chapters)}: {chapter.name}, {chapter.state}", flush=True)
        _write_chapter(site, chapter, source)
    for other in site.real:
        _write_real_study(other, source)
    _write_pages(site, source, places.made)
    _write_pairs(site, source, places.made, texts=texts)
    shutil.copyfile(TEMPLATES / "conf.py.txt", source / "conf.py")
    shutil.copyfile(TEMPLATES / "site.css", source / "_static" / "site.css")
    title = f"{study}, demo world" if site.is_demo else study
    settings = {
        "title": title,
        "demo": site.is_demo,
        "package": str(ROOT / "dtreward") if with_docs else "",
        "real": [other.study for other in site.real],
    }
    write_json(source / "settings.json", settings)
    if with_docs:
        _write_docs(source)


def _write_pages(site: Site, source: Path, made: Path) -> None:
    """Write the pages that are no notebooks."""
    trees, problems = outlines(made)
    values = {
        "figures": {},
        "trees": {"outlines": trees, "problems": problems},
        "claims": {},
        "provenance": provenance(site.chapters, made),
    }
    for name, title in PAGES.items():
        if name in values:
            html = _render(f"{name}.html.jinja", site=site, **values[name])
            write_page(source / f"{name}.ipynb", title, cells_of_html(html))
    names = [chapter.name for chapter in site.chapters]
    html = _render("notebooks.html.jinja", site=site)
    write_page(source / "notebooks/index.ipynb", "Notebooks", cells_of_html(html), below=names)
    guides = ["guides/index", "reference/modules"] if site.with_docs else []
    first = {"finding": finding(site), "headline": headline(site), "bibtex": bibtex()}
    html = _render("index.html.jinja", site=site, states=STATES, **first)
    real = [f"{other.study}/index" for other in site.real]
    below = ["notebooks/index", *PAGES, *real, *guides]
    write_page(source / "index.ipynb", f"Study {site.study}", cells_of_html(html), below=below)


def _write_real_study(site: Site, source: Path) -> None:
    """Write the pages of a real study's notebooks, and one that lists them."""
    print(f"   {site.study}: {len(site.chapters)} notebooks of a real study", flush=True)
    for chapter in site.chapters:
        _write_chapter(site, chapter, source)
    names = [chapter.name for chapter in site.chapters]
    html = _render("notebooks.html.jinja", site=site)
    page = source / site.folder / "index.ipynb"
    write_page(page, f"Real study {site.study}", cells_of_html(html), below=names)


def _write_pairs(site: Site, source: Path, made: Path, *, texts: bool) -> None:
    """Write the page of pairs to read, with what it loads."""
    page = pairs_page(made, texts=texts or site.is_demo)
    write_page(source / "pairs.ipynb", PAGES["pairs"], [html_cell(page.html)])
    for path in page.assets:
        shutil.copyfile(path, source / "_static" / path.name)
    shutil.copyfile(STYLE, source / "_static" / STYLE.name)


def outlines(made: Path) -> tuple[list[tuple[str, str]], list[str]]:
    """Give each tree of a study as nested lists, which fit a phone: ([(name, HTML)], problems)."""
    problems: list[str] = []
    trees = {name: tree for name, (_, tree) in read_trees(made, problems).items()}
    released = made / "decision_tree.json"
    if not trees and released.is_file():
        trees = {"of the reward model": PreferenceTree.load(released)}
    drawn = []
    for name, tree in trees.items():
        whose = re.sub("^(on|of) ", "", name)
        drawn.append((f"Tree {name}", tree_outline(tree, name=whose)))
    return drawn, problems


def _write_chapter(site: Site, chapter: Chapter, source: Path) -> None:
    """Write a notebook's page: its cleaned copy, or a page that says why there is none."""
    about = _render("chapter.html.jinja", site=site, chapter=chapter, states=STATES)
    cleaned = chapter.cleaned or new_notebook()
    if chapter.cleaned:
        download = source / "_static" / "downloads" / site.download_of(chapter)
        nbformat.write(cleaned, download)
    cells = cells_of_notebook(cleaned, chapter.title, about)
    write_page(source / site.folder / f"{chapter.name}.ipynb", chapter.title, cells)


def _world(study: str, places: Places) -> str:
    """Give what figures call the study: "demo world", or its name."""
    record = read_record(places.made / "01_load_pairs.json")
    source = record.get("provenance", {}).get("parameters", {}).get("source")
    if source is None:
        source = read_plan(study, places).get("parameters", {}).get("source")
    return "demo world" if source == "demo" else study


def provenance(chapters: Sequence[Chapter], made: Path) -> dict[str, Any]:
    """Gather versions and inputs of all notebooks, each with the notebooks that recorded it."""
    versions: dict[tuple[str, str], list[str]] = {}
    inputs: dict[tuple[str, str], list[str]] = {}
    for chapter in chapters:
        number = chapter.name[:2]
        machine = chapter.provenance.get("machine")
        known = dict(chapter.provenance.get("versions", {}))
        if machine:
            known["machine type"] = machine
        for item in known.items():
            versions.setdefault(item, []).append(number)
        for item in chapter.provenance.get("inputs", {}).items():
            inputs.setdefault(item, []).append(number)
    rows = []
    for (name, digest), numbers in sorted(inputs.items()):
        rows.append((clean_text(name), digest, numbers, compare_input(made, name, digest)))
    return {
        "versions": [(*item, numbers) for item, numbers in versions.items()],
        "inputs": rows,
    }


def key_numbers(chapters: Sequence[Chapter], paper: Path) -> dict[str, str]:
    r"""Give the numbers that notebook 99 writes for the text of a paper, by the names of its macros.

    They are those of the records; where there are none, those of the committed `macros.tex`.

    Example:
        >>> key_numbers([], Path("nowhere"))
        {}
    """
    numbers = {one.name: one.record["numbers"] for one in chapters if one.record.get("numbers")}
    judges = numbers.get("06_collect_judge_preferences", {}).get("judges")
    try:
        known = {macro_name(words): str(value) for words, value in list_macros(numbers)}
    except (LookupError, TypeError, ValueError):  # a record of another version
        known = {}
    if known:
        return known | ({"Judges": f"{judges:,}"} if judges else {})
    file = paper / "macros.tex"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return dict(re.findall(r"\\newcommand{\\(\w+)}{([^\\{}]*)}", text))


def finding(site: Site) -> str:
    """Say in one sentence what the study found."""
    for name in _tree_inputs(site.chapters):
        accuracy = site.numbers.get(macro_name(f"accuracy on {name}, tree"))
        if accuracy:
            drawn = site.numbers[macro_name(f"splits on {name}")]
            needed = site.numbers[macro_name(f"splits needed on {name}")]
            return (
                f"A decision tree on {name} predicts preferences with an accuracy of {accuracy}, "
                f"where the constant answer reaches {site.numbers['Floor']}; "
                f"{needed} of its {drawn} splits {'decides' if needed == '1' else 'decide'}."
            )
    return "The tree of this study has not been fitted yet."


def _tree_inputs(chapters: Sequence[Chapter]) -> list[str]:
    """Name what notebook 04 fitted trees to, rewards first; usual names where there is no record."""
    numbers = {chapter.name: chapter.record.get("numbers", {}) for chapter in chapters}
    trees = numbers.get("04_fit_preference_tree", {}).get("trees")
    names = trees or ["ratings", "ratings by people", f"attributes {MEASURED}"]
    return sorted({REWARDS, *names}, key=lambda name: (name != REWARDS, name))


def headline(site: Site) -> dict[str, Any]:
    """Give the headline figure and four numbers with what they mean."""
    claims = [claim for chapter in site.chapters for claim in chapter.claims]
    counts = count_claims(claims)
    states = [chapter.state for chapter in site.chapters]
    stems = [f"04_tree_{name.replace(' ', '_')}" for name in _tree_inputs(site.chapters)]
    drawn = [site.figures[stem] for stem in stems if stem in site.figures]
    return {
        "figure": drawn[0] if drawn else None,
        "numbers": [
            (site.numbers.get("Pairs", "–"), "pairs of responses"),
            (site.numbers.get("Judges", "–"), "simulated judges" if site.is_demo else "judges"),
            (
                f"{counts['held']} of {len(claims)}",
                f"claims held; {counts['did not hold']} did not, {counts['cannot tell']} cannot tell",
            ),
            (f"{states.count('done')} of {len(states)}", "notebooks ran to their end"),
        ],
    }


def bibtex() -> str:
    """Give the BibTeX entry of this workbook, from CITATION.cff."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    authors = " and ".join(f"{{{one['name']}}}" for one in cited["authors"] if "name" in one)
    return f"@software{{dtreward,\n  author = {{{authors}}},\n  title = {{{cited['title']}}}\n}}"


def _write_docs(source: Path) -> None:
    """Copy the guides; `conf.py` says where Sphinx finds what the reference is made of."""
    (source / "guides").mkdir()
    for path in GUIDES.glob("*.md"):
        shutil.copyfile(path, source / "guides" / path.name)
    names = sorted(path.stem for path in GUIDES.glob("*.md"))
    write_page(source / "guides" / "index.ipynb", "Guides", [], below=names)


def _render(template: str, **values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["markdown"] = markdown_html
    return environment.get_template(template).render(values)
