"""What only the browser can do: a key that compares, and copies of the result for the clipboard."""

from __future__ import annotations

from pathlib import Path

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise ImportError('explore needs anywidget: pip install "dtreward[app]"') from error

HERE = Path(__file__).parent


class BrowserSide(anywidget.AnyWidget):
    """Buttons that copy a result, and Ctrl+Enter in the boxes around them.

    Attributes:
        markdown: the result as Markdown; "" where there is none to copy.
        json: the result as JSON.
    """

    _esm = HERE / "browser.js"
    _css = HERE / "explorer.css"
    markdown = traitlets.Unicode().tag(sync=True)
    json = traitlets.Unicode().tag(sync=True)
