"""Make the page on which people read the pairs of a study, by node of a tree and by disagreement."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from string import Template

from dtreward.study.listing import LONGEST_TEXT, MOST_PAIRS, Listing, list_pairs

FILES = Path(__file__).with_name("site_files")
ASSETS = (FILES / "pairs.css", FILES / "pairs.js")
NOTHING = (
    '<section class="pairs-to-read"><p>There are no pairs to read: {}. '
    "Run the study's notebook 01 first.</p></section>"
)


@dataclass(frozen=True)
class PairsPage:
    """A piece of HTML without blank lines, and the files that it loads from its `static` folder."""

    html: str
    assets: tuple[Path, ...] = field(default=ASSETS, init=False)  # else the reference says its path


def pairs_page(made: Path, *, texts: bool = False, static: str = "_static") -> PairsPage:
    """Make the page of pairs of a study; it opens from the disk, without a network.

    It lists pairs by node of each tree and by disagreement of judges, people and trees. Where the
    study has no readable pairs, it says so.

    Args:
        made: the study's folder, with pairs.parquet and what notebooks 03 to 07 made of it.
        texts: show the texts of prompts and responses. Without, the page holds no word of them;
            only pages of the demo world, or for the user's own machine, may show them.
        static: address of the folder of the assets, as seen from the page.

    Example:
        >>> print(pairs_page(Path("nowhere")).html)  # doctest: +ELLIPSIS
        <section class="pairs-to-read"><p>There are no pairs to read: pairs.parquet is missing...
    """
    try:
        listing = list_pairs(Path(made), texts=texts)
    except FileNotFoundError:
        return PairsPage(NOTHING.format("pairs.parquet is missing"))
    except (OSError, ValueError):
        return PairsPage(NOTHING.format("pairs.parquet is no table of pairs"))
    template = Template((FILES / "pairs.html").read_text(encoding="utf-8"))
    notes = "".join(f"<p>{escape(note)}</p>" for note in _notes(listing))
    html = template.substitute(data=_as_script(listing), notes=notes, static=escape(static))
    return PairsPage(html.strip())


def _notes(listing: Listing) -> list[str]:
    """Say what the page leaves out."""
    notes = list(listing.problems)
    if len(listing.pair) < listing.of:
        notes.append(
            f"This page lists {len(listing.pair):,} of the study's {listing.of:,} pairs (at most "
            f"{MOST_PAIRS:,}; fewer where each has many numbers): those that judges were asked "
            "about first, and the others evenly spaced."
        )
    if listing.texts is None:
        notes.append("The texts of prompts and responses are not part of this page.")
    else:
        shown = sum(texts is not None for texts in listing.texts)
        notes.append(
            f"Texts are given for {shown:,} of the listed pairs; those of more than "
            f"{LONGEST_TEXT:,} characters are cut."
        )
    return notes


def _as_script(listing: Listing) -> str:
    """Write a listing as JSON that cannot end a script element: it has no `<`, and ASCII alone."""
    text = json.dumps(asdict(listing), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
