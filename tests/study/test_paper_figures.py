"""Notebook 99 draws what is recorded: twice the same bytes, hashes that hold, captions that fit."""

import json
import re
import shutil
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import ROOT

from dtreward.study.macros import list_macros, macro_name, write_macros
from dtreward.study.paper import delete_undrawn, latex, list_nodes, write_table
from dtreward.study.run import run
from dtreward.tree.tree import PreferenceTree

CAPTIONS = yaml.safe_load(
    (ROOT / "dtreward" / "study" / "captions.yaml").read_text(encoding="utf-8")
)
QUICK = {"resamples": 20, "seed": 0}
SMALL = {
    "depths": [1, 2, 3],
    "leaves": [2],
    "prunings": [0.01],
    "leaf_sizes": [10],
    "thresholds": 5,
}
SMALL |= {"optimal_depth": 1, "bootstraps": 4, "shuffles": 2, "jobs": 1, "model": ""}
pytestmark = pytest.mark.usefixtures("warm_kernels")


def study(folder, name, source, notebooks):
    """Run notebooks, {name: parameters}, of one study; give where its results lie."""
    shared = {"study": name, "source": str(source), "data_dir": str(folder)}
    for notebook, own in notebooks.items():
        known = {"05_ablate_depth_and_leaves": SMALL, "04_fit_preference_tree": {"model": ""}}
        given = shared | known.get(notebook, {}) | own
        path = ROOT / "notebooks" / f"{notebook}.ipynb"
        run(path, folder / name / f"{notebook}.ipynb", given)
    return folder / name


def draw(made, source, **given):
    """Run notebook 99 on a study; give what lies in its folder of figures, by name."""
    parameters = {"study": made.name, "source": str(source), "data_dir": str(made.parent)} | given
    notebook = ROOT / "notebooks" / "99_draw_paper_figures.ipynb"
    run(notebook, made / notebook.name, parameters)
    return {path.name: path.read_bytes() for path in (made / "paper").iterdir()}


@pytest.fixture(scope="module")
def small(demo, tmp_path_factory):
    """A copy of the small demo study, whose own run has drawn its paper's figures."""
    return shutil.copytree(demo, tmp_path_factory.mktemp("data") / "demo")


@pytest.fixture(scope="module")
def drawn(small):
    """All files of the paper's folder of the demo study."""
    return {path.name: path.read_bytes() for path in (small / "paper").iterdir()}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A study of 01, 04 and 05 on a table of our own: its folder and source.

    Two attributes vary, and one does not.
    """
    folder, random = tmp_path_factory.mktemp("own"), np.random.default_rng(0)
    table = pd.DataFrame({"prompt": [f"Question {n}?" for n in range(300)]})
    for side in (1, 2):
        table[f"response_{side}"] = [f"So: {'yes ' * (n % 7 + side)}" for n in range(300)]
        table[f"50% clear_{side}"], table[f"depth_{side}"] = random.integers(0, 9, (2, 300))
        table[f"steady_{side}"] = 3
    lean = table["50% clear_2"] - table["50% clear_1"] + random.normal(0, 2, 300)
    table.assign(preference=(lean > 0).astype(int)).to_parquet(folder / "table.parquet")
    steps = ["01_load_pairs", "04_fit_preference_tree", "05_ablate_depth_and_leaves"]
    given = {name: {"seed": 0} if name == steps[0] else QUICK for name in steps}
    return study(folder, "own_1", folder / "table.parquet", given), folder / "table.parquet"


def test_drawing_twice_gives_the_same_bytes(small, drawn):
    record = (small / "99_draw_paper_figures.json").read_bytes()
    assert draw(small, "demo") == drawn
    assert (small / "99_draw_paper_figures.json").read_bytes() == record


def test_every_hash_of_the_index_is_that_of_the_data(drawn):
    index = json.loads(drawn["index.json"])
    assert set(index["left_out"]) == {"26_biases_by_subset", "table_reproduced"}
    for entry in index["drawn"].values():
        assert sha256(drawn[entry["data"]]).hexdigest() == entry["sha256"]
        assert entry["notebook"][:2].isdigit() and entry["parameters"]["study"] == "demo"
    listed = {file for entry in index["drawn"].values() for file in entry["files"]}
    assert listed | {"index.json", "macros.tex"} == set(drawn)


def test_each_figure_has_a_caption_and_no_caption_lacks_a_figure(drawn):
    index = json.loads(drawn["index.json"])
    assert {*index["drawn"], *index["left_out"]} == set(CAPTIONS)
    for entry in index["drawn"].values():
        assert re.search("demo world|published|random weights", entry["caption"])
        assert not re.search(r"[{}]|nan", entry["caption"])


def test_the_demo_study_reproduces_nothing_and_finds_nothing(small, drawn):
    index = json.loads(drawn["index.json"])
    assert index["left_out"]["table_reproduced"] == "the study's pairs are not those of HelpSteer2"
    assert index["findings"] == []
    record = (small / "99_draw_paper_figures.json").read_text()
    assert "published numbers in the intervals" not in record


def test_data_are_the_recorded_numbers(small, drawn):
    recorded = pd.read_parquet(small / "07_importances.parquet")
    behind = pd.read_csv(small / "paper" / "07_importances.csv")
    known = behind.pop("published").notna()  # of the judges that the study knows
    assert set(behind["judge"][known]) == {"Human", "GPT-4o", "Llama-3.1-8B"}
    pd.testing.assert_frame_equal(behind, recorded, rtol=1e-5, check_dtype=False)  # six digits
    shares = json.loads((small / "01_load_pairs.json").read_text())["numbers"]["shares"]
    behind = pd.read_csv(small / "paper" / "02_rating_distribution.csv")
    for row in behind.itertuples():
        assert row.share == pytest.approx(shares[row.attribute][str(float(row.rating))], rel=1e-5)


def test_a_study_of_other_attributes_draws_what_it_has_and_lists_the_rest(own):
    made, table = own
    drawn = draw(made, table)
    index = json.loads(drawn["index.json"])
    numbers = {name[:2] for name in index["drawn"] if name[0].isdigit()}
    assert numbers == {"02", "03", "08", "13", "15", "17", "18"}
    assert index["left_out"]["05_agreement"] == "no record of 07_compare_judges"
    assert index["left_out"]["01_workflow"] == "no reward model in the study"
    assert b"demo" not in drawn["macros.tex"]
    correlation = pd.read_csv(made / "paper" / "03_rating_correlation.csv", index_col="attribute")
    assert correlation["steady"].isna().all()  # it never varies, and correlates with nothing
    assert correlation.loc["depth", "depth"] == 1
    _check_macros(drawn["macros.tex"].decode())


def test_a_record_of_changed_files_is_left_out_with_its_figures(own):
    made, table = own
    record = made / "05_ablate_depth_and_leaves.json"
    kept = record.read_text()
    draw(made, table)
    record.write_text(kept.replace('"pairs.parquet": "', '"pairs.parquet": "0'))
    try:
        drawn = draw(made, table)
    finally:
        record.write_text(kept)
    assert not [name for name in drawn if name.startswith(("13_", "table_ablation"))]
    assert json.loads(drawn["index.json"])["left_out"]["13_ablation"].startswith("no record of 05")


def test_what_an_earlier_run_drew_is_deleted_and_nothing_else(tmp_path):
    drawn = {
        "12_old": {"files": ["12_old.png", "../kept.png"]},
        "13_new": {"files": ["13_new.png"]},
    }
    (tmp_path / "index.json").write_text(json.dumps({"drawn": drawn}))
    (tmp_path / "paper").mkdir()
    for name in ("12_old.png", "13_new.png", "mine.png", "kept.png"):
        (tmp_path / "paper" / name).touch()
    (tmp_path / "index.json").rename(tmp_path / "paper" / "index.json")
    (tmp_path / "kept.png").touch()
    delete_undrawn(tmp_path / "paper", ["13_new"])
    left = {path.name for path in (tmp_path / "paper").glob("*.png")}
    assert left == {"13_new.png", "mine.png"} and (tmp_path / "kept.png").exists()


def test_a_demo_world_cannot_pass_for_another_study(small):
    with pytest.raises(Exception, match="notebook 01 read 'demo', source says 'mine'"):
        draw(small, "mine")


def test_macros_have_names_of_letters_and_balanced_values(drawn):
    _check_macros(drawn["macros.tex"].decode())


def test_macros_of_names_that_letters_do_not_tell_apart_are_numbered():
    one = {"estimate": 0.5, "low": 0.4, "high": 0.6}
    read = {"有用": one, "正确": one, "cost $": one, "cost": one, "v1": one, "v2": one}
    number = {
        "01_load_pairs": {"counts": {"pairs": 1, "prompts": 1}, "splits": {}},
        "03_fit_attribute_probe": {"quality": {"probe, Pearson": read}},
    }
    names = [macro_name(words) for words, _ in list_macros(number)][2:]
    ends = ["One", "Two", "CostThree", "CostFour", "vOne", "vTwo"]
    assert names == [f"ProbeCorrelation{end[0].upper()}{end[1:]}" for end in ends]


def test_two_macros_of_one_name_are_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"stand twice: \['Accuracy'\]"):
        write_macros(tmp_path / "macros.tex", [("accuracy!", 1), ("accuracy?", 2)])
    assert macro_name("splits needed") == "SplitsNeeded" and macro_name("GPT-4o") == "GPTFourO"


def test_tables_escape_what_would_break_them(tmp_path):
    table = pd.DataFrame({"50 %": ["a_b & c|d", None], "x": ["≤ {1}\\", "z" * 90]})
    write_table(tmp_path, "t", table, "100 % of $")
    written, shown = ((tmp_path / f"t.{kind}").read_text() for kind in ("tex", "md"))
    assert r"a\_b \& c|d & $\leq$ \{1\}\textbackslash{}" in written and r"100 \% of \$" in written
    assert (
        r"p{0.6\linewidth}" in written and r"\resizebox" in written and written.count("table*") == 2
    )
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {3} and len(rows) == 4


def test_a_trees_rows_make_the_tree_again():
    tree = PreferenceTree.published("GPT-4o")
    rows = list_nodes("GPT-4o", tree)
    assert rows["share"].to_numpy() == pytest.approx(tree.share)
    assert rows[["response_1", "response_2"]].to_numpy() == pytest.approx(tree.value)
    assert rows["left"].fillna(-1).tolist() == tree.left.tolist()
    assert rows["attribute"].notna().tolist() == (tree.feature >= 0).tolist()


def test_nothing_but_signs_is_changed_by_escaping():
    assert latex("plain words, 0.5 [0.4, 0.6]") == "plain words, 0.5 [0.4, 0.6]"


def _check_macros(text):
    lines = text.splitlines()
    names = [re.fullmatch(r"\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}", line)[1] for line in lines]
    assert len(set(names)) == len(names) > 10
    for line in lines:
        bare = re.sub(r"\\[{}]", "", line)
        assert bare.count("{") == bare.count("}")
        assert not re.search(r"(?<!\\)[%&_#]", line) and line.count("$") % 2 == 0
