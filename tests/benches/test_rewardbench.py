"""RewardBench: the leaderboard's arithmetic, what counts as right, what is kept, and its notebook."""

import dataclasses
import json
import math
import os
import re
import signal
import time

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from judge_server import endpoint, says
from processes import die_at, start
from replicas import make_decision_tree_replica, make_replica
from reward_replicas import make_critic

from dtreward import load
from dtreward.benches import (
    evaluate,
    evaluation,
    judge,
    load_bench,
    rewardbench,
    section_intervals,
    section_scores,
)
from dtreward.benches.rewardbench import REVISION, WEIGHTS, load_rewardbench
from dtreward.demo import bench as demo_bench
from dtreward.demo import world as demo
from dtreward.demo.newer_benches import make_newer_benches
from dtreward.judges.judge import Judge
from dtreward.models.catalogue import CATALOGUE
from dtreward.models.comparison import Comparison, RewardModel
from dtreward.models.endpoint import JudgeModel
from dtreward.models.ensemble import Ensemble
from dtreward.published import PUBLISHED
from dtreward.stats import alike_interval
from dtreward.study.run import run

BLANK = 5  # the pair of the notebook's bench that has a blank response
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
    return load_rewardbench(str(folder / name), **options)


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


def test_unknown_subsets_form_a_section_of_their_own_and_leave_the_others_alone():
    known = {"llmbar-natural": (1, 2), "mt-bench-hard": (2, 2)}
    alone = section_scores(results_of(known))
    scores = section_scores(results_of(known | {"mine": (1, 4), "yours": (2, 2)}))
    assert scores["Other"] == pytest.approx(100 * 3 / 6)  # over its pairs
    assert scores["Chat Hard"] == alone["Chat Hard"] and math.isnan(scores["overall"])
    intervals = section_intervals(results_of({"mine": (10, 20)}), resamples=50)
    assert set(intervals) == {"Other"} and intervals["Other"].estimate == 50


def test_impossible_values_are_refused():
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
    results = results_of({"math-prm": (1, 2), "hep-go": (1, 1)})
    found = section_intervals(results, resamples=200)["Reasoning"]
    weight = 100 * 984 / (984 + 164)  # of math; code is right in every resample that has it
    assert (found.low, found.high) == pytest.approx((100 - weight, 100)) and not recwarn.list


def test_where_all_are_right_the_interval_is_that_of_clopper_and_pearson():
    """Tabulated: 10 successes in 10 trials give [0.6915, 1], 30 give [0.8843, 1]."""
    for asked, low in ((10, 69.15), (30, 88.43)):
        right = section_intervals(results_of({"llmbar-natural": (asked, asked)}))["Chat Hard"]
        wrong = section_intervals(results_of({"llmbar-natural": (0, asked)}))["Chat Hard"]
        assert (right.estimate, right.low, right.high) == pytest.approx((100, low, 100), abs=0.01)
        assert (wrong.estimate, wrong.low, wrong.high) == pytest.approx((0, 0, 100 - low), abs=0.01)


def test_the_level_of_an_interval_is_also_that_of_sections_where_all_are_right():
    results = results_of({"llmbar-natural": (20, 20), "math-prm": (15, 20)})
    plain, strict = section_intervals(results), section_intervals(results, level=0.999)
    for section in ("Chat Hard", "Reasoning"):
        assert strict[section].low < plain[section].low


def test_pairs_of_one_problem_do_not_narrow_an_interval_of_all_right():
    code = results_of(dict.fromkeys(CODE, (20, 20)))
    related = code.assign(problem=code.groupby("subset").cumcount())
    alone, together = (section_intervals(each)["Reasoning"] for each in (code, related))
    assert together.low == pytest.approx(100 * 0.025 ** (1 / 20))
    assert alone.low == pytest.approx(100 * 0.025 ** (1 / 120))


def test_no_weighting_makes_all_right_likelier_than_the_interval_admits():
    """Its law: if the mean is below the interval, all alike has a chance of at most 2.5 %."""
    random = np.random.default_rng(0)
    for _ in range(500):
        shares = random.dirichlet(np.full(random.integers(1, 30), random.choice([0.3, 1, 10])))
        low = alike_interval(1.0, shares.max()).low
        q = random.beta(random.choice([0.5, 2, 20]), 1, size=len(shares))
        q = q ** random.choice([1.0, 0.1, 0.01])
        if shares @ q < low:
            assert q.prod() <= 0.025
    even = np.full(12, 1 / 12)  # and with equal weights it is exact: no shorter one would do
    assert (np.full(12, alike_interval(1.0, even.max()).low)).prod() == pytest.approx(0.025)


def test_intervals_cover_the_truth_where_all_right_is_common():
    """Of 200 benches; the bootstrap alone, which gives no width to half of them, is the control."""
    random, covers, bootstrap_alone = np.random.default_rng(1), 0, 0
    truth = {"math-prm": 0.97, "hep-go": 0.99, "hep-rust": 0.99}
    sizes = {"math-prm": 20, "hep-go": 15, "hep-rust": 15}
    weights = WEIGHTS.loc[list(truth), "Reasoning"]
    score = 100 * np.average(list(truth.values()), weights=weights)
    for _ in range(200):
        won = {
            name: (int(random.binomial(sizes[name], p)), sizes[name]) for name, p in truth.items()
        }
        found = section_intervals(results_of(won), resamples=100)["Reasoning"]
        covers += found.low <= score <= found.high
        bootstrap_alone += found.estimate < 100 and found.low <= score <= found.high
    # 95 % less 3 standard errors of 200 (1.54 % each).
    assert covers / 200 >= 0.95 - 0.046
    assert bootstrap_alone / 200 < 0.7


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


class Words(RewardModel):
    """A user's own: the response of more words is better; it cannot read some texts."""

    kind = "score"

    def __init__(self, refuses=(), infinite=(), wait=0.0):
        self.refuses, self.infinite, self.wait, self.asked = refuses, infinite, wait, []

    @property
    def identity(self):
        """What makes its answers."""
        return {"refuses": list(self.refuses), "infinite": list(self.infinite)}

    def scores(self, conversations):
        """Count words."""
        return np.array([self._score(*each) for each in conversations])

    def compare_many(self, prompts, responses1, responses2):
        """Compare many pairs."""
        texts = zip(prompts, responses1, responses2, strict=True)
        return [self._compare(*each) for each in texts]

    def _score(self, prompt, response):
        if prompt in self.refuses:
            raise ValueError(f"I do not read\n{prompt[:9]}")
        return math.inf if prompt in self.infinite else float(len(response.split()))

    def _compare(self, prompt, one, two):
        time.sleep(self.wait)
        pair = self.scores([(prompt, one), (prompt, two)])
        self.asked.append(prompt)
        return Comparison.of(pair[:, None], attributes=["words"], scores=pair)


def test_verdicts_count_as_the_mean_of_both_orders_and_one_that_names_neither_half(bench):
    given = [0.0, 0.25, 0.5, 0.75, 1.0] * 6
    assert judge(Verdicts(given), bench)["correct"].tolist() == given


# What cannot be read

NUMBERS = ["preference", "probability", "swapped", "swap_flips", "correct"]


def test_a_pair_that_cannot_be_read_says_why_and_changes_no_other(bench):
    prompts = bench["prompt"].tolist()
    whole = judge(Words(), bench)
    assert (whole["unread"] == "").all() and whole[NUMBERS].notna().all(axis=None)
    for gone in ([4], [0, 29], [7, 8, 9, 10, 21]):
        results = judge(Words(refuses=[prompts[k] for k in gone]), bench)
        assert np.flatnonzero(results["unread"] != "").tolist() == gone
        assert results["unread"][gone[0]] == f"I do not read {prompts[gone[0]][:9]}"
        assert results.loc[gone, NUMBERS].isna().all(axis=None)
        others = results.index.difference(gone)
        assert results.loc[others].equals(whole.loc[others])


@pytest.mark.filterwarnings("ignore:invalid value")  # of inf - inf
def test_scores_that_are_not_numbers_are_neither_right_nor_wrong(bench):
    for bad in (np.nan, np.inf):
        given = [1.0] * 29 + [bad]
        results = judge(Verdicts(given), bench)
        assert "not finite" in results["unread"][29] and results["correct"][:29].eq(1).all()
        assert np.isnan(results["correct"][29])
    results = judge(Words(infinite=[bench["prompt"][3]]), bench)
    assert "not finite" in results["unread"][3] and (results["unread"] != "").sum() == 1


@pytest.mark.parametrize(
    "name", ["Decision-Tree-Reward-Llama-3.1-8B", "Skywork-Reward-Llama-3.1-8B-v0.2"]
)
def test_blank_and_too_long_pairs_are_not_read_by_real_models(name, folders, bench):
    whole = judge(load(folders[name]), bench)
    spoilt = bench.copy()
    spoilt.loc[2, "rejected"], spoilt.loc[5, "prompt"] = " \n", "word " * 3000
    results = judge(load(folders[name]), spoilt)
    assert (
        "must be a text that is not blank" in results["unread"][2]
        and "than max_length=" in results["unread"][5]
    )
    others = results.index.difference([2, 5])
    assert same(results.loc[others], whole.loc[others])


def test_scores_are_of_the_pairs_that_were_read(bench, tmp_path):
    refused = bench["prompt"][bench["subset"] == "mt-bench-easy"].tolist()
    results = evaluate(Words(refuses=refused), bench, tmp_path / "own.parquet")
    with pytest.raises(ValueError, match="drop pairs that nobody judged"):
        section_scores(results)
    read = results[results["unread"] == ""]
    assert len(read) == len(bench) - len(refused) and "mt-bench-easy" not in set(read["subset"])
    assert (
        section_scores(read)["Chat"]
        == section_scores(judge(Words(), bench).loc[read.index])["Chat"]
    )


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_model_that_reads_nothing_fails_with_the_reason_and_leaves_nothing(bench, tmp_path):
    for model in (
        Words(refuses=bench["prompt"].tolist()),
        Words(infinite=bench["prompt"].tolist()),
    ):
        with pytest.raises(
            ValueError, match=r"none of 30 pairs could be read: (I do not|its probability, s)"
        ):
            evaluate(model, bench, tmp_path / "own.parquet", part=7)
        assert not list(tmp_path.glob("own*"))


# Several responses


@pytest.mark.parametrize("name", ["tree", "score"])
def test_real_models_say_of_several_responses_what_they_say_of_each_two(name, models, tmp_path):
    """Each response is read once; a tree's win is the mean of both orders, a tie of scores none."""
    make_newer_benches(1)["RM-Bench"].to_parquet(tmp_path / "styles.parquet")
    bench, model = load_bench(str(tmp_path / "styles.parquet")), models[name]
    results = bench.judge(model, bench.items.head(2))
    for row, item in zip(results.itertuples(), bench.items.itertuples(), strict=False):
        pairs = [(right, wrong) for right in item.chosen for wrong in item.rejected]
        second = [model.compare(item.prompt, wrong, right) for right, wrong in pairs]
        first = [model.compare(item.prompt, right, wrong) for right, wrong in pairs]
        won = [one.preference for one in second]
        if name == "tree":
            swapped = zip(won, first, strict=True)
            won = [(one + 1 - other.preference) / 2 for one, other in swapped]
        assert row.won == won and row.correct == np.mean(won)
        assert row.rewards[0] == second[0].rewards[1] and row.rewards[3] == second[0].rewards[0]


@pytest.mark.parametrize(("text", "number"), [(" ", 1), (" ", 4), ("word " * 3000, 5)])
def test_a_response_that_a_real_model_cannot_read_is_named_by_its_number(
    text, number, models, tmp_path
):
    make_newer_benches(1)["RM-Bench"].to_parquet(tmp_path / "styles.parquet")
    bench = load_bench(str(tmp_path / "styles.parquet"))
    item = bench.items.head(1).copy()
    column, place = ("chosen", number - 1) if number < 4 else ("rejected", number - 4)
    texts = list(item[column].iloc[0])
    texts[place] = text
    item[column] = [texts]
    (unread,) = bench.judge(models["score"], item)["unread"]
    assert unread.startswith(f"response {number}: ")


# What is kept


def same(one, other):
    """Whether two results are equal, the lists in their cells too."""
    return one.to_json(double_precision=15) == other.to_json(double_precision=15)


def test_results_are_read_again_for_the_same_model_and_bench(models, bench, tmp_path, monkeypatch):
    path = tmp_path / "tree.parquet"
    first = evaluate(models["tree"], bench, path)
    monkeypatch.setattr(evaluation, "judge", lambda *_: pytest.fail("computed again"))
    again = evaluate(models["tree"], bench, path)
    assert same(first, again)
    settings = json.loads(again["settings"].iloc[0])["model"]
    assert settings["kind"] == "decision-tree" and settings["tree"]["attributes"]
    assert {"weights", "dtype", "attention", "transformers", "bos"} <= set(settings["backbone"])


def test_another_bench_model_or_tree_is_computed_again(
    models, folders, bench, tmp_path, monkeypatch
):
    path, asked = tmp_path / "one.parquet", []
    answer = judge(models["tree"], bench)
    monkeypatch.setattr(evaluation, "judge", lambda *given: asked.append(given) or answer)
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


@pytest.mark.parametrize("part", [1, 7, 64])
def test_parts_of_any_size_give_what_all_at_once_gives(models, bench, tmp_path, part):
    for name, model in models.items():
        results = evaluate(model, bench, tmp_path / f"{name}.parquet", part=part)
        assert same(results.drop(columns="settings"), judge(model, bench))
        assert [path.name for path in tmp_path.glob(f"{name}*")] == [f"{name}.parquet"]


def test_a_users_own_model_is_evaluated_by_the_identity_that_it_gives(bench, tmp_path):
    path, model = tmp_path / "own.parquet", Words()
    first = evaluate(model, bench, path)
    assert json.loads(first["settings"][0])["model"] == model.identity
    assert same(evaluate(again := Words(), bench, path), first) and not again.asked
    other = Words(refuses=[bench["prompt"][0]])
    assert evaluate(other, bench, path)["unread"][0] and other.asked
    with pytest.raises(NotImplementedError, match=r"Verdicts .*give it a property `identity`"):
        evaluate(Verdicts([]), bench, path)


def test_a_damaged_file_is_made_again(bench, tmp_path):
    path = tmp_path / "own.parquet"
    first = evaluate(Words(), bench, path)
    path.write_bytes(path.read_bytes()[:-100])
    assert same(evaluate(Words(), bench, path), first)


# kill -9


def evaluate_in_child(path, kill):
    """Evaluate; die by SIGKILL before or after the n-th call of an `os` function, or when killed."""
    die_at(kill)
    evaluate(Words(wait=0.01), load_rewardbench(str(path.with_name("bench.parquet"))), path, part=4)


def test_killed_at_every_kind_of_moment_it_resumes_to_the_same_results(bench, tmp_path):
    path, parts = tmp_path / "own.parquet", tmp_path / "own.parts"
    moments = [("fsync", 1, False), ("replace", 2, False), ("replace", 3, True)]
    for moment, whole in zip(moments, (0, 1, 4), strict=True):
        process = start(evaluate_in_child, path, moment)
        process.join(120)
        assert process.exitcode == -signal.SIGKILL and not path.exists()
        assert len(list(parts.glob("0*.parquet"))) == whole
    before = {each.name: each.stat().st_mtime_ns for each in parts.glob("0*.parquet")}
    process = start(
        evaluate_in_child, path, ("replace", 8 - 4, True)
    )  # the last part, not yet the whole
    process.join(120)
    assert process.exitcode == -signal.SIGKILL and not path.exists()
    assert (
        before.items() <= {each.name: each.stat().st_mtime_ns for each in parts.iterdir()}.items()
    )
    process = start(
        evaluate_in_child, path, ("replace", 1, True)
    )  # the whole, with its parts beside it
    process.join(120)
    assert process.exitcode == -signal.SIGKILL and path.exists()
    undisturbed = evaluate(Words(), bench, tmp_path / "other.parquet")
    assert same(pd.read_parquet(path), undisturbed)
    assert same(evaluate(model := Words(), bench, path), undisturbed) and not model.asked


def test_killed_from_outside_it_asks_only_what_is_missing(bench, tmp_path):
    path, parts, exits = tmp_path / "own.parquet", tmp_path / "own.parts", []
    for wanted in (1, 3, 5):
        process, deadline = start(evaluate_in_child, path, None), time.monotonic() + 60
        while len(list(parts.glob("0*.parquet"))) < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        exits.append(process.exitcode)
    assert exits == [-signal.SIGKILL] * 3
    kept = len(list(parts.glob("0*.parquet")))
    assert 5 <= kept < 8
    model = Words()
    results = evaluate(model, bench, path, part=4)
    assert model.asked == bench["prompt"].tolist()[4 * kept :]
    assert same(results, evaluate(Words(), bench, tmp_path / "other.parquet"))
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "bench.parquet",
        "other.parquet",
        "own.parquet",
    ]


# Ensembles


def pair_of(models, bench, **options):
    members = {"one": models["score"], "two": Words(**options)}
    return Ensemble(members, {"one": 1.0, "two": 0.3})


def test_an_ensemble_is_judged_whole_and_named_by_its_members(models, bench, tmp_path):
    pair = Ensemble({"one": models["score"]}, {"one": 1.0})
    results = evaluate(pair, bench, tmp_path / "ensemble.parquet")
    assert results["correct"].tolist() == judge(models["score"], bench)["correct"].tolist()
    members = json.loads(results["settings"].iloc[0])["model"]["members"]
    assert members["one"]["backbone"]["weights"] and members["one"]["head"]


@pytest.mark.parametrize("part", [1, 7, 64])
def test_parts_do_not_change_how_an_ensemble_scales_over_all_responses(
    models, bench, tmp_path, part
):
    ensemble = pair_of(models, bench)
    results = evaluate(ensemble, bench, tmp_path / "pair.parquet", part=part)
    texts = (bench[name].tolist() for name in ("prompt", "rejected", "chosen"))
    whole = ensemble.compare_many(*texts)
    assert [list(each) for each in results["scores"]] == [each.scores for each in whole]
    assert results["preference"].tolist() == [each.preference for each in whole]
    alone = [ensemble.compare(*pair).scores for pair in zip(*texts, strict=True)]
    assert alone != [each.scores for each in whole]  # the control: scaled in parts it is another


def test_an_ensemble_scales_over_the_pairs_that_all_its_members_read(models, bench, tmp_path):
    refused = bench["prompt"][[3, 11]].tolist()
    ensemble = pair_of(models, bench, refuses=refused)
    results = evaluate(ensemble, bench, tmp_path / "pair.parquet", part=5)
    assert np.flatnonzero(results["unread"] != "").tolist() == [3, 11]
    others = bench.drop(index=[3, 11])
    without = judge(pair_of(models, others), others)
    read = results.drop(index=[3, 11])
    assert [list(each) for each in read["scores"]] == without["scores"].tolist()
    assert judge(ensemble, bench)["correct"].equals(results["correct"])


def test_an_ensemble_whose_members_read_no_pair_in_common_fails_with_a_reason(bench, tmp_path):
    halves = bench["prompt"].tolist()[:15], bench["prompt"].tolist()[15:]
    members = {str(k): Words(refuses=half) for k, half in enumerate(halves)}
    with pytest.raises(ValueError, match="none of 30 pairs could be read: I do not read"):
        evaluate(Ensemble(members, dict.fromkeys(members, 1.0)), bench, tmp_path / "pair.parquet")


def test_other_weights_ask_no_member_again_and_other_members_are_asked(models, bench, tmp_path):
    path, ensemble = tmp_path / "pair.parquet", pair_of(models, bench)
    first = evaluate(ensemble, bench, path)
    words = Words()
    members = ensemble.members | {"two": words}
    for changed in ({"one": 0.3, "two": 1.0}, {"two": 1.0}):
        other = evaluate(Ensemble(members, changed), bench, path)
        assert not words.asked and not same(other, first)
    told = other["correct"].tolist()
    assert told == judge(words, bench)["correct"].tolist()
    asked = Words(refuses=[bench["prompt"][0]])
    evaluate(Ensemble(ensemble.members | {"two": asked}, ensemble.weights), bench, path)
    assert asked.asked


def test_an_ensemble_of_models_without_scores_says_so(bench, tmp_path):
    told = Ensemble({"one": Verdicts([1.0] * len(bench))}, {"one": 1.0})
    with pytest.raises(ValueError, match="members must give scores"):
        judge(told, bench)


# Identity


def test_an_identity_holds_all_that_changes_what_a_model_says(models, folders, tmp_path):
    critic, tree = load(make_critic(tmp_path)), models["tree"]
    pair = Ensemble({"one": models["score"], "two": Words()}, {"one": 1.0, "two": 0.5})
    judged = JudgeModel(Judge("J", "m", "http://localhost:1/v1"), tmp_path / "answers")
    other_head = load(folders["Decision-Tree-Reward-Llama-3.1-8B"]).head
    with np.errstate(all="ignore"):
        other_head.score.bias.data += 1.0
    kinds = {
        "tree": [
            tree,
            dataclasses.replace(tree, tree=tree.tree.effective_rule()),
            dataclasses.replace(tree, head=other_head),
            load(folders["Decision-Tree-Reward-Llama-3.1-8B"], max_length=100),
            load(folders["Decision-Tree-Reward-Llama-3.1-8B"], too_long="cut_prompt_start"),
            load(folders["Decision-Tree-Reward-Llama-3.1-8B"], attention="flex"),
        ],
        "critic": [
            critic,
            dataclasses.replace(critic, template=critic.template + "!"),
            dataclasses.replace(critic, max_tokens=9),
            dataclasses.replace(critic, backbone=tree.backbone),
        ],
        "ensemble": [
            pair,
            dataclasses.replace(pair, weights={"one": 1.0, "two": 0.6}),
            dataclasses.replace(pair, limits={"one": (0.0, 1.0), "two": (0.0, 1.0)}),
            dataclasses.replace(pair, members=pair.members | {"two": Words(refuses=["a"])}),
            Ensemble({"one": pair, "two": pair}, {"one": 1.0}),
            Ensemble({"one": pair, "two": dataclasses.replace(pair, limits={})}, {"one": 1.0}),
        ],
        "judge": [
            judged,
            dataclasses.replace(judged, template=judged.template + "!"),
            dataclasses.replace(judged, judge=dataclasses.replace(judged.judge, model="n")),
            dataclasses.replace(judged, judge=dataclasses.replace(judged.judge, max_tokens=99)),
            dataclasses.replace(
                judged, judge=dataclasses.replace(judged.judge, extra={"top_p": 1})
            ),
        ],
    }
    for name, variants in kinds.items():
        told = [json.dumps(each.identity, sort_keys=True) for each in variants]
        assert len(set(told)) == len(told), name
        assert json.dumps(variants[0].identity, sort_keys=True) == told[0]
    reloaded = load(folders["Decision-Tree-Reward-Llama-3.1-8B"])
    assert reloaded.identity == tree.identity


# The pairs


def test_a_folder_gives_its_filtered_split_and_never_the_raw_one(tmp_path, bench):
    (tmp_path / "data").mkdir()
    columns = bench.drop(columns="problem")
    columns.iloc[:5].to_parquet(tmp_path / "data" / "filtered-00000-of-00001.parquet")
    columns.to_parquet(tmp_path / "data" / "raw-00000-of-00001.parquet")
    (tmp_path / "bench.parquet").unlink()
    assert len(load_rewardbench(str(tmp_path))) == 5
    (tmp_path / "data" / "filtered-00000-of-00001.parquet").unlink()
    for source in (tmp_path, tmp_path / "absent.parquet"):
        with pytest.raises(ValueError, match="a folder or Parquet file of it"):
            load_rewardbench(str(source))


def test_the_hub_is_asked_for_the_pinned_commit(tmp_path, bench, monkeypatch):
    bench.to_parquet(tmp_path / "filtered-00000-of-00001.parquet")
    asked = []
    monkeypatch.setattr(
        rewardbench, "snapshot_download", lambda *_, **given: asked.append(given) or str(tmp_path)
    )
    for revision in ("", "another"):
        assert len(load_rewardbench("allenai/reward-bench", revision)) == len(bench)
    assert [each["revision"] for each in asked] == [REVISION, "another"]
    assert re.fullmatch("[0-9a-f]{40}", REVISION) and asked[0]["repo_type"] == "dataset"


def test_missing_columns_are_refused(tmp_path, bench):
    with pytest.raises(ValueError, match=r"missing \{'chosen'\}"):
        written(tmp_path, bench.drop(columns="chosen"))


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
    bench = load_rewardbench(str(shared_data / "rewardbench_llmbar.parquet"))
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


JUDGE = "TextEval-Llama3.1-70B"


@pytest.fixture(scope="module")
def executed(folders, tmp_path_factory):
    """The notebook on a small real-like bench: two models and a judge that work, two that do not.

    One pair is blank. The judge always answers that the response shown first is better.
    """
    folder = tmp_path_factory.mktemp("data")
    bench = demo_bench.make_bench(4)
    bench.loc[BLANK, "chosen"] = " "
    bench.to_parquet(folder / "own.parquet")
    tree, score = (str(folders[name]) for name in sorted(folders) if name != "five")
    given = {"study": "own", "bench_source": f"{folder}/own.parquet", "data_dir": str(folder)}
    given |= {"models": [tree, score, str(folders["five"]), "absent/model"], "bases": {tree: score}}
    given |= {"resamples": 100, "sort_by": "Chat Hard", "benches": [f"{folder}/styles.parquet"]}
    make_newer_benches(2)["RM-Bench"].to_parquet(folder / "styles.parquet")
    path = folder / "own" / "09_evaluate_rewardbench.ipynb"
    with endpoint(lambda *_: says("A is the better response")) as (url, _):
        given["models"].append({"name": JUDGE, "model": "m", "endpoint": url})
        run(ROOT / "notebooks" / path.name, path, given)
    return path.parent


def test_the_notebook_goes_on_after_a_model_that_fails_and_says_so(executed):
    record = json.loads((executed / "09_evaluate_rewardbench.json").read_text())
    assert set(record["numbers"]["failed"]) >= {"absent/model"}
    assert len(record["numbers"]["failed"]) == 2 and len(record["numbers"]["kinds"]) == 3
    assert not record["claims"][0]["held"] and "3 of 5" in record["claims"][0]["sentence"]
    assert sorted(path.name for path in (executed / "rewardbench").iterdir()) == [
        "Decision-Tree-Reward-Llama-3.1-8B.parquet",
        "Skywork-Reward-Llama-3.1-8B-v0.2.parquet",
        f"{JUDGE}.answers",
        f"{JUDGE}.parquet",
        "rm-bench",
    ]
    (reason,) = {
        each for why in record["numbers"]["failed"].values() for each in [why] if "tree" in why
    }
    assert "none of 40 pairs could be read" in reason and "pass tree=" in reason


def test_the_notebook_scores_further_benches_and_says_what_style_does(executed):
    numbers = json.loads((executed / "09_evaluate_rewardbench.json").read_text())["numbers"]
    scores, style = numbers["newer_benches"]["RM-Bench"], numbers["style_effect"]
    assert set(scores) == set(style) == {*numbers["kinds"], "longest response"}
    # The judge names the response shown first in both orders: half of every pair, of any style.
    assert scores[JUDGE]["overall"]["estimate"] == pytest.approx(50)
    assert style[JUDGE]["all"]["estimate"] == pytest.approx(0, abs=1e-9)
    assert style["longest response"]["all"]["estimate"] > 90
    assert len(list((executed / "rewardbench" / "rm-bench").glob("*.parquet"))) == 3
    assert (executed / "figures" / "09_style_effect.png").exists()


def test_the_table_sets_measured_rows_beside_published_ones(executed):
    table = pd.read_csv(executed / "09_table.csv")
    board = pd.read_csv(PUBLISHED / "leaderboard.csv")
    kinds = table["row"].str.partition(":")[0].value_counts()
    assert (kinds["measured"], kinds["baseline"], kinds["failed"]) == (3, 2, 2)
    assert kinds["published"] == 3 and kinds["published only"] == len(board) - 3
    # No section of this small bench is complete, so nothing is subtracted.
    assert "difference" not in kinds
    first = table.groupby("model", sort=False)["Chat Hard"].first().dropna()
    assert first.is_monotonic_decreasing
    for kind in ("md", "tex"):
        text = (executed / f"09_table.{kind}").read_text()
        assert all(name in text for name in board["model"])


def test_a_measured_row_says_how_many_pairs_were_not_read_and_why_it_is_not_comparable(executed):
    rows = pd.read_csv(executed / "09_table.csv").set_index("model")
    rows = rows[rows["row"].isin(["measured", "baseline"])]
    models = ["Decision-Tree-Reward-Llama-3.1-8B", "Skywork-Reward-Llama-3.1-8B-v0.2", JUDGE]
    assert (rows.loc[models, "pairs"] == 39).all() and (rows.loc[models, "unread"] == 1).all()
    assert (rows["pairs"] + rows["unread"] == 40).all() and rows.loc[
        "longest response", "unread"
    ] == 0
    assert rows.loc[models, "note"].str.contains("39 pairs; 1 not read, one because: .*text").all()
    for words in ("nothing public", "endpoint", "not comparable to its published scores"):
        assert (
            words in rows.loc[JUDGE, "note"]
            and not rows.loc[models[:2], "note"].str.contains(words).any()
        )
    for kind in ("md", "tex"):
        assert "not comparable" in (executed / f"09_table.{kind}").read_text()
    record = json.loads((executed / "09_evaluate_rewardbench.json").read_text())["numbers"]
    assert {name: sum(found.values()) for name, found in record["unread"].items()} == dict.fromkeys(
        models, 1
    )
    assert record["ties"][JUDGE] == 39  # it names the first response in both orders
    found = pd.read_parquet(executed / "rewardbench" / f"{models[0]}.parquet")
    scores = section_scores(found[found["unread"] == ""]).dropna()
    told = rows.loc[models[0], scores.index].astype(float)
    np.testing.assert_allclose(told, scores, rtol=1e-12)


def test_claims_name_their_margin_and_ask_for_more_the_more_claims_there_are(executed):
    record = json.loads((executed / "09_evaluate_rewardbench.json").read_text())
    claims = {claim["sentence"]: claim["held"] for claim in record["claims"]}
    longest = [each for each in claims if "to beat the longest response" in each]
    assert len(longest) == 3 and all("by more than 1.0 points" in each for each in longest)
    tests = {
        each["row"]: each
        for each in record["numbers"]["tests"]
        if each["minus"] == "longest response"
    }
    for sentence in longest:
        name = re.match("Expected (.*) to beat", sentence)[1]
        low, high = map(float, re.search(r"\[(.*), (.*)\]", sentence).groups())
        assert claims[sentence] == (None if low <= 1.0 <= high else low > 1.0)
        if name in tests:
            one, two = map(float, tests[name]["interval"].strip("[]").split(","))
            assert low < one and two < high  # wider than that of one comparison alone


def test_a_star_needs_two_tests_that_find_the_same_model_better(executed):
    """The judge ties on every pair: half right by problem, and never by McNemar, where ties lose."""
    numbers = json.loads((executed / "09_evaluate_rewardbench.json").read_text())["numbers"]
    said = {}
    for name in numbers["kinds"]:
        found = pd.read_parquet(executed / "rewardbench" / f"{name}.parquet")
        said[name] = found[found["unread"] == ""]
    checked = [row for row in numbers["tests"] if {row["row"], row["minus"]} <= set(said)]
    for row in checked:
        one, two = (said[row[side]]["preference"] for side in ("row", "minus"))
        both = max(row["p McNemar (Holm)"], row["p by problem (Holm)"]) <= 0.05
        assert row["firm"] == (both and (one - two).mean() * row["points"] > 0)
    assert len(checked) == 3 and said[JUDGE]["correct"].eq(0.5).all()
    assert not said[JUDGE]["preference"].any()


def test_verdicts_of_both_orders_are_not_told_as_those_of_one(executed):
    numbers = json.loads((executed / "09_evaluate_rewardbench.json").read_text())["numbers"]
    assert set(numbers["chosen_second"]) == set(numbers["kinds"]) - {JUDGE}


def test_a_baseline_counts_equal_lengths_as_half(executed):
    bench = pd.read_parquet(executed.parent / "own.parquet")
    one, two = (bench[name].str.split().str.len() for name in ("chosen", "rejected"))
    rows = pd.read_csv(executed / "09_table.csv").set_index("model")
    rows = rows[rows["row"].isin(["measured", "baseline"])]
    results = bench.assign(correct=0.5 + np.sign(one - two) / 2)
    told = rows.loc["longest response", ["Chat", "Reasoning"]].astype(float)
    np.testing.assert_allclose(told, section_scores(results)[told.index])
    assert (one == two).any()


def test_a_revision_of_no_model_is_refused_before_any_is_loaded(executed, folders, tmp_path):
    given = {"study": "own", "bench_source": f"{executed.parent}/own.parquet"}
    given |= {"data_dir": str(tmp_path), "models": [str(folders["five"])]}
    given |= {"revisions": {"nobody/nothing": "abc"}}
    path = tmp_path / "own" / "09_evaluate_rewardbench.ipynb"
    with pytest.raises(Exception, match=r"revisions of no model or bench: .'nobody/nothing'"):
        run(ROOT / "notebooks" / path.name, path, given)


def test_the_executed_notebook_has_its_figures_and_no_error(executed):
    notebook = nbformat.read(executed / "09_evaluate_rewardbench.ipynb", as_version=4)
    assert "Traceback" not in json.dumps(notebook) and "Warning" not in json.dumps(notebook)
    names = {path.stem for path in (executed / "figures").iterdir()}
    wanted = {"section_scores", "leaderboard", "mcnemar", "accuracy_by_length", "calibration"}
    wanted |= {"style_effect"}
    assert names == {f"09_{name}" for name in wanted}


def test_only_what_is_published_under_its_name_gets_a_difference_and_a_claim(folders, tmp_path):
    """A bench with all pairs of Chat, of which one is blank; a score model, and a judge's stand-in."""
    asked = pd.read_csv(PUBLISHED / "subset_counts.csv").groupby("subset")["total"].first()
    chat = asked[WEIGHTS.index[WEIGHTS["Chat"] > 0]]
    pool = demo_bench.make_bench(40)
    names = np.repeat(chat.index, chat)
    bench = pool.iloc[: len(names)].assign(subset=names)
    assert len(bench) == 358
    bench.loc[0, "chosen"] = " "
    bench.to_parquet(tmp_path / "chat.parquet")
    score = "Skywork-Reward-Llama-3.1-8B-v0.2"
    given = {"study": "chat", "bench_source": f"{tmp_path}/chat.parquet", "resamples": 100}
    given |= {"data_dir": str(tmp_path), "models": [str(folders[score])], "margin": 50.0}
    path = tmp_path / "chat" / "09_evaluate_rewardbench.ipynb"
    with endpoint(lambda *_: says("B is")) as (url, _):
        given["models"].append({"name": JUDGE, "model": "m", "endpoint": url})
        run(ROOT / "notebooks" / path.name, path, given)
    table = pd.read_csv(tmp_path / "chat" / "09_table.csv").set_index(["model", "row"])
    found = table.loc[(score, "measured"), "Chat"] - table.loc[(score, "published"), "Chat"]
    assert table.loc[(score, "difference"), "Chat"] == pytest.approx(found)
    assert table.loc[(score, "difference"), ["Chat Hard", "overall"]].isna().all()
    assert (JUDGE, "published") in table.index and (JUDGE, "difference") not in table.index
    record = json.loads((tmp_path / "chat" / "09_evaluate_rewardbench.json").read_text())
    near = [each for each in record["claims"] if "of the published" in each["sentence"]]
    assert len(near) == 1
    assert near[0]["sentence"].startswith(f"Expected {score} in Chat within 50.0 points")
    assert near[0]["held"] == (abs(found) <= 50)


def test_stand_ins_are_marked_by_having_no_repository(root):
    board = pd.read_csv(PUBLISHED / "leaderboard.csv")["model"]
    stand_ins = {name for name in board if not CATALOGUE[name].repo}
    assert stand_ins == {JUDGE, "MetaMetrics-RM-v1.0"} and all(
        CATALOGUE[name].note for name in stand_ins
    )


def test_no_results_and_pairs_that_come_twice_are_errors(tmp_path):
    with pytest.raises(ValueError, match="expected correct"):
        section_scores(pd.DataFrame({"subset": [], "correct": []}))
    bench = demo_bench.make_bench(2)
    pd.concat([bench, bench.head(3)]).to_parquet(tmp_path / "bench.parquet")
    with pytest.raises(ValueError, match="3 rows repeat"):
        load_rewardbench(str(tmp_path / "bench.parquet"))
