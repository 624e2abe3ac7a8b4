"""Attributes of responses by a judge: it rates them from 0 to 4, or says whether they keep to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from dtreward.conversation import messages
from dtreward.files import digest
from dtreward.judges.judge import Judge
from dtreward.judges.reading import final_text, is_refusal
from dtreward.judges.spending import Collected, Limits
from dtreward.judges.store import stored_answers
from dtreward.pairs.columns import rating_columns
from dtreward.pairs.frame import (
    ATTRIBUTES_ARE,
    RATED,
    Pairs,
    count_kept,
    response_index,
    responses,
)
from dtreward.stats import Interval, Prompts, pearson_interval

TEMPLATE = Path(__file__).with_name("rating.txt").read_text("utf-8").strip()
FIELDS = re.compile(r"\{(attribute|rubric|choices|conversation|response)\}")
SCALE = ("0", "1", "2", "3", "4")
YES_OR_NO = ("yes", "no")
VALUES = {name: float(name) for name in SCALE} | {"yes": 1.0, "no": 0.0}
NO_LIMITS = Limits()
FEWEST = 3  # responses that two raters share, below which nothing is said of their agreement
# The five attributes of the study in the project's own words.
RUBRICS = {
    "helpfulness": "how much the response helps with what was asked; 0 is no help, 4 is all help.",
    "correctness": "are its facts and steps right and complete? 0 is all wrong, 4 is faultless.",
    "coherence": "is it consistent and clear throughout? 0 is incomprehensible, 4 is perfectly clear.",
    "complexity": (
        "what knowledge does it take to write it? 0 is that of any speaker, 4 that of an expert."
    ),
    "verbosity": "how much detail does it give for what was asked? 0 is terse, 4 is very long.",
}
OF_FOUR = r"([0-4])(?:\s*(?:/|out of)\s*4)?(?!\d|\s*[./]\s*\d)"
STATES_NUMBER = re.compile(
    rf"(?:\[\[|\\boxed\{{|\b(?:rating|score|answer|verdict)\W{{1,6}})\s*{OF_FOUR}", re.IGNORECASE
)
BEGINS_NUMBER = re.compile(rf"\W*{OF_FOUR}(?=\W|$)")
STATES_WORD = re.compile(
    r"(?:\[\[|\\boxed\{|\b(?:answer|verdict)\W{1,6})\s*(yes|no)\b", re.IGNORECASE
)
BEGINS_WORD = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True)
class RatingQuestion:
    """How does a response do on an attribute?

    Args:
        attribute: its name.
        rubric: what the ends of the scale mean; or a principle, with choices `YES_OR_NO`.
        choices: `SCALE` or `YES_OR_NO`.

    Example:
        >>> question = RatingQuestion("coherence", RUBRICS["coherence"])
        >>> [question.read(text) for text in ("3", "Rating: 4/4", "3.5", "8/10")]
        ['3', '4', 'unparsed', 'unparsed']
    """

    attribute: str
    rubric: str
    choices: tuple[str, ...] = SCALE

    @property
    def key(self) -> str:
        """The template with attribute, rubric and choices filled in."""
        texts = {
            "attribute": self.attribute,
            "rubric": self.rubric,
            "choices": " or ".join([", ".join(self.choices[:-1]), self.choices[-1]]),
        }
        return FIELDS.sub(lambda field: texts.get(field[1], field[0]), TEMPLATE)

    def render(self, texts: Sequence[str]) -> str:
        """Write the question about a prompt and a response."""
        prompt, response = texts
        turns = [f"{turn['role'].title()}: {turn['content']}" for turn in messages(prompt)]
        shown = {"conversation": "\n\n".join(turns), "response": response}
        return FIELDS.sub(lambda field: shown.get(field[1], field[0]), self.key)

    def read(self, text: str, *, is_cut: bool = False) -> str:
        """Read the last rating that is stated as such, else the one that the answer begins with."""
        said = final_text(text)
        is_scale = self.choices == SCALE
        stated = (STATES_NUMBER if is_scale else STATES_WORD).findall(said)
        begins = (BEGINS_NUMBER if is_scale else BEGINS_WORD).match(said)
        if stated and not is_cut:
            return stated[-1].lower()
        if begins:
            return begins[1].lower()
        return "refused" if is_refusal(said) else "unparsed"


def rating_questions(rubrics: Sequence[Any] = ()) -> list[RatingQuestion]:
    """Give the questions of rubrics and principles; of the study's five attributes without any.

    Args:
        rubrics: {"attribute": ..., "rubric": ...} of what is rated from 0 to 4, or {"attribute":
            ..., "principle": ...} of what a response keeps to or not, 1 or 0.

    Raises:
        ValueError: for an entry of another form, or attributes of one name.

    Example:
        >>> rating_questions([{"attribute": "polite", "principle": "it thanks"}])[0].choices
        ('yes', 'no')
    """
    if not rubrics:
        return [RatingQuestion(name, rubric) for name, rubric in RUBRICS.items()]
    questions = []
    for number, entry in enumerate(rubrics, 1):
        fields = set(entry) if isinstance(entry, Mapping) else set()
        if fields not in ({"attribute", "rubric"}, {"attribute", "principle"}):
            raise ValueError(
                f"rubrics, entry {number}: expected {{attribute, rubric}} or {{attribute, "
                f"principle}}, came {entry!r:.80}"
            )
        choices = SCALE if "rubric" in entry else YES_OR_NO
        text = entry.get("rubric") or f"does the response keep to this? {entry.get('principle')}"
        questions.append(RatingQuestion(str(entry["attribute"]), str(text), choices))
    names = [question.attribute for question in questions]
    if len(set(names)) < len(names):
        raise ValueError(f"rubrics: expected attributes with distinct names, found {names}")
    return questions


@dataclass(frozen=True, eq=False)
class RatedByJudge:
    """Pairs whose attributes are a judge's ratings.

    Attributes:
        pairs: those that the judge rated on every attribute.
        collected: what was asked, and what it cost.
        agreement: with the ratings that the pairs had before, by attribute
            (`agreement_with_people`); empty where they had none.
    """

    pairs: Pairs
    collected: Collected
    agreement: dict[str, Interval]


def rate_by_judge(
    pairs: Pairs,
    judge: Judge,
    store: str | Path,
    rubrics: Sequence[Mapping[str, str]] = (),
    *,
    limits: Limits = NO_LIMITS,
    **options: int,
) -> RatedByJudge:
    """Put a judge's ratings in the place of the attributes that pairs have.

    Each response is rated once on each attribute, with its prompt; answers are kept in `store`, and
    none is asked for twice. Pairs with a response that the judge did not rate on every attribute
    are dropped and counted.

    Args:
        pairs: their ratings, where they have some, are compared with the judge's.
        judge: whom to ask.
        store: SQLite file for its answers.
        rubrics: of `rating_questions`.
        limits: most requests, tokens and money.
        options: `concurrency` and `retries` of `ask_judges`; `resamples` and `seed` of the
            intervals.

    Raises:
        ValueError: as `judges.collect`, or if no pair has all ratings.
    """
    from dtreward.judges.ask import ask_judges  # its extra may be missing

    questions = rating_questions(rubrics)
    read = responses(pairs.frame, pairs.attributes)
    texts = list(zip(read["prompt"], read["response"], strict=True))
    subjects = [(question, shown) for shown in texts for question in questions]
    asking = {name: options[name] for name in ("concurrency", "retries") if name in options}
    collected = ask_judges(store, subjects, [judge], limits, **asking)
    table = stored_ratings(store, judge, questions, texts)
    kept = _with_ratings(pairs, table, response_index(pairs.frame, read))
    if kept.empty:
        reason = collected.stopped or "look at its answers"
        raise ValueError(f"{judge.name} rated no pair on all of {list(table)}: {reason}")
    agreement = {}
    if pairs.attributes_are.startswith(RATED):
        sampling = {name: options[name] for name in ("resamples", "seed") if name in options}
        agreement = agreement_with_people(read, table, read["prompt_id"], **sampling)
    kept.attrs = {ATTRIBUTES_ARE: f"rated by {judge.name}"}
    dropped = {f"not rated by {judge.name}": len(pairs.frame) - len(kept)}
    rated = replace(
        pairs,
        frame=kept,
        attributes=tuple(table),
        attributes_are=kept.attrs[ATTRIBUTES_ARE],
        counts=pairs.counts | dropped | count_kept(kept),
    )
    return RatedByJudge(rated, collected, agreement)


def _with_ratings(
    pairs: Pairs, table: pd.DataFrame, rows: Int[np.ndarray, "pairs 2"]
) -> pd.DataFrame:
    """Put ratings of responses into the pairs that have all, and number prompts and pairs anew."""
    old = [*rating_columns(pairs.attributes), *rating_columns(tuple(table))]
    rated = pairs.frame.drop(columns=old, errors="ignore")
    place = rated.columns.get_loc("preference")
    for attribute in reversed(table.columns):
        for side in (2, 1):
            values = table[attribute].to_numpy()[rows[:, side - 1]]
            rated.insert(place, f"{attribute}_{side}", values)
    has_all = rated[rating_columns(tuple(table))].notna().all(axis=1)
    kept = rated[has_all].reset_index(drop=True)
    for number in ("prompt_id", "pair_id"):
        kept[number] = pd.factorize(kept[number])[0]
    return kept


def stored_ratings(
    store: str | Path,
    judge: Judge,
    questions: Sequence[RatingQuestion],
    texts: Sequence[tuple[str, str]],
) -> pd.DataFrame:
    """Give the stored ratings of (prompt, response): a row each, a column an attribute; nan: none."""
    keys = pd.Series([digest(*shown) for shown in texts])
    columns = {}
    for question in questions:
        answers = stored_answers(store, [judge], question=question).set_index("shown")["state"]
        columns[question.attribute] = keys.map(answers).map(VALUES).astype(float)
    return pd.DataFrame(columns)


def agreement_with_people(
    by_people: pd.DataFrame, by_judge: pd.DataFrame, prompts: Prompts, **options: int
) -> dict[str, Interval]:
    """Correlate a judge's ratings with people's, on the responses that both rated.

    Args:
        by_people: a row a response, a column an attribute; nan where nobody rated it.
        by_judge: the same rows; attributes that both have are compared.
        prompts: of each row.
        options: of `stats.bootstrap`.

    Returns:
        Pearson's r with its interval over prompts, by attribute; attributes on which either side
        gives one value only, or that both rated on fewer than three responses, are left out.
    """
    agreements = {}
    for attribute in by_judge.columns.intersection(by_people.columns, sort=False):
        both = pd.DataFrame({"people": by_people[attribute], "judge": by_judge[attribute]})
        is_known = both.notna().all(axis=1).to_numpy()
        known = both[is_known]
        if len(known) >= FEWEST and known.nunique().min() > 1:
            shown = np.asarray(prompts)[is_known]
            agreements[attribute] = pearson_interval(
                known["people"], known["judge"], shown, **options
            )
    return agreements
