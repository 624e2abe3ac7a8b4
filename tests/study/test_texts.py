"""No text of a real source is published; here a text that is shown is found wherever it hides."""

import json
import tarfile

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from dtreward.study.readme import UNPUBLISHED
from dtreward.study.texts import WINDOW, find_texts, pdf_text, texts_of

SECRET = "An owl flew over the old barn & sang to <nobody> at all that night."


def test_a_piece_of_a_text_is_found_in_a_notebooks_outputs_and_not_in_its_pictures(tmp_path):
    shown = {"data": {"text/html": ["<p>An owl flew over the old\n", "barn &amp; sang to</p>"]}}
    picture = {"data": {"image/png": SECRET}}
    for name, output in {"shown.ipynb": shown, "picture.ipynb": picture}.items():
        cells = [{"cell_type": "code", "source": [], "outputs": [output]}]
        (tmp_path / name).write_text(json.dumps({"cells": cells}))
    (tmp_path / "table.csv").write_text("n\n3\n")
    found = find_texts([SECRET], sorted(tmp_path.iterdir()))
    assert list(found) == [tmp_path / "shown.ipynb"]
    assert found[tmp_path / "shown.ipynb"] == SECRET[:WINDOW]


@given(
    st.text(st.characters(categories=("L", "N", "P")), max_size=60),
    st.text(st.characters(categories=("L", "N", "P")), min_size=WINDOW, max_size=60),
    st.integers(0, 30),
)
def test_any_window_of_a_text_is_found_and_nothing_else(tmp_path_factory, around, secret, start):
    folder = tmp_path_factory.mktemp("texts")
    piece = secret[min(start, len(secret) - WINDOW) :][:WINDOW]
    (folder / "page.md").write_text(f"{around} {piece} {around}")
    (folder / "short.md").write_text(f"{piece[1:]}\n\n# {piece[:-1]}")
    found = find_texts([secret], sorted(folder.iterdir()))
    assert folder / "page.md" in found
    pieces = [secret[place : place + WINDOW] for place in range(len(secret) - WINDOW + 1)]
    is_there = any(one in f"{piece[1:]} # {piece[:-1]}" for one in pieces)
    assert (folder / "short.md" in found) == is_there


def test_all_columns_of_a_table_with_texts_count():
    table = pd.DataFrame({"prompt": [SECRET, "2?"], "fact": ["f" * 30, None], "n": [1, 2]})
    assert texts_of(table) == sorted([SECRET, "f" * 30])


@pytest.mark.parametrize("study", ["llm-judges", "dialogue", "annotators"])
def test_what_is_published_of_a_real_study_holds_none_of_its_texts(study, shared_data):
    folders = [ROOT / "notebooks" / "executed" / study, ROOT / "figures" / study]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    page = (ROOT / "docs" / "real-studies.md").read_text()
    marker = f"<!-- findings: ../figures/{study}/paper/index.json -->"
    told = page.split(marker)[1].split("<!-- end -->")[0].strip()
    assert files or told == UNPUBLISHED
    texts = [text for table in originals(study, shared_data) for text in texts_of(table)]
    assert len(texts) > 300
    assert find_texts(texts, files) == {}


def originals(study, shared_data):
    """Give every table of a study's source, as it is published."""
    folder = shared_data / "originals"
    if study == "llm-judges":
        with tarfile.open(folder / "LLMBar-900616b.tar.gz") as archive:
            for member in archive:
                if member.name.endswith("dataset.json"):
                    yield pd.DataFrame(json.load(archive.extractfile(member)))
    elif study == "dialogue":
        yield pd.read_json(folder / "topical_chat.json")
    else:
        for name in ("pandalm_testset-v1.json", "pandalm_gpt-3.5-turbo.json"):
            yield pd.read_json(folder / name)


def test_a_text_in_a_figure_is_found_in_its_pdf_and_its_svg(tmp_path):
    figure = plt.figure()
    figure.text(0.1, 0.5, f"näher: {SECRET}")
    figure.text(0.1, 0.1, "a \\ (b) of 30 characters and more, été")
    plain = plt.figure()
    plain.text(0.1, 0.5, SECRET[: WINDOW - 1])
    with plt.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}):
        for suffix in ("pdf", "svg"):
            figure.savefig(tmp_path / f"shown.{suffix}")
            plain.savefig(tmp_path / f"plain.{suffix}")
    found = find_texts([SECRET], sorted(tmp_path.iterdir()))
    assert list(found) == [tmp_path / "shown.pdf", tmp_path / "shown.svg"]
    assert r"a \ (b) of 30 characters and more" in pdf_text((tmp_path / "shown.pdf").read_bytes())
