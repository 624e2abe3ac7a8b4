"""What a notebook reads from the notebooks before it; one that is missing is said in one sentence."""

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


def expect(made, *names):
    """Raise FileNotFoundError for the first of `names` that is not in the study's folder `made`."""
    for name in names:
        if not (made / name).exists():
            how = f"run it first, or the whole study: make study STUDY={made.name}"
            raise FileNotFoundError(f"expected {made / name}, which notebook {MAKERS[name]} makes; {how}")
