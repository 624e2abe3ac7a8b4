"""The public forms of preference data: how each is recognised, and how it becomes pairs."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from dtreward.pairs.cells import (
    answer_or_none,
    parse_list,
    plain_prompts,
    plain_sides,
    text_column,
)
from dtreward.pairs.columns import TEXTS, expect_columns, wrong_value
from dtreward.pairs.data_sets import pandalm, usr
from dtreward.pairs.form import Form, Formed, Reading

PROMPT_NAMES = (
    *("prompt", "context", "instruction", "question", "history", "input"),
    *("conversation", "conversations", "messages"),
)
WINNERS = {  # words for the preferred response, in small letters
    "model_a": 0.0,
    "model_1": 0.0,
    "response_a": 0.0,
    "response_1": 0.0,
    "a": 0.0,
    "1": 0.0,
    "model_b": 1.0,
    "model_2": 1.0,
    "response_b": 1.0,
    "response_2": 1.0,
    "b": 1.0,
    "2": 1.0,
    "tie": np.nan,
    "tie (bothbad)": np.nan,
    "bothbad": np.nan,
    "both_bad": np.nan,
}
FILE_FORMS = {  # those that whole files have, not tables
    "helpsteer2": "nvidia/HelpSteer2, or a folder with its files",
    "llmbar": "a folder with LLMBar's Dataset/",
    "annotated-pairs": "a JSON file of Inverse Constitutional AI or Feedback Forensics",
}
# One number for all of a response: it is what the preference was made of, and no attribute.
OVERALL = ("score", "rating", "reward", "rank")


def form_pairs(table: pd.DataFrame, form: str, reading: Reading) -> Formed:
    """Bring a table of a public form into one that the room knows.

    Args:
        table: as it was read; cells may hold lists.
        form: the name of a form; "" takes the first that the columns fit.

    Raises:
        ValueError: for an unknown name, missing columns, or values that the form does not have.

    Example:
        >>> table = pd.DataFrame({"prompt": ["2 + 2?"], "chosen": ["4"], "rejected": ["5"]})
        >>> reading = Reading(np.random.default_rng(0), Counter(), "")
        >>> formed = form_pairs(table, "", reading)
        >>> formed.form, sorted(formed.table)
        ('chosen-rejected', ['preference', 'prompt', 'response_1', 'response_2'])
    """
    if form in FILE_FORMS:
        raise ValueError(f"form={form!r} is {FILE_FORMS[form]}, and the source is no such thing")
    if form:
        chosen = find_form(form)
        best = max(chosen.columns, key=lambda columns: len(set(columns) & set(table)))
        expect_columns(table, best)
    else:
        chosen = _first_that_fits(table)
    return chosen.form(table, reading)


def find_form(name: str) -> Form:
    """Find a form by its name.

    Raises:
        ValueError: for an unknown name; it lists the forms.

    Example:
        >>> find_form("helpsteer3").columns[0]
        ('context', 'response1', 'response2', 'overall_preference')
    """
    by_name = {form.name: form for form in FORMS}
    if name in by_name:
        return by_name[name]
    names = [*by_name, *FILE_FORMS]
    nearest = get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(
        f"form={name!r} is unknown, expected one of {', '.join(names)}, or an empty text, which "
        f"takes the one that the source fits{hint}"
    )


def _first_that_fits(table: pd.DataFrame) -> Form:
    """Find the form of a table, or say which columns the plain form and the others have."""
    for form in FORMS:
        if form.fits(table):
            return form
    has_responses = "response" in table and "response_1" not in table
    try:
        expect_columns(table, ["prompt", "response"] if has_responses else TEXTS)
    except ValueError as error:
        others = ", ".join(form.name for form in FORMS)
        raise ValueError(f"{error}; the public forms are {others}") from None
    columns = ", ".join(map(str, table))
    raise ValueError(f"columns {columns} are of no one form; name it as form")


def _prompts(table: pd.DataFrame) -> pd.Series:
    """Give the prompts under whichever name they have; a system column becomes a system turn."""
    name = next((name for name in PROMPT_NAMES if name in table), None)
    if name is None:
        return pd.Series(None, table.index, dtype=object)
    prompts = table[name].astype(object)
    if name == "instruction" and "input" in table:
        given = table["input"].fillna("").astype(str)
        prompts = prompts.where(given.str.strip() == "", prompts.astype(str) + "\n\n" + given)
    if "system" not in table:
        return prompts
    messages = []
    for system, prompt in zip(table["system"], prompts, strict=True):
        has_both = isinstance(system, str) and system.strip() and isinstance(prompt, str)
        first = {"role": "system", "content": system}
        messages.append([first, {"role": "user", "content": prompt}] if has_both else prompt)
    return pd.Series(messages, table.index, dtype=object)


def _rename_sides(table: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Call columns of the first and the second response <name>_1 and <name>_2.

    Overall scores keep their names.

    Args:
        first: what names of columns about the first response end or begin with, or hold between
            underscores.
        second: the same for the second response.
    """
    names = {}
    side = re.compile(rf"(?<![^_-]){first}(?![^_-])")
    for column in table:
        partner = side.sub(second, column, count=1)
        rest = "_".join(part for part in re.split("[_-]", column) if part != first)
        if partner == column or partner not in table or rest in ("", *OVERALL):
            continue
        wanted = {f"{rest}_1", f"{rest}_2"}
        if not (wanted - {column, partner}) & set(table):
            names[column] = f"{rest}_1"
            names[partner] = f"{rest}_2"
    return table.rename(columns=names)


def _drawn_sides(table: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    """Swap the responses of half of the pairs, drawn by chance; the first ones are preferred."""
    is_swapped = reading.rng.random(len(table)) < 0.5
    drawn = table.copy()
    for first in [column for column in table if str(column).endswith("_1")]:
        second = f"{first[:-2]}_2"
        if second in table:
            drawn[first] = table[first].where(~is_swapped, table[second])
            drawn[second] = table[second].where(~is_swapped, table[first])
    return drawn.assign(preference=is_swapped.astype(float))


# The forms, one function each


def _plain_pairs(table: pd.DataFrame, reading: Reading) -> Formed:
    return Formed(plain_sides(table, reading.counts), "pairs")


def _plain_responses(table: pd.DataFrame, reading: Reading) -> Formed:
    prompts = plain_prompts(table["prompt"], reading.counts)
    answers = [answer_or_none(cell) for cell in table["response"]]
    table = table.assign(prompt=prompts, response=text_column(answers, table["response"]))
    by_rank = "-rank" if "rank" in table else ""
    return Formed(table, "responses", reading.order_by or by_rank)


def _chosen_rejected(table: pd.DataFrame, reading: Reading) -> Formed:
    prompts = _prompts(table)
    table = table.rename(columns={"chosen": "response_1", "rejected": "response_2"})
    table = _rename_sides(table, "chosen", "rejected").assign(prompt=prompts)
    return Formed(_drawn_sides(plain_sides(table, reading.counts), reading), "chosen-rejected")


def _winner(table: pd.DataFrame, reading: Reading) -> Formed:
    sides = next(sides for sides in SIDES if set(sides) <= set(table))
    preference = _winner_words(table, reading.counts)
    prompts = _prompts(table).map(_only_text)
    table = table.assign(prompt=prompts)
    table = table.rename(columns=dict(zip(sides, TEXTS[1:], strict=True)))
    table[TEXTS[1:]] = table[TEXTS[1:]].map(_only_text)
    table = _rename_sides(table, "a", "b").assign(preference=preference)
    return Formed(plain_sides(table, reading.counts), "winner")


SIDES = (
    ("conversation_a", "conversation_b"),
    ("response_a", "response_b"),
    ("response_1", "response_2"),
)


def _winner_words(table: pd.DataFrame, counts: Counter) -> np.ndarray:
    """Read who won: 0, 1, or nan for a tie."""
    if "winner" not in table:  # one column of 0 and 1 for each outcome
        first = table["winner_model_a"].astype(float)
        second = table["winner_model_b"].astype(float)
        counts["ties"] += int((first == second).sum())
        return np.select([first > second, second > first], [0.0, 1.0], np.nan)
    words = table["winner"].astype(object)
    plain = words.map(lambda word: str(word).strip().lower())
    is_given = words.notna() & (plain != "")
    unknown = words[is_given & ~plain.isin(list(WINNERS))]
    if len(unknown):
        expected = f"one of {', '.join(WINNERS)}; correct it"
        raise wrong_value("winner", unknown.iloc[0], unknown.index[0], expected)
    values = plain.map(WINNERS).to_numpy(float)
    counts["ties"] += int((is_given & np.isnan(values)).sum())
    return values


def _only_text(cell: Any) -> Any:
    """Give the one text of a list of texts, as some files write each turn; else the cell."""
    value = cell
    if isinstance(cell, str) and cell.startswith('["') and cell.endswith('"]'):
        try:
            value = json.loads(cell)
        except ValueError:
            return cell
    elif isinstance(cell, np.ndarray):
        value = cell.tolist()
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return value[0] if len(value) == 1 else None
    return cell


def _better_response_id(table: pd.DataFrame, reading: Reading) -> Formed:
    better = pd.to_numeric(table["better_response_id"], errors="coerce")
    wrong = table["better_response_id"][table["better_response_id"].notna() & ~better.isin([0, 1])]
    if len(wrong):
        expected = "0 (response_0), 1 (response_1) or nothing"
        raise wrong_value("better_response_id", wrong.iloc[0], wrong.index[0], expected)
    texts = {"response_0": "response_1", "response_1": "response_2"}
    others = table.drop(columns=list(texts)).rename(
        columns=lambda name: name.replace("response_0", "0").replace("response_1", "1")
    )
    table = _rename_sides(others, "0", "1").assign(
        **{new: table[old] for old, new in texts.items()},
        prompt=_prompts(table),
        preference=better,
    )
    return Formed(plain_sides(table, reading.counts), "better-response-id")


def _helpsteer3(table: pd.DataFrame, reading: Reading) -> Formed:
    prompts = _prompts(table)
    names = {"response1": "response_1", "response2": "response_2"}
    table = table.rename(columns=names).assign(prompt=prompts)
    strength = "overall_preference" if "overall_preference" in table else "preference_strength"
    more = pd.to_numeric(table[strength], errors="coerce")
    wrong = table[strength][table[strength].notna() & more.isna()]
    if len(wrong):
        expected = "a number from -3 (response 1 is much better) to 3 (response 2 is)"
        raise wrong_value(strength, wrong.iloc[0], wrong.index[0], expected)
    reading.counts["ties"] += int((more == 0).sum())
    table["preference"] = np.select([more < 0, more > 0], [0.0, 1.0], np.nan)
    if "split" in table:  # as HelpSteer2's preference file calls it
        table["split"] = table["split"].replace("val", "validation")
    return Formed(plain_sides(table, reading.counts), "helpsteer3")


def _ultrafeedback(table: pd.DataFrame, reading: Reading) -> Formed:
    order = reading.order_by or "overall_score"
    prompts = plain_prompts(_prompts(table), reading.counts)
    rows = []
    for place, (prompt, completions) in enumerate(zip(prompts, table["completions"], strict=True)):
        for completion in _as_list(completions, "completions", place):
            row = {"prompt": prompt, "response": completion.get("response")}
            row["model"] = completion.get("model")
            row["overall_score"] = _number(completion.get("overall_score"))
            row["fine-grained_score"] = _number(completion.get("fine-grained_score"))
            for aspect, note in (completion.get("annotations") or {}).items():
                row[aspect] = _number(_rating_in(note))
            rows.append(row)
    responses = pd.DataFrame(rows, columns=None if rows else ["prompt", "response", order])
    for overall in ("overall_score", "fine-grained_score"):
        if overall != order and overall in responses:
            responses = responses.drop(columns=overall)
    return Formed(responses, "ultrafeedback", order, rated_by="GPT-4")


def _rating_in(note: Any) -> Any:
    """Give the rating of an annotation, or the mean of several."""
    if isinstance(note, Mapping):
        return note.get("Rating")
    notes = [one.get("Rating") for one in note] if isinstance(note, Iterable) else []
    values = [_number(value) for value in notes]
    return float(np.mean(values)) if values else None


def _number(value: Any) -> float:
    """Read a number, also where it is a text; nan for anything else, such as "N/A"."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _ranked(table: pd.DataFrame, reading: Reading) -> Formed:
    prompts = plain_prompts(_prompts(table), reading.counts)
    rows = []
    for place, prompt in enumerate(prompts):
        for answer, rank, model in _answers(table.iloc[place], place):
            row = {"prompt": prompt, "response": answer_or_none(answer), "rank": _number(rank)}
            rows.append(row | {"model": model})
    columns = ["prompt", "response", "rank", "model"]
    table = pd.DataFrame(rows, columns=columns)
    return Formed(table, "ranked", reading.order_by or "-rank")


def _answers(row: pd.Series, place: int) -> list[tuple[Any, Any, Any]]:
    """Give the answers of one prompt with their ranks, 1 for the best, and their models."""
    if "answers" in row:
        answers = _as_list(row["answers"], "answers", place)
        return [(one.get("answer"), one.get("rank"), one.get("model")) for one in answers]
    cells = (row["responses"], row["ranks"])
    answers, ranks = (parse_list(cell) if isinstance(cell, str) else cell for cell in cells)
    for column, cell in (("responses", answers), ("ranks", ranks)):
        if not _is_list(cell):
            raise wrong_value(column, cell, place, "a list")
    answers = list(answers)
    ranks = list(ranks)
    if len(answers) != len(ranks):
        expected = f"one rank, 1 for the best, for each of {len(answers)} responses"
        raise wrong_value("ranks", ranks, place, expected)
    return [(answer, rank, None) for answer, rank in zip(answers, ranks, strict=True)]


def _is_list(cell: Any) -> bool:
    return isinstance(cell, Iterable) and not isinstance(cell, str)


def _as_list(cell: Any, column: str, place: int) -> list[Mapping]:
    """Read a cell as a list of objects; text is parsed, as CSV files have it."""
    value = parse_list(cell) if isinstance(cell, str) else cell
    value = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else None
    if value is None or not all(isinstance(entry, Mapping) for entry in value):
        raise wrong_value(column, cell, place, "a list of objects, one a response")
    return value


# The first that fits is taken, so that a form stands before those whose columns it may have too.
FORMS = (
    usr.FORM,
    pandalm.FORM,
    Form(
        "better-response-id",
        "PKU-SafeRLHF and BeaverTails: response_0 and response_1, and the number of the better",
        (("response_0", "response_1", "better_response_id"),),
        _better_response_id,
        preferred=True,
    ),
    Form(
        "helpsteer3",
        "HelpSteer3 (and HelpSteer2's preference file): how much response 2 is better, -3 to 3",
        (
            ("context", "response1", "response2", "overall_preference"),
            ("prompt", "response_1", "response_2", "preference_strength"),
        ),
        _helpsteer3,
        preferred=True,
    ),
    Form(
        "winner",
        "Chatbot Arena and MT-Bench: a word for the winner, model_a, model_b or tie",
        tuple(
            (*sides, *outcome)
            for outcome in (("winner",), ("winner_model_a", "winner_model_b"))
            for sides in SIDES
        ),
        _winner,
        preferred=True,
    ),
    Form("pairs", "one pair a row", (("prompt", "response_1", "response_2"),), _plain_pairs),
    Form(
        "ultrafeedback",
        "UltraFeedback: a list of rated completions a row",
        (("instruction", "completions"), ("prompt", "completions")),
        _ultrafeedback,
    ),
    Form(
        "ranked",
        "Nectar and others: several answers, ranked from 1, the best",
        (("prompt", "answers"), ("prompt", "responses", "ranks")),
        _ranked,
    ),
    Form(
        "chosen-rejected",
        "RewardBench, Anthropic's HH and most others: the better and the worse response",
        (("chosen", "rejected"),),
        _chosen_rejected,
    ),
    Form(
        "responses",
        "one response a row, ordered by the column that order_by names, or by rank",
        (("prompt", "response"),),
        _plain_responses,
    ),
)
