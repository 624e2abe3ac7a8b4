"""What tests know of a study: the demo study's notebooks, and which of a folder are executed."""

DEMO = [
    "00_compare_two_responses",
    "01_load_pairs",
    "02_extract_features",
    "03_fit_attribute_probe",
    "04_fit_preference_tree",
    "05_ablate_depth_and_leaves",
    "06_collect_judge_preferences",
    "07_compare_judges",
    "08_compare_shap",
    "09_evaluate_rewardbench",
    "10_measure_throughput",
    "99_draw_paper_figures",
]


def finished(folder):
    """List the executed notebooks of a folder by name, partial ones too."""
    return sorted(path.stem for path in folder.glob("*.ipynb"))
