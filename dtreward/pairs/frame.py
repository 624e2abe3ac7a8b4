"""One validated table of pairs, whatever it was read from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from dtreward.pairs.annotated_pairs import FORM, find_annotated_pairs, read_annotated_pairs
from dtreward.pairs.attributes import Choice, choose_attributes
from dtreward.pairs.clean import drop_unusable
from dtreward.pairs.columns import TEXTS, expect_columns, rating_columns
from dtreward.pairs.data_sets import llmbar
from dtreward.pairs.formats import HELPSTEER2, has_helpsteer2, pair_responses, read_helpsteer2
from dtreward.pairs.forms import FILE_FORMS, Formed, Reading, find_form, form_pairs
from dtreward.pairs.identity import name_readers, reader_column
from dtreward.pairs.readers import plain_columns, read_table
from dtreward.pairs.split import check_shares, cut_splits
from dtreward.pairs.text_attributes import MEASURED, TEXT_ATTRIBUTES, measure

RATED = "rated"
ATTRIBUTES_ARE = "attributes_are"  # a key of a frame's attrs, as the next
PREFERENCE_FROM = "preference_from"
NOTE = "note"
HELPSTEER2_FORM = "helpsteer2"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Votes on pairs of one source, and how many were dropped or kept for which reason.

    Attributes:
        frame: one vote on a pair a row. Columns: `prompt_id` (0, 1, ...: rows that the source
            gives one `prompt_id`, or whose prompts are read alike, share one), `pair_id` (0, 1,
            ...: the same prompt and the same two responses, in either order), `prompt`,
            `response_1`, `response_2`, ratings `<attribute>_1` and `<attribute>_2` (missing where
            nobody rated), `preference` (0: response 1, 1: response 2, or missing), `split` (one
            for all pairs of a prompt), then the source's other columns (mixed types as text),
            among them `reader`, who voted, where the source names readers.
        attributes: names, in the order of the rating columns.
        counts: "rows read"; rows dropped as "unreadable" (no conversation, or an empty text), for
            "no attribute rated on both" responses (infinite ratings and those beyond 1e30 count as
            missing), as "duplicates" (of the same reader's vote, or of a row without preference),
            for a "prompt in a later split" and "over limit". Of what is kept: "pairs" (different
            ones), "votes" on them, "pairs with several votes", "prompts", rows with "no preference"
            or "identical responses". "ties" that the source calls equal are counted before any row
            was dropped.
        left_out: why other columns of the source are no attributes, by column.
        form: the form that the source was read in, such as "pairs" or "chosen-rejected".
        attributes_are: where the attributes' values come from: "rated" (the source does not say by
            whom), "rated by people", "rated by GPT-4", "measured from the text", or "read by
            <model>". `frame.attrs` holds it too, and so does a Parquet file of the frame
            (`attributes_are_of`).
    """

    frame: pd.DataFrame
    attributes: tuple[str, ...]
    counts: dict[str, int]
    left_out: dict[str, str] = field(default_factory=dict)
    form: str = "pairs"
    attributes_are: str = RATED


def load_pairs(  # noqa: PLR0913
    source: str | Path | pd.DataFrame,
    *,
    form: str = "",
    attributes: Sequence[str] = (),
    rated: bool = True,
    order_by: str = "",
    reader: str = "",
    readers: str = "within",
    revision: str = "",
    limit: int = 0,
    seed: int = 0,
    validation_share: int | float = 0.1,
    test_share: int | float = 0.2,
) -> Pairs:
    """Read pairs, drop and count what cannot be used, and split by prompt.

    A table has one pair a row (`prompt, response_1, response_2`, ratings, `preference` 0, 1 or
    missing), or one response a row (`prompt, response`, ratings). Several rows on one pair are
    votes, and all count; but a reader's same vote on the same pair counts once. In the second form
    all pairs of a prompt's different responses are made, and chance decides which response stands
    first. Other public forms (`dtreward.pairs.forms`) are brought into one of these. Where a source
    has no ratings, attributes are measured from the text. Splits of the source stay; "validation"
    and "test", where it has none, are cut from its training prompts.

    Args:
        source: a DataFrame; a file or folder that `dtreward.pairs.readers.read_table` reads;
            "nvidia/HelpSteer2"; a folder with HelpSteer2's files; or a file of AnnotatedPairs.
        form: the name of a public form, such as "chosen-rejected"; "" takes the one that the
            columns fit.
        attributes: ratings to use, in this order; () means all numeric ones but row numbers, ids
            and times. Those that are named may also be true and false, or numbers as text. Or names of
            attributes to measure from the text (`text_attributes.TEXT_ATTRIBUTES`).
        rated: False leaves all ratings out, and needs none: a model is to rate the responses
            (`dtreward.models.rated_pairs`), and `attributes` are then the model's.
        order_by: for one response a row: the column whose larger value is preferred, or with "-"
            before its name the smaller: "-rank".
        reader: the column that names who read a row; "" takes one that is named so (`reader`,
            `annotator`, `worker_id`, ...; see `dtreward.pairs.identity.READERS`), if there is one.
        readers: where several people rated one response: "within" makes pairs of one reader's
            responses, each pair a vote of that reader; "mean" first averages over readers. What
            the same reader (or nobody in particular) rated several times is always averaged.
        revision: commit of nvidia/HelpSteer2; "" means the pinned one.
        limit: draw the fewest prompts that have so many pairs; 0 means all.
        seed: of what chance decides.
        validation_share: share of the training prompts to cut as "validation", where the source has
            no such split.
        test_share: share of the training prompts to cut as "test", where the source has no such split.

    Raises:
        ValueError: for files, columns or values that are not as described, or if no pair is left.

    Example:
        >>> table = pd.DataFrame({"prompt": ["2 + 2?"], "response_1": ["4"], "response_2": ["5"]})
        >>> load_pairs(table.assign(correctness_1=4, correctness_2=0)).attributes
        ('correctness',)
    """
    _check_arguments(source, attributes, revision, limit, seed, (validation_share, test_share))
    rng = np.random.default_rng(seed)
    counts = Counter(ties=0)
    name = "the DataFrame" if isinstance(source, pd.DataFrame) else str(source)
    read = _read(source, form, revision, Reading(rng, counts, order_by))
    if not _has_responses(read.table):
        _expect_no_options_of_responses(order_by, readers, name)
    who = reader_column(read.table, reader)
    named = replace(read, table=name_readers(read.table, who))
    choice = _choose(named, tuple(attributes), rated=rated)
    table = choice.table
    if _has_responses(table):
        options = {"attributes": choice.names, "readers": readers}
        table = pair_responses(table, read.order_by, rng, counts, **options)
    expect_columns(table, TEXTS)
    table = drop_unusable(table, choice.names, limit, rng, counts)
    if table.empty:
        _refuse_no_pair(name, counts)
    names, attributes_are = _name_attributes(read, choice, tuple(attributes), rated=rated)
    table = table if choice.names else _with_measured(table, names)
    table["split"] = cut_splits(table, test_share, validation_share, rng)
    frame = _ordered(table, names, _about(read, attributes_are))
    left_out = choice.left_out | ({who: "names who read each row"} if who else {})
    counted = dict(counts) | count_kept(table)
    return Pairs(frame, names, counted, left_out, read.form, attributes_are)


def differences(
    frame: pd.DataFrame, attributes: Sequence[str], *, missing: float = np.nan
) -> Float[np.ndarray, "pairs n"]:
    """Subtract the ratings of response 1 from those of response 2, shape (pairs, attributes).

    Args:
        missing: the difference where a rating is missing. Trees take no nan: for them a missing
            rating is no difference, 0.

    Example:
        >>> differences(pd.DataFrame({"coherence_1": [3.0], "coherence_2": [1.0]}), ["coherence"])
        array([[-2.]])
    """
    one = frame[[f"{attribute}_1" for attribute in attributes]].to_numpy(float)
    two = frame[[f"{attribute}_2" for attribute in attributes]].to_numpy(float)
    return np.nan_to_num(two - one, nan=missing)


def responses(frame: pd.DataFrame, attributes: Sequence[str]) -> pd.DataFrame:
    """List each response once: prompt_id (ascending), prompt, split, response, mean ratings.

    A rating is missing where nobody rated the response on that attribute.
    """
    shared = ["prompt_id", "prompt", "split"]
    own = ["response", *attributes]
    sides = [
        frame[[*shared, *(f"{name}_{side}" for name in own)]].set_axis([*shared, *own], axis=1)
        for side in (1, 2)
    ]
    table = pd.concat(sides)
    return table.groupby([*shared, "response"])[list(attributes)].mean().reset_index()


def response_index(frame: pd.DataFrame, responses: pd.DataFrame) -> Int[np.ndarray, "pairs 2"]:
    """Find the two rows of `responses` that each pair consists of.

    Raises:
        ValueError: if a response is not among them.
    """
    places = pd.MultiIndex.from_frame(responses[["prompt_id", "prompt", "response"]])
    columns = []
    for side in (1, 2):
        wanted = pd.MultiIndex.from_frame(frame[["prompt_id", "prompt", f"response_{side}"]])
        columns.append(places.get_indexer(wanted))
    rows = np.stack(columns, axis=1)
    if (rows < 0).any():
        raise ValueError(f"{(rows < 0).sum()} responses of the pairs are not among `responses`")
    return rows


def attributes_of(frame: pd.DataFrame) -> tuple[str, ...]:
    """Read the attributes off a saved frame: between `response_2` and `preference`."""
    expect_columns(frame, [*TEXTS, "preference"])
    rated = frame.loc[:, "response_2":"preference"].columns[1:-1]
    return tuple(name.removesuffix("_1") for name in rated if name.endswith("_1"))


def attributes_are_of(frame: pd.DataFrame) -> str:
    """Say where the attributes' values of a saved frame come from (`Pairs.attributes_are`).

    Example:
        >>> table = pd.DataFrame({"prompt": ["2 + 2?"], "response_1": ["4"], "response_2": ["5"]})
        >>> attributes_are_of(load_pairs(table).frame)
        'measured from the text'
    """
    return frame.attrs.get(ATTRIBUTES_ARE, RATED)


def overall_of(frame: pd.DataFrame) -> str:
    """Name the rating of which the preferences were made, where the attributes are rated beside it.

    Then whoever rated the attributes of a response also gave the preference. It is "" where the
    source has preferences of its own, or where the attributes are measured or read by a model.

    Example:
        >>> table = pd.DataFrame({"prompt": "2 + 2?", "response": ["4", "5"], "clear": [2, 1]})
        >>> overall_of(load_pairs(table.assign(overall=[4, 1]), order_by="overall").frame)
        'overall'
    """
    is_rated = attributes_are_of(frame).startswith(RATED)
    return frame.attrs.get(PREFERENCE_FROM, "") if is_rated else ""


def note_of(frame: pd.DataFrame) -> str:
    """Give the sentence on how the source chose its pairs, where that bends a result; else "".

    Example:
        >>> note_of(pd.DataFrame())
        ''
    """
    return frame.attrs.get(NOTE, "")


def inputs_name(frame: pd.DataFrame) -> str:
    """Name what a tree on the attributes' own values is fitted to, for tables and figures.

    Who gave ratings is said only where the source's form tells it: "ratings by people".

    Example:
        >>> inputs_name(pd.DataFrame())
        'ratings'
    """
    source = attributes_are_of(frame)
    if source.startswith(RATED):
        return f"ratings{source.removeprefix(RATED)}"
    return f"attributes {source}"


def _read(source: str | Path | pd.DataFrame, form: str, revision: str, reading: Reading) -> Formed:
    """Read a source, and bring it into a form with one pair or one response a row."""
    if form not in ("", *FILE_FORMS):
        find_form(form)
    if isinstance(source, pd.DataFrame):
        return form_pairs(plain_columns(source, "the DataFrame"), form, reading)
    if source == "demo":
        raise ValueError(
            "the demo world is no file; hand its pairs over: load_pairs(make_pairs(seed=0)), with "
            "make_pairs from dtreward.demo.world"
        )
    path = Path(source)
    if form in ("", HELPSTEER2_FORM) and (source == HELPSTEER2 or has_helpsteer2(path)):
        table = read_helpsteer2(source, revision, reading.counts)
        return Formed(table, HELPSTEER2_FORM, rated_by="people")
    if form in ("", llmbar.NAME) and llmbar.has_llmbar(path):
        return llmbar.read_llmbar(path)
    content = find_annotated_pairs(path) if form in ("", FORM) else None
    if content is not None:
        table = read_annotated_pairs(content, str(path), reading.counts)
        return Formed(form_pairs(table, "pairs", reading).table, FORM)
    table = read_table(path)
    try:
        return form_pairs(table, form, reading)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _rated(read: Formed) -> str:
    """Say who rated a table; the frame of an earlier study says it itself."""
    by_whom = f"{RATED} by {read.rated_by}" if read.rated_by else RATED
    return read.table.attrs.get(ATTRIBUTES_ARE, by_whom)


def _about(read: Formed, attributes_are: str) -> dict[str, str]:
    """Say what attributes and preferences are; the frame of an earlier study says it itself."""
    made_of = read.order_by.removeprefix("-") if _has_responses(read.table) else ""
    made_of = read.table.attrs.get(PREFERENCE_FROM, made_of)
    note = read.table.attrs.get(NOTE, read.note)
    return {ATTRIBUTES_ARE: attributes_are, PREFERENCE_FROM: made_of, NOTE: note}


def _has_responses(table: pd.DataFrame) -> bool:
    """Whether each row is one response."""
    return "response" in table and "response_1" not in table


def _choose(read: Formed, attributes: tuple[str, ...], *, rated: bool) -> Choice:
    """Choose the ratings of a table; it has none where the text is to be measured.

    Args:
        rated: False chooses none, and says so of those that the table has.
    """
    if not rated:
        choice = choose_attributes(read.table, (), read.order_by, needs_ratings=False)
        reason = dict.fromkeys(choice.names, "ratings are not used: a model rates the responses")
        return replace(choice, names=(), left_out=choice.left_out | reason)
    columns = {*attributes, *rating_columns(attributes)}
    is_of_text = set(attributes) <= set(TEXT_ATTRIBUTES) and not columns & set(read.table)
    if attributes and is_of_text:
        choice = choose_attributes(read.table, (), read.order_by, needs_ratings=False)
        return replace(choice, names=())
    is_own = read.form in ("pairs", "responses")
    return choose_attributes(read.table, attributes, read.order_by, needs_ratings=is_own)


def _name_attributes(
    read: Formed, choice: Choice, asked: tuple[str, ...], *, rated: bool
) -> tuple[tuple[str, ...], str]:
    """Name the attributes of a frame, and say what they are; without ratings, they are measured."""
    if choice.names:
        return choice.names, _rated(read)
    if rated:
        return asked or tuple(TEXT_ATTRIBUTES), MEASURED
    return (), "not yet read by a model"


def _with_measured(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Add the attributes that are measured from the text, as columns of ratings."""
    table = table.copy()
    for side in (1, 2):
        texts = table[f"response_{side}"].tolist()
        values = measure(table["prompt"].tolist(), texts, names)
        table[[f"{name}_{side}" for name in names]] = values.to_numpy()
    return table


def _check_arguments(
    source: object,
    attributes: object,
    revision: str,
    limit: object,
    seed: object,
    shares: tuple[int | float, int | float],
) -> None:
    """Refuse arguments of `load_pairs` that are of another kind, or out of range."""
    if isinstance(attributes, str):
        raise ValueError(  # noqa: TRY004 (a wrong value, as of every other argument)
            f"expected a list of names, came {attributes!r}; write attributes=[{attributes!r}]"
        )
    wanted = {"limit": "a whole number of pairs", "seed": "a whole number"}
    for (name, meaning), value in zip(wanted.items(), (limit, seed), strict=True):
        if not isinstance(value, int | np.integer) or value < 0:
            raise ValueError(f"expected {name} as {meaning}, 0 or more, came {value!r:.40}")
    check_shares(*shares)
    is_table = isinstance(source, pd.DataFrame) or str(source) != HELPSTEER2
    if revision and is_table:
        raise ValueError(
            f"revision={revision!r} is a commit of {HELPSTEER2}, expected none for another source; "
            'write revision=""'
        )


def _expect_no_options_of_responses(order_by: str, readers: str, name: str) -> None:
    """Refuse options that only a table with one response a row can have."""
    if order_by:
        raise ValueError(f"order_by={order_by!r} is for one response a row; {name} has pairs")
    if readers != "within":
        raise ValueError(f"readers={readers!r} is for one response a row; {name} has pairs")


def _refuse_no_pair(name: str, counts: Counter) -> None:
    """Refuse a source that gives no pair, with what was dropped for which reason."""
    dropped = ", ".join(f"{reason}: {number:,}" for reason, number in counts.items() if number)
    if not dropped:
        raise ValueError(f"{name} has no rows; expected rows with {', '.join(TEXTS)}")
    raise ValueError(f"no pair of {name} can be used; read and dropped are {dropped}")


def count_kept(table: pd.DataFrame) -> dict[str, int]:
    """Count the pairs, votes and prompts of a frame.

    Example:
        >>> pairs = pd.DataFrame({"pair_id": [0, 0], "prompt_id": [0, 0], "preference": [1, None]})
        >>> counts = count_kept(pairs.assign(response_1="4", response_2="5"))
        >>> counts["pairs"], counts["votes"], counts["no preference"]
        (1, 1, 1)
    """
    votes = table[table["preference"].notna()].groupby("pair_id").size()
    return {
        "pairs": table["pair_id"].nunique(),
        "votes": int(votes.sum()),
        "pairs with several votes": int((votes > 1).sum()),
        "prompts": table["prompt_id"].nunique(),
        "no preference": int(table["preference"].isna().sum()),
        "identical responses": int((table["response_1"] == table["response_2"]).sum()),
    }


def _ordered(table: pd.DataFrame, names: Sequence[str], about: dict[str, str]) -> pd.DataFrame:
    """Put the study's columns first; those of mixed types become text, for Parquet's sake."""
    first = ["prompt_id", "pair_id", *TEXTS, *rating_columns(names), "preference", "split"]
    others = table.drop(columns=first)
    mixed = [name for name in others if others[name].dtype == object]
    table[mixed] = table[mixed].astype("str")
    frame = table[[*first, *table.columns.difference(first, sort=False)]]
    frame.attrs = about
    return frame
