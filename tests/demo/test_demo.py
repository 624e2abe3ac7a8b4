"""The laws of the demo world: its ratings, its texts, its judges, and what its backbone is fed."""

import json
import re
from collections import Counter
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtreward.demo.batches import CONVERSATION, make_batch, result_marks, train_tokenizer
from dtreward.demo.batches import JUDGES as VOTERS
from dtreward.demo.draws import Draws, Script
from dtreward.demo.edits import make_edits, movement_lead, reward_movements
from dtreward.demo.families import FAMILIES, STUDY, TRAINING, pose
from dtreward.demo.text import respond
from dtreward.demo.world import (
    JUDGES,
    accuracy_ceiling,
    answers,
    draw_ratings,
    latent_verdicts,
    make_pairs,
)
from dtreward.published import PUBLISHED
from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.tree import PreferenceTree

NUMBER = r"(-?\d+(?:\.\d+)?)"
EQUATION = re.compile(rf"{NUMBER} ([-+×÷]) {NUMBER} = {NUMBER}")
LABEL = re.compile(r"^(?:Step )?\(?(\d)[.:)] ", re.MULTILINE)


# --------------------------------------------------- a reader of its own of prompts and responses


def compute(x, sign, y):
    x, y = Fraction(x), Fraction(y)
    if sign == "÷":
        return x / y if y else Fraction(0)
    return {"+": x + y, "-": x - y, "×": x * y}[sign]


def same(one, other):
    # results are written with two decimals: off by half of the last at most
    return abs(Fraction(one) - Fraction(other)) <= Fraction(5, 1000)


def value(operand, numbers, results):
    source, index, sign, change = re.fullmatch(r"([nr]?)(\d+)([+/]?)(\d*)", operand).groups()
    chosen = {"n": numbers, "r": [None, *results]}.get(source)
    found = Fraction(chosen[int(index)] if chosen else int(index))
    return found + int(change) if sign == "+" else found / int(change) if sign else found


def equations_in_order(response):
    """The steps as numbered, whatever the order in which they stand; else as they stand."""
    labels = [int(label) for label in LABEL.findall(response)]
    found = EQUATION.findall(response)
    if not labels:
        return found
    assert len(labels) == len(found), "each numbered step holds one equation"
    return [equation for _, equation in sorted(zip(labels, found, strict=True))]


def count_mistakes(prompt, response, program):
    """Recompute a response from its prompt's numbers: wrong operands, results, and final answer."""
    numbers = [int(n) for n in re.findall(r"\d+", prompt)]
    signs, results, mistakes = {"*": "×", "/": "÷"}, [], 0
    steps, written = program.split("; "), equations_in_order(response)
    assert len(written) == len(steps)
    for step, (x, sign, y, result) in zip(steps, written, strict=True):
        left, operation, right = step.split(" ")
        assert sign == signs.get(operation, operation)
        mistakes += not same(x, value(left, numbers, results))
        mistakes += not same(y, value(right, numbers, results))
        mistakes += not same(result, compute(x, sign, y))
        results.append(Fraction(result))
    final = re.findall(NUMBER, response)[-1]
    return mistakes + (not same(final, results[-1])), Fraction(final)


def right_answer(prompt, program):
    numbers, results = [int(n) for n in re.findall(r"\d+", prompt)], []
    for step in program.split("; "):
        left, operation, right = step.split(" ")
        x, y = value(left, numbers, results), value(right, numbers, results)
        results.append(compute(x, {"*": "×", "/": "÷"}.get(operation, operation), y))
    return results[-1]


@pytest.fixture(scope="module")
def pairs():
    return make_pairs(3000)


def responses_of(pairs):
    columns = ["prompt", "family", "response", *ATTRIBUTES]
    sides = []
    for side in (1, 2):
        rated = [f"{attribute}_{side}" for attribute in ATTRIBUTES]
        sides.append(
            pairs[["prompt", "family", f"response_{side}", *rated]].set_axis(columns, axis=1)
        )
    return pd.concat(sides, ignore_index=True)


# ------------------------------------------------------------------------------------- ratings


def test_shares_of_ratings_are_the_published_ones(pairs):
    published = pd.read_csv(PUBLISHED / "rating_distribution.csv", index_col=0)
    rated = responses_of(pairs)
    for attribute in ATTRIBUTES:
        # 6,000 responses: the standard error of a share is at most 0.0065, so this is 3 of them
        shares = rated[attribute].value_counts(normalize=True).reindex(range(5), fill_value=0)
        assert np.abs(shares.to_numpy() - published.loc[attribute].to_numpy()).max() < 0.02


def test_correlations_of_ratings_are_the_published_ones(pairs):
    published = pd.read_csv(PUBLISHED / "correlation.csv", index_col=0)
    found = responses_of(pairs)[list(ATTRIBUTES)].corr()
    assert np.abs(found - published.loc[list(ATTRIBUTES), list(ATTRIBUTES)]).to_numpy().max() < 0.05


def test_correlations_are_exact_but_for_sampling():
    published = pd.read_csv(PUBLISHED / "correlation.csv", index_col=0)
    # 400,000 draws: standard error of a correlation at most 0.0016; published to 0.005
    found = np.corrcoef(draw_ratings(400_000, seed=1), rowvar=False)
    assert np.abs(found - published.loc[list(ATTRIBUTES), list(ATTRIBUTES)]).to_numpy().max() < 0.01


def test_two_responses_of_a_prompt_are_independent(pairs):
    for attribute in ATTRIBUTES:
        r = np.corrcoef(pairs[f"{attribute}_1"], pairs[f"{attribute}_2"])[0, 1]
        assert abs(r) < 4 / np.sqrt(len(pairs))  # four standard errors


def test_columns_and_types_are_those_of_a_pairs_frame(pairs):
    rated = [f"{attribute}_{side}" for side in (1, 2) for attribute in ATTRIBUTES]
    expected = ["prompt", "response_1", "response_2", *rated, "preference", "family"]
    assert list(pairs) == expected
    assert (pairs[rated].dtypes == np.float64).all() and pairs[rated].isin(range(5)).all().all()
    assert pairs["preference"].dtype == "Int8" and set(pairs["preference"].dropna()) == {0, 1}
    assert pairs["prompt"].is_unique


def test_same_seed_makes_the_same_pairs_and_another_makes_others():
    pd.testing.assert_frame_equal(make_pairs(50, seed=3), make_pairs(50, seed=3))
    assert not set(make_pairs(50, seed=3)["response_1"]) & set(make_pairs(50, seed=4)["response_1"])


# --------------------------------------------------------------------------------- preferences


def test_equal_helpfulness_is_as_frequent_as_in_the_published_human_tree(pairs):
    decided = pairs[pairs["preference"].notna()]
    difference = decided["helpfulness_2"] - decided["helpfulness_1"]
    # about 2,550 pairs: standard errors 0.007 and 0.010
    assert (difference == 0).mean() == pytest.approx(0.158, abs=0.02)
    assert (difference <= -1).mean() == pytest.approx(0.415, abs=0.03)


def test_only_pairs_of_equal_helpfulness_have_no_preference(pairs):
    undecided = pairs[pairs["preference"].isna()]
    assert len(undecided) > 100
    assert (undecided["helpfulness_1"] == undecided["helpfulness_2"]).all()


@pytest.mark.parametrize("judge", ["Human", "GPT-4o", "Llama-3.1-8B"])
def test_verdicts_follow_the_published_tree(pairs, judge):
    verdicts = latent_verdicts(pairs, judge)
    two, one = (pairs[[f"{a}_{s}" for a in ATTRIBUTES]].to_numpy() for s in (2, 1))
    probability = PreferenceTree.published(judge).probability(two - one)
    for leaf in np.unique(probability):
        voted = verdicts[probability == leaf]
        # five standard errors of a leaf's share, and room for leaves of a few pairs
        assert abs(voted.mean() - leaf) < 5 * np.sqrt(leaf * (1 - leaf) / len(voted)) + 1 / len(
            voted
        )


def test_ceiling_is_what_the_planted_rule_reaches(pairs):
    decided = pairs[pairs["preference"].notna()]
    two, one = (decided[[f"{a}_{s}" for a in ATTRIBUTES]].to_numpy() for s in (2, 1))
    reached = (PreferenceTree.published("Human").predict(two - one) == decided["preference"]).mean()
    # 2,550 pairs: standard error 0.006
    assert accuracy_ceiling(pairs) == pytest.approx(reached, abs=0.02)


@pytest.mark.parametrize("judge", list(JUDGES))
def test_a_judge_is_inconsistent_only_where_it_answers_by_position(pairs, judge):
    one, other = (answers(pairs, judge, order=order) for order in ("original", "swapped"))
    consistent, verdict = one == 1 - other, latent_verdicts(pairs, judge)
    assert (one[consistent] == verdict[consistent]).all()
    share = JUDGES[judge].by_position
    # four standard errors of a share over 3,000 pairs
    assert abs((~consistent).mean() - share) <= 4 * np.sqrt(share * (1 - share) / len(pairs))
    if share:
        first = JUDGES[judge].first
        error = np.sqrt(first * (1 - first) / (~consistent).sum())
        assert abs((one[~consistent] == 0).mean() - first) < 4 * error


def test_an_answer_does_not_depend_on_the_other_pairs(pairs):
    some = pairs.iloc[[5, 900, 17]]
    alone = answers(some, "Wordy-2", order="swapped", seed=2)
    assert (alone == answers(pairs, "Wordy-2", order="swapped", seed=2)[[5, 900, 17]]).all()


def test_judges_of_a_family_agree_more_than_judges_of_different_tastes(pairs):
    wordy, second, strict = (latent_verdicts(pairs, j) for j in ("Wordy-1", "Wordy-2", "Strict-1"))
    assert (wordy == second).mean() > (wordy == strict).mean() + 0.1


# --------------------------------------------------------------------------------------- texts


def test_mistakes_in_the_text_are_four_minus_correctness():
    made = [make_pairs(1500, seed=5), make_pairs(1500, seed=6, families=TRAINING)]
    rated = responses_of(pd.concat(made))
    for row in rated.itertuples():
        program = FAMILIES[row.family].program
        mistakes, final = count_mistakes(row.prompt, row.response, program)
        assert mistakes == 4 - row.correctness, row.response
        if row.correctness == 4:
            assert final == right_answer(row.prompt, program), row.response


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    family=st.sampled_from(list(FAMILIES)),
    ratings=st.tuples(*[st.integers(0, 4)] * 5),
)
def test_any_ratings_can_be_written_and_mistakes_counted(seed, family, ratings):
    draw = Draws(np.random.default_rng(seed))
    problem = pose(family, draw)
    response = respond(problem, ratings, draw)
    mistakes, _ = count_mistakes(problem.prompt, response, problem.family.program)
    assert mistakes == 4 - ratings[1]
    assert not set("{}|~") & set(problem.prompt + response)


def test_a_prompt_names_its_numbers_in_order():
    draw = Draws(np.random.default_rng(0))
    for family in FAMILIES:
        for _ in range(5):
            problem = pose(family, draw)
            assert tuple(map(int, re.findall(r"\d+", problem.prompt))) == problem.numbers


def test_verbosity_lengthens_and_complexity_adds_terms(pairs):
    rated = responses_of(pairs)
    words = rated["response"].str.split().str.len()
    means = words.groupby(rated["verbosity"]).mean().reindex(range(5))
    assert means.is_monotonic_increasing
    technical = rated["response"].str.count(
        r"[Ss]ummand|ommutative|inuend|[Aa]ddi|factors|divi[ds]|equation|unknown|inverse|operator"
    )
    means = technical.groupby(rated["complexity"]).mean().reindex([1, 2, 3, 4])
    assert means.is_monotonic_increasing


def test_word_counts_alone_do_not_say_what_is_correct(pairs):
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import Ridge

    rated = responses_of(pairs)
    counts = CountVectorizer(token_pattern=r"\S+", min_df=5).fit_transform(rated["response"])
    train, reached = np.arange(len(rated)) % 3000 < 2000, {}
    for attribute in ("correctness", "verbosity"):
        rating = rated[attribute].to_numpy()
        probe = Ridge(alpha=30.0).fit(counts[train], rating[train])
        reached[attribute] = np.corrcoef(probe.predict(counts[~train]), rating[~train])[0, 1]
    # The positive control is verbosity. Some correctness leaks: offers and bare results are tied to
    # it (r = 0.25 alone), and chains that go wrong leave the range of usual numbers.
    assert reached["correctness"] < 0.6 and reached["verbosity"] > 0.9


def test_published_usage_example_could_have_come_from_the_study():
    published = json.loads((PUBLISHED / "usage_example.json").read_text(encoding="utf-8"))
    numbers = {"n0": 12, "n1": 4, "n2": 1, "n3": 2}
    problem = pose("sharing fruit", Script(numbers))  # a Script picks only what can be drawn
    assert "sharing fruit" in STUDY and problem.prompt == published["prompt"]
    assert respond(problem, (4, 4, 4, 1, 2), Script({})) == published["response1"]
    wrong = {"mistake 0": ("operand", 2), "mistake 1": ("final", 3)}
    assert respond(problem, (2, 2, 4, 1, 2), Script(wrong)) == published["response2"]
    program = FAMILIES["sharing fruit"].program
    assert count_mistakes(published["prompt"], published["response1"], program)[0] == 0
    assert count_mistakes(published["prompt"], published["response2"], program)[0] == 2


# ------------------------------------------------------------ responses with one rating changed


@pytest.fixture(scope="module")
def edits():
    return make_edits(60, seed=7)


def test_an_edit_changes_one_rating_and_nothing_that_it_does_not_demand(edits):
    """Sentences are only added where more of an attribute adds sentences, and the sums stay."""
    by_edit = {name: rows.reset_index(drop=True) for name, rows in edits.groupby("edited")}
    before = by_edit["nothing"]
    for edited in ATTRIBUTES:
        after = by_edit[edited]
        differs = (after[list(ATTRIBUTES)] != before[list(ATTRIBUTES)]).sum()
        assert differs[edited] == len(after) and differs.sum() == len(after)
        assert (after["prompt"] == before["prompt"]).all()
        assert (after["response"] != before["response"]).all()
        if edited not in ("helpfulness", "correctness"):
            pairs_of_texts = zip(before["response"], after["response"], strict=True)
            assert all(
                sorted(EQUATION.findall(one)) == sorted(EQUATION.findall(other))
                for one, other in pairs_of_texts
            )
    grown = by_edit["verbosity"]["verbosity"] > before["verbosity"]
    for one, other in zip(
        before["response"][grown], by_edit["verbosity"]["response"][grown], strict=True
    ):
        assert not Counter(one.split()) - Counter(other.split()), "more words, and all of before"
    assert grown.sum() > 10


def test_an_edited_response_is_rated_as_any_other_of_its_ratings(edits):
    """Correctness says how many mistakes there are, also after an edit."""
    edited = edits[edits["edited"] == "coherence"]
    unchanged = edits[edits["edited"] == "nothing"]
    for rows in (edited, unchanged):
        assert make_edits(60, seed=7).loc[rows.index, "response"].equals(rows["response"])
    assert not edits["prompt"].isin(make_edits(60, seed=7, taken=edits["prompt"])["prompt"]).any()


def test_rewards_that_are_the_ratings_move_by_one_and_alone(edits):
    ratings = edits[list(ATTRIBUTES)].to_numpy()
    exact = reward_movements(edits, ratings, resamples=50)
    found = [[one.estimate for one in exact[edited]] for edited in ATTRIBUTES]
    np.testing.assert_allclose(found, np.eye(5), atol=1e-12)
    mixed = ratings @ np.array([[0.5, 0.7, 0, 0, 0], [-0.4, 1, 0, 0, 0], *np.eye(5)[2:]]).T
    movements = reward_movements(edits, mixed, resamples=50)
    assert movements["correctness"][0].estimate == pytest.approx(0.7)
    options = {"edited": "correctness", "moved": "helpfulness", "resamples": 50}
    lead = movement_lead(edits, mixed, "helpfulness", **options)
    assert lead.high < 0 and lead.estimate == pytest.approx(-0.2), "it follows correctness more"
    options = {"edited": "helpfulness", "moved": "correctness", "resamples": 50}
    lead = movement_lead(edits, mixed, "helpfulness", **options)
    assert lead.estimate == pytest.approx(0.5 - 0.4), "the other one by its size"


def test_a_script_refuses_what_no_draw_could_choose():
    with pytest.raises(ValueError, match="expected one of"):
        pose("sharing fruit", Script({"n0": 1000}))


def test_unknown_judges_and_too_many_prompts_are_errors_that_say_so(pairs):
    with pytest.raises(ValueError, match="expected one of the judges Human"):
        latent_verdicts(pairs, "Nobody")
    with pytest.raises(ValueError, match="ask for fewer"):
        make_pairs(2000, families=("explaining a discount",))


def test_families_of_study_and_training_share_no_name_and_no_wording():
    assert len(STUDY) >= 8 and len(TRAINING) >= 14 and not set(STUDY) & set(TRAINING)
    for families in (STUDY, TRAINING):
        questions = [name for name in families if name.startswith(("explaining", "puzzle"))]
        assert 0 < len(questions) < len(families)
    prompts = {group: set() for group in ("study", "training")}
    for group, families in (("study", STUDY), ("training", TRAINING)):
        for name in families:
            prompts[group] |= set(FAMILIES[name].prompts)
    assert not prompts["study"] & prompts["training"]


# -------------------------------------------------------------------------- the backbone's batches


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer()


def test_whole_numbers_are_one_token_and_special_tokens_are_distinct(tokenizer):
    for number in range(121):
        assert len(tokenizer.tokenize(f"{number}")) == len(tokenizer.tokenize(f" {number}")) == 1
    ids = {tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id}
    assert len(ids) == 3 and None not in ids


def test_chat_template_is_what_training_saw(tokenizer, tmp_path, pairs):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    prompt, response = pairs["prompt"][0], pairs["response_1"][0]
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    text = loaded.apply_chat_template(turns, tokenize=False)
    assert text == CONVERSATION.format(prompt, response)
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert loaded(text, add_special_tokens=False)["input_ids"] == ids
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[-1] == tokenizer.eos_token_id
    assert loaded.decode(ids) == text


@pytest.mark.parametrize("disguised", [0.0, 0.3])
def test_a_batch_holds_each_response_once_with_its_marks(tokenizer, disguised):
    batch = make_batch(
        tokenizer.backend_tokenizer, pairs=20, buckets=3, disguised=disguised, seed=9
    )
    frame = make_pairs(20, seed=9, families=TRAINING)
    responses = [*frame["response_1"], *frame["response_2"]]
    assert sorted(np.concatenate([b.rows for b in batch.buckets])) == list(range(40))
    assert batch.votes.shape == (20, len(VOTERS)) and set(np.unique(batch.votes)) <= {-1, 0, 1}
    for bucket in batch.buckets:
        for row, ids, length, answer, marks in zip(*bucket, strict=True):
            text = tokenizer.decode(ids[answer : length - 1]).strip()
            assert (text == responses[row]) or disguised
            assert marks[marks >= 0].tolist() == [m for m in result_marks(text) if m >= 0]
            wrong = [not same(r, compute(x, o, y)) for x, o, y, r in EQUATION.findall(text)]
            assert marks[marks >= 0].tolist() == wrong


def test_disguise_changes_words_but_no_number(tokenizer):
    plain, disguised = (
        make_batch(tokenizer.backend_tokenizer, pairs=10, buckets=1, disguised=d, seed=2)
        for d in (0.0, 0.5)
    )
    texts = []
    for batch in (plain, disguised):
        (bucket,) = batch.buckets
        rows = dict(zip(bucket.rows.tolist(), bucket.ids, strict=True))
        texts.append([tokenizer.decode(rows[row]) for row in range(20)])
    for one, other in zip(*texts, strict=True):
        one, other = (text.replace("<|pad|>", "") for text in (one, other))
        assert one != other and re.findall(r"\d+", one) == re.findall(r"\d+", other)


def test_one_step_of_training_writes_a_folder_that_plain_transformers_loads(tokenizer, tmp_path):
    import torch
    from transformers import AutoModelForSequenceClassification

    from dtreward.demo.probe import GOALS, missed_goals, probe_report
    from dtreward.demo.train import Learner, Training, write_backbone

    training = Training(hidden=64, layers=3)
    torch.manual_seed(0)
    learner = Learner(tokenizer, training)
    batch = make_batch(tokenizer.backend_tokenizer, pairs=8, buckets=2, disguised=0.2, seed=1)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    totals = []
    for _ in range(8):
        losses = learner(batch, "cpu")
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        totals.append(losses["total"].item())
    assert totals[-1] < 0.8 * totals[0]  # it can learn one batch by heart
    folder = write_backbone(tmp_path / "backbone", learner.model, tokenizer, {"steps": 8})
    loaded = AutoModelForSequenceClassification.from_pretrained(folder)
    assert loaded.dtype == torch.bfloat16 and loaded.score.weight.shape == (1, 64)
    assert loaded.config.pad_token_id == tokenizer.pad_token_id
    report = probe_report(folder, prompts=60)
    assert set(report["attributes"]) == set(ATTRIBUTES) and 0 < report["tree"]["ceiling"] < 1
    best = {"attributes": {a: {"probe": 1.0} for a in ATTRIBUTES}, "tree": {"accuracy": 0.69}}
    assert missed_goals(best) == ["tree: 0.690 < 0.7"] and set(GOALS) == {*ATTRIBUTES, "tree"}


def test_published_size_is_between_one_and_three_million_weights_and_eight_megabytes(tokenizer):
    from dtreward.demo.train import Learner, Training

    weights = sum(p.numel() for p in Learner(tokenizer, Training()).model.parameters())
    assert 1e6 < weights < 3e6 and 2 * weights < 8e6  # bfloat16: two bytes each
