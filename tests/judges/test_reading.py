"""Which response an answer names."""

import json

import pytest
from conftest import ROOT

from dtreward.judges.reading import final_text, verdict

# What the rules were written with.
READINGS = [
    ("A", "A"),
    (" b ", "B"),
    ("A is the better response", "A"),
    ("**B** is", "B"),
    ('"A is the better', "A"),
    ("Response A is", "A"),
    ("B.", "B"),
    ("B: because", "B"),
    ("B is better", "B"),
    ("A is the preferred", "A"),
    ("[[A]]", "A"),
    ("A\n\nIt is", "A"),
    ("A is not better", "unparsed"),
    ("A is worse than B", "B"),
    ("A is the worse response", "unparsed"),
    ("A is incorrect", "unparsed"),
    ("A is wrong; B is right", "unparsed"),
    ("A is no better than B", "unparsed"),
    ("A is neither", "unparsed"),
    ("B is inferior", "unparsed"),
    ("A, B are equal", "unparsed"),
    ("A = B", "unparsed"),
    ("A/B", "unparsed"),
    ("A-level maths", "unparsed"),
    ('a "good" answer', "unparsed"),
    ("A good answer", "unparsed"),
    ("As I see it", "unparsed"),
    ("Both are good", "unparsed"),
    ("Based on", "unparsed"),
    ("", "unparsed"),
    ("I'm sorry, but", "refused"),
    ("I’m sorry", "refused"),
    ("I cannot compare", "refused"),
    ("I can't", "refused"),
    ("As an AI", "refused"),
    ("I think A", "unparsed"),
    ("A: 6/10 B: 9/10, B is the better response", "B"),
    ("[[A]] looks good, but [[B]]", "B"),
    ("Response A is the stronger one: it cites the law.", "A"),
    ("I'd pick A.", "A"),
    ("My choice is B", "B"),
    ("Verdict: A close call, I think.", "unparsed"),
    ("<think>B?</think>\n**A**", "A"),
    ("<think>still thinking about A", "unparsed"),
    ('{"better": "A"}', "A"),
    ('{"result": {"winner": "B"}}', "B"),
    ('{"winner": "none"}', "unparsed"),
    ("\\boxed{A}", "A"),
    ("<choice>B</choice>", "B"),
    ("Response A\nIt has merit.\n\nResponse B\nIt has none.", "unparsed"),
    ("A. Accurate.\nB. Not accurate.", "unparsed"),
    ("Response A is better written, but Response B is the better response.", "B"),
    ("Although A is better, it is rude. I choose B.", "B"),
    ("Die bessere Antwort ist A.", "A"),
    ("B ist nicht besser.", "unparsed"),
    ("Entscheidung: A", "A"),
    ("La meilleure réponse est la réponse A.", "A"),
    ("Elijo la respuesta A.", "A"),
    ("Escolho a resposta A.", "A"),
    ("La risposta A è la migliore.", "A"),
    ("Выбираю ответ B.", "B"),
    ("Ответ B предпочтительнее.", "B"),
    ("回答B更准确，回答A不如回答B。", "B"),
    ("选择：B", "B"),
    ("更好的回答是A。", "A"),
    ("回答A并不更好。", "unparsed"),
    ("Bを選びます。", "B"),
    ("より良い回答はAです。", "A"),
    ("응답 B를 선택합니다.", "B"),
    ("더 나은 응답은 A입니다.", "A"),
    ("الإجابة A أفضل.", "A"),
    ("उत्तर B बेहतर है", "B"),
    ("A yanıtı daha iyi.", "A"),
    ("Tôi chọn câu trả lời B.", "B"),
    ("Wybieram odpowiedź A.", "A"),
    ("Ik kies antwoord B.", "B"),
    ("Saya memilih jawaban A.", "A"),
    ("Mi dispiace, ma non posso aiutarti.", "refused"),
    ("很抱歉，我不能回答。", "refused"),
    ("I'm afraid I cannot help with comparing these.", "refused"),
    ("I can't decide: both are equal.", "unparsed"),
    ("Is B the better response? I doubt it.", "unparsed"),
    ("Ｂ", "B"),
    ("[[A>>B]]", "A"),
    ("[[A=B]]", "unparsed"),
    ("A because it is correct", "A"),
    ("B - it is more accurate.", "B"),
    ("A - too short\nB - good", "unparsed"),
    ("Option A.", "A"),
    ("A\n- too short\nB\n- good", "unparsed"),
    ("A. It is clearer than B.", "A"),
    ('{"A": 6, "B": 9}', "unparsed"),
    ('{"choice": ["A"]}', "A"),
    ("{'verdict': 'B'}", "B"),
    ("The better response is: **B**", "B"),
    ("The more helpful response is A.", "A"),
    ("The response that better answers the question is B.", "B"),
    ("Response A is the one I prefer.", "A"),
    ("Hence, B.", "B"),
    ("Choose: B", "B"),
    ("Between the two, I'd go for B.", "B"),
    ("If forced to choose, A is better.", "A"),
    ("If I had to pick one, I'd pick B.", "B"),
    ("Response A is better? I am not sure.", "unparsed"),
    ("[[A]] or [[B]]", "unparsed"),
    ("Answer with [[A]] or [[B]]: [[A]]", "A"),
    ("I don't think B is better.", "unparsed"),
    ("I can't say that B is better.", "unparsed"),
    ("There is no evidence that Response B is better than Response A.", "unparsed"),
    ("There is no doubt that B is better.", "B"),
    ("I don't think A is correct, so B is better.", "B"),
    ("Ich glaube nicht, dass B besser ist.", "unparsed"),
    ("我不认为A更好。", "unparsed"),
    ("回答Aの方が良いとは思いません。", "unparsed"),
    ("Response A compared to Response B is better.", "A"),
    ("Compared to A, B is better.", "B"),
    ("Antwort A ist im Vergleich zu B besser.", "A"),
    ("La réponse A, comparée à B, est meilleure.", "A"),
    ("Respuesta A comparada con B es mejor.", "A"),
    ("我认为回答A比回答B更好。", "A"),
    ("回答A比B好。", "A"),
    ("与回答A相比，回答B更好。", "B"),
    ("AはBより優れています。", "A"),
    ("BよりAの方が良いです。", "A"),
    ("응답 A가 응답 B보다 더 좋습니다.", "A"),
    ("응답 B보다 응답 A가 더 좋습니다.", "A"),
    ("Yanıt A, yanıt B'den daha iyi.", "A"),
    ("उत्तर A उत्तर B से बेहतर है।", "A"),
]
HELD_OUT = ROOT / "tests" / "judges" / "replies.jsonl"
RIGHT = 139  # of 140
MISREAD = 1  # read as a verdict that the reply does not give


@pytest.mark.parametrize(("text", "wanted"), READINGS)
def test_the_last_explicit_verdict_counts_and_none_is_guessed(text, wanted):
    assert verdict(text) == wanted


def test_replies_that_no_rule_was_written_from_are_read():
    """140 replies in 17 languages and many forms, written before the rules by the same author.

    The first run of the rules read 136 of them rightly; of the other four, one was read as a
    verdict that the reply does not give. The four were not looked at. A fault that a reading above
    showed (a letter right before a Chinese word) was mended later; since then 139 are right.
    """
    rows = [json.loads(line) for line in HELD_OUT.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 140
    wrong = []
    for row in rows:
        found = verdict(row["text"], is_cut=row["finish"] == "length")
        if found != row["reading"]:
            wrong.append(found)
    misread = [found for found in wrong if found in ("A", "B")]
    assert len(rows) - len(wrong) >= RIGHT and len(misread) <= MISREAD


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("A is the better", "A"),
        ("B", "B"),
        ("Both responses have their merits. A is better in tone, and", "unparsed"),
        ("Comparing them, I think that A is better. But", "unparsed"),
        ("Verdict: [[B]]", "B"),
        ('{"verdict": "A", "reason": "it', "A"),
        ("<think>B is better", "unparsed"),
        ("I'm sorry, but I can't", "refused"),
    ],
)
def test_of_an_answer_that_is_cut_only_its_beginning_or_a_mark_counts(text, wanted):
    assert verdict(text, is_cut=True) == wanted


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "[[{}]]",
        "Verdict: {}",
        "I prefer {}.",
        "Antwort {} ist besser.",
        "回答{}更好。",
        "{} > {}",
    ],
)
def test_no_rule_prefers_a_letter(form):
    assert verdict(form.format("A", "B")) == "A"
    assert verdict(form.format("B", "A")) == "B"


def test_thoughts_are_left_out_whatever_they_say():
    assert final_text("<think>A</think><think>B</think> C") == "C"
    assert final_text("no tag before it</think>B") == "B"
    assert final_text("<think>never ends, A is the better response") == ""


def test_a_long_answer_is_read_in_a_moment():
    """Patterns that look back and forth could take minutes on 200,000 characters."""
    assert verdict("A is, if " * 20_000 + "\n\nVerdict: B") == "B"
    assert verdict("{" * 20_000 + "[[" * 20_000) == "unparsed"


@pytest.mark.parametrize("is_cut", [False, True])
def test_a_verdict_before_a_long_explanation_is_read_and_one_behind_it_counts_first(is_cut):
    explanation = " It names its sources." * 1000
    assert verdict(f"[[A]]{explanation}", is_cut=is_cut) == "A"
    assert verdict(f"[[A]]{explanation} But, all in all: [[B]]", is_cut=is_cut) == "B"
    assert verdict(f"[[A]]{explanation} All in all, a tie: [[C]]", is_cut=is_cut) == "unparsed"
    assert verdict(f"I'm sorry, but I can't say.{explanation}", is_cut=is_cut) == "refused"
