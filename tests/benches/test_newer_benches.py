"""RewardBench 2, RM-Bench and JudgeBench: their arithmetic, their published rows, what is kept."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy.optimize import linprog

from dtreward.benches import evaluate, load_bench
from dtreward.benches.bench import share_without_verdict
from dtreward.benches.judgebench import SECTION_OF
from dtreward.benches.published_rows import published_ranges, published_rows
from dtreward.benches.rewardbench import count_no_verdict, section_scores
from dtreward.benches.rewardbench2 import FOUR, RewardBench2
from dtreward.benches.rmbench import DIFFICULTIES, DOMAINS, RMBench, style_matrix
from dtreward.demo.bench import make_bench
from dtreward.demo.newer_benches import make_newer_benches
from dtreward.demo.world import make_pairs
from dtreward.models.comparison import Comparison, RewardModel
from dtreward.models.ensemble import Ensemble
from dtreward.tree.tree import PreferenceTree

FACTS = ROOT.parent / "shared" / "facts" / "benches"
SIZES = dict(zip(FOUR, (475, 160, 183, 450, 495), strict=True))  # of RewardBench 2
OPTIONS = {"resamples": 100, "seed": 0}


class Scores(RewardModel):
    """A model that scores by a function of the response, and counts what it is asked."""

    kind = "score"

    def __init__(self, score, refuses=()):
        self.score, self.refuses, self.asked = score, refuses, 0

    @property
    def identity(self):
        """Its name for kept results."""
        return {"kind": self.kind, "refuses": list(self.refuses)}

    def compare_many(self, prompts, responses1, responses2):
        """Compare many pairs."""
        return [self._compare(*each) for each in zip(prompts, responses1, responses2, strict=True)]

    def _compare(self, prompt, one, two):
        if prompt in self.refuses:
            raise ValueError(f"I do not read {prompt}")
        self.asked += 1
        pair = np.array([self.score(one), self.score(two)], float)
        return Comparison.of(pair[:, None], attributes=["score"], scores=pair)


class Tree(Scores):
    """A model whose tree decides on one reward; two leaves, so that many differences are alike."""

    kind = "decision-tree"
    tree = dataclasses.replace(
        PreferenceTree.single_split("helpfulness", 0.5),
        value=np.array([[0.5, 0.5], [0.7, 0.3], [0.2, 0.8]]),
    )

    def _compare(self, prompt, one, two):
        rewards = np.array([[self.score(one)], [self.score(two)]], float)
        return Comparison.of(rewards, attributes=["helpfulness"], tree=self.tree)


class Verdicts(Scores):
    """A judge: `score` gives the verdict on (shown first, shown second): 0, 1, 0.5 or None."""

    kind = "verdict"

    def _compare(self, prompt, one, two):
        self.asked += 1
        verdicts = [self.score(one, two), self.score(two, one)]
        given, swapped = (None if each is None else float(each) for each in verdicts)
        return Comparison.of_verdicts(given, swapped)


@pytest.fixture(scope="module")
def demo():
    return make_newer_benches(3, seed=1)


@pytest.fixture
def benches(demo, tmp_path):
    """The demo world's three benches, read from files as a user's would be."""
    files = {"RewardBench 2": "two.parquet", "RM-Bench": "total_dataset.json"}
    files |= {"JudgeBench": "gpt.jsonl"}
    for name, file in files.items():
        write(demo[name], tmp_path / file)
    return {name: load_bench(str(tmp_path / file)) for name, file in files.items()}


def write(table, path):
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_json(path, orient="records", lines=path.suffix == ".jsonl")


def read_only(results):
    return results[results["unread"] == ""]


def right_texts(bench):
    sides = ([one] if isinstance(one, str) else one for one in bench.items["chosen"])
    return {text for texts in sides for text in texts}


# JudgeBench


def judgebench_of(facts, folder):
    """Write pairs in JudgeBench's form whose texts are their ids, and read them."""
    rows = facts[["pair_id", "source", "label"]].assign(response_model="gpt-4o-2024-05-13")
    rows["question"] = "question " + facts["pair_id"]
    rows["response_A"] = facts["pair_id"] + " A"
    rows["response_B"] = facts["pair_id"] + " B"
    write(rows, folder / "dataset=judgebench,response_model=gpt-4o-2024-05-13.jsonl")
    return load_bench(str(folder))


def facts_of(name):
    path = FACTS / name
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the repository")
    return pd.read_csv(path)


def expect_published(scores, model):
    row = published_rows("JudgeBench").set_index("model").loc[model]
    row = row[row["source"] == "authors' outputs, recomputed"] if row.ndim > 1 else row
    for section in (*SECTION_OF.values(), "overall"):
        assert round(scores[section], 2) == row[section], (model, section)


def test_the_five_published_rows_of_reward_models_come_out_exactly(tmp_path):
    facts = facts_of("judgebench_gpt_reward_model_scores.csv")
    bench = judgebench_of(facts, tmp_path)
    names = [column[:-2] for column in facts if column.endswith(".A")]
    assert len(names) == 5 and len(bench.items) == 350
    for name in names:
        by_text = {}
        for side in "AB":
            by_text |= dict(
                zip(facts["pair_id"] + f" {side}", facts[f"{name}.{side}"], strict=True)
            )
        results = evaluate(Scores(by_text.get), bench, tmp_path / f"{name}.parquet")
        expect_published(bench.scores(results), name.split("_", 1)[1])


def test_o1_mini_comes_out_exactly_and_not_by_a_rule_that_wants_both_orders_right(tmp_path):
    facts = facts_of("judgebench_gpt_o1-mini-2024-09-12_decisions.csv")
    bench = judgebench_of(facts, tmp_path)
    shown = {"A>B": 0.0, "B>A": 1.0, "A=B": 0.5}
    decisions = facts.set_index("pair_id")

    def verdict(first, second):
        pair, side = first.rsplit(" ", 1)
        order = "decision_AB" if side == "A" else "decision_BA"
        return shown.get(decisions.loc[pair, order])

    results = evaluate(Verdicts(verdict), bench, tmp_path / "o1.parquet")
    expect_published(bench.scores(results), "o1-mini-2024-09-12")
    both_right = results["probability"].eq(1).mean()
    assert round(100 * both_right, 2) == 58.00  # the control: another rule, another number


@pytest.mark.parametrize(
    ("in_order", "swapped", "correct"),
    [(1, 0, 1), (1, 0.5, 1), (1, None, 1), (1, 1, 0), (0.5, 0.5, 0), (None, None, 0), (0, None, 0)],
)
def test_two_orders_are_added_up(benches, in_order, swapped, correct):
    """Right and a tie is correct, right and wrong is not; 1 prefers the response shown second."""
    bench = benches["JudgeBench"]
    right = right_texts(bench)
    judge = Verdicts(lambda first, _: swapped if first in right else in_order)
    assert bench.judge(judge, bench.items)["correct"].eq(correct).all()


def test_a_tie_of_scores_is_not_correct_and_a_tree_must_be_right_in_both_orders(benches):
    bench = benches["JudgeBench"]
    right = right_texts(bench)
    assert bench.judge(Scores(lambda _: 1.0), bench.items)["correct"].eq(0).all()
    for better, correct in ((1.0, 1), (0.4, 0)):  # the tree wants a difference above 0.5
        tree = Tree(lambda text, better=better: better * (text in right))
        assert bench.judge(tree, bench.items)["correct"].eq(correct).all()


# RewardBench 2


def best_of_four_with(counts, folder):
    """Write so many items of each section, and scores by which so many are right, and tied."""
    rows = []
    scores = {}
    for section, (size, right) in counts.items():
        for number in range(size):
            name = f"{section} {number}"
            texts = [f"{name} {place}" for place in range(4)]
            rows.append({"id": name, "prompt": name, "subset": section} | _sides(texts))
            scores |= dict.fromkeys(texts, 0.0)
            if number < math.floor(right):
                scores[texts[0]] = 1.0
            elif number < right:  # half a point is left: the right one shares the first place
                scores |= dict.fromkeys(texts[:2], 1.0)
            else:
                scores[texts[3]] = 1.0
    pd.DataFrame(rows).to_parquet(folder / "test-00000-of-00001.parquet")
    return load_bench(str(folder)), scores


def _sides(texts):
    sides = {"chosen": texts[:1], "rejected": texts[1:]}
    return sides | {"num_correct": 1, "num_incorrect": 3, "total_completions": 4}


def test_published_sections_are_whole_and_half_counts_and_come_out_as_printed(tmp_path):
    rows = published_rows("RewardBench 2").query("source == 'leaderboard, 2025-12'")
    assert len(rows) == 15
    for row in rows.to_dict("records"):
        counts = {}
        for section, size in SIZES.items():
            right = round(2 * size * row[section] / 100) / 2
            assert abs(100 * right / size - row[section]) <= 0.0051, (row["model"], section)
            counts[section] = right
        again = np.mean([100 * counts[section] / size for section, size in SIZES.items()])
        overall = (5 * again + row["Ties"]) / 6
        assert abs(overall - row["overall"]) <= 0.0101, row["model"]
    # The last and the one with a half count go through the bench itself.
    for model in ("QRM-Gemma-2-27B", "Skywork-Reward-V2-Qwen3-0.6B"):
        row = rows.set_index("model").loc[model]
        counts = {
            name: (size, round(2 * size * row[name] / 100) / 2) for name, size in SIZES.items()
        }
        bench, scores = best_of_four_with(counts, tmp_path)
        assert bench.name == "RewardBench 2" and len(bench.items) == 1763
        found = bench.scores(bench.judge(Scores(scores.get), bench.items))
        for section in SIZES:
            assert abs(found[section] - row[section]) <= 0.0051, (model, section)
        assert math.isnan(found["Ties"]) and math.isnan(found["overall"])


@pytest.mark.parametrize(("tied", "worth"), [(1, 1.0), (2, 1 / 2), (3, 1 / 3), (4, 1 / 4)])
def test_a_place_shared_by_k_is_worth_one_kth(benches, tied, worth):
    bench = benches["RewardBench 2"]
    items = bench.items.query("subset == 'Math'")
    best = {text for texts in items["chosen"] for text in texts}
    best |= {text for texts in items["rejected"] for text in texts[: tied - 1]}
    results = bench.judge(Scores(lambda text: float(text in best)), items)
    assert results["correct"].tolist() == [worth] * len(items)


def ties_bench(folder, right, wrong):
    """One problem of Ties: ref with one right answer, tied with three."""
    sides = {"ref:7": (1, 2), "tied:7": (3, 2)}
    rows = []
    scores = {}
    for name, (count, others) in sides.items():
        chosen = [f"{name} right {place}" for place in range(count)]
        rejected = [f"{name} wrong {place}" for place in range(others)]
        scores |= dict(zip(chosen, right[name], strict=True))
        scores |= dict(zip(rejected, wrong[name], strict=True))
        row = {"id": name, "prompt": name, "chosen": chosen, "rejected": rejected}
        rows.append(row | {"subset": "Ties", "num_correct": count})
    pd.DataFrame(rows).to_parquet(folder / "ties.parquet")
    return load_bench(str(folder / "ties.parquet")), scores


def test_the_ties_formula_is_that_of_the_authors_code(tmp_path):
    """By hand: spread 1, gap of ref 1.5, of tied 3; and the terms where answers overlap."""
    right = {"ref:7": [2.5], "tied:7": [6.0, 5.0, 5.5]}
    wrong = {"ref:7": [1.0, 0.0], "tied:7": [2.0, 1.0]}
    bench, scores = ties_bench(tmp_path, right, wrong)
    results = bench.judge(Scores(scores.get), bench.items)
    by_hand = 100 * (0.30 + 0.30 + 0.20 + 0.20 + 0.01 * math.tanh(1.5 / 1.0 - 1))
    assert bench.scores(results)["Ties"] == pytest.approx(by_hand, abs=1e-9)
    bench, scores = ties_bench(tmp_path, right, wrong | {"ref:7": [2.0, 0.0]})
    results = bench.judge(Scores(scores.get), bench.items)  # the gap of ref is now 0.5
    by_hand = 100 * (0.30 + 0.30 + 0.20 + 0.01 * math.tanh(0.5 / 1.0 - 1))
    assert bench.scores(results)["Ties"] == pytest.approx(by_hand, abs=1e-9)
    bench, scores = ties_bench(tmp_path, right, wrong | {"tied:7": [5.2, 1.0]})
    results = bench.judge(Scores(scores.get), bench.items)  # a wrong answer is among the right
    by_hand = 100 * (0.30 + 0.01 * math.tanh(-0.2 / 1.0 - 1))
    assert bench.scores(results)["Ties"] == pytest.approx(by_hand, abs=1e-9)


def test_a_perfect_model_without_spread_reaches_101_and_no_model_falls_below_minus_1(tmp_path):
    same = {"ref:7": [1.0], "tied:7": [1.0] * 3}
    below = {"ref:7": [0.0, 0.0], "tied:7": [0.0, 0.0]}
    for right, wrong, expected in ((same, below, 101), (below, same, -1), (same, same, 0)):
        lengths = {name: len(one) for name, one in same.items()}
        right = {name: [one[0]] * lengths[name] for name, one in right.items()}
        wrong = {name: [one[0]] * 2 for name, one in wrong.items()}
        bench, scores = ties_bench(tmp_path, right, wrong)
        found = bench.scores(bench.judge(Scores(scores.get), bench.items))["Ties"]
        assert found == pytest.approx(expected, abs=1e-9)


def test_a_tree_ranks_by_its_mean_probability_against_the_others_in_both_orders(benches):
    bench = benches["RewardBench 2"]
    items = bench.items.query("subset != 'Ties'")
    model = Tree(lambda text: len(text) % 5 / 2)
    results = bench.judge(model, items)
    for row, item in zip(results.itertuples(), items.itertuples(), strict=True):
        texts = [*item.chosen, *item.rejected]
        means = []
        for one in texts:
            others = [text for text in texts if text is not one]
            second = [model.compare(item.prompt, other, one).probability for other in others]
            first = [1 - model.compare(item.prompt, one, other).probability for other in others]
            means.append(np.mean(second + first))
        np.testing.assert_allclose(row.values, means, atol=1e-11)  # kept to 12 decimals
        best = np.isclose(means, max(means), atol=1e-11)
        assert row.correct == (1 / best.sum() if best[0] else 0)


# RM-Bench


def reference_rmbench(items, score):
    """The authors' arithmetic, in loops: strict >, safety pooled, plain means of four domains."""
    matrices = {domain: [] for domain in DOMAINS}
    for item in items.itertuples():
        matrix = [[score(one) > score(other) for other in item.rejected] for one in item.chosen]
        matrices[item.subset.split("-")[0]].append(matrix)
    means = {domain: np.mean(cells, axis=0) for domain, cells in matrices.items()}
    triangles = {"easy": np.tril_indices(3, -1), "hard": np.triu_indices(3, 1)}
    triangles["normal"] = np.diag_indices(3)
    scores = {domain: matrix.mean() for domain, matrix in means.items()}
    for level in DIFFICULTIES:
        scores[level] = np.mean([matrix[triangles[level]].mean() for matrix in means.values()])
    return scores | {"overall": np.mean(list(scores.values())[:4])}


def test_scores_of_rm_bench_are_those_of_the_authors_arithmetic(benches):
    bench = benches["RM-Bench"]
    items = pd.concat([bench.items, bench.items.tail(2).assign(subset="safety-refuse")])
    items = items.reset_index(drop=True)
    for score in (len, lambda text: len(text) % 7, lambda text: 0.0):  # the last: ties, all wrong
        model = Scores(score)
        found = bench.scores(bench.judge(model, items))
        for name, value in reference_rmbench(items, score).items():
            assert found[name] == pytest.approx(100 * value, abs=1e-9), name
        assert found[list(DIFFICULTIES)].mean() == pytest.approx(found["overall"], abs=1e-9)


def test_published_rows_that_agree_with_themselves_come_out_and_the_others_are_named():
    """A row agrees if some table of easy, normal, hard by domain, all from 0 to 1, rounds to it.

    A printed number may be off by 0.05, as it has one decimal.
    """
    rows = published_rows("RM-Bench").query("source == 'leaderboard'").dropna()
    names = [*DOMAINS, *DIFFICULTIES, "overall"]
    agree = {}
    for row in rows.to_dict("records"):
        table = _table_behind(np.array([row[name] for name in names]))
        agree[row["model"]] = table is not None
        if table is not None:
            found = RMBench(pd.DataFrame()).scores(_results_from(table))
            printed = pd.Series(row)[names].astype(float)
            assert (found[names] - printed).abs().max() <= 0.05 + 1e-6, row["model"]
    assert len(agree) == 40
    flagged = ["Skywork-Reward-Llama-3.1-8B-v0.2", "REWARDANYTHING-8B", "Qwen3-8B"]
    assert not any(agree[name] for name in flagged)
    assert sum(agree.values()) >= 31 - 3  # 9 rows disagree by more than 0.15, some by less


def _table_behind(printed):
    """Find shares by domain (4) and difficulty (3) that give eight printed numbers, if any."""
    sums = np.zeros((8, 12))
    for domain in range(4):
        for level in range(3):
            sums[[domain, 4 + level, 7], 3 * domain + level] = 100 / np.array([3, 4, 12])
    limits = np.concatenate([printed + 0.05, -(printed - 0.05)])
    found = linprog(np.zeros(12), A_ub=np.vstack([sums, -sums]), b_ub=limits, bounds=(0, 1))
    return found.x.reshape(4, 3) if found.success else None


def _results_from(table):
    """Results of one prompt a domain whose nine cells have these means."""
    rows = []
    for number, (domain, (easy, normal, hard)) in enumerate(zip(DOMAINS, table, strict=True)):
        won = np.where(np.tri(3, 3, -1) > 0, easy, hard)
        won[np.diag_indices(3)] = normal
        row = {"id": domain, "subset": domain, "problem": number, "won": won.ravel().tolist()}
        rows.append(row | {"correct": won.mean(), "scores": [0.0], "rewards": None, "unread": ""})
    return pd.DataFrame(rows)


def test_who_likes_fancy_text_shows_it_and_who_knows_what_is_right_does_not(benches, tmp_path):
    bench = benches["RM-Bench"]
    right = right_texts(bench)
    models = {
        "length": Scores(len),
        "brevity": Scores(lambda text: -len(text)),
        "right": Scores(lambda text: float(text in right)),
    }
    effects = {}
    for name, model in models.items():
        results = evaluate(model, bench, tmp_path / f"{name}.parquet")
        effects[name] = bench.style_effect(results, **OPTIONS)["all"]
        if name == "length":
            matrix = style_matrix(results)
            assert matrix[2, 0] > 95 and matrix[0, 2] < 5
    assert effects["length"].low > 50 and effects["brevity"].high < -50
    assert effects["right"].estimate == 0 and effects["right"].low < 0 < effects["right"].high


# What all of them keep


@pytest.mark.parametrize("name", ["RewardBench 2", "RM-Bench", "JudgeBench"])
def test_results_are_kept_resumed_and_the_same_in_parts_of_any_size(benches, tmp_path, name):
    bench = benches[name]
    whole = bench.judge(Scores(len), bench.items)
    for part in (1, 5, 64):
        path = tmp_path / f"{part}.parquet"
        model = Scores(len)
        results = evaluate(model, bench, path, part=part)
        assert model.asked and not list(tmp_path.glob("*.parts"))
        assert bench.scores(results).equals(bench.scores(whole))
        again = Scores(len)
        assert evaluate(again, bench, path)["correct"].equals(results["correct"])
        assert not again.asked
    settings = json.loads(results["settings"].iloc[0])
    assert settings["rules"] == name and len(results) == len(bench.items)


@pytest.mark.parametrize("name", ["RewardBench 2", "RM-Bench", "JudgeBench"])
def test_what_cannot_be_read_says_why_stands_apart_and_changes_no_other(benches, name):
    bench = benches[name]
    gone = bench.items["prompt"].iloc[4]
    results = bench.judge(Scores(len, refuses=[gone]), bench.items)
    whole = bench.judge(Scores(len), bench.items)
    assert results["unread"].tolist().count("") == len(results) - 1
    assert "I do not read" in results["unread"].iloc[4] and math.isnan(results["correct"].iloc[4])
    others = results.index != results.index[4]
    assert results["correct"][others].equals(whole["correct"][others])
    with pytest.raises(ValueError, match="drop pairs that nobody judged"):
        bench.scores(results)
    assert bench.scores(read_only(results)).notna().any()


@pytest.mark.parametrize("name", ["RewardBench 2", "RM-Bench"])
def test_an_ensemble_is_scaled_over_all_responses_and_not_part_by_part(benches, tmp_path, name):
    bench = benches[name]
    members = {"one": Scores(len), "two": Scores(lambda text: -float(text.count("1")))}
    ensemble = Ensemble(members, {"one": 1.0, "two": 0.3})
    kept = evaluate(ensemble, bench, tmp_path / "both.parquet", part=3)
    responses = [
        text for item in bench.items.itertuples() for text in [*item.chosen, *item.rejected]
    ]
    scores = {
        name: np.array([one.score(text) for text in responses], float)
        for name, one in members.items()
    }
    expected = ensemble.weigh(scores)
    np.testing.assert_allclose(np.concatenate(kept["scores"].tolist()), expected, rtol=1e-12)
    assert kept["correct"].tolist() == bench.judge(ensemble, bench.items)["correct"].tolist()


def test_intervals_hold_their_scores_and_draw_whole_problems(benches, tmp_path):
    for name, bench in benches.items():
        model = Scores(lambda text: len(text) % 9)
        results = evaluate(model, bench, tmp_path / f"{name}.parquet")
        scores = bench.scores(results).dropna()
        intervals = bench.intervals(results, **OPTIONS)
        assert list(intervals) == list(scores.index)
        for section, interval in intervals.items():
            assert interval.estimate == pytest.approx(scores[section], abs=1e-9)
            assert interval.low <= interval.estimate <= interval.high


# Where a judge gives no verdict


@pytest.mark.parametrize("name", ["RewardBench 2", "RM-Bench", "JudgeBench"])
def test_a_judge_that_never_gives_a_verdict_has_no_score_by_any_rule(benches, name):
    bench = benches[name]
    results = bench.judge(Verdicts(lambda *_: None), bench.items)
    assert share_without_verdict(results) == 1 and results["correct"].eq(0).all()
    for rule in ("wrong", "half"):
        assert bench.scores(results, no_verdict=rule).isna().all()
        assert bench.intervals(results, no_verdict=rule, **OPTIONS) == {}


def test_an_order_without_a_verdict_counts_nothing_or_by_name_half_a_point(benches):
    bench = benches["RM-Bench"]
    right = right_texts(bench)
    judge = Verdicts(lambda first, _: None if first in right else 1.0)  # right in one order, none
    results = bench.judge(judge, bench.items)
    assert results["no_verdict"].eq(0.5).all()
    assert bench.scores(results)["overall"] == pytest.approx(50)
    assert bench.scores(results, no_verdict="half")["overall"] == pytest.approx(75)
    pairs = pd.DataFrame({"subset": "math-prm", "correct": [0.5, 0.0], "no_verdict": [0.5, 0.5]})
    assert section_scores(pairs)["Reasoning"] == 25
    assert section_scores(pairs, no_verdict="half")["Reasoning"] == 50
    assert count_no_verdict(pairs, "half").tolist() == [0.75, 0.25]


def test_a_judge_ranks_four_by_verdicts_on_each_two(benches):
    bench = benches["RewardBench 2"]
    right = right_texts(bench)
    knows = Verdicts(
        lambda first, second: (
            0.5 if (first in right) == (second in right) else float(second in right)
        )
    )
    items = bench.items.query("subset != 'Ties'")
    results = bench.judge(knows, items)
    assert results["correct"].eq(1).all() and knows.asked == 6 * len(items)
    silent = Verdicts(lambda first, second: None if {first, second} & right else 0.5)
    assert bench.judge(silent, items)["correct"].eq(0).all()  # no verdict on the right one


# Reading


def test_unknown_subsets_form_a_section_of_their_own(demo, benches, tmp_path):
    changed = {
        "RewardBench 2": demo["RewardBench 2"].replace({"subset": {"Math": "mine"}}),
        "RM-Bench": demo["RM-Bench"].replace({"domain": {"math": "mine"}}),
        "JudgeBench": demo["JudgeBench"].replace({"source": {"livebench-math": "mine"}}),
    }
    for name, table in changed.items():
        table.to_parquet(tmp_path / "changed.parquet")
        bench = load_bench(str(tmp_path / "changed.parquet"))
        assert bench.name == name and "Other" in bench.coverage().index
        scores = bench.scores(bench.judge(Scores(len), bench.items))
        of_mine = bench.items["subset"] == "mine"
        expected = bench.judge(Scores(len), bench.items[of_mine])["correct"].mean()
        assert scores["Other"] == pytest.approx(100 * expected)
        assert math.isnan(scores["overall"])  # a section of the bench is not there


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("RM-Bench", {"chosen": [["a", "b"]]}, r"row 0, column chosen: expected a list of 3 texts"),
        ("RewardBench 2", {"rejected": [[]]}, r"row 0, column rejected: .* at least one text"),
        ("JudgeBench", {"label": ["A=B"]}, r"row 0: label 'A=B'; expected one of A>B, B>A"),
        ("JudgeBench", {"source": None}, r"missing \['source'\]"),
        ("RewardBench 2", {"subset": ["Ties"]}, r"row 0: id '0' in Ties; expected ref:<n> or"),
    ],
)
def test_a_wrong_row_is_named_with_what_was_expected(demo, tmp_path, name, change, message):
    table = demo[name].head(1).copy()
    for column, value in change.items():
        table = table.drop(columns=column) if value is None else table.assign(**{column: value})
    write(table, tmp_path / "wrong.json")
    with pytest.raises(ValueError, match=message):
        load_bench(str(tmp_path / "wrong.json"))


def test_an_id_that_comes_twice_and_a_table_of_no_bench_are_refused(demo, tmp_path):
    twice = pd.concat([demo["JudgeBench"].head(2)] * 2, ignore_index=True)
    write(twice, tmp_path / "twice.jsonl")
    with pytest.raises(ValueError, match="row 2 repeats the id 0"):
        load_bench(str(tmp_path / "twice.jsonl"))
    write(pd.DataFrame({"text": ["a"]}), tmp_path / "none.jsonl")
    with pytest.raises(
        ValueError, match=r"expected prompt, chosen and rejected .*found \['text'\]"
    ):
        load_bench(str(tmp_path / "none.jsonl"))


def test_rm_bench_is_also_read_from_a_file_for_each_domain(demo, benches, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for domain, rows in demo["RM-Bench"].groupby("domain"):
        write(rows.drop(columns="domain"), folder / f"{domain}_filtered.json")
    found = load_bench(str(folder)).items
    key = ["subset", "prompt"]
    whole = benches["RM-Bench"].items.sort_values(key)["id"].tolist()
    assert found.sort_values(key)["id"].tolist() == whole


def test_a_limit_draws_whole_problems_so_that_ref_and_tied_stay_together(demo, tmp_path):
    demo["RewardBench 2"].to_parquet(tmp_path / "two.parquet")
    items = load_bench(str(tmp_path / "two.parquet"), limit=2).items
    ties = items.loc[items["subset"] == "Ties", "id"].str.split(":", expand=True)
    assert sorted(ties[0]) == ["ref"] * 2 + ["tied"] * 2 and ties[1].value_counts().eq(2).all()
    assert items.groupby("subset")["problem"].nunique().eq(2).all()


def test_the_hub_is_asked_for_the_commit_that_was_looked_at(demo, tmp_path, monkeypatch):
    from dtreward.benches import reading

    asked = {}
    for name, commit in (("RewardBench 2", "7ff0885" + 33 * "0"), ("RM-Bench", 40 * "a")):
        (tmp_path / commit).mkdir()
        demo[name].to_parquet(tmp_path / commit / "test-00000-of-00001.parquet")
        asked[load_of(name)] = str(tmp_path / commit)
    revisions = []

    def snapshot(repository, *, repo_type, revision):
        assert repo_type == "dataset"
        revisions.append(revision)
        return asked[repository]

    monkeypatch.setattr(reading, "snapshot_download", snapshot)
    bench = load_bench("rewardbench-2")
    assert isinstance(bench, RewardBench2) and bench.revision.startswith("7ff0885")
    assert load_bench("THU-KEG/RM-Bench", "b" * 40).name == "RM-Bench"
    assert revisions == ["main", "b" * 40]
    asked["allenai/reward-bench-2"] = asked["THU-KEG/RM-Bench"]
    with pytest.raises(ValueError, match=r"is at a{40}, expected 7ff0885; name the commit"):
        load_bench("RewardBench 2")


def load_of(name):
    return {"RewardBench 2": "allenai/reward-bench-2", "RM-Bench": "THU-KEG/RM-Bench"}[name]


# The demo world's stand-ins, and published rows


def test_the_demo_benches_ask_what_neither_the_study_nor_another_bench_has_seen(demo):
    prompts = [*make_pairs(seed=1)["prompt"], *make_bench(seed=1)["prompt"]]
    new = [*demo["RewardBench 2"]["prompt"], *demo["RM-Bench"]["prompt"]]
    new += demo["JudgeBench"]["question"].tolist()
    assert len(set(new)) == len(new) and not set(new) & set(prompts)
    four = demo["RewardBench 2"].query("subset != 'Ties'")
    texts = four["chosen"] + four["rejected"]
    assert texts.map(len).eq(4).all() and texts.map(set).map(len).eq(4).all()
    for item in demo["RM-Bench"].itertuples():
        for concise, detailed, markdown in (item.chosen, item.rejected):
            assert len(concise) < len(detailed) and markdown.startswith("**Solution**\n- ")
        assert not set(item.chosen) & set(item.rejected)
    assert (demo["JudgeBench"]["response_A"] != demo["JudgeBench"]["response_B"]).all()


def test_a_model_with_several_sources_has_a_range_and_the_widest_is_the_one_reported():
    ranges = published_ranges("RM-Bench")
    assert ranges.index[0] == "Skywork-Reward-Llama-3.1-8B-v0.2"
    assert ranges["points"].iloc[0] == pytest.approx(7.9)
    assert ranges.loc["URM-LLaMa-3.1-8B", "sources"] == 1
    assert "INF-QRM-Llama3.1-70B" in ranges.index  # as the project's leaderboard calls it
