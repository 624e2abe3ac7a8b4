"""Read and write AnnotatedPairs, the JSON of Inverse Constitutional AI and Feedback Forensics."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dtreward.files import write_json
from dtreward.pairs.columns import TEXTS, expect_columns

FORM = "annotated-pairs"
VERSION = "2.0"
PEOPLE = "preference"
PREFERENCES = {"a": 0.0, "text_a": 0.0, "b": 1.0, "text_b": 1.0}  # of versions 2 and 1
NONE = ("tie", "both", "neither", "none", "")


def find_annotated_pairs(path: Path) -> dict | None:
    """Give the content of a JSON file of AnnotatedPairs; None for any other file.

    Example:
        >>> find_annotated_pairs(Path("pairs.parquet")) is None
        True
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if suffixes[-1:] != [".json"] or not path.is_file():
        return None
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError):  # the reader of tables says what is wrong
        return None
    is_form = isinstance(content, dict) and {"annotators", "comparisons"} <= set(content)
    return content if is_form else None


def read_annotated_pairs(content: Mapping[str, Any], name: str, counts: Counter) -> pd.DataFrame:
    """Read AnnotatedPairs of version 1 or 2 as one pair a row.

    The preference is that of the default annotator. The others' stand in columns under their
    names, or their descriptions: 0 where they prefer response 1, 1 for response 2, else missing.

    Args:
        content: of the JSON file.
        name: of the file, for errors.
        counts: gets "ties".

    Raises:
        ValueError: if a comparison is not as the form has it, or if none has a prompt.
    """
    default = content.get("metadata", {}).get("default_annotator")
    annotators = content["annotators"]
    if default not in annotators:
        raise ValueError(
            f"{name}: metadata.default_annotator is {default!r}, expected one of "
            f"{list(annotators)[:5]}; name the annotator whose preferences are studied"
        )
    rows = []
    for place, comparison in enumerate(content["comparisons"]):
        rows.append(_read_comparison(comparison, place, default, annotators, name))
    table = pd.DataFrame(rows, columns=None if rows else [*TEXTS, "preference"])
    if len(table) and table["prompt"].isna().all():
        raise ValueError(
            f"{name}: no comparison has a prompt; expected it as a text under the key prompt"
        )
    counts["ties"] += int(table["preference"].isna().sum())
    return table


def _read_comparison(
    comparison: Mapping, place: int, default: str, annotators: Mapping, name: str
) -> dict[str, Any]:
    where = f"{name}: comparison {place} ({comparison.get('id')})"
    row = {"prompt": comparison.get("prompt")}
    for number, letter in ((1, "a"), (2, "b")):
        response = comparison.get(f"response_{letter}", comparison.get(f"text_{letter}"))
        if response is None:
            raise ValueError(f"{where} has no response_{letter} and no text_{letter}; add it")
        if isinstance(response, Mapping):
            row[f"response_{number}"] = response.get("text")
            if "model" in response:
                row[f"model_{number}"] = response["model"]
        else:
            row[f"response_{number}"] = response
    annotations = comparison.get("annotations", {})
    row["preference"] = _preference(annotations.get(default), f"{where}, annotator {default}")
    row |= {key: value for key, value in comparison.get("metadata", {}).items() if key not in row}
    for key, note in annotations.items():
        if key != default:
            about = annotators.get(key, {})
            title = about.get("name") or about.get("description") or key
            row.setdefault(str(title), _preference(note, f"{where}, annotator {title}"))
    return row


def _preference(note: Mapping | None, where: str) -> float | None:
    """Read one annotation: 0, 1, or None where the annotator prefers neither."""
    value = (note or {}).get("pref")
    word = str(value).lower()
    if value is None or word in NONE:
        return None
    if word not in PREFERENCES:
        raise ValueError(f"{where} prefers {value!r}; expected a, b, text_a, text_b or null")
    return PREFERENCES[word]


def write_annotated_pairs(
    frame: pd.DataFrame,
    path: str | Path,
    *,
    name: str,
    attributes: Sequence[str] = (),
    judges: pd.DataFrame | None = None,
) -> Path:
    """Write pairs as AnnotatedPairs 2.0, which Feedback Forensics opens and `load_pairs` reads.

    The default annotator is called "preference". Each attribute is an annotator that prefers the
    response with the larger value, each judge one that prefers what it decided.

    Args:
        frame: of `load_pairs`.
        path: of the JSON file, written whole or not at all.
        name: of the data set.
        attributes: names of rated or measured attributes of the frame.
        judges: columns judge, pair (row number of the frame) and preference, as in
            judges.parquet; None for none.

    Example:
        >>> import tempfile
        >>> frame = pd.DataFrame({"prompt": ["2 + 2?"], "response_1": ["4"], "response_2": ["5"]})
        >>> path = Path(tempfile.mkdtemp(), "pairs.json")
        >>> written = write_annotated_pairs(frame.assign(preference=0), path, name="sums")
        >>> read_annotated_pairs(find_annotated_pairs(path), "sums", Counter())["preference"].tolist()
        [0.0]
    """
    expect_columns(frame, [*TEXTS, "preference"])
    annotators = _annotators(frame, attributes, judges)
    comparisons = []
    for place, texts in enumerate(frame[TEXTS].itertuples(index=False, name=None)):
        notes = {annotator.key: _note(annotator.preferences[place]) for annotator in annotators}
        comparisons.append(_comparison(place, texts, notes))
    metadata = {
        "version": VERSION,
        "description": f"Pairs of {name}, written by dtreward",
        "dataset_name": name,
        "default_annotator": annotators[0].key,
        "available_metadata_keys_per_comparison": ["index"],
    }
    by_key = {annotator.key: annotator.entry for annotator in annotators}
    content = {"metadata": metadata, "annotators": by_key, "comparisons": comparisons}
    return write_json(path, content)


@dataclass(frozen=True)
class Annotator:
    """Who or what prefers a response.

    Attributes:
        preferences: 0, 1 or nan, one for each pair.
    """

    name: str
    type: str
    description: str
    preferences: np.ndarray

    @property
    def key(self) -> str:
        """Id in the file."""
        return _key(self.name, self.type)

    @property
    def entry(self) -> dict[str, str]:
        """What the file says of it."""
        return {"name": self.name, "description": self.description, "type": self.type}


def _annotators(
    frame: pd.DataFrame, attributes: Sequence[str], judges: pd.DataFrame | None
) -> list[Annotator]:
    """List the source's own preference, the attributes and the judges as annotators."""
    people = frame["preference"].to_numpy(float, na_value=np.nan)
    found = [Annotator(PEOPLE, "unknown", "The preference that the source gives", people)]
    for attribute in attributes:
        more = (frame[f"{attribute}_2"] - frame[f"{attribute}_1"]).to_numpy(float)
        larger = np.select([more < 0, more > 0], [0.0, 1.0], np.nan)
        description = f"Prefers the response with more {attribute}"
        found.append(Annotator(attribute, "attribute", description, larger))
    if judges is None:
        return found
    for judge, rows in judges.groupby("judge", sort=False):
        decided = rows.set_index("pair")["preference"].reindex(range(len(frame)))
        values = decided.to_numpy(float, na_value=np.nan)
        description = f"Judge {judge}, where it decided in both orders"
        found.append(Annotator(str(judge), "ai", description, values))
    return found


def _note(preference: float) -> dict[str, str | None]:
    if np.isnan(preference):
        return {"pref": None, "no_pref_reason": "not_applicable"}
    return {"pref": "b" if preference == 1 else "a"}


def _comparison(place: int, texts: tuple[str, str, str], notes: Mapping) -> dict[str, Any]:
    prompt, one, two = texts
    return {
        "id": _key(str(place), prompt, one, two),
        "prompt": prompt,
        "response_a": {"text": one},
        "response_b": {"text": two},
        "annotations": notes,
        "metadata": {"index": str(place)},
    }


def _key(*parts: str) -> str:
    """Hash texts to eight hexadecimal digits, as the form's ids are."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
