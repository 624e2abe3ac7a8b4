"""Fonts that have the signs of names in any script."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, findSystemFonts, fontManager, get_font
from matplotlib.text import Text

BASE = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew and more
UNSEEN = ("Cc", "Cf", "Cn", "Co", "Zl", "Zp", "Zs")  # categories of signs that draw nothing
NO_TEXT_FONT = ("Last Resort", "Emoji", "Color")  # names of fonts of boxes or bitmaps
EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "FULLWIDTH", "IDEOGRAPHIC")


def families_of(texts: str | Iterable[str]) -> list[str]:
    """Name the fonts that draw some texts: DejaVu Sans, then installed ones with further signs.

    It warns of signs that no installed font has, and says what to install.

    Example:
        >>> families_of("clarity")
        ['DejaVu Sans']
    """
    signs = frozenset("".join(texts))
    missing = signs - _signs_of(fontManager.findfont(BASE))
    seen = frozenset(sign for sign in missing if unicodedata.category(sign) not in UNSEEN)
    return [BASE, *_fonts_with(seen)] if seen else [BASE]


def use_fonts(figure: Figure) -> None:
    """Let each text of a figure be drawn by fonts that have its signs."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            families = families_of(label.get_text() for label in axis.get_ticklabels())
            if families != [BASE]:  # ticks are made anew whenever the figure is drawn
                axis.set_tick_params(labelfontfamily=families)
    for text in figure.findobj(Text):
        families = families_of(text.get_text())
        if families != [BASE]:
            text.set_fontfamily(families)


@cache
def _signs_of(path: str) -> frozenset[str]:
    return frozenset(map(chr, get_font(path).get_charmap()))


@cache
def _fonts_with(signs: frozenset[str]) -> list[str]:
    """Name installed fonts that have some signs, the font with most of them first."""
    _find_new_fonts()
    # matplotlib names each sign at each drawing, also at those before `use_fonts`
    warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from font")
    fonts = sorted(fontManager.ttflist, key=_preference)
    families = []
    while signs:
        best = max(fonts, key=lambda font: len(signs & _readable_signs(font)))
        found = signs & _readable_signs(best)
        if not found:
            _warn_of(sorted(signs))
            break
        families.append(best.name)
        signs -= found
    return families


def _find_new_fonts() -> None:
    """Add the fonts that were installed after matplotlib listed them for its cache."""
    listed = {str(font.fname) for font in fontManager.ttflist}
    for path in set(findSystemFonts()) - listed:
        try:
            fontManager.addfont(path)
        except (OSError, RuntimeError):  # damaged, or of a kind that matplotlib does not draw
            continue


def _preference(font: FontEntry) -> tuple:
    """Sort upright fonts of normal weight first, and sans serif ones among them."""
    is_regular = font.style == "normal" and font.weight in (400, "normal", "regular")
    return (not is_regular, "Sans" not in font.name, font.name)


def _readable_signs(font: FontEntry) -> frozenset[str]:
    if any(word in font.name for word in NO_TEXT_FONT):
        return frozenset()
    try:
        return _signs_of(font.fname)
    except (OSError, RuntimeError):  # removed since matplotlib listed it
        return frozenset()


def _warn_of(signs: Sequence[str]) -> None:
    packages = sorted({_package(sign) for sign in signs})
    warnings.warn(
        f"no installed font has the signs {' '.join(signs[:8])}, which figures show as boxes; "
        f"install {' and '.join(packages)}, or take them from https://fonts.google.com/noto",
        stacklevel=2,
    )


def _package(sign: str) -> str:
    """Name a font with a sign, and the package of Debian and Ubuntu that brings it."""
    script = unicodedata.name(sign, "SYMBOLS").split()[0]
    if script in EAST_ASIAN:
        return "Noto Sans CJK (apt install fonts-noto-cjk)"
    if script == "MATHEMATICAL":
        return "Noto Sans Math (apt install fonts-noto-core)"
    if unicodedata.category(sign)[0] not in "LMN":  # no letter, mark or number: an emoji, say
        return "Symbola (apt install fonts-symbola)"
    return f"Noto Sans {script.title()} (apt install fonts-noto-core)"
