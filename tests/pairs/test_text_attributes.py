"""What is measured from a text, in English and elsewhere."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dtreward.pairs.text_attributes import TEXT_ATTRIBUTES, measure

ANSWER = """# Plan

First, look at it. Don't touch it! Why not?

- buy 3.5 kg of rice
- cook it

1. done

```python
x = 1  # no words here?

y = 2
```
"""


def measured(text, prompt="Which?"):
    [row] = measure([prompt], [text], list(TEXT_ATTRIBUTES)).to_dict("records")
    return row


def test_each_attribute_counts_what_it_says():
    found = measured(ANSWER)
    assert found["list items"] == 3
    assert found["headings"] == 1
    assert found["code lines"] == 2
    assert found["questions"] == 1
    assert found["sentences"] == 7  # the heading, three sentences, three items
    assert found["words"] == 18


def test_code_is_no_prose():
    assert measured("```\na b c\n```")["words"] == 0
    assert measured("```\n# a\n- b\nis it?")["code lines"] == 3  # a block that is never closed


@pytest.mark.parametrize(
    ("text", "words", "sentences", "questions"),
    [
        ("你好吗？我很好。", 6, 2, 1),
        ("これはペンです。", 7, 1, 0),
        ("¿Cómo estás? ¡Muy bien!", 4, 2, 1),
        ("كيف حالك؟ أنا بخير.", 4, 2, 1),
        ("Он пришёл... и ушёл.", 4, 2, 0),
        ("Pi is 3.14 or so", 5, 1, 0),
    ],
)
def test_other_scripts_have_words_sentences_and_questions(text, words, sentences, questions):
    found = measured(text)
    assert (found["sentences"], found["questions"]) == (sentences, questions)
    assert found["words"] == words


def test_lexical_diversity_does_not_fall_with_length():
    words = [f"w{number}" for number in range(40)]
    short, long = " ".join(words), " ".join(words * 10)
    assert measured(short)["lexical diversity"] == 1.0
    assert measured(long)["lexical diversity"] == pytest.approx(40 / 50)
    assert measured(long * 2)["lexical diversity"] == pytest.approx(40 / 50, abs=0.01)
    assert measured("the the the the")["lexical diversity"] == 0.25


def test_overlap_is_the_share_of_the_response_s_words_that_were_asked():
    assert measured("Two and two are four.", "two and two?")["overlap with the prompt"] == 0.5
    turns = "Hi<extra_id_1>Assistant\nYes?<extra_id_1>User\nGo on."
    assert measured("User 1 said hi.", turns)["overlap with the prompt"] == 0.25


@given(st.text(), st.text())
def test_any_text_has_finite_values(prompt, response):
    found = measured(response, prompt)
    assert all(math.isfinite(value) and value >= 0 for value in found.values())
    assert found["lexical diversity"] <= 1 and found["overlap with the prompt"] <= 1
