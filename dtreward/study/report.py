"""Make one HTML site of a study, which opens from the disk without the network.

    dtreward report STUDY

It reads what the study made in data/STUDY (executed notebooks, records, figures), or the committed
copies where it has not run here, and writes data/STUDY/report/. The same inputs give the same bytes.
"""

import ast
import base64
import copy
import glob
import json
import re
import shutil
import struct
import sys
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

try:
    import bleach
    import jinja2
    import mistune
    import nbformat
    from bs4 import BeautifulSoup
    from markupsafe import Markup
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter
except ImportError as error:
    raise ImportError(
        'the report needs nbconvert and others: pip install "dtreward[study]"'
    ) from error
import yaml

from dtreward.files import file_digest, write_atomically
from dtreward.study.publish import executed_notebooks
from dtreward.study.settings import NOTEBOOKS as HERE

FILES = Path(__file__).with_name("report_files")
STATES = {
    "done": "ran to its end",
    "failed": "stopped at an error",
    "unfinished": "was interrupted, or still runs",
    "outdated": "read files that have changed since",
    "unreadable": "left a file that is no whole notebook",
    "not run": "has not run",
}
CHANGED = "has changed since: run the study again"
KEY_FIGURES = (  # what answers a notebook's question at a glance; else its first figure stands there
    "01_preference_by_difference",
    "02_features",
    "03_probe_quality",
    "04_tree_predicted_rewards",
    "04_tree_human_ratings",
    "05_depth",
    "06_consistency_and_position",
    "07_importances",
    "08_global",
    "09_section_scores",
)
SHOWN = ("text/html", "text/markdown", "text/latex", "text/plain", "image/png", "image/jpeg")
TAGS = {
    "br",
    "caption",
    "dd",
    "del",
    "details",
    "div",
    "dl",
    "dt",
    "hr",
    "img",
    "p",
    "pre",
    "s",
    "small",
    "span",
}
TAGS |= {"sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u"}
TAGS |= {f"h{level}" for level in range(1, 7)} | set(bleach.ALLOWED_TAGS)
ATTRIBUTES = {
    "*": ["class", "id", "title", "colspan", "rowspan"],
    "a": ["href"],
    "img": ["src", "alt"],
}
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
DATA = re.compile(r"(data:image/[\w.+-]+;base64,[A-Za-z0-9+/=]*)")
PRIVATE = (  # paths that say something of the machine; their last name stays
    re.compile(r"(?:\.\./){2,}(?:[^\s'\"<>:|,)\]/]+/)*"),  # leaves the project
    re.compile(r"file://(?:[^\s'\"<>/]*/)+"),
    re.compile(r"(?<![\w./:<~…])~?/(?:[\w.@+-]+/)+"),
    re.compile(r"\b[A-Za-z]:\\(?:[\w.@+ -]+\\)+"),
)


def build(study, made, executed, figures, paper, site, sources=HERE):
    """Write a study's site into the folder `site`, which is replaced.

    Args:
        made: the study's folder: records and what they were made from.
        executed: folder of executed notebooks, partial ones among them.
        figures: folder of figures.
        paper: folder of what notebook 99 drew, with its index.
        sources: folder of the notebooks' sources and of `studies/`.
    """
    fresh = site.with_name(f".{site.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for name in ("figures", "paper"):
        (fresh / name).mkdir(parents=True)
    drawn = _copy_figures(figures, fresh / "figures")
    chapters = [
        _chapter(name, _state_file(executed, name), made, sources, drawn, _plan(study, sources))
        for name in _names(study, executed, sources)
    ]
    for chapter in chapters:
        _keep_first_image(chapter, fresh / "figures")
    of_chapters = {chapter["name"][:2] for chapter in chapters}
    shared = {
        "study": study,
        "world": _world(study, chapters, sources),
        "states": STATES,
        "others": [figure for stem, figure in drawn.items() if stem[:2] not in of_chapters],
        "paper": _copy_paper(paper, fresh / "paper"),
        "chapters": chapters,
    }
    pages = [chapter for chapter in chapters if chapter["notebook"]]
    for place, chapter in enumerate(pages):
        near = {"before": pages[place - 1] if place else None, "after": ([*pages, None])[place + 1]}
        body = Markup(_body(chapter))
        _render(
            "notebook.html",
            fresh / f"{chapter['name']}.html",
            shared | near,
            chapter=chapter,
            body=body,
        )
    _render("index.html", fresh / "index.html", shared, **_provenance(chapters, made))
    colours = HtmlFormatter(style="default").get_style_defs(".highlight")
    css = (FILES / "style.css").read_text(encoding="utf-8") + colours + "\n"
    write_atomically(fresh / "style.css", lambda path: path.write_text(css, encoding="utf-8"))
    shutil.rmtree(site, ignore_errors=True)
    fresh.rename(site)
    return site / "index.html"


def _render(template, target, shared, **values):
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FILES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    text = environment.get_template(template).render(shared | values)
    write_atomically(target, lambda path: path.write_text(text, encoding="utf-8"))


def _names(study, executed, sources):
    """Notebooks of a study in order: those that it names, else all, and what has run besides."""
    named = _plan(study, sources).get("notebooks", [])
    ran = {path.name.split(".")[0] for path in executed.glob("[0-9][0-9]_*.ipynb")}
    return sorted(ran | set(named or (path.stem for path in sources.glob("[0-9][0-9]_*.ipynb"))))


def _plan(study, sources):
    path = sources / "studies" / f"{study}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else {}


def _state_file(executed, name):
    """The notebook as far as it ran: finished, else partial, else None."""
    files = (executed / f"{name}.ipynb", executed / f"{name}.partial.ipynb")
    return next((path for path in files if path.exists()), None)


def _read(path):
    """A notebook, or None where there is none that can be read."""
    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError):
        return None


def _chapter(name, file, made, sources, drawn, plan):
    """All that the site says of one notebook."""
    notebook = _read(file) if file else None
    told = notebook or _read(sources / f"{name}.ipynb")
    record = _record(made / f"{name}.json") if (state := _state(file, notebook)) == "done" else {}
    read = record.get("provenance", {}).get("inputs", {})
    if any(_compared(made, *item) == CHANGED for item in read.items()):
        state = "outdated"
    own = {stem: figure for stem, figure in drawn.items() if stem[:2] == name[:2]}
    _caption(notebook, own, state)
    key = next((stem for stem in KEY_FIGURES if stem in own), next(iter(own), None))
    title, question, facts = _opening(told, name)
    return {
        "name": name,
        "title": title,
        "question": question,
        "facts": facts,
        "state": state,
        "error": _error(notebook),
        "notebook": notebook,
        "claims": _claims(notebook, record),
        "figures": list(own.values()),
        "key": own.get(key),
        "parameters": _parameters(
            told,
            record.get("provenance", {}).get("parameters", {}),
            {} if notebook else plan.get("parameters", {}) | (plan.get(name) or {}),
        ),
        "provenance": record.get("provenance", {}),
    }


def _state(file, notebook):
    if file is None:
        return "not run"
    if notebook is None:
        return "unreadable"
    if ".partial" not in file.name:
        return "done"
    return "failed" if _error(notebook) else "unfinished"


def _outputs(notebook):
    return [
        output
        for cell in (notebook.cells if notebook else ())
        for output in cell.get("outputs", ())
    ]


def _error(notebook):
    errors = [output for output in _outputs(notebook) if output.output_type == "error"]
    return clean_text(f"{errors[-1].ename}: {errors[-1].evalue}") if errors else ""


def _record(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _opening(notebook, name):
    """Title, question, and what it reads, writes and costs: the notebook's first cell."""
    cells = notebook.cells if notebook else []
    first = next((cell.source for cell in cells if cell.source.startswith("# ")), f"# {name}")
    parts = [clean_text(part) for part in first.split("\n\n")] + ["", ""]
    return parts[0].removeprefix("# "), _markdown(parts[1]), _markdown(parts[2])


def _claims(notebook, record):
    """Claims as recorded; where there is no record, as the notebook printed them."""
    if record:
        return [
            {"sentence": clean_text(claim["sentence"]), "held": claim["held"]}
            for claim in record["claims"]
        ]
    printed = "".join(
        output.text for output in _outputs(notebook) if output.output_type == "stream"
    )
    found = re.findall(r"^(held|did not hold): (.+)$", printed, flags=re.MULTILINE)
    return [{"sentence": clean_text(sentence), "held": word == "held"} for word, sentence in found]


def _parameters(notebook, used, planned):
    """Rows of name, value and meaning, from the `parameters` cell, what was injected or is planned, and the record."""
    if not notebook:
        return []
    given = planned | notebook.metadata.get("papermill", {}).get("parameters", {})
    rows = []
    for name, value, meaning in _declared(notebook):
        value = given.get(name, value)
        told = clean_text(json.dumps(value, ensure_ascii=False))
        other = name in used and used[name] != value
        used_as = clean_text(json.dumps(used[name], ensure_ascii=False)) if other else ""
        rows.append(
            {
                "name": name,
                "value": told,
                "used": used_as,
                "given": name in given,
                "meaning": meaning,
            }
        )
    return rows


def _declared(notebook):
    cells = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    source = cells[0].source if cells else ""
    lines = source.split("\n")
    try:
        nodes = [node for node in ast.parse(source).body if isinstance(node, ast.AnnAssign)]
        return [
            (
                node.target.id,
                ast.literal_eval(node.value),
                lines[node.end_lineno - 1].partition("  # ")[2],
            )
            for node in nodes
        ]
    except (SyntaxError, ValueError, AttributeError):
        return []


def _world(study, chapters, sources):
    """What figures call the study: by the notebooks that ran, where none did by its plan."""
    ran = [row for chapter in chapters if chapter["notebook"] for row in chapter["parameters"]]
    values = [row["value"] for row in ran if row["name"] == "source"]
    values += [json.dumps(_plan(study, sources).get("parameters", {}).get("source"))]
    return "demo world" if values[0] == '"demo"' else study


def _copy_figures(figures, target):
    """Copy PNG and PDF files; give {stem: what the site says of the figure} in order."""
    files = sorted(
        path
        for path in figures.glob("*")
        if path.suffix in (".png", ".pdf") and path.name[0] != "."
    )
    drawn = {}
    for path in files:
        shutil.copyfile(path, target / path.name)
        figure = drawn.setdefault(
            path.stem,
            {
                "stem": path.stem,
                "name": _plain_name(path.stem),
                "caption": "",
                "alt": "",
                "size": (0, 0),
            },
        )
        figure[path.suffix[1:]] = f"figures/{quote(path.name)}"
        if path.suffix == ".png":
            figure["size"] = _png_size(path.read_bytes())
    return drawn


def _copy_paper(paper, target):
    """Copy the paper's figures and tables that are whole; say of each what its index does."""
    shown = []
    for stem, entry in _record(paper / "index.json").get("drawn", {}).items():
        files = [paper / Path(name).name for name in entry["files"]]
        if not all(path.is_file() for path in files) or file_digest(files[-1]) != entry["sha256"]:
            continue  # of another run than the index
        name = f"Figure {int(stem[:2])}" if stem[:2].isdigit() else _plain_name(stem)
        caption = clean_text(entry["caption"])
        item = {
            "stem": f"paper-{stem}",
            "name": name,
            "alt": f"{name}: {caption}",
            "caption": _markdown(caption),
        }
        for path in files:
            shutil.copyfile(path, target / path.name)
            item[path.suffix[1:]] = f"paper/{quote(path.name)}"
        if "png" in item:
            item["size"] = _png_size((target / f"{stem}.png").read_bytes())
        else:
            rows = (target / f"{stem}.md").read_text(encoding="utf-8").partition("\n\n")[0]
            item["table"] = _markdown(clean_text(rows), "table")
        shown.append(item)
    return shown


def _plain_name(stem):
    words = re.sub(r"^(\d\d|table)_", "", stem).replace("_", " ")
    return words[:1].upper() + words[1:]


def _png_size(data):
    """Width and height in pixels, (0, 0) where the file is no PNG."""
    return (
        struct.unpack(">II", data[16:24]) if data[:4] == b"\x89PNG" and len(data) >= 24 else (0, 0)
    )


def _caption(notebook, figures, state):
    """Give each figure the italic text below it, found by the name under which a cell saves it."""
    section, waiting = "", []
    for cell in notebook.cells if notebook else ():
        if cell.cell_type == "markdown":
            headings = re.findall(r"^##+ (.+)$", cell.source, flags=re.MULTILINE)
            section, waiting = (headings or [section])[-1], []
            continue
        outputs = cell.get("outputs", ())
        if not any("image/png" in output.get("data", {}) for output in outputs):
            continue
        saved = [figure for stem, figure in figures.items() if _saves(cell.source, stem)]
        for figure in saved:
            figure["section"] = clean_text(section)
        texts = [
            output.data["text/markdown"]
            for output in outputs
            if "text/markdown" in output.get("data", {})
        ]
        waiting += saved
        if text := clean_text("\n\n".join(texts)):
            for figure in waiting:  # cells in a row share the caption below the last of them
                figure["caption"] = _markdown(text)
            waiting = []
    for figure in figures.values():
        if not figure["caption"]:
            figure["caption"] = _uncaptioned(figure, state)
        words = BeautifulSoup(figure["caption"], "html.parser").get_text(" ", strip=True)
        figure["alt"] = re.sub(
            r"\s+([.,:;)])", r"\1", f"{figure['name']}: {' '.join(words.split())}"
        )


def _uncaptioned(figure, state):
    if figure.get("section"):
        return Markup("<p>From the section “{}”.</p>").format(figure["section"])
    return Markup("" if state == "done" else "<p>Drawn by an earlier run of its notebook.</p>")


def _saves(source, stem):
    """Whether a cell's strings name this figure; what an f-string puts in may be anything."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except SyntaxError:
        return False
    inside = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    patterns = [_pattern(node) for node in nodes if id(node) not in inside]
    return any(pattern and re.fullmatch(pattern, stem) for pattern in patterns)


def _pattern(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.escape(node.value)
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        return "".join(
            re.escape(part.value) if isinstance(part, ast.Constant) else ".+"
            for part in node.values
        )
    return None


def _keep_first_image(chapter, folder):
    """A notebook that saves no figure shows the first image that it displays."""
    outputs = [] if chapter["key"] else _outputs(chapter["notebook"])
    if images := [
        output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})
    ]:
        data = base64.b64decode(images[0])
        write_atomically(folder / f"{chapter['name']}.png", lambda path: path.write_bytes(data))
        chapter["key"] = {
            "stem": chapter["name"],
            "name": "Its first figure",
            "png": f"figures/{chapter['name']}.png",
            "caption": "",
            "alt": f"First figure of the notebook {chapter['title']}",
            "size": _png_size(data),
        }


def _provenance(chapters, made):
    """Versions of packages and hashes of inputs, each with the notebooks that recorded it."""
    versions, inputs = {}, {}
    for chapter in chapters:
        record, number = chapter["provenance"], chapter["name"][:2]
        machine = {"machine type": record["machine"]} if "machine" in record else {}
        for item in (record.get("versions", {}) | machine).items():
            versions.setdefault(item, []).append(number)
        for item in record.get("inputs", {}).items():
            inputs.setdefault(item, []).append(number)
    return {
        "versions": [(*item, ", ".join(numbers)) for item, numbers in versions.items()],
        "inputs": [
            (clean_text(name), digest, ", ".join(numbers), _compared(made, name, digest))
            for (name, digest), numbers in sorted(inputs.items())
        ],
    }


def _compared(made, name, digest):
    there = [path for path in made.rglob(glob.escape(Path(name).name)) if path.is_file()]
    if not there:
        return "not in the study's folder"
    return (
        "as it is now"
        if digest in (_digest(path, path.stat().st_mtime_ns) for path in there)
        else CHANGED
    )


@cache
def _digest(path, written):
    return file_digest(path)


def clean_text(text):
    """Drop terminal colours and what names places on this machine; of a path its last name stays."""
    parts = DATA.split(ANSI.sub("", text))  # images, which the text may hold, are every second part
    return "".join(part if place % 2 else _without_places(part) for place, part in enumerate(parts))


def _without_places(text):
    for place, short in ((HERE.resolve().parent, "."), (sys.prefix, ".venv"), (Path.home(), "~")):
        if len(str(place)) > 1:
            text = re.sub(rf"{re.escape(str(place))}(?![\w-])", short, text)
    for pattern in PRIVATE:
        text = pattern.sub("…/", text)
    return text


def _markdown(text, *plugins):
    """Inline Markdown as safe HTML: no tag of the text's own, no image; a table if asked for."""
    html = mistune.create_markdown(escape=True, plugins=plugins)(text)
    tags = {
        "p",
        "em",
        "strong",
        "code",
        "ul",
        "ol",
        "li",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    return Markup(bleach.clean(html, tags=tags, attributes={}, strip=True))


def _body(chapter):
    """An executed notebook as HTML that loads nothing: images are inside, scripts are left out."""
    notebook = copy.deepcopy(chapter["notebook"])
    for cell in notebook.cells:
        cell.source = clean_text(cell.source)
        if cell.cell_type == "code":
            alt = _alt(chapter, cell.source)
            cell.outputs = [shown for output in cell.outputs if (shown := _shown(output))]
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.metadata["image/png"] = {"alt": alt}
    exporter = HTMLExporter(
        template_name="basic",  # the classic one's body: the page around it loads scripts
        sanitize_html=True,
        exclude_anchor_links=True,
        filters={"clean_html": _clean_html},
    )
    html, _ = exporter.from_notebook_node(notebook)
    return _harmless(html)


def _alt(chapter, source):
    """What the images of a cell are called: which of several is which, the notebook does not say."""
    saved = [figure for figure in chapter["figures"] if _saves(source, figure["stem"])]
    if len(saved) == 1:
        return saved[0]["alt"]
    return (
        " or ".join(figure["name"] for figure in saved)
        or f"Figure of the notebook {chapter['title']}"
    )


def _shown(output):
    """One output without widgets, scripts and machine paths; None where nothing is left."""
    if output.output_type == "stream":
        output.text = clean_text(output.text)
    elif output.output_type == "error":
        output.traceback = [clean_text(line) for line in output.traceback]
    elif any("widget" in kind for kind in output.data):  # a progress bar, which needs scripts
        return None
    else:
        output.data = {kind: output.data[kind] for kind in SHOWN if kind in output.data}
        if "text/html" in output.data:
            output.data["text/html"] = _svg_as_images(output.data["text/html"])
        for kind in output.data:
            if kind.startswith("text/"):
                output.data[kind] = clean_text(output.data[kind])
        output.metadata = {}
        return output if output.data else None
    return output


def _svg_as_images(html):
    """Drawings inside HTML become images, in which nothing runs or loads; styles and scripts go."""

    def image(found):
        data = base64.b64encode(found[0].encode()).decode()
        return f'<img alt="Drawing" src="data:image/svg+xml;base64,{data}">'

    html = re.sub(r"</?object\b[^>]*>", "", html)  # a tree's picture is inside
    html = re.sub(r"<svg\b.*?</svg>", image, html, flags=re.DOTALL)
    return re.sub(r"<(style|script)\b.*?</\1\s*>", "", html, flags=re.DOTALL | re.IGNORECASE)


def _clean_html(html):
    """Keep the tags that show something; others appear as the text that they are."""
    return bleach.clean(
        str(html), tags=TAGS, attributes=ATTRIBUTES, protocols={"http", "https", "mailto", "data"}
    )


def _harmless(html):
    """Leave nothing that loads, or leads to a file that is not in the site; let wide parts scroll."""
    soup = BeautifulSoup(html, "html.parser")
    ids = {element["id"] for element in soup.find_all(id=True)}
    for image in soup.find_all("img"):
        if not image.get("src", "").startswith("data:image/"):
            image.replace_with(
                f"[an image that is not in this report: {image.get('alt') or 'no name'}]"
            )
    for link in soup.find_all("a"):
        if not _leads(link.get("href", ""), ids):
            del link["href"]
    for table in soup.find_all("table"):
        table.wrap(soup.new_tag("div", attrs={"class": "scroll", "tabindex": "0"}))
    for block in soup.find_all("pre"):
        block["tabindex"] = "0"
    return str(soup)


def _leads(href, ids):
    return href.startswith(("https://", "http://", "mailto:")) or (
        href[:1] == "#" and unquote(href[1:]) in ids
    )


def make(study):
    """Make the site of a study, from its committed copies where it has not run; give its index.

    Raises:
        FileNotFoundError: if the study has neither run here nor committed copies.
    """
    made = HERE.parent / "data" / study
    executed, figures, paper = made, made / "figures", made / "paper"
    if not list(made.glob("[0-9][0-9]_*.ipynb")):
        executed, figures = HERE / "executed" / study, HERE.parent / "figures" / study
        paper = figures / "paper"
        if not executed.is_dir() or not executed_notebooks(executed):
            raise FileNotFoundError(
                f"expected executed notebooks in data/{study}, there are none: make study STUDY={study}"
            )
        print(f"   {study} has not run here: the report is of its committed copies")
    return build(study, made, executed, figures, paper, made / "report")
