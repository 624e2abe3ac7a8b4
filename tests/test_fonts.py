"""Names in any script are drawn by a font that has their signs, and keep the text around them."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from dtreward import fonts
from dtreward.figures import draw_reward_bars, save_figure, text_width
from dtreward.fonts import families_of, use_fonts
from dtreward.names import isolate
from dtreward.tree.figure import draw_tree
from dtreward.tree.tree import PreferenceTree

SIGN = "\u6df1"  # a Chinese sign, which DejaVu Sans lacks
HEBREW = "\u05d1\u05d4\u05d9\u05e8\u05d5\u05ea"


@pytest.fixture
def square_font(tmp_path):
    """Install a font whose one sign is a filled square of 2 em, until the test ends."""
    pen = TTGlyphPen(None)
    for number, place in enumerate([(0, 0), (0, 1800), (1800, 1800), (1800, 0)]):
        (pen.lineTo if number else pen.moveTo)(place)
    pen.closePath()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "square"])
    builder.setupCharacterMap({ord(SIGN): "square"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "square": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "square": (2000, 0)})
    builder.setupHorizontalHeader(ascent=1000)
    builder.setupNameTable({"familyName": "Square Sans", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "square.ttf")
    listed = list(fontManager.ttflist)
    fontManager.addfont(tmp_path / "square.ttf")
    fonts._fonts_with.cache_clear()
    yield
    fontManager.ttflist[:] = listed
    fonts._fonts_with.cache_clear()


def test_a_sign_is_drawn_by_an_installed_font_that_has_it(square_font, tmp_path):
    assert families_of(["clarity", SIGN]) == ["DejaVu Sans", "Square Sans"]
    figure, axis = plt.subplots(figsize=(2, 2))
    axis.barh([f"a {SIGN}", "b"], [1, 2], label=SIGN)
    axis.legend()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a sign that is missing
        save_figure(figure, tmp_path / "figure")
        # 2 em at 8 points, and two margins of 0.06 inches
        assert text_width([SIGN]) == pytest.approx(2 * 8 / 72 + 0.12, abs=0.01)
    plt.close(figure)


def test_what_no_font_has_is_warned_of_once_with_what_to_install():
    fonts._fonts_with.cache_clear()
    with pytest.warns(
        UserWarning,
        match=r"no installed font has the signs \U00012000, .*Cuneiform.*fonts-noto-core",
    ):
        assert families_of("\U00012000") == ["DejaVu Sans"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        families_of("\U00012000")


@pytest.mark.parametrize(
    ("sign", "font"),
    [
        ("\u6709", "Noto Sans CJK (apt install fonts-noto-cjk)"),
        ("\u0e04", "Noto Sans Thai (apt install fonts-noto-core)"),
        ("\U0001f9ff", "Symbola (apt install fonts-symbola)"),  # an amulet, of no script
        ("\U0001d400", "Noto Sans Math (apt install fonts-noto-core)"),
    ],
)
def test_a_font_that_exists_is_named_for_a_sign(sign, font):
    """An emoji's name begins with no script: "NAZAR AMULET"."""
    assert fonts._package(sign) == font


def test_the_bars_of_rewards_are_drawn_by_fonts_that_have_their_signs(square_font):
    figure, axis = plt.subplots()
    draw_reward_bars(axis, np.ones((2, 1)), [SIGN])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.canvas.draw()
    plt.close(figure)


def test_signs_that_draw_nothing_need_no_font():
    assert families_of("a\u200b\n\u2068\u2028\ue000b") == ["DejaVu Sans"]


@pytest.mark.parametrize("name", [HEBREW, "\u0627\u0644\u0648\u0636\u0648\u062d"])
def test_a_name_from_right_to_left_leaves_its_threshold_behind_it(name):
    assert isolate(name) == f"\u2068{name}\u2069"
    tree = PreferenceTree.single_split(name, 0.5)
    axis = draw_tree(tree)
    lines = [text.get_text() for text in axis.texts]
    assert f"\u2068{name}\u2069 \u2264 0.5" in lines
    (sentence,) = tree.rule_sentences()
    assert f"\u2068{name}\u2069 difference > 0.5" in sentence
    (step,) = tree.path(np.array([1.0]))
    assert step.sentence.startswith(f"\u2068{name}\u2069: difference 1")
    plt.close(axis.figure)


def test_a_name_from_left_to_right_is_left_alone():
    for name in ("clarity", "\u0441\u043c\u044b\u0441\u043b", "\u6df1\u3055", "3"):
        assert isolate(name) == name


def test_a_figure_without_other_signs_is_left_alone():
    figure, axis = plt.subplots()
    axis.set_title("helpfulness")
    before = axis.title.get_fontfamily()
    use_fonts(figure)
    assert axis.title.get_fontfamily() == before
    plt.close(figure)
