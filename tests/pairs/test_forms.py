"""Laws of the public forms: each is recognised, and its pairs say what its rows say."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dtreward.conversation import messages
from dtreward.pairs.annotated_pairs import write_annotated_pairs
from dtreward.pairs.forms import FORMS
from dtreward.pairs.frame import attributes_are_of, differences, inputs_name, load_pairs
from dtreward.pairs.text_attributes import TEXT_ATTRIBUTES

SHARED = Path(__file__).parents[3] / "shared" / "data"
NAMES = [form.name for form in FORMS]
ROWS = 40


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def texts(row):
    """The question, a good answer and a bad answer of a row."""
    return f"What is {row} + 1?", f"It is {row + 1}.", f"Perhaps {row}?"


def by_chosen(make, **columns):
    rows = [make(*texts(row)) for row in range(ROWS)]
    return pd.DataFrame(rows).assign(**columns)


def better_first(row):
    return row % 3 != 0


def sided(first, second, make_more=lambda row: {}):
    """Rows with the good answer on one side or the other."""
    rows = []
    for row in range(ROWS):
        question, good, bad = texts(row)
        one, two = (good, bad) if better_first(row) else (bad, good)
        rows.append({"prompt": question, first: one, second: two} | make_more(row))
    return pd.DataFrame(rows)


def helpsteer3():
    table = sided(
        "response1", "response2", lambda row: {"overall_preference": -2 if better_first(row) else 1}
    )
    contexts = [[user(prompt)] for prompt in table["prompt"]]
    notes = [[{"score": 1, "reasoning": "x", "feedback1": "y", "feedback2": "z"}]] * ROWS
    table = table.drop(columns="prompt")
    return table.assign(context=contexts, domain="code", individual_preference=notes)


def ultrafeedback():
    rows = []
    for row in range(ROWS):
        question, good, bad = texts(row)
        completions = []
        for text, rating, overall in ((bad, "2", 3.0), (good, "5", 8.5)):
            aspects = ("helpfulness", "honesty", "instruction_following", "truthfulness")
            notes = {aspect: {"Rating": rating, "Rationale": "x"} for aspect in aspects}
            scores = {"overall_score": overall, "fine-grained_score": float(rating)}
            completions.append({"model": "m", "response": text, "annotations": notes} | scores)
        rows.append({"source": "x", "instruction": question, "completions": completions})
    return pd.DataFrame(rows)


def nectar():
    rows = []
    for row in range(ROWS):
        question, good, bad = texts(row)
        answers = [
            {"answer": bad, "model": "m", "rank": 2.0},
            {"answer": good, "model": "n", "rank": 1.0},
        ]
        rows.append({"prompt": f"\n\nHuman: {question}\n\nAssistant: ", "answers": answers})
    return pd.DataFrame(rows)


def arena():
    rows = []
    for row in range(ROWS):
        question, good, bad = texts(row)
        one, two = (good, bad) if better_first(row) else (bad, good)
        winner = "model_a" if better_first(row) else "model_b"
        sides = {"conversation_a": [user(question), assistant(one)]}
        sides["conversation_b"] = [user(question), assistant(two)]
        rows.append(
            {"question_id": f"q{row}", "model_a": "m", "model_b": "n", "winner": winner} | sides
        )
    return pd.DataFrame(rows)


def winner(row):
    return {"winner": "model_a" if better_first(row) else "model_b"}


def kaggle(row):
    return {"winner_model_a": int(better_first(row)), "winner_model_b": int(not better_first(row))}


def number_of_better(row):
    number = int(not better_first(row))
    return {"better_response_id": number, "is_response_0_safe": True, "is_response_1_safe": False}


FORM_TABLES = {
    "chosen-rejected of texts": by_chosen(
        lambda q, g, b: {"prompt": q, "chosen": g, "rejected": b}
    ),
    "chosen-rejected of messages": by_chosen(
        lambda q, g, b: {
            "prompt": q,
            "chosen": [user(q), assistant(g)],
            "rejected": [user(q), assistant(b)],
        },
        score_chosen=9.0,
        score_rejected=1.0,
    ),
    "chosen-rejected of answers in messages": by_chosen(
        lambda q, g, b: {"prompt": [user(q)], "chosen": [assistant(g)], "rejected": [assistant(b)]}
    ),
    "chosen-rejected of transcripts": by_chosen(
        lambda q, g, b: {
            "chosen": f"\n\nHuman: {q}\n\nAssistant: {g}",
            "rejected": f"\n\nHuman: {q}\n\nAssistant: {b}",
        }
    ),
    "chosen-rejected of transcripts beside their prompt": by_chosen(
        lambda q, g, b: {
            "prompt": f"\n\nHuman: {q}\n\nAssistant:",
            "chosen": f"\n\nHuman: {q}\n\nAssistant: {g}",
            "rejected": f"\n\nHuman: {q}\n\nAssistant: {b}",
        }
    ),
    "chosen-rejected of ShareGPT": by_chosen(
        lambda q, g, b: {
            "conversations": [{"from": "human", "value": q}],
            "chosen": [{"from": "gpt", "value": g}],
            "rejected": [{"from": "gpt", "value": b}],
        }
    ),
    "winner of conversations": arena(),
    "winner of texts": sided("response_a", "response_b", winner),
    "winner in three columns": sided("response_a", "response_b", kaggle).assign(winner_tie=0),
    "winner of plain responses": sided("response_1", "response_2", winner),
    "better-response-id": sided("response_0", "response_1", number_of_better),
    "helpsteer3": helpsteer3(),
    "ultrafeedback": ultrafeedback(),
    "ranked": nectar(),
    "ranked by a column": pd.DataFrame(
        [{"prompt": q, "responses": [b, g], "ranks": [2, 1]} for q, g, b in map(texts, range(ROWS))]
    ),
}


@pytest.mark.parametrize("kind", FORM_TABLES)
@pytest.mark.parametrize("file", ["parquet", "jsonl", "csv"])
def test_a_form_is_recognised_and_its_good_answers_are_preferred(kind, file, tmp_path):
    table = FORM_TABLES[kind]
    if file == "parquet":
        table.to_parquet(path := tmp_path / "t.parquet")
    elif file == "jsonl":
        table.to_json(path := tmp_path / "t.jsonl", orient="records", lines=True)
    else:
        table.to_csv(path := tmp_path / "t.csv", index=False)
    pairs = load_pairs(path)
    assert pairs.form == kind.split(" ")[0]
    assert pairs.frame.equals(load_pairs(path, form=pairs.form).frame)
    assert len(pairs.frame) == ROWS
    frame = pairs.frame.set_index("prompt")
    for question, good, bad in map(texts, range(ROWS)):
        row = frame.loc[question]
        sides = [row["response_1"], row["response_2"]]
        assert sides[row["preference"]] == good
        assert sides[1 - row["preference"]] == bad
    assert 0 < frame["preference"].mean() < 1


def test_sides_are_drawn_where_the_form_gives_the_better_one_away():
    rows = [{"prompt": f"q{k}", "chosen": f"good {k}", "rejected": f"bad {k}"} for k in range(900)]
    pairs = load_pairs(pd.DataFrame(rows))
    # Binomial with p = 1/2: four standard errors; undrawn sides would give 0.
    assert abs(pairs.frame["preference"].mean() - 0.5) < 4 * 0.5 / np.sqrt(900)
    again = load_pairs(pd.DataFrame(rows))
    other = load_pairs(pd.DataFrame(rows), seed=1)
    assert pairs.frame.equals(again.frame)
    assert not pairs.frame["response_1"].equals(other.frame["response_1"])


def test_ratings_and_models_of_a_side_go_with_their_response():
    table = FORM_TABLES["chosen-rejected of texts"].assign(
        helpfulness_chosen=4, helpfulness_rejected=1, chosen_model="m", rejected_model="n"
    )
    pairs = load_pairs(table)
    assert (pairs.attributes, pairs.attributes_are) == (("helpfulness",), "rated")
    more = differences(pairs.frame, pairs.attributes)[:, 0]
    assert (np.where(pairs.frame["preference"] == 1, 3.0, -3.0) == more).all()
    models = pairs.frame[["model_1", "model_2"]].to_numpy()
    preferred = pairs.frame["preference"].to_numpy(int)
    assert (models[np.arange(ROWS), preferred] == "m").all()


def test_an_overall_score_that_made_the_preference_is_no_attribute():
    pairs = load_pairs(FORM_TABLES["chosen-rejected of messages"])
    assert pairs.attributes == tuple(TEXT_ATTRIBUTES)
    rated = load_pairs(FORM_TABLES["ultrafeedback"])
    assert rated.attributes == ("helpfulness", "honesty", "instruction_following", "truthfulness")
    assert (rated.attributes_are, inputs_name(rated.frame)) == (
        "rated by GPT-4",
        "ratings by GPT-4",
    )
    by_aspects = load_pairs(FORM_TABLES["ultrafeedback"], order_by="fine-grained_score")
    assert by_aspects.frame["preference"].equals(rated.frame["preference"])


def test_several_ranked_answers_make_all_their_pairs():
    answers = [{"answer": f"answer {rank}", "rank": rank} for rank in (3, 1, 2, 4, 4)]
    rows = [{"prompt": f"\n\nHuman: q{k}\n\nAssistant: ", "answers": answers} for k in range(5)]
    pairs = load_pairs(pd.DataFrame(rows))
    assert len(pairs.frame) == 5 * 6  # the two fourth answers are the same text, so one
    ranks = pairs.frame[["response_1", "response_2"]].map(lambda text: int(text[-1])).to_numpy()
    first_is_better = ranks[:, 0] < ranks[:, 1]
    decided = ranks[:, 0] != ranks[:, 1]
    assert (pairs.frame["preference"][decided] == np.where(first_is_better, 0, 1)[decided]).all()


def test_ties_have_no_preference_and_are_counted():
    words = ["tie", "tie (bothbad)", "model_a", " Model_B ", None, "tie"] * 3
    rows = [
        {"prompt": f"q{k}", "response_a": f"a{k}", "response_b": f"b{k}", "winner": word}
        for k, word in enumerate(words)
    ]
    pairs = load_pairs(pd.DataFrame(rows))
    assert (pairs.counts["ties"], pairs.counts["no preference"]) == (9, 12)
    assert pairs.frame["preference"].dropna().tolist() == [0, 1] * 3
    table = FORM_TABLES["helpsteer3"].assign(overall_preference=[0, 1] * (ROWS // 2))
    assert load_pairs(table).counts["ties"] == ROWS // 2


def test_conversations_share_their_beginning_which_is_the_prompt():
    turns = [
        {"role": "system", "content": "Be brief."},
        user("Hi"),
        assistant("Hello"),
        user("Why?"),
    ]
    rows = []
    for k in range(9):
        before = [*turns[:-1], user(f"Why {k}?")]
        rows.append(
            {"chosen": [*before, assistant("Since.")], "rejected": [*before, assistant("No.")]}
        )
    rows.append({"chosen": [user("a"), assistant("b")], "rejected": [user("c"), assistant("d")]})
    rows.append({"chosen": [user("a")], "rejected": [user("a")]})
    pairs = load_pairs(pd.DataFrame(rows))
    assert (pairs.counts["no common prompt"], pairs.counts["unreadable"]) == (1, 2)
    assert set(pairs.frame["response_1"]) == {"Since.", "No."}
    read = messages(pairs.frame["prompt"][0])
    assert read == [*turns[:-1], user("Why 0?")]


def test_a_column_of_transcripts_is_read_as_turns_throughout():
    prompts = ["Human: a\n\nAssistant: b\n\nHuman: c", "Human: d", "Human: e"]
    table = pd.DataFrame({"prompt": prompts, "response_1": "x", "response_2": "y"})
    pairs = load_pairs(table)
    assert pairs.counts["transcripts"] == 3
    assert [len(messages(prompt)) for prompt in pairs.frame["prompt"]] == [3, 1, 1]
    assert pairs.frame["prompt"][1] == "d"
    alone = load_pairs(table.assign(prompt=["Human: a", "b", "c"]))  # a text that begins so
    assert alone.frame["prompt"][0] == "Human: a"


def test_a_system_column_and_an_input_belong_to_the_prompt():
    rows = [
        {"system": "Be brief.", "question": f"q{k}", "chosen": "a", "rejected": "b"}
        for k in range(3)
    ]
    pairs = load_pairs(pd.DataFrame(rows))
    assert messages(pairs.frame["prompt"][0])[0] == {"role": "system", "content": "Be brief."}
    rows = [
        {"instruction": "Add", "input": f"{k} + 1", "chosen": "a", "rejected": "b"}
        for k in range(3)
    ]
    assert load_pairs(pd.DataFrame(rows)).frame["prompt"][2] == "Add\n\n2 + 1"


def test_other_values_and_names_are_refused():
    table = FORM_TABLES["winner of texts"]
    with pytest.raises(ValueError, match=r"form='winer' is unknown, expected one of .*'winner'"):
        load_pairs(table, form="winer")
    with pytest.raises(ValueError, match="expected columns chosen, rejected; missing"):
        load_pairs(table, form="chosen-rejected")
    with pytest.raises(ValueError, match="form='helpsteer2' is nvidia/HelpSteer2, or a folder"):
        load_pairs(table, form="helpsteer2")
    with pytest.raises(
        ValueError, match=r"column winner holds 'left' in row 0 .*; expected one of"
    ):
        load_pairs(table.assign(winner="left"))
    with pytest.raises(ValueError, match=r"better_response_id holds 2 in row 0 .*; expected"):
        load_pairs(FORM_TABLES["better-response-id"].assign(better_response_id=2))
    with pytest.raises(
        ValueError, match=r"column completions holds 3 in row 0 .*; expected a list"
    ):
        load_pairs(FORM_TABLES["ultrafeedback"].assign(completions=3))
    with pytest.raises(ValueError, match=r"missing: prompt, .*public forms are .*ranked"):
        load_pairs(pd.DataFrame({"text": ["a"]}))


def test_a_file_without_a_column_is_named(tmp_path):
    path = tmp_path / "lack.csv"
    path.write_text("prompt,response_1\n2 + 2?,4\n")
    with pytest.raises(ValueError, match=r"lack\.csv: expected columns .* missing: response_2"):
        load_pairs(path)


# AnnotatedPairs


def annotated(version):
    comparisons = []
    for row in range(ROWS):
        question, good, bad = texts(row)
        one, two = (good, bad) if better_first(row) else (bad, good)
        preferred = "a" if better_first(row) else "b"
        sides = {
            "response_a": {"text": one, "model": "m"},
            "response_b": {"text": two, "model": "n"},
        }
        if version == "1.0":
            preferred = f"text_{preferred}"
            sides = {"text_a": one, "text_b": two}
        notes = {"p": {"pref": preferred}, "l": {"pref": None, "no_pref_reason": "not_applicable"}}
        metadata = {"index": str(row)}
        comparison = {
            "id": f"{row}",
            "prompt": question,
            "annotations": notes,
            "metadata": metadata,
        }
        comparisons.append(comparison | sides)
    annotators = {"p": {"name": "preferred_text", "description": "x", "type": "unknown"}}
    annotators["l"] = {"description": "Select the longer response", "type": "principle"}
    metadata = {"version": version, "dataset_name": "sums", "default_annotator": "p"}
    return {"metadata": metadata, "annotators": annotators, "comparisons": comparisons}


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_annotated_pairs_are_read(version, tmp_path):
    (tmp_path / "pairs.json").write_text(json.dumps(annotated(version)))
    pairs = load_pairs(tmp_path / "pairs.json")
    assert (pairs.form, len(pairs.frame)) == ("annotated-pairs", ROWS)
    assert pairs.frame["prompt"].tolist() == [texts(row)[0] for row in range(ROWS)]
    expected = [0 if better_first(row) else 1 for row in range(ROWS)]
    assert pairs.frame["preference"].tolist() == expected
    assert "Select the longer response" in pairs.frame


def test_annotated_pairs_are_written_as_they_are_read(tmp_path):
    source = load_pairs(
        FORM_TABLES["winner of texts"].assign(
            winner=["tie"] + ["model_a", "model_b"] * 19 + ["tie"]
        )
    )
    judges = pd.DataFrame({"judge": "J", "pair": [1, 2], "preference": pd.array([1, None], "Int8")})
    written = write_annotated_pairs(
        source.frame,
        tmp_path / "pairs.json",
        name="sums",
        attributes=source.attributes,
        judges=judges,
    )
    again = load_pairs(written)
    for column in ("prompt", "response_1", "response_2", "preference"):
        assert (
            again.frame[column].tolist() == source.frame[column].tolist() or column == "preference"
        )
    assert again.frame["preference"].equals(source.frame["preference"])
    content = json.loads(written.read_text())
    assert content["metadata"]["version"] == "2.0"
    assert content["metadata"]["default_annotator"] in content["annotators"]
    assert len({comparison["id"] for comparison in content["comparisons"]}) == ROWS
    more_words = np.sign(differences(source.frame, ["words"])[:, 0])
    assert (
        again.frame["words"].astype(float).fillna(0.5).tolist() == ((more_words + 1) / 2).tolist()
    )
    assert again.frame["J"].astype(float).fillna(-1).tolist()[:4] == [-1, 1, -1, -1]


def test_annotated_pairs_that_cannot_be_read_say_why(tmp_path):
    path = tmp_path / "pairs.json"
    content = annotated("2.0")
    path.write_text(json.dumps(content | {"metadata": {}}))
    with pytest.raises(ValueError, match="default_annotator is None, expected one of"):
        load_pairs(path)
    content["comparisons"][1]["annotations"]["p"]["pref"] = "left"
    path.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r"comparison 1 \(1\), annotator p prefers 'left'; expected a"
    ):
        load_pairs(path)
    content = annotated("2.0")
    for comparison in content["comparisons"]:
        comparison["prompt"] = None
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="no comparison has a prompt"):
        load_pairs(path)


# Attributes that nobody rated


def test_where_the_attributes_come_from_is_kept_in_the_file(tmp_path):
    pairs = load_pairs(FORM_TABLES["winner of texts"])
    assert pairs.attributes == tuple(TEXT_ATTRIBUTES)
    pairs.frame.to_parquet(path := tmp_path / "pairs.parquet")
    saved = pd.read_parquet(path)
    assert attributes_are_of(saved) == pairs.attributes_are == "measured from the text"
    assert inputs_name(saved) == "attributes measured from the text"
    assert load_pairs(path).attributes_are == "measured from the text"
    rated = load_pairs(FORM_TABLES["winner of texts"].assign(wit_1=1.0, wit_2=2.0))
    assert inputs_name(rated.frame) == "ratings"


def test_text_attributes_may_be_named_beside_ratings_or_without():
    table = FORM_TABLES["winner of texts"].assign(wit_1=1.0, wit_2=2.0)
    pairs = load_pairs(table, attributes=["questions", "words"])
    assert (pairs.attributes, pairs.attributes_are) == (
        ("questions", "words"),
        "measured from the text",
    )
    assert pairs.frame["questions_1"].tolist() == [
        float(not better_first(row)) for row in range(ROWS)
    ]
    with pytest.raises(ValueError, match="attribute 'words' has no two columns"):
        load_pairs(table, attributes=["wit", "words"])


# Real files


def test_hh_is_read_as_turns():
    source = SHARED / "hh_harmless_test.csv.gz"
    if not source.exists():
        pytest.skip(f"{source.name} is absent")
    raw = pd.read_csv(source).head(600)
    pairs = load_pairs(raw)
    assert pairs.attributes_are == "measured from the text"
    assert pairs.counts["transcripts"] == 600
    lengths = pairs.frame["prompt"].map(lambda prompt: len(messages(prompt)))
    assert lengths.max() > 3 and (lengths % 2 == 1).all()
    whole = raw.assign(
        chosen=raw["prompt"] + "\n\nAssistant: " + raw["response_1"],
        rejected=raw["prompt"] + "\n\nAssistant: " + raw["response_2"],
    )[["chosen", "rejected"]]
    again = load_pairs(("\n\n" + whole).head(300))
    assert again.form == "chosen-rejected"
    assert again.counts["pairs"] > 285
    known = set(pairs.frame["prompt"])
    assert again.frame["prompt"].isin(known).mean() > 0.98


def test_rewardbench_s_pairs_are_read():
    source = SHARED / "rewardbench_llmbar.parquet"
    if not source.exists():
        pytest.skip(f"{source.name} is absent")
    raw = pd.read_parquet(source).set_index("prompt")
    pairs = load_pairs(source)
    assert (pairs.form, len(pairs.frame)) == ("chosen-rejected", 419)
    for row in pairs.frame.head(50).itertuples():
        preferred = (row.response_1, row.response_2)[row.preference]
        assert preferred in raw.loc[[row.prompt], "chosen"].tolist()
