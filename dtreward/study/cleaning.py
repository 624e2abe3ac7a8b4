"""Make executed notebooks safe to publish: no script, no widget, nothing loaded, no machine's paths."""

from __future__ import annotations

import base64
import copy
import re
import sys
from pathlib import Path
from typing import Any

from dtreward.study.settings import NOTEBOOKS

try:
    import bleach
    import mistune
    from bs4 import BeautifulSoup
    from nbformat import NotebookNode
except ImportError as error:
    raise ImportError('the site needs Sphinx and others: pip install "dtreward[docs]"') from error

BLOCKS = "caption dd details div dl dt hr h1 h2 h3 h4 h5 h6 p pre summary"
TABLES = "table tbody td tfoot th thead tr"
INLINE = "br del img s small span sub sup u"
TAGS = {*BLOCKS.split(), *TABLES.split(), *INLINE.split(), *bleach.ALLOWED_TAGS}
ATTRIBUTES = {
    "*": ["class", "title", "colspan", "rowspan"],
    "a": ["href"],
    "img": ["src", "alt"],
}
PROTOCOLS = {"http", "https", "mailto", "data"}
OUTWARD = ("https://", "http://", "mailto:")
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
TERMINAL_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
IMAGE_DATA = re.compile(r"(data:image/[\w.+-]+;base64,[A-Za-z0-9+/=]*)")
# Paths that say something of the machine; their last name stays.
PRIVATE_PATHS = (
    re.compile(r"(?:\.\./){2,}(?:[^\s'\"<>:|,)\]/]+/)*"),  # leaves the project
    re.compile(r"file://(?:[^\s'\"<>/]*/)+"),
    re.compile(r"(?<![\w./:<~…])~?/(?:[\w.@+-]+/)+"),
    re.compile(r"\b[A-Za-z]:\\(?:[\w.@+ -]+\\)+"),
)


def clean_text(text: str) -> str:
    """Drop terminal colours, and of paths on this machine all but their last name.

    Example:
        >>> clean_text("read /srv/mary/pairs.csv")
        'read …/pairs.csv'
    """
    parts = IMAGE_DATA.split(TERMINAL_COLOURS.sub("", text))
    # Images stand at every second place, and are no paths.
    parts[::2] = [_without_paths(part) for part in parts[::2]]
    return "".join(parts)


def _without_paths(text: str) -> str:
    own_places = {
        str(NOTEBOOKS.resolve().parent): ".",
        sys.prefix: ".venv",
        str(Path.home()): "~",
    }
    for place, short in own_places.items():
        if len(place) > 1:
            text = re.sub(rf"{re.escape(place)}(?![\w-])", short, text)
    for pattern in PRIVATE_PATHS:
        text = pattern.sub("…/", text)
    return text


def clean_html(html: str) -> str:
    """Keep what shows something and loads nothing; tags that are not known appear as text.

    Example:
        >>> clean_html("<b>so</b><script>alert(1)</script><img src='https://a.org/x.png' alt='x'>")
        '<b>so</b>[image left out: x]'
    """
    html = re.sub(r"</?object\b[^>]*>", "", html)  # a tree's drawing is inside
    html = re.sub(r"<svg\b.*?</svg>", _svg_as_image, html, flags=re.DOTALL)
    html = re.sub(r"(?is)<(style|script)\b.*?</\1\s*>", "", html)
    kept = bleach.clean(html, tags=TAGS, attributes=ATTRIBUTES, protocols=PROTOCOLS)
    soup = BeautifulSoup(kept, "html.parser")
    for image in soup.find_all("img"):
        if not image.get("src", "").startswith("data:image/"):
            image.replace_with(f"[image left out: {image.get('alt') or 'no name'}]")
    for link in soup.find_all("a"):
        if not link.get("href", "").startswith(OUTWARD):
            del link["href"]
    return clean_text(str(soup))


def _svg_as_image(drawing: re.Match) -> str:
    """Turn a drawing into an image, in which nothing runs or loads."""
    data = base64.b64encode(drawing[0].encode()).decode()
    label = re.search(r'aria-label="([^"<>]*)"', drawing[0])
    words = label[1] if label else "A drawing without a caption"
    return f'<img alt="{words}" src="data:image/svg+xml;base64,{data}">'


def markdown_html(text: str, *plugins: str) -> str:
    """Give Markdown as safe HTML; HTML in it becomes the text that it is.

    Args:
        plugins: of mistune, such as "table".

    Example:
        >>> markdown_html("*so* <b>not</b>").strip()
        '<p><em>so</em> &lt;b&gt;not&lt;/b&gt;</p>'
    """
    return clean_html(mistune.create_markdown(escape=True, plugins=list(plugins))(text))


def words_of(html: str) -> str:
    """Give the text of HTML as one line.

    Example:
        >>> words_of("<p>A <em>tree</em>.</p>")
        'A tree.'
    """
    words = BeautifulSoup(html, "html.parser").get_text(" ", strip=True)
    return re.sub(r"\s+([.,:;)])", r"\1", " ".join(words.split()))


def clean_notebook(notebook: NotebookNode) -> NotebookNode:
    """Copy a notebook with its code folded, and cells and outputs cleaned."""
    cleaned = copy.deepcopy(notebook)
    cleaned.nbformat_minor = 5
    cleaned.metadata = NotebookNode(kernelspec=KERNEL)
    for number, cell in enumerate(cleaned.cells):
        cell.id = f"cell-{number}"
        cell.pop("attachments", None)
        cell.metadata = NotebookNode()
        cell.source = clean_text(cell.source)
        if cell.cell_type == "code":
            cell.metadata.tags = ["hide-input"]
            outputs = [clean_output(output) for output in cell.outputs]
            cell.outputs = [output for output in outputs if output is not None]
    _name_images(cleaned)
    return cleaned


def _name_images(cleaned: NotebookNode) -> None:
    """Give each image the words of its caption: the Markdown that is shown next in its section."""
    words = ""
    for cell in reversed(cleaned.cells):
        if cell.cell_type == "markdown" and re.search(r"(?m)^#", cell.source):
            words = ""
        for output in reversed(cell.get("outputs", ())):
            words = output.get("metadata", {}).get("caption", words)
            if is_image(output):
                output.metadata["alternative"] = words or "A figure without a caption"


def is_image(output: NotebookNode) -> bool:
    """Say whether an output is shown as an image."""
    return any(kind.startswith("image/") for kind in output.get("data", ()))


def clean_output(output: NotebookNode) -> NotebookNode | None:
    """Clean one output and keep its richest form; None where nothing is left of it."""
    if output.output_type == "stream":
        output.text = clean_text(output.text)
        return output
    if output.output_type == "error":
        output.traceback = [clean_text(line) for line in output.traceback]
        output.evalue = clean_text(output.evalue)
        return output
    data = _richest(output.data)
    if data is None:
        return None
    output.metadata = NotebookNode()
    if "text/markdown" in output.data:
        output.metadata["caption"] = words_of(data.get("text/html", ""))
    output.data = NotebookNode(data)
    return output


def _richest(data: dict[str, Any]) -> dict[str, Any] | None:
    if any("widget" in kind or "javascript" in kind for kind in data):
        return None  # a progress bar, or what else needs scripts
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            base64.b64decode(data[kind])  # Sphinx stops at one that is damaged
            return {kind: data[kind]}
    if "text/html" in data:
        return _scrolling(clean_html(data["text/html"]))
    if "image/svg+xml" in data:
        return _scrolling(clean_html(data["image/svg+xml"]))
    if "text/markdown" in data:
        return {"text/html": markdown_html(data["text/markdown"], "table")}
    if "text/plain" in data:
        return {"text/plain": clean_text(data["text/plain"])}
    return None


def _scrolling(html: str) -> dict[str, str]:
    return {"text/html": f'<div class="scroll" tabindex="0">{html}</div>'}
