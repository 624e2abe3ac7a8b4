"""Keep what README shows of a study's results the same as what notebook 99 wrote."""

import re

from dtreward.files import write_atomically

# <!-- table: figures/demo/paper/table_models.md --> ... <!-- end -->; failed: the claims of a table that did not hold
PLACE = re.compile(r"(<!-- (table|failed): (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def refreshed(page):
    """Give a page's text with each marked place filled from the file that its marker names."""
    kinds = {"table": str.strip, "failed": failed_claims}

    def fill(found):
        head, kind, name, end = found.groups()
        return f"{head}\n{kinds[kind]((page.parent / name).read_text(encoding='utf-8'))}\n\n{end}"

    return PLACE.sub(fill, page.read_text(encoding="utf-8"))


def refresh(page):
    """Write a page anew if a marked place has changed; say whether."""
    text = refreshed(page)
    if changed := text != page.read_text(encoding="utf-8"):
        write_atomically(page, lambda path: path.write_text(text, encoding="utf-8"))
    return changed


def failed_claims(table):
    """List the claims of notebook 99's `table_claims.md` that did not hold, one a line."""
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
    return "\n".join(f"- {row[1]}" for row in rows if row[-1] == "did not hold")
