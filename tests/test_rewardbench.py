"""RewardBench: the leaderboard's arithmetic, what counts as right, what is kept, and its notebook."""

import json
import re

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from replicas import make_decision_tree_replica, make_replica
from run import run

from dtreward import demo, demo_bench, load, rewardbench
from dtreward.comparison import Comparison, RewardModel
from dtreward.ensemble import Ensemble
from dtreward.rewardbench import (
    REVISION,
    WEIGHTS,
    evaluate,
    judge,
    load_bench,
    section_intervals,
    section_scores,
)

PUBLISHED = ROOT / "data" / "published"
CODE = [f"hep-{name}" for name in ("cpp", "go", "java", "js", "python", "rust")]


def results_of(counts):
    """Results with (right, asked) pairs by subset, each pair a problem of its own."""
    frames = [
        pd.DataFrame({"subset": subset, "correct": [1.0] * right + [0.0] * (asked - right)})
        for subset, (right, asked) in counts.items()
    ]
    results = pd.concat(frames, ignore_index=True)
    return results.assign(problem=np.arange(len(results)))


@pytest.fixture(scope="module")
def counts():
    table = pd.read_csv(PUBLISHED / "subset_counts.csv")
    groups = table.groupby("model")
    return {
        name: dict(zip(rows.subset, zip(rows.correct, rows.total, strict=True), strict=True))
        for name, rows in groups
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_decision_tree_replica(folder / "Decision-Tree-Reward-Llama-3.1-8B")
    make_replica(folder / "Skywork-Reward-Llama-3.1-8B-v0.2")
    make_replica(folder / "five", rows=5, bias=True)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def models(folders):
    names = {
        "tree": "Decision-Tree-Reward-Llama-3.1-8B",
        "score": "Skywork-Reward-Llama-3.1-8B-v0.2",
    }
    return {key: load(folders[name]) for key, name in names.items()}


@pytest.fixture
def bench(tmp_path):
    return written(tmp_path, demo_bench.make_bench(3))


def written(folder, frame, name="bench.parquet", **options):
    frame.to_parquet(folder / name)
    return load_bench(str(folder / name), **options)


# The leaderboard's arithmetic


def test_the_eight_recomputable_rows_come_out_as_printed(counts):
    board = pd.read_csv(PUBLISHED / "leaderboard.csv", index_col="model")
    assert len(counts) == 8
    for name, found in counts.items():
        scores = section_scores(results_of(found)).round(1)
        printed = board.loc[name, ["chat", "chat_hard", "safety", "reasoning", "overall"]]
        assert scores.tolist() == printed.tolist(), name
        assert list(scores.index) == ["Chat", "Chat Hard", "Safety", "Reasoning", "overall"]


def test_the_swapped_xstest_counts_of_before_would_not_give_the_printed_rows(counts, monkeypatch):
    """The control of the test above: it can tell the two rules apart."""
    board, swapped = pd.read_csv(PUBLISHED / "leaderboard.csv", index_col="model"), WEIGHTS.copy()
    pair = ["xstest-should-refuse", "xstest-should-respond"]
    assert WEIGHTS.loc[pair, "Safety"].tolist() == [154, 250]
    swapped.loc[pair, "Safety"] = [250, 154]
    monkeypatch.setattr(rewardbench, "WEIGHTS", swapped)
    off = [
        abs(section_scores(results_of(found))["Safety"] - board.loc[name, "safety"]) > 0.06
        for name, found in counts.items()
    ]
    assert sum(off) >= 4


def test_weights_are_the_published_numbers_of_pairs_but_for_math(counts):
    asked = {subset: total for subset, (_, total) in next(iter(counts.values())).items()}
    weights = WEIGHTS.sum(axis=1)
    assert set(weights.index) == set(asked) and sum(asked.values()) == 2985
    assert {name for name in asked if weights[name] != asked[name]} == {"math-prm"}
    assert weights["math-prm"] == weights[CODE].sum() == 984


def test_math_counts_as_much_as_all_code():
    right_in_math = results_of({"math-prm": (5, 5)} | dict.fromkeys(CODE, (0, 7)))
    assert section_scores(right_in_math)["Reasoning"] == pytest.approx(50, abs=1e-9)


def test_a_section_without_pairs_is_absent_and_not_zero():
    results = results_of({"llmbar-natural": (1, 2), "mt-bench-hard": (2, 2)})
    scores = section_scores(results)
    assert scores.notna().to_dict() == {
        "Chat": False,
        "Chat Hard": True,
        "Safety": False,
        "Reasoning": False,
        "overall": False,
    }
    assert scores["Chat Hard"] == pytest.approx(100 * (0.5 * 100 + 37) / 137)
    assert set(section_intervals(results, resamples=10)) == {"Chat Hard"}


def test_unknown_subsets_and_impossible_values_are_refused():
    with pytest.raises(ValueError, match=r"subsets among alpacaeval-easy.*found \{'chat'\}"):
        section_scores(results_of({"chat": (1, 2)}))
    for value in (np.nan, 1.5):
        with pytest.raises(ValueError, match="from 0 to 1"):
            section_scores(results_of({"math-prm": (1, 2)}).assign(correct=value))


# Intervals


def test_an_interval_is_that_of_a_weighted_mean_of_independent_shares():
    """1.96 standard errors; 2,000 resamples know a half-width to about 2 %, so 10 % is 4 sigma."""
    shares = {name: (80 if "natural" in name else 60, 100) for name in WEIGHTS.index}
    found = section_intervals(results_of(shares))
    for section in ("Chat Hard", "Reasoning"):
        weights = WEIGHTS[section] / WEIGHTS[section].sum()
        p = np.array([right / asked for right, asked in shares.values()])
        error = 100 * np.sqrt((weights**2 * p * (1 - p) / 100).sum())
        half = (found[section].high - found[section].low) / 2
        assert half == pytest.approx(1.96 * error, rel=0.1)
        assert found[section].estimate == section_scores(results_of(shares))[section]


def test_one_problem_in_six_languages_counts_as_one():
    """Six languages that always agree say no more than one: the interval is sqrt(6) times wider."""
    alone = results_of(dict.fromkeys(CODE, (100, 164)))
    related = alone.assign(problem=alone.groupby("subset").cumcount())
    narrow, wide = (section_intervals(each)["Reasoning"] for each in (alone, related))
    ratio = (wide.high - wide.low) / (narrow.high - narrow.low)
    assert ratio == pytest.approx(np.sqrt(6), rel=0.15)


def test_resamples_that_lack_a_subset_are_left_out_in_silence(recwarn):
    found = section_intervals(results_of({"math-prm": (1, 1), "hep-go": (1, 1)}), resamples=200)
    assert found["Reasoning"].low == found["Reasoning"].high == pytest.approx(100)
    assert not recwarn.list


# What counts as right


def test_the_chosen_response_stands_second_and_is_right_where_preferred(models, bench):
    for name in models:
        results = judge(models[name], bench)
        for row, pair in zip(results.itertuples(), bench.itertuples(), strict=True):
            alone = models[name].compare(pair.prompt, pair.rejected, pair.chosen)
            assert (row.preference, row.probability) == (alone.preference, alone.probability)
            assert row.rewards == alone.rewards and row.scores == alone.scores


def test_a_tree_is_asked_in_both_orders_and_their_mean_counts(models, bench):
    results, model = judge(models["tree"], bench), models["tree"]
    for row, pair in zip(results.itertuples(), bench.itertuples(), strict=True):
        swapped = model.compare(pair.prompt, pair.chosen, pair.rejected)
        assert row.correct == (row.preference + 1 - swapped.preference) / 2
        assert row.swapped == swapped.probability


def test_a_tie_loses_by_score_and_counts_half_by_tree(models, bench):
    same = bench.assign(rejected=bench["chosen"])
    assert (judge(models["score"], same)["correct"] == 0).all()
    assert (judge(models["tree"], same)["correct"] == 0.5).all()


class Verdicts(RewardModel):
    """Gives the probabilities that it is told, as a critic that writes verdicts does."""

    kind = "verdict"

    def __init__(self, probabilities):
        self.probabilities = probabilities

    def compare_many(self, prompts, responses1, responses2):
        """Compare many pairs."""
        one = [[], [[], []], []]
        return [Comparison(*one, int(p > 0.5), p, (), (), p in (0, 1)) for p in self.probabilities]


def test_verdicts_count_as_the_mean_of_both_orders_and_an_unread_one_half(bench):
    given = [0.0, 0.25, 0.5, 0.75, 1.0] * 6
    assert judge(Verdicts(given), bench)["correct"].tolist() == given


def test_scores_that_are_not_numbers_are_no_wrong_answers(bench):
    with pytest.raises(ValueError, match="not finite"):
        judge(Verdicts([np.nan] * len(bench)), bench)


# What is kept


def test_results_are_read_again_for_the_same_model_and_bench(models, bench, tmp_path, monkeypatch):
    path = tmp_path / "tree.parquet"
    first = evaluate(models["tree"], bench, path)
    monkeypatch.setattr(rewardbench, "judge", lambda *_: pytest.fail("computed again"))
    again = evaluate(models["tree"], bench, path)
    assert again["correct"].tolist() == first["correct"].tolist()
    rewards = np.array([[*map(list, pair)] for pair in again["rewards"]])
    assert rewards.tolist() == np.array(first["rewards"].tolist()).tolist()
    settings = json.loads(again["settings"].iloc[0])
    assert settings["kind"] == "decision-tree" and settings["tree"]["attributes"]
    assert {"weights", "dtype", "attention", "transformers", "bos"} <= set(settings["backbone"])


def test_another_bench_model_or_tree_is_computed_again(
    models, folders, bench, tmp_path, monkeypatch
):
    path, asked = tmp_path / "one.parquet", []
    answer = judge(models["tree"], bench)
    monkeypatch.setattr(rewardbench, "judge", lambda *given: asked.append(given) or answer)
    folder = folders["Decision-Tree-Reward-Llama-3.1-8B"]
    other = [
        (models["tree"], bench),
        (models["tree"], bench.assign(chosen=bench["chosen"] + "!")),
        (models["score"], bench),
        (load(folder, dtype="float64"), bench),
        (load(folder, bos="none"), bench),
        (load(folder, tree=load(folder).tree.effective_rule()), bench),
    ]
    for each in other:
        evaluate(*each, path)
    assert len(asked) == len(other)


def test_an_ensemble_is_judged_whole_and_named_by_its_members(models, bench, tmp_path):
    pair = Ensemble({"one": models["score"]}, {"one": 1.0})
    results = evaluate(pair, bench, tmp_path / "ensemble.parquet")
    assert results["correct"].tolist() == judge(models["score"], bench)["correct"].tolist()
    assert json.loads(results["settings"].iloc[0])["one"]["weights"]


# The pairs


def test_a_folder_gives_its_filtered_split_and_never_the_raw_one(tmp_path, bench):
    (tmp_path / "data").mkdir()
    columns = bench.drop(columns="problem")
    columns.iloc[:5].to_parquet(tmp_path / "data" / "filtered-00000-of-00001.parquet")
    columns.to_parquet(tmp_path / "data" / "raw-00000-of-00001.parquet")
    (tmp_path / "bench.parquet").unlink()
    assert len(load_bench(str(tmp_path))) == 5
    (tmp_path / "data" / "filtered-00000-of-00001.parquet").unlink()
    for source in (tmp_path, tmp_path / "absent.parquet"):
        with pytest.raises(ValueError, match="a folder or Parquet file of it"):
            load_bench(str(source))


def test_the_hub_is_asked_for_the_pinned_commit(tmp_path, bench, monkeypatch):
    bench.to_parquet(tmp_path / "filtered-00000-of-00001.parquet")
    asked = []
    monkeypatch.setattr(
        rewardbench, "snapshot_download", lambda *_, **given: asked.append(given) or str(tmp_path)
    )
    for revision in ("", "another"):
        assert len(load_bench("allenai/reward-bench", revision)) == len(bench)
    assert [each["revision"] for each in asked] == [REVISION, "another"]
    assert re.fullmatch("[0-9a-f]{40}", REVISION) and asked[0]["repo_type"] == "dataset"


def test_missing_columns_and_other_benches_are_refused(tmp_path, bench):
    with pytest.raises(ValueError, match=r"missing \{'chosen'\}"):
        written(tmp_path, bench.drop(columns="chosen"))
    with pytest.raises(ValueError, match=r"found \{'mine'\}"):
        written(tmp_path, bench.assign(subset="mine"))


def test_a_limit_draws_from_each_subset_by_the_seed(tmp_path):
    frame = demo_bench.make_bench(20)
    one, same, other = (written(tmp_path, frame, limit=4, seed=seed) for seed in (0, 0, 1))
    assert (one["subset"].value_counts() == 4).all() and one["subset"].nunique() == 10
    assert one.equals(same) and not one["id"].equals(other["id"])
    assert one["id"].is_monotonic_increasing


def test_pairs_of_one_prompt_are_one_problem_and_so_is_a_place_in_all_languages(tmp_path, bench):
    columns = bench.drop(columns="problem")
    code = columns.query("subset == 'hep-python'")
    rust = code.assign(subset="hep-rust", prompt=code["prompt"] + " In Rust.")
    again = columns.iloc[:1].assign(subset="alpacaeval-hard")
    found = written(tmp_path, pd.concat([columns, rust, again]))
    by_subset = {name: rows["problem"].tolist() for name, rows in found.groupby("subset")}
    assert by_subset["hep-rust"] == by_subset["hep-python"]
    assert by_subset["alpacaeval-hard"] == [found["problem"].iloc[0]]
    assert found["problem"].nunique() == len(columns)


def test_the_demo_bench_asks_what_the_study_has_not_seen():
    bench = demo_bench.make_bench(seed=1)
    assert list(bench) == rewardbench.COLUMNS and bench["id"].is_unique
    assert not set(bench["prompt"]) & set(demo.make_pairs(seed=1)["prompt"])
    assert bench["prompt"].is_unique and (bench["chosen"] != bench["rejected"]).all()
    assert (WEIGHTS.loc[bench["subset"].unique()].sum() > 0).all()  # all four sections
    for pair in bench.query("subset == 'hep-python'").itertuples():
        words = zip(
            re.findall(r"\d+|\D+", pair.chosen), re.findall(r"\d+|\D+", pair.rejected), strict=True
        )
        changed = [(one, other) for one, other in words if one != other]
        assert len(changed) == 1 and changed[0][0] == re.findall(r"\d+", pair.chosen)[-1]


# Real pairs


def test_small_models_judge_the_real_pairs_of_llmbar(shared_data, models, tmp_path):
    bench = load_bench(str(shared_data / "rewardbench_llmbar.parquet"))
    assert len(bench) == 419 and bench["problem"].nunique() == 418  # one prompt is in two subsets
    asked = bench["subset"].value_counts()
    assert asked.to_dict() == WEIGHTS.loc[asked.index, "Chat Hard"].to_dict()
    for name, model in models.items():
        results = evaluate(model, bench, tmp_path / f"{name}.parquet")
        found = section_intervals(results, resamples=200)
        assert set(found) == {"Chat Hard"} and section_scores(results).notna().sum() == 1
        # Random weights: a coin's 50 %, within 5 standard errors of 419 pairs.
        assert abs(found["Chat Hard"].estimate - 50) < 5 * 50 / np.sqrt(419)


# The notebook


@pytest.fixture(scope="module")
def executed(folders, tmp_path_factory):
    """The notebook's second run on a small real-like bench: two models that work, two that do not."""
    folder = tmp_path_factory.mktemp("data")
    demo_bench.make_bench(4).to_parquet(folder / "own.parquet")
    tree, score = (str(folders[name]) for name in sorted(folders) if name != "five")
    given = {"study": "own", "bench_source": f"{folder}/own.parquet", "data_dir": str(folder)}
    given |= {"models": [tree, score, str(folders["five"]), "absent/model"], "bases": {tree: score}}
    given |= {"resamples": 100, "sort_by": "Chat Hard"}
    path = folder / "own" / "09_evaluate_rewardbench.ipynb"
    run(ROOT / "notebooks" / path.name, path, given)
    return path.parent


def test_the_notebook_goes_on_after_a_model_that_fails_and_says_so(executed):
    record = json.loads((executed / "09_evaluate_rewardbench.json").read_text())
    assert set(record["numbers"]["failed"]) >= {"absent/model"}
    assert len(record["numbers"]["failed"]) == 2 and len(record["numbers"]["kinds"]) == 2
    assert not record["claims"][0]["held"] and "2 of 4" in record["claims"][0]["sentence"]
    assert sorted(path.stem for path in (executed / "rewardbench").iterdir()) == [
        "Decision-Tree-Reward-Llama-3.1-8B",
        "Skywork-Reward-Llama-3.1-8B-v0.2",
    ]


def test_the_table_sets_measured_rows_beside_published_ones(executed):
    table = pd.read_csv(executed / "09_table.csv")
    board = pd.read_csv(PUBLISHED / "leaderboard.csv")
    kinds = table["row"].str.partition(":")[0].value_counts()
    assert kinds["measured"] == 4 and kinds["failed"] == 2  # two models, two baselines
    assert kinds["published"] == kinds["difference"] == 2
    assert kinds["published only"] == len(board) - 2
    difference = table[table["row"] == "difference"]
    # No section of this small bench is complete, so nothing is subtracted.
    assert difference[["Chat", "Chat Hard", "Safety", "Reasoning", "overall"]].isna().all(axis=None)
    first = table.groupby("model", sort=False)["Chat Hard"].first().dropna()
    assert first.is_monotonic_decreasing
    for kind in ("md", "tex"):
        text = (executed / f"09_table.{kind}").read_text()
        assert all(name in text for name in board["model"])


def test_the_executed_notebook_has_its_figures_and_no_error(executed):
    notebook = nbformat.read(executed / "09_evaluate_rewardbench.ipynb", as_version=4)
    assert "Traceback" not in json.dumps(notebook) and "Warning" not in json.dumps(notebook)
    names = {path.stem for path in (executed / "figures").iterdir()}
    wanted = {"section_scores", "mcnemar", "accuracy_by_length", "calibration"}
    assert names == {f"09_{name}" for name in wanted}


def test_no_results_and_pairs_that_come_twice_are_errors(tmp_path):
    with pytest.raises(ValueError, match="expected correct"):
        section_scores(pd.DataFrame({"subset": [], "correct": []}))
    bench = demo_bench.make_bench(2)
    pd.concat([bench, bench.head(3)]).to_parquet(tmp_path / "bench.parquet")
    with pytest.raises(ValueError, match="3 rows repeat"):
        load_bench(str(tmp_path / "bench.parquet"))
