"""Which response an answer names: the last explicit verdict in it, in words, marks or JSON."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any

from dtreward.judges import phrases
from dtreward.judges.phrases import LANGUAGES, Phrases

THOUGHT = "think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad|seed:think"
CLOSES_THOUGHT = re.compile(
    rf"</(?:{THOUGHT})>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>|<\|end_of_thought\|>",
    re.IGNORECASE,
)
OPENS_THOUGHT = re.compile(
    rf"<(?:{THOUGHT})>|\[THINK\]|◁think▷|<\|channel\|>\w+<\|message\|>|<\|begin_of_thought\|>",
    re.IGNORECASE,
)
SPECIAL_TOKEN = re.compile(r"<\|[^|<>\n]{1,30}\|>|</?s>|<end_of_turn>|<eos>")
KEYS = re.compile(
    r"(?:final_?|overall_?)?(?:verdict|winner|better|best|preferred|choice|answer|decision|"
    r"preference|judge?ment|selected|selection|result|pick)(?:[_ ]?(?:response|answer|assistant))?",
    re.IGNORECASE,
)
TAGS = re.compile(
    r"<(answer|verdict|winner|choice|decision|judge?ment|final_?answer|final_?verdict|output|"
    r"preference|result|final|preferred|better)>(.{0,2000}?)</\1>",
    re.IGNORECASE | re.DOTALL,
)
QUOTES = r"[\"'«»„“”(\[「『【]{0,4}"
# A capital alone, in quotes or brackets if need be: "a" is a word of many languages.
ALONE = rf"(?<![A-Za-z0-9]){QUOTES}(?P<letter>[AB])(?![A-Za-z0-9]|'[a-z])[\"'»”)\]」』】]*"
LETTER = rf"(?<![A-Za-z0-9]){QUOTES}([AB])(?![A-Za-z0-9])[\"'»”)\]」』】]*"
ANY_LETTER = re.compile(
    rf"\W*(?:(?:{phrases.ENGLISH_NOUN})[ _-]*)?([ab])\W*(?:is (?:the )?better(?: \w+)?)?\W*",
    re.IGNORECASE,
)
# The form that is asked for, as far as the first tokens hold it.
BETTER = (
    r"is( (the )?(better|best|preferred|superior)\b(?! \w+(ed|ten)\b)"
    r"|( (t|th|the|the b|the be|the bet|the bett))?\W*$)"
)
BEGINS = re.compile(
    rf"\W*(?:(?:{phrases.ENGLISH_NOUN}) )?([ab])"
    rf"(?:\W*?($|[.:](\s|$)|\n|\s{BETTER})|,? (?:because|since)\b|\s[-–—]\s(?!\W*\d))",
    re.IGNORECASE,
)
LAST_LINE = re.compile(rf"^\W*(?:(?:{phrases.ENGLISH_NOUN}) )?([AB])\W*\Z", re.MULTILINE)
MARK = re.compile(
    r"\[\[\s*(?:response |assistant |answer )?([ABC])\s*\]\]"
    r"|\\boxed\s*\{+\s*(?:\\text\w*\s*\{)?\s*(?:response |answer )?([ABC])\s*\}",
    re.IGNORECASE,
)
MORE = re.compile(r"(?<![A-Za-z0-9])([AB])\s*(>{1,3}|<{1,3}|≻|=)\s*([AB])(?![A-Za-z0-9])")
WORSE = re.compile(
    rf"{LETTER} is (?:clearly |much |far |slightly )*(?:worse than|inferior to|weaker than) "
    rf"(?:(?:{phrases.ENGLISH_NOUN}) )?{LETTER}",
    re.IGNORECASE,
)
CHINESE_WORSE = re.compile(rf"{LETTER}\s*(?:明显|显然)?不如\s*(?:回答|回复|答案)?\s*{LETTER}")
ORDINALS = (
    (re.compile(rf"\bthe first (?:{phrases.ENGLISH_NOUN}|one)\b", re.IGNORECASE), "response A"),
    (re.compile(rf"\bthe second (?:{phrases.ENGLISH_NOUN}|one)\b", re.IGNORECASE), "response B"),
)
# A verdict all the same: "If I had to choose, A is better".
IN_NEED = r"(?! (?:forced|pressed|pushed|asked|i (?:had|have|must|were|need|am)\b))"
# In the same clause before a verdict: it is only supposed, asked or conceded.
SET_ASIDE = re.compile(
    rf"\b(?:if{IN_NEED}|when|while|although|though|unless|whether|whereas|might|could|wenn|falls|obwohl|"
    r"während|si|bien que|aunque|embora|se|sebbene|если|хотя)\b|如果|虽然|尽管|もし|만약",
    re.IGNORECASE,
)
SUPPOSES = re.compile(
    rf"\W*(?:if{IN_NEED}|when|unless|for (?:users|readers|someone|people)|wenn|falls|si|se|если|如果|もし)\b",
    re.IGNORECASE,
)
ENDS_CLAUSE = re.compile(r"[.!?。！？;；\n,，]")
ENDS_SENTENCE = re.compile(r"[.!?。！？;；\n]")
# Letters of scripts that part words by spaces.
SPELT = "A-Za-zÀ-žḀ-ỿа-яёА-ЯЁ\u0600-\u06ff\u0900-\u097f"
INNER = SPELT.replace("A-Z", "C-Z")  # the letter of a response may stand right before "better"
ARTICLE = r"(?i:(?:la|le|l'|die|der|el|lo|a|o|il|het|de|je|the) ?)?"
# Behind a word for "better": then it is said of one side of a response.
ONE_SIDE = (
    r"(?! (?:geschrieben|formuliert|strukturiert|écrite|rédigée|structurée|formulée|escrita|"
    r"redactada|estructurada|redigida|estruturada|scritta|strutturata|napisana|geschreven|"
    r"in|bei|en|em|dans|sur|nel|nella|pod|op)\b)"
)
# Behind the letter of "Verdict: A": else it may be the article of "Verdict: A close call".
ENDS_LABEL = r"(?=\s*(?:$|[.,;:!。，；！：)\]}|(—–-]|is\b|because|since|as\b|with\b))"
QUESTION = re.compile(r"[^.!?。！？\n]{0,200}[?？]")
DENIES = re.compile(r"\b(?:not|no|neither|nor|n't|hardly|isn't)\b", re.IGNORECASE)
BOTH_MARKS = re.compile(  # the answers that are possible, as the question lists them
    r"\[\[A\]\]\s*(?:or|and|/|,|oder|ou|o|или|或|または|또는)\s*\[\[B\]\]", re.IGNORECASE
)
DENIES_THAT = re.compile(phrases.DENIES_THAT, re.IGNORECASE)
DENIED_AFTER = re.compile(phrases.DENIED_AFTER)
REFUSES = re.compile(phrases.ENGLISH_REFUSAL, re.IGNORECASE)
READ_AT_MOST = 8_000  # characters from the end, where verdicts stand, then from the beginning


def verdict(text: str, *, is_cut: bool = False) -> str:
    """Read an answer: "A", "B", "refused" or "unparsed".

    What a model thinks aloud is left out. Of several explicit verdicts the last one counts. A
    preference that has to be guessed at, from scores or praise, is "unparsed", and so is a tie.

    Args:
        is_cut: the answer ended because no more tokens were allowed; then only a mark such as
            [[A]] counts, or a verdict that it begins with: what would have followed is not known.

    Example:
        >>> [verdict(text) for text in ("A is the", "**B**", "A good answer", "I'm sorry, but")]
        ['A', 'B', 'unparsed', 'refused']
        >>> verdict("A: 6/10 B: 9/10, B is the better response")
        'B'
        >>> verdict("[[A]] looks good, but [[B]]")
        'B'
    """
    return _read(text, is_cut)


@lru_cache(maxsize=50_000)  # stored answers are read several times in a run
def _read(text: str, is_cut: bool) -> str:
    said = final_text(text)
    beginning = _plain(said[:READ_AT_MOST])
    is_long = len(said) > READ_AT_MOST
    end = _plain(said[-READ_AT_MOST:]) if is_long else ""
    begins = BEGINS.match(beginning)
    if is_cut:
        found = begins[1].upper() if begins else _mark_of_cut(end) or _mark_of_cut(beginning)
    else:
        found = _last_verdict(end)
        if not found:
            starts_with = "" if begins is None or QUESTION.match(beginning) else begins[1].upper()
            found = _last_verdict(beginning, starts_with)
    if not found and is_refusal(beginning):
        return "refused"
    return found if found in ("A", "B") else "unparsed"


def _last_verdict(text: str, starts_with: str = "") -> str:
    """Give the letter of the last explicit verdict ("C": a tie), or the one that a text starts with.

    "" where there is none.
    """
    letters = dict(_explicit(text))
    if starts_with and not _labels_the_other(text, starts_with):
        letters.setdefault(0, starts_with)
    return letters[max(letters)] if letters else ""


def final_text(text: str) -> str:
    """Give what a model says after it has thought: "" where it never ends to think.

    Example:
        >>> final_text("<think>A? No.</think> B is better.")
        'B is better.'
        >>> final_text("<think>A is better")
        ''
    """
    closings = list(CLOSES_THOUGHT.finditer(text))
    said = text[closings[-1].end() :] if closings else text
    opening = OPENS_THOUGHT.search(said)
    if opening and not (closings and not said.strip()):
        said = said[: opening.start()]
    return SPECIAL_TOKEN.sub("", said).strip()


def is_refusal(text: str) -> bool:
    """Say whether a text without a verdict declines to judge; only its beginning is looked at.

    Example:
        >>> is_refusal("Es tut mir leid, aber das kann ich nicht."), is_refusal("Both are good.")
        (True, False)
    """
    beginning = text[:300].replace("’", "'")
    return bool(REFUSES.search(beginning) or _refusals().search(beginning[:80]))


def _plain(text: str) -> str:
    """Take away Markdown, write letters as ASCII, and blocks that hold a verdict as [[A]]."""
    text = unicodedata.normalize("NFKC", text)
    text = re.sub("[’‘]", "'", text)
    text = TAGS.sub(lambda tag: f" [[{_letter_of(tag[2])}]] ", _without_json(text))
    text = re.sub(r"[*`#]+|__+", "", text)
    for pattern, named in ORDINALS:
        text = pattern.sub(named, text)
    for pattern, kept in _standards():
        text = pattern.sub(kept, text)
    return BOTH_MARKS.sub("", text).strip()


def _without_json(text: str) -> str:
    """Write objects of JSON that hold a verdict as [[A]]."""
    decoder = json.JSONDecoder()
    place = text.find("{")
    tries = 0
    while place >= 0 and tries < 20:
        tries += 1
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place = text.find("{", place + 1)
            continue
        letter = _letter_in(value)
        if letter:
            text = f"{text[:place]} [[{letter}]] {text[end:]}"
            end = place
        place = text.find("{", end + 1)
    return text


def _letter_in(value: Any) -> str:
    """Find the verdict in an object of JSON, in objects within it too; "" where there is none."""
    if not isinstance(value, dict):
        return ""
    for key, inner in value.items():
        if isinstance(inner, list) and len(inner) == 1:
            inner = inner[0]
        if KEYS.fullmatch(key) and isinstance(inner, str):
            return _letter_of(inner)
    letters = [_letter_in(inner) for inner in value.values()]
    return next((letter for letter in letters if letter), "")


def _letter_of(text: str) -> str:
    """Give the letter that a short text names; "C", as of a tie, where it names none."""
    letter = ANY_LETTER.fullmatch(text)
    if letter:
        return letter[1].upper()
    named = dict(_explicit(re.sub(r"[*`#]+", "", text)))
    return named[max(named)] if named else "C"


def _explicit(text: str) -> Iterator[tuple[int, str]]:
    """Give each explicit verdict of a plain text: where it stands, and its letter ("C": a tie)."""
    for mark in MARK.finditer(text):
        yield mark.start(), (mark[1] or mark[2]).upper()
    last_line = LAST_LINE.search(text)
    if last_line:
        yield last_line.start(1), last_line[1]
    for more in MORE.finditer(text):
        yield more.start(), _larger(*more.groups())
    for pattern in (WORSE, CHINESE_WORSE):
        for worse in pattern.finditer(text):
            yield worse.start(), worse[2].upper()
    questions = [(question.start(), question.end()) for question in QUESTION.finditer(text)]
    for pattern, denies in _statements():
        for said in pattern.finditer(text):
            is_asked = any(start <= said.start() < end for start, end in questions)
            is_denied = denies.search(said[0]) or DENIED_AFTER.match(text, said.end())
            if not (is_asked or is_denied or _is_set_aside(text, said.start())):
                yield said.start("letter"), said["letter"]
    for label in _labels().finditer(text):
        yield label.start("letter"), label["letter"].upper()


def _larger(left: str, sign: str, right: str) -> str:
    if sign == "=" or left == right:
        return "C"
    return right if sign.startswith("<") else left


def _is_set_aside(text: str, start: int) -> bool:
    """Say whether a verdict that starts here is only supposed, conceded or denied in its sentence."""
    before = text[max(0, start - 200) : start]
    clause = ENDS_CLAUSE.split(before)[-1]
    sentence = ENDS_SENTENCE.split(before)[-1]
    return bool(
        SET_ASIDE.search(clause) or SUPPOSES.match(sentence) or DENIES_THAT.search(sentence)
    )


def _labels_the_other(text: str, letter: str) -> bool:
    """Say whether a text that begins "A:" goes on with "B:", as scores and reviews do."""
    other = {"A": "B", "B": "A"}[letter]
    is_label = re.match(
        rf"\W*(?:response )?{letter}(?:\W*[:.]|\W*\n|\s+[-–—])", text, re.IGNORECASE
    )
    if not is_label:
        return False
    as_label = (
        rf"(?<![A-Za-z0-9]){other}(?:[\"'*]*\s*:|\s+[-–—]\s)"
        rf"|(?:^|[.!?;,|]\s+)\W*(?:response )?{other}\s*(?:[.)]|$)"
    )
    return bool(re.search(as_label, text, re.MULTILINE | re.IGNORECASE))


def _mark_of_cut(text: str) -> str:
    """Read the last mark of an answer that is cut, or the member of JSON that it begins with.

    "" where there is none, "C" where it is no letter of a response.
    """
    marks = [mark for pair in MARK.findall(text) for mark in pair if mark]
    if marks:
        return marks[-1].upper()
    member = re.match(rf"\W*\"{KEYS.pattern}\"\s*:\s*\"([^\"]*)\"", text, re.IGNORECASE)
    letter = ANY_LETTER.fullmatch(member[1]) if member else None
    return letter[1].upper() if letter else ""


@cache
def _statements() -> tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]:
    """Compile the sentences that state a verdict, each with the words that deny it."""
    named = rf"(?:(?i:{phrases.ENGLISH_NOUN})\s+)?{ALONE}"
    patterns = []
    for form in phrases.ENGLISH:
        before, _, after = form.partition("{x}")
        patterns.append((_compile(f"(?i:{before}){named}(?i:{after})"), DENIES))
    for words in LANGUAGES:
        denies = _compile(rf"(?<![{SPELT}])(?i:{words.denied})(?![{SPELT}])")
        patterns.extend((_compile(form), denies) for form in _forms(words))
    return tuple(patterns)


def _forms(words: Phrases) -> Iterator[str]:
    """Give the regular expressions of one language's sentences."""
    named = rf"{ARTICLE}(?:(?i:{words.noun})\s*)?{ALONE}"
    after = rf"\s*(?:(?i:{words.after})\s*)?" if words.after else r"\s*"
    gap = r"[^.!?。！？;；\n,，、AB]{0,24}?"
    ends = rf"(?![{SPELT}]){ONE_SIDE}"
    yield rf"{named}{after}{gap}(?<![{INNER}])(?i:{words.better}){ends}"
    if words.best:
        yield rf"(?i:{words.best})\s*(?i:{phrases.IS})?\s*{named}"
    if words.choose:
        yield rf"(?i:{words.choose})\s*{named}"
    if words.chosen:
        yield rf"{named}{after}(?i:{words.chosen})"


@cache
def _standards() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Compile what a response is compared with, each with what stays of it.

    Where it stands before the word for "better" ("A比B更好"), its letter would be read.
    """
    nouns = "|".join([phrases.ENGLISH_NOUN, *(words.noun for words in LANGUAGES)])
    article = "(?:la |le |l'|die |der |el |il |het |de |the )?"
    other = rf"{article}(?:(?i:{nouns})\s*)?{QUOTES}[AB](?![A-Za-z0-9])[\"»”)\]」』】]*"
    return tuple((re.compile(form.replace("{y}", other)), kept) for form, kept in phrases.STANDARDS)


@cache
def _labels() -> re.Pattern[str]:
    """Compile "Verdict: A" of all languages; small letters count too."""
    labels = "|".join([phrases.ENGLISH_LABEL, *(words.label for words in LANGUAGES)])
    nouns = "|".join([phrases.ENGLISH_NOUN, *(words.noun for words in LANGUAGES)])
    letter = ALONE.replace("[AB]", "[ABab]")
    return _compile(
        rf"(?<![A-Za-z])(?i:{labels})[\"']?\s*[:：=]\s*{ARTICLE}(?:(?i:{nouns})\s*)?{letter}{ENDS_LABEL}"
    )


@cache
def _refusals() -> re.Pattern[str]:
    """Compile the refusals of all languages but English."""
    return _compile("|".join(f"(?i:{words.refusal})" for words in LANGUAGES))


def _compile(form: str) -> re.Pattern[str]:
    return re.compile(form, re.MULTILINE)
