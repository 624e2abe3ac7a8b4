"""Keep what committed pages show of a study's results the same as what notebook 99 wrote."""

from __future__ import annotations

import re
from pathlib import Path

from dtreward.files import write_atomically

# <!-- table: figures/demo/paper/table_models.md --> ... <!-- end -->
# An outcome instead of "table" lists the claims of a table that came out so.
OPEN_OUTCOMES = ("did not hold", "cannot tell")
PLACE = re.compile(
    rf"(<!-- (table|{'|'.join(OPEN_OUTCOMES)}): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL
)


def refreshed(page: Path) -> str:
    """Give a page's text with each marked place filled from the file that its marker names."""

    def fill(place: re.Match) -> str:
        start, kind, name, end = place.groups()
        table = (page.parent / name).read_text(encoding="utf-8")
        content = table.strip() if kind == "table" else list_claims(table, outcome=kind)
        return f"{start}\n{content}\n\n{end}"

    return PLACE.sub(fill, page.read_text(encoding="utf-8"))


def refresh(page: Path) -> bool:
    """Write a page anew if a marked place has changed; say whether it has."""
    text = refreshed(page)
    if text == page.read_text(encoding="utf-8"):
        return False
    write_atomically(page, lambda path: path.write_text(text, encoding="utf-8"))
    return True


def list_claims(table: str, *, outcome: str) -> str:
    """List the claims of notebook 99's `table_claims.md` with an outcome, one a line.

    Example:
        >>> table = "| notebook | claim | outcome |\\n| 04 | Less is more. | did not hold |"
        >>> list_claims(table, outcome="did not hold"), list_claims(table, outcome="cannot tell")
        ('- Less is more.', 'None.')
    """
    sentences = []
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if cells[-1] == outcome:
            sentences.append(f"- {cells[1]}")
    return "\n".join(sentences) or "None."
