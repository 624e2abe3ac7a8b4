"""Single public data sets: small files of their layout, and the originals where they lie."""

import json
import tarfile
from collections import Counter

import pandas as pd
import pytest
from conftest import ROOT

from dtreward.judges.verdict import asked_once
from dtreward.judges.votes import read_preferences
from dtreward.pairs.data_sets import llmbar
from dtreward.pairs.frame import load_pairs, note_of, overall_of
from dtreward.pairs.votes import merge_votes

SHARED = ROOT.parent / "shared" / "data"
ORIGINALS = SHARED / "originals"
PAIRS = [
    {"input": f"Name {word}.", "output_1": f"A {word}", "output_2": "No.", "label": 1 + place % 2}
    for place, word in enumerate(("an owl", "a fish", "a tree"))
]
needs_originals = pytest.mark.skipif(not ORIGINALS.is_dir(), reason="the public files are not here")


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def small_llmbar(tmp_path):
    """Two sets of three pairs; one judge says output 1 always, another the answer shown first."""
    for place, subset in enumerate(("LLMBar/Natural", "LLMBar/Adversarial/Manual")):
        folder = tmp_path / "Dataset" / subset
        entries = [entry | {"input": f"{place}: {entry['input']}"} for entry in PAIRS]
        write_json(folder / "dataset.json", entries)
        steady = {"swap = False": {"winner": "1"}, "swap = True": {"winner": "1"}}
        leaning = {"swap = False": {"winner": "1"}, "swap = True": {"winner": "2"}}
        silent = {"swap = False": {"winner": "1"}, "swap = True": {"winner": None}}
        results = [{"results": [leaning, last]} for last in (steady, steady, silent)]
        write_json(folder / "evaluators" / "GPT-4" / "CoT" / "result.json", results)
    results = [{"results": [leaning]}] * 3  # asked about the second set only
    write_json(folder / "evaluators" / "Falcon" / "Vanilla" / "result.json", results)
    return tmp_path


def test_llmbar_gives_pairs_with_their_right_answer_and_how_their_set_came_about(small_llmbar):
    pairs = load_pairs(small_llmbar)
    assert pairs.form == "llmbar"
    assert pairs.attributes_are == "measured from the text"
    rows = pairs.frame.set_index(["subset", "place"]).sort_index()
    assert rows.loc["Natural", "preference"].tolist() == [0, 1, 0]
    assert set(rows.loc["Natural", "selection"]) == {"not selected to mislead"}
    assert set(rows.loc["Adversarial/Manual", "selection"]) == {"selected to mislead"}


def test_a_winner_of_llmbar_is_an_answer_whatever_was_shown_first(small_llmbar):
    pairs = merge_votes(load_pairs(small_llmbar).frame)
    verdicts = read_preferences(small_llmbar, pairs)
    by_judge = verdicts.groupby("judge")
    assert by_judge.size().to_dict() == {"Falcon/Vanilla": 3, "GPT-4/CoT": 6}
    steady = by_judge.get_group("GPT-4/CoT")
    assert Counter(steady["outcome"]) == {"decided": 4, "unparsed": 2}
    decided = steady[steady["outcome"] == "decided"]
    assert set(decided["preference"]) == {0}
    assert set(zip(decided["given"], decided["swapped"], strict=True)) == {("A", "B")}
    leaning = by_judge.get_group("Falcon/Vanilla")
    assert set(leaning["outcome"]) == {"inconsistent"}
    assert set(leaning["given"]) | set(leaning["swapped"]) == {"A"}
    assert set(verdicts["family"]) == {"Falcon", "GPT-4"}


def test_one_text_in_two_sets_keeps_the_verdict_of_its_own_set(small_llmbar):
    """The verdicts of a pair that stands in two sets are not taken for contradictions."""
    for subset, winner in {"LLMBar/Natural": "1", "LLMBar/Adversarial/Manual": "2"}.items():
        folder = small_llmbar / "Dataset" / subset
        write_json(folder / "dataset.json", PAIRS)
        answer = {"swap = False": {"winner": winner}, "swap = True": {"winner": winner}}
        results = [{"results": [answer]}] * 3
        write_json(folder / "evaluators" / "GPT-4" / "CoT" / "result.json", results)
    verdicts = read_preferences(small_llmbar, load_pairs(small_llmbar).frame)
    preference = verdicts[verdicts["judge"] == "GPT-4/CoT"].set_index("pair")["preference"]
    subset = load_pairs(small_llmbar).frame["subset"]
    assert (preference == (subset == "Adversarial/Manual").loc[preference.index]).all()


def test_a_wrong_entry_of_llmbar_is_named(small_llmbar):
    path = small_llmbar / "Dataset" / "LLMBar" / "Natural" / "dataset.json"
    write_json(path, [*PAIRS, PAIRS[0] | {"label": 3}])
    with pytest.raises(ValueError, match=r"dataset\.json, entry 3: expected label 1 or 2, came 3"):
        load_pairs(small_llmbar)
    write_json(path, [{"input": "2 + 2?"}])
    with pytest.raises(ValueError, match=r"entry 0: expected input, output_1, .* lacks output_1"):
        load_pairs(small_llmbar)


@needs_originals
def test_llmbar_has_its_published_numbers_of_pairs_and_the_verdicts_of_another_reader(tmp_path):
    with tarfile.open(ORIGINALS / "LLMBar-900616b.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    table = llmbar.read_llmbar(folder).table
    assert Counter(table["selection"]) == {
        "selected to mislead": 319,
        "not selected to mislead": 100 + 466,
        "constructed": 315,
    }
    verdicts = llmbar.read_llmbar_verdicts(folder)
    assert verdicts["judge"].nunique() == 24
    own = verdicts[verdicts["subset"].str.match("Natural|Adversarial")]
    assert set(own.groupby("judge").size()) == {419}
    # The same verdicts in a table that others made of them; it leaves out some that decide nothing.
    other = pd.read_csv(SHARED / "llmbar_llm_preferences.csv")
    of_others = other.groupby("model")["preference"].value_counts()
    position = own["given"].map({"A": -1, "B": 1})
    is_decided = own["swapped"].isin(["A", "B"]) & (own["given"] != own["swapped"])
    ours = position[is_decided].groupby(own["judge"]).value_counts()
    for judge in ("GPT-4/Vanilla", "LLaMA2/CoT", "PaLM2/Vanilla", "Falcon/CoT"):
        for preference in (-1, 1):
            assert ours[judge, preference] == of_others[judge, preference]


def test_usr_gives_rated_responses_whose_overall_rating_orders_them(tmp_path):
    rows = []
    for place, overall in enumerate((2.0, 4.5, 4.5)):
        scores = {"coherence": 1.0 + place, "overall": overall}
        row = {"source": "hi . \n", "context": "owls fly .", "system_output": f"reply {place}"}
        rows.append(row | {"system_id": f"system {place}", "scores": scores})
    write_json(tmp_path / "topical_chat.json", rows)
    pairs = load_pairs(tmp_path / "topical_chat.json")
    assert (pairs.form, pairs.attributes, pairs.attributes_are) == (
        "usr",
        ("coherence",),
        "rated by people",
    )
    assert pairs.counts["ties"] == 1
    assert set(pairs.frame["prompt"]) == {"hi .\nFact: owls fly ."}
    decided = pairs.frame.dropna(subset="preference")
    more = decided["overall_2"] > decided["overall_1"]
    assert (decided["preference"] == more).all()
    assert "overall" in pairs.left_out


def test_a_saved_frame_names_the_rating_that_made_its_preferences_unless_a_model_rated(tmp_path):
    rows = []
    for place, overall in enumerate((2.0, 4.5, 4.0)):
        row = {"source": "hi .", "context": "owls fly .", "system_output": f"reply {place}"}
        rows.append(row | {"system_id": "A", "scores": {"coherence": 1.0, "overall": overall}})
    write_json(tmp_path / "topical_chat.json", rows)
    load_pairs(tmp_path / "topical_chat.json").frame.to_parquet(tmp_path / "pairs.parquet")
    saved = pd.read_parquet(tmp_path / "pairs.parquet")
    assert overall_of(saved) == "overall"
    assert overall_of(load_pairs(saved).frame) == "overall"
    assert overall_of(load_pairs(saved, attributes=("words",)).frame) == ""
    read = load_pairs(saved, rated=False).frame
    assert overall_of(read) == ""
    own = pd.DataFrame({"prompt": ["2 + 2?"], "response_1": "4", "response_2": "5"})
    assert overall_of(load_pairs(own.assign(clear_1=1, clear_2=2)).frame) == ""


PANDALM = [
    {
        "idx": str(place),
        "instruction": "Name it.",
        "input": given,
        "response1": True,
        "response2": "No idea.",
        "cmp_key": "a_b",
        "annotator1": 1,
        "annotator2": 2,
        "annotator3": 0,
    }
    for place, given in enumerate(("an owl", ""))
]


def test_pandalm_gives_three_votes_a_pair_and_true_is_a_word(tmp_path):
    write_json(tmp_path / "testset.json", PANDALM)
    pairs = load_pairs(tmp_path / "testset.json")
    assert pairs.form == "pandalm"
    assert note_of(pairs.frame).startswith("The source left out pairs")
    assert pairs.counts["pairs"] == 2
    assert pairs.counts["ties"] == 2
    votes = pairs.frame[pairs.frame["idx"] == "0"].set_index("reader")["preference"]
    assert votes.fillna(-1).to_dict() == {"annotator1": 0, "annotator2": 1, "annotator3": -1}
    assert set(pairs.frame["response_1"]) == {"True"}
    assert set(pairs.frame["prompt"]) == {"Name it.\n\nan owl", "Name it."}


def test_pandalm_verdicts_are_read_beside_peoples_and_a_contradiction_decides_nothing(tmp_path):
    turned = PANDALM[0] | {"idx": "2", "response1": "No idea.", "response2": True}
    write_json(tmp_path / "testset.json", [*PANDALM, turned])
    said = {"0": "1", "1": "Tie", "2": "1"}  # of pair 0 it says both
    verdicts = [{"idx": int(idx), "gpt_result": word} for idx, word in said.items()]
    write_json(tmp_path / "gpt-3.5.json", verdicts)
    pairs = merge_votes(load_pairs(tmp_path / "testset.json").frame)
    found = read_preferences(tmp_path / "gpt-3.5.json", pairs, table=tmp_path / "testset.json")
    assert set(found["judge"]) == {"gpt-3.5", "annotator1", "annotator2", "annotator3"}
    assert found[["given", "swapped"]].isna().all(axis=None)
    outcome = found.set_index(["judge", "pair"])["outcome"].unstack()
    assert outcome.loc["gpt-3.5"].tolist() == ["inconsistent", "tie"]
    assert asked_once(found)
    found.to_parquet(tmp_path / "judges.parquet")
    assert asked_once(pd.read_parquet(tmp_path / "judges.parquet"))
    write_json(tmp_path / "gpt-3.5.json", [{"idx": 0, "gpt_result": "3"}])
    with pytest.raises(ValueError, match=r"gpt-3\.5 has the verdict '3'; expected 1, 2"):
        read_preferences(tmp_path / "gpt-3.5.json", pairs, table=tmp_path / "testset.json")


@needs_originals
def test_the_public_files_are_read_whole():
    usr = load_pairs(ORIGINALS / "topical_chat.json")
    assert usr.counts["prompts"] == 60
    assert usr.attributes[0] == "understandability"
    pandalm = load_pairs(ORIGINALS / "pandalm_testset-v1.json")
    read = pandalm.counts["rows read"]
    assert read == 3 * 999
    assert pandalm.counts["unreadable"] == 3 * 54  # an empty answer
