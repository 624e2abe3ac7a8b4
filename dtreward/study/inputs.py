"""What a notebook reads from the notebooks before it; what is missing or outdated is said in one sentence."""

import json
from pathlib import Path

from dtreward.files import file_digest
from dtreward.models.catalogue import known

MAKERS = {
    "pairs.parquet": "01_load_pairs",
    "01_load_pairs.json": "01_load_pairs",
    "02_extract_features.json": "02_extract_features",
    "rewards.parquet": "03_fit_attribute_probe",
    "probe.safetensors": "03_fit_attribute_probe",
    "checkpoint": "04_fit_preference_tree",
    "judges.parquet": "06_collect_judge_preferences",
    "judge_trees.json": "07_compare_judges",
}
ROWS = ("rewards.parquet", "judges.parquet")  # joined to the pairs by the number of their row


def expect(made, *names):
    """Raise FileNotFoundError for the first of `names` that is not in the study's folder `made`.

    Raises:
        ValueError: if "pairs.parquet" is one of them and one of `ROWS` was made from other pairs than are there.
    """
    for name in names:
        if not (made / name).exists():
            how = f"run it first, or the whole study: make study STUDY={made.name}"
            raise FileNotFoundError(
                f"expected {made / name}, which notebook {MAKERS[name]} makes; {how}"
            )
        record = made / f"{MAKERS[name]}.json"
        if name not in ROWS or "pairs.parquet" not in names or not record.exists():
            continue
        told = json.loads(record.read_text())["provenance"]["inputs"]
        if told.get("pairs.parquet") not in (None, file_digest(made / "pairs.parquet")):
            raise ValueError(
                f"{made / name} is of other pairs than pairs.parquet: run {MAKERS[name]} again"
            )


def repository(name):
    """The hub id behind a model's name on the leaderboard; a folder (seen from here or notebooks/) is its own."""
    try:
        is_folder = any(Path(place, name).is_dir() for place in ("", "notebooks"))
        return name if is_folder else getattr(known(name), "repo", "") or name
    except OSError:  # too long for a path: a text
        return name
