"""RewardBench's leaderboard as a table: measured scores beside the published ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from dtreward.benches.candidates import rows_read
from dtreward.benches.published_scores import (
    COLUMNS,
    complete_sections,
    published_intervals,
    published_scores,
)
from dtreward.benches.rewardbench import SECTION_OF, SECTIONS, section_scores
from dtreward.benches.scoring import OTHER
from dtreward.files import write_atomically
from dtreward.models.catalogue import CATALOGUE
from dtreward.stats import Interval


@dataclass(frozen=True)
class Measured:
    """What was measured of one model or baseline.

    Args:
        kind: what it decides by, such as "decision-tree" or "verdict"; "baseline" needs no model.
        results: those of `evaluation.judge`.
        scores: those of `section_intervals`, on the pairs that were read.
        endpoint: whether it was asked at an endpoint.
        published: its published scores, by section and "overall"; None where there are none, or
            the bench is another.
    """

    name: str
    kind: str
    results: pd.DataFrame = field(repr=False)
    scores: Mapping[str, Interval]
    endpoint: bool = False
    published: pd.Series | None = None

    @property
    def stands_in(self) -> bool:
        """Whether it only stands in for the published model of its name."""
        if self.published is None:
            return False
        return self.kind == "verdict" or not CATALOGUE[self.name].repo

    @property
    def unread(self) -> pd.Series:
        """Why pairs could not be read, one row for each of them."""
        return self.results["unread"][self.results["unread"] != ""]

    def comparable(self) -> list[str]:
        """Name the sections, and "overall", whose score may be compared to the published one.

        A section needs all of its published pairs in the bench, and something read of each subset.
        """
        if self.published is None or self.stands_in:
            return []
        complete = complete_sections(self.results["subset"])
        lost = set(self.results["subset"]) - set(rows_read(self.results)["subset"])
        incomplete = {SECTION_OF.get(subset) for subset in lost}
        sections = [
            name
            for name in SECTIONS
            if complete[name] and name in self.scores and name not in incomplete
        ]
        return COLUMNS if len(sections) == len(SECTIONS) else sections

    def note(self) -> str:
        """Say in a few words what one must know to read its scores."""
        words = [CATALOGUE[self.name].note if self.name in CATALOGUE else ""]
        if self.endpoint:
            words.append("asked at an endpoint")
        if self.stands_in:
            words.append("not comparable to its published scores")
        lost = self.unread
        if len(lost):
            read = len(self.results) - len(lost)
            words.append(f"scores are of {read:,} pairs")
            words.append(f"{len(lost):,} not read, one because: {lost.iloc[0]:.100}")
        return "; ".join(part for part in words if part)


def leaderboard(
    measured: Iterable[Measured],
    failed: Mapping[str, str],
    failed_notes: Mapping[str, str],
    *,
    mark: str = "",
) -> pd.DataFrame:
    """Set measured rows beside the published ones, in percent.

    `row` says what a row is: "measured" or "baseline" (with interval); "chosen second" (a tree in
    the authors' order alone); "published" (with interval where its counts are known); "difference"
    (measured minus published, of sections that compare); "failed: " and the reason; "published
    only" (as "published").

    Args:
        failed: why a model could not be asked, by name.
        failed_notes: what else to say of these.
        mark: put behind the name of each row that is not published, such as " (demo world)".

    Returns:
        Columns model, row, the sections, overall, Other where the bench has other subsets than
        RewardBench's, "<section> low" and "<section> high" (ends of the
        95 % interval), pairs (read), unread and note.
    """
    rows = []
    with_published_row = []
    published_ends = {name: _ends(scores) for name, scores in published_intervals().items()}
    for one in measured:
        rows += _rows_of(one, mark, published_ends.get(one.name, {}))
        if one.published is not None:
            with_published_row.append(one.name)
    for name, reason in failed.items():
        row = {"model": name + mark, "row": f"failed: {reason}", "note": failed_notes[name]}
        rows.append(row)
    published = published_scores()
    for name in published.index.difference(with_published_row, sort=False):
        row = {"model": name, "row": "published only", "note": CATALOGUE[name].note}
        rows.append(row | published.loc[name].to_dict() | published_ends.get(name, {}))
    table = pd.DataFrame(rows)
    scores = [*COLUMNS, OTHER] if OTHER in table else COLUMNS
    ends = [f"{column} {end}" for column in scores for end in ("low", "high")]
    columns = ["model", "row", *scores, *ends, "pairs", "unread", "note"]
    return table.reindex(columns=columns)


def _score_columns(table: pd.DataFrame) -> list[str]:
    """Name the scores of a leaderboard: the sections, overall, and the section of other subsets."""
    return [column for column in (*COLUMNS, OTHER) if column in table]


def _rows_of(one: Measured, mark: str, published_ends: Mapping[str, float]) -> list[dict]:
    estimates = {column: interval.estimate for column, interval in one.scores.items()}
    read = rows_read(one.results)
    head = {"model": one.name + mark, "pairs": len(read), "unread": len(one.unread)}
    row = "baseline" if one.kind == "baseline" else "measured"
    rows = [head | {"row": row, "note": one.note()} | estimates | _ends(one.scores)]
    if one.kind == "decision-tree":
        rows.append(head | {"row": "chosen second"} | chosen_second_scores(one.results))
    if one.published is not None:
        row = {"model": one.name, "row": "published"} | one.published.to_dict()
        rows.append(row | published_ends)
    comparable = one.comparable()
    if comparable:
        difference = pd.Series(estimates)[comparable] - one.published[comparable]
        rows.append({"model": one.name, "row": "difference"} | difference.to_dict())
    return rows


def _ends(scores: Mapping[str, Interval]) -> dict[str, float]:
    """Give both ends of each score's interval, as columns of the table."""
    ends = {}
    for column, interval in scores.items():
        ends[f"{column} low"] = interval.low
        ends[f"{column} high"] = interval.high
    return ends


def chosen_second_scores(results: pd.DataFrame) -> dict[str, float]:
    """Give the section scores in the authors' order alone, where there are pairs."""
    read = rows_read(results)
    return section_scores(read.assign(correct=read["preference"])).dropna().to_dict()


def sort_rows(table: pd.DataFrame, by: str, *, published_last: bool = False) -> pd.DataFrame:
    """Sort the models of a `leaderboard`; the rows of one model stay together, in their order.

    Args:
        by: a section or "overall", largest first, by the model's first row; or "model", by name.
            Models without that score come first.
        published_last: whether rows that were not measured here come after all others.
    """
    if by == "model":
        key = table["model"]
    else:
        key = table.groupby("model")[by].transform("first")
    is_last = table["row"].str.startswith("published") & published_last
    order = pd.DataFrame({"last": is_last, "key": key})
    order = order.sort_values(
        ["last", "key"], ascending=[True, by == "model"], na_position="first", kind="stable"
    )
    return table.loc[order.index]


def as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Write the cells of a `leaderboard` out: scores to a decimal, with the interval if known."""
    text = table[["model", "row"]].copy()
    for column in _score_columns(table):
        text[column] = [_cell(row, column) for _, row in table.iterrows()]
    text["pairs read"] = table["pairs"].map("{:,.0f}".format).where(table["pairs"].notna(), "")
    text["note"] = table["note"].fillna("")
    return text


def _cell(row: pd.Series, column: str) -> str:
    if pd.isna(row[column]):
        return "–"
    if row["row"] == "difference":
        return f"{row[column]:+.1f}"
    low = row[f"{column} low"]
    high = row[f"{column} high"]
    interval = "" if pd.isna(low) else f" [{low:.1f}, {high:.1f}]"
    return f"{row[column]:.1f}{interval}"


def write_tables(stem: str | Path, table: pd.DataFrame, text: pd.DataFrame, caption: str) -> None:
    """Write `stem`.csv of a table, and `stem`.md and `stem`.tex of its text.

    Args:
        caption: of the LaTeX table, in LaTeX.
    """
    without_bars = text.map(lambda cell: str(cell).replace("|", "/"))
    markdown = without_bars.to_markdown(index=False, disable_numparse=True) + "\n"
    latex = text.to_latex(
        index=False,
        escape=True,
        caption=caption,
        column_format="ll" + "r" * (len(_score_columns(table)) + 1) + "l",
    )
    write_atomically(f"{stem}.md", lambda path: path.write_text(markdown, encoding="utf-8"))
    write_atomically(f"{stem}.tex", lambda path: path.write_text(latex, encoding="utf-8"))
    write_atomically(f"{stem}.csv", lambda path: table.to_csv(path, index=False))
