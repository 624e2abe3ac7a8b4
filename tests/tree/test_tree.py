"""The tree's laws: decisions, files, words, fits that agree with scikit-learn, hostile pickles."""

import copy
import copyreg
import io
import json
import operator
import os
import pickle
import re
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from tree_examples import NAMES, grid, rows, trees

from dtreward.tree.document import HEAD
from dtreward.tree.nodes import ATTRIBUTES
from dtreward.tree.tree import PreferenceTree

# beartype, where it checks, looks at one random element of a list
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
PICKLES = Path(__file__).parents[1] / "pickles"
GOOD = sorted(PICKLES.glob("*.pkl"))
REWARD_MODELS = {
    "Decision-Tree-Reward-Gemma-2-27B": 0.03,
    "Decision-Tree-Reward-Llama-3.1-8B": 0.019,
}
PUBLISHED = ("Human", "GPT-4o", "Llama-3.1-8B", *REWARD_MODELS)

finite = st.floats(allow_nan=False, allow_infinity=False, max_value=1e300, min_value=-1e300)


def columns(tree):
    return tree.feature, tree.threshold, tree.left, tree.right, tree.value, tree.share


def same(one, other):
    """Bit for bit, nan and -0.0 included."""
    pairs = zip(columns(one), columns(other), strict=True)
    return one.attributes == other.attributes and all(a.tobytes() == b.tobytes() for a, b in pairs)


def numbers(seed=0, pairs=200, width=5):
    random = np.random.default_rng(seed)
    differences = random.integers(-4, 5, (pairs, width)).astype(float)
    noise = random.normal(0, 2, pairs)
    return differences, (differences[:, 0] + differences[:, 1] / 2 + noise > 0).astype(int)


# Decisions


def test_published_gemma_tree_prefers_response_1_of_the_usage_example_with_0988():
    published = json.loads(
        (PICKLES.parents[1] / "dtreward/published/usage_example.json").read_text()
    )
    name = "Decision-Tree-Reward-Gemma-2-27B"
    first, second = published["published_output"][name]["rewards"]
    difference = np.array([[second[attribute] - first[attribute] for attribute in ATTRIBUTES]])
    tree = PreferenceTree.published(name)
    assert tree.predict(difference).tolist() == [0]
    assert 1 - tree.probability(difference)[0] == 0.988
    sentences = [step.sentence for step in tree.path(difference[0])]
    assert sentences[0] == (
        "helpfulness: difference -3.98 <= 0.03, so response 1 is more likely (85.0 %)"
    )
    assert sentences[-1] == (
        "correctness: difference -4.03 <= -1.023, so response 1 is more likely (98.8 %)"
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_trees_have_their_pictures_form(name):
    tree = PreferenceTree.published(name)
    assert (tree.depth, tree.n_leaves, tree.attributes) == (3, 8, ATTRIBUTES)
    # values are printed to three digits: rows are off 1 by rounding in binary alone
    np.testing.assert_allclose(tree.value.sum(axis=1), 1, atol=1e-15)


@pytest.mark.parametrize(("name", "threshold"), REWARD_MODELS.items())
def test_published_reward_models_decide_by_one_helpfulness_threshold(name, threshold):
    rule = PreferenceTree.published(name).effective_rule()
    assert (rule.depth, rule.n_leaves) == (1, 2)
    assert rule.rule_sentences() == (f"response 2 iff helpfulness difference > {threshold}",)


def test_published_human_tree_needs_coherence_too():
    assert PreferenceTree.published("Human").effective_rule().n_leaves == 4


def test_unknown_published_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"Human, GPT-4o.*found 'Claude'"):
        PreferenceTree.published("Claude")


def test_a_difference_at_the_threshold_goes_left():
    tree = PreferenceTree.single_split("a", 0.1, attributes=NAMES)
    just_above = np.nextafter(0.1, 1)
    differences = np.array([[0.1, 0, 0], [just_above, 0, 0]])
    assert tree.apply(differences).tolist() == [1, 2]
    assert tree.predict(differences).tolist() == [0, 1]


def test_float32_and_integer_differences_are_read_exactly():
    tree = PreferenceTree.single_split("a", 0.1)
    # float32(0.1) is above 0.1
    assert tree.predict(np.array([[0.1]], dtype=np.float32)).tolist() == [1]
    assert tree.predict(np.array([[0], [1]])).tolist() == [0, 1]


@settings(max_examples=50)
@given(trees(), rows())
def test_an_even_chance_gives_response_1(tree, differences):
    probability = tree.probability(differences)
    assert (tree.predict(differences) == (probability > 0.5)).all()
    assert (tree.predict(differences)[probability == 0.5] == 0).all()


@settings(max_examples=50)
@given(trees(), rows())
def test_averaged_probabilities_of_both_orders_sum_to_one(tree, differences):
    one, other = (tree.probability(d, averaged=True) for d in (differences, -differences))
    np.testing.assert_allclose(one + other, 1, rtol=0, atol=2**-52)  # one rounding each
    direct = (tree.probability(differences) + 1 - tree.probability(-differences)) / 2
    np.testing.assert_allclose(one, direct, rtol=0, atol=2**-52)
    flips = tree.predict(differences, averaged=True) != tree.predict(-differences, averaged=True)
    assert (flips == (one != 0.5)).all()


def test_the_published_tree_alone_is_not_antisymmetric():
    tree, zero = PreferenceTree.published("Human"), np.zeros((1, 5))
    assert tree.probability(zero)[0] == 0.455
    assert tree.probability(zero, averaged=True)[0] == 0.5


@settings(max_examples=50)
@given(trees(), rows())
def test_swapping_twice_changes_nothing(tree, differences):
    swapped = -differences
    assert (tree.probability(-swapped) == tree.probability(differences)).all()
    assert tree.swap_consistency(differences) == tree.swap_consistency(-differences)


def test_swap_consistency_counts_pairs_that_flip():
    tree = PreferenceTree.single_split("a", 0.5)
    assert tree.swap_consistency(np.array([[2.0], [-2.0], [0.1], [0.0]])) == 0.5
    with pytest.raises(ValueError, match="at least one pair"):
        tree.swap_consistency(np.zeros((0, 1)))


@given(trees(), rows(), st.permutations(range(3)))
def test_moving_columns_with_their_names_changes_nothing(tree, differences, order):
    data = tree.to_dict() | {"attributes": [NAMES[column] for column in order]}
    moved = PreferenceTree.from_dict(data)
    assert (moved.apply(differences[:, order]) == tree.apply(differences)).all()


@settings(max_examples=50)
@given(trees(), rows())
def test_the_effective_rule_decides_alike_everywhere(tree, differences):
    rule = tree.effective_rule()
    assert (rule.predict(differences) == tree.predict(differences)).all()
    assert rule.n_leaves <= tree.n_leaves
    assert same(rule, rule.effective_rule())
    split = np.flatnonzero(rule.feature >= 0)
    left, right, decides = rule.left[split], rule.right[split], rule.value[:, 1] > 0.5
    both_leaves = (rule.feature[left] < 0) & (rule.feature[right] < 0)
    assert (decides[left] != decides[right])[both_leaves].all()


def test_a_collapsed_leaf_weighs_its_sides_by_share():
    rule = PreferenceTree.published("Human").effective_rule()
    right = (4.1 * 0.903 + 38.6 * 0.986) / 42.7  # from the leaves up, this is within rounding
    assert rule.value[rule.right[0], 1] == pytest.approx(right, abs=1e-3)
    differences, preference = numbers(pairs=60)
    rule = PreferenceTree.fit(differences, preference, attributes=ATTRIBUTES).effective_rule()
    leaf = rule.apply(differences)
    for node in np.unique(leaf):  # exactly its pairs' fraction, but for one rounding
        assert rule.value[node, 1] == pytest.approx(preference[leaf == node].mean(), abs=1e-12)


def test_a_collapsed_leaf_is_not_rounded_to_the_other_side():
    barely = float(np.nextafter(0.5, 1))
    data = PreferenceTree.single_split("a", 0.0).to_dict()
    for side, share in ((1, 0.3), (2, 0.7)):
        data["nodes"][side] |= {"value": [1 - barely, barely], "share": share}
    rule = PreferenceTree.from_dict(data).effective_rule()
    assert rule.n_leaves == 1
    assert rule.predict(np.array([[0.0]])).tolist() == [1]


def test_a_wide_tree_is_collapsed_without_recursion():
    depth = 3000
    blank = dict.fromkeys(("attribute", "threshold", "left", "right"))
    nodes = []
    for level in range(depth):
        split = {"attribute": "a", "threshold": float(level), "left": 2 * level + 1}
        nodes.append(split | {"right": 2 * level + 2, "value": [0.5, 0.5], "share": 1.0})
        nodes.append(blank | {"value": [1.0, 0.0], "share": 0.0})
    nodes.append(blank | {"value": [1.0, 0.0], "share": 1.0})
    tree = PreferenceTree.from_dict(HEAD | {"attributes": ["a"], "nodes": nodes})
    assert (tree.depth, tree.effective_rule().depth) == (depth, 0)


# Words


@settings(max_examples=50)
@given(trees(), rows())
def test_the_path_is_the_way_that_apply_takes(tree, differences):
    for difference, leaf in zip(differences, tree.apply(differences), strict=True):
        node = 0
        for step in tree.path(difference):
            assert step.node == node
            assert step.goes_left == (step.difference <= step.threshold)
            node = int((tree.left if step.goes_left else tree.right)[node])
        assert node == leaf


@given(finite, finite)
@example(0.1, np.nextafter(0.1, 1))
@example(np.nextafter(0.03, 1), 0.03)
def test_the_comparison_in_a_sentence_is_true(difference, threshold):
    (step,) = PreferenceTree.single_split("a", threshold).path(np.array([difference]))
    shown = re.fullmatch(r"a: difference (\S+) (<=|>) (\S+), so response .*", step.sentence)
    compare = {"<=": operator.le, ">": operator.gt}[shown[2]]
    assert compare(float(shown[1]), float(shown[3])) and compare(difference, threshold)


@settings(max_examples=50)
@given(trees(), rows())
def test_one_rule_sentence_holds_for_each_pair_and_says_its_preference(tree, differences):
    assume(not tree.rule_sentences()[0].startswith("response 2 iff"))
    condition = r"(?:(\S+) < )?(\w) difference(?: (<=|>) (\S+))"
    for difference, preference in zip(differences, tree.predict(differences), strict=True):
        holding = []
        for sentence in tree.rule_sentences():
            parts = sentence.partition(" if ")[2].split(" and ")
            holds = True
            for low, name, sign, bound in (re.fullmatch(condition, p).groups() for p in parts if p):
                value = difference[NAMES.index(name)]
                holds &= value <= float(bound) if sign == "<=" else value > float(bound)
                holds &= not low or float(low) < value
            holding += [sentence] if holds else []
        assert len(holding) == 1
        assert holding[0].startswith(f"response {preference + 1} (")


def test_rule_sentences_of_the_smallest_trees():
    sure = PreferenceTree.single_split("a", 0.0).to_dict()
    sure["nodes"] = [sure["nodes"][1] | {"share": 1.0}]
    assert PreferenceTree.from_dict(sure).rule_sentences() == ("response 1 (100.0 %) always",)
    split = PreferenceTree.single_split("a", 0.5).to_dict()
    split["nodes"][1]["value"], split["nodes"][2]["value"] = [0.2, 0.8], [0.5, 0.5]
    tree = PreferenceTree.from_dict(split)
    assert tree.rule_sentences() == ("response 2 iff a difference <= 0.5",)
    assert tree.path(np.array([1.0]))[0].sentence.endswith("response 1 is as likely (50.0 %)")
    assert PreferenceTree.from_dict(sure).path(np.array([1.0])) == ()


# Files


@settings(max_examples=50)
@given(trees(thresholds=finite))
def test_json_keeps_every_bit(tmp_path_factory, tree):
    assert same(tree, PreferenceTree.from_dict(json.loads(json.dumps(tree.to_dict()))))
    path = tmp_path_factory.getbasetemp() / "tree.json"
    assert same(tree, PreferenceTree.load(tree.save(path)))


def test_a_fitted_tree_survives_its_file_bit_for_bit(tmp_path):
    differences, preference = numbers()
    tree = PreferenceTree.fit(differences / 3, preference, attributes=ATTRIBUTES)
    assert same(tree, PreferenceTree.load(tree.save(tmp_path / "tree.json")))


def changed(*way, to):
    """The JSON of a single split with one place changed, or removed where `to` is ..."""
    data = PreferenceTree.single_split("a", 0.5, attributes=NAMES).to_dict()
    place = data
    for key in way[:-1]:
        place = place[key]
    if to is ...:
        del place[way[-1]]
    else:
        place[way[-1]] = to
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "JSON object"),
        ({}, "was it written by save"),
        (changed("format", to="tree"), "JSON object"),
        (changed("version", to=2), "'version': 1"),
        (changed("attributes", to="abc"), "list of names"),
        (changed("attributes", to=["a", 1, "c"]), "list of names"),
        (changed("attributes", to=["a", "b", "b"]), "distinct"),
        (changed("attributes", to=["a", "b", ""]), "non-empty"),
        (changed("nodes", to=[]), "list of nodes"),
        (changed("nodes", to=None), "list of nodes"),
        (changed("nodes", 1, to=None), "node 1 is not"),
        (changed("nodes", 2, to=...), "node 0 is not"),
        (changed("nodes", 0, "share", to=...), "node 0 is not"),
        (changed("nodes", 0, "impurity", to=0.5), "node 0 is not"),
        (changed("nodes", 0, "attribute", to="d"), "node 0 is not"),
        (changed("nodes", 0, "attribute", to=None), "node 0 is not"),
        (changed("nodes", 0, "threshold", to="0.5"), "node 0 is not"),
        (changed("nodes", 0, "threshold", to=float("nan")), "node 0 is not"),
        (changed("nodes", 0, "threshold", to=float("inf")), "node 0 is not"),
        (changed("nodes", 0, "threshold", to=10**400), "node 0 is not"),
        (changed("nodes", 0, "left", to=True), "node 0 is not"),
        (changed("nodes", 0, "left", to=0), "node 0 is not"),
        (changed("nodes", 0, "left", to=-1), "node 0 is not"),
        (changed("nodes", 0, "left", to=10**400), "node 0 is not"),
        (changed("nodes", 0, "left", to=2), "preorder"),
        (changed("nodes", 1, "left", to=2), "node 1 is not"),
        (changed("nodes", 1, "value", to=[0.5, 0.4]), "sum to 1"),
        (changed("nodes", 1, "value", to=[1.5, -0.5]), "fractions"),
        (changed("nodes", 1, "value", to=[1.0]), "node 1 is not"),
        (changed("nodes", 1, "value", to=[True, False]), "node 1 is not"),
        (changed("nodes", 1, "share", to=1.5), "shares"),
        (changed("nodes", 0, "share", to=0.5), "root"),
        (changed("nodes", 1, "share", to=None), "node 1 is not"),
    ],
)
def test_json_that_is_no_tree_is_refused_by_what_is_wrong(data, message):
    with pytest.raises(ValueError, match=message):
        PreferenceTree.from_dict(data)


def test_a_cycle_in_json_is_refused():
    data = PreferenceTree.published("Human").to_dict()
    node = next(n for n in data["nodes"][1:] if n["attribute"])
    node["right"] = node["left"] = 1
    with pytest.raises(ValueError, match="each once"):
        PreferenceTree.from_dict(data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@settings(max_examples=50)
@given(st.data())
def test_json_with_anything_anywhere_gives_a_tree_or_a_value_error(data):
    tree = PreferenceTree.published("GPT-4o").to_dict()
    for _ in range(data.draw(st.integers(1, 2))):
        place = tree
        while True:
            keys = sorted(place) if isinstance(place, dict) else range(len(place))
            inner = place[key := data.draw(st.sampled_from(keys))]
            if not inner or not isinstance(inner, dict | list) or data.draw(st.booleans()):
                break
            place = inner
        place[key] = data.draw(json_values)
        assume(isinstance(place, dict) or len(place))
    try:
        read = PreferenceTree.from_dict(copy.deepcopy(tree))
    except ValueError:
        return
    assert same(read, PreferenceTree.from_dict(read.to_dict()))


@pytest.mark.parametrize("text", ["", "{", "\udcff", "[" * 100_000, "NaN", "null"])
def test_a_file_that_is_no_json_tree_is_named_in_the_error(tmp_path, text):
    path = tmp_path / "some.json"
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(ValueError, match=r"some\.json: "):
        PreferenceTree.load(path)


# Fits


@pytest.mark.parametrize(
    "options", [{}, {"criterion": "gini"}, {"max_depth": None, "max_leaves": 6}]
)
@pytest.mark.parametrize("scale", [1.0, 0.1, 1 / 3])
def test_fit_predicts_what_scikit_learn_predicts(options, scale):
    differences, preference = numbers()
    differences = differences * scale
    tree = PreferenceTree.fit(differences, preference, attributes=ATTRIBUTES, **options)
    theirs = {"criterion": "log_loss", "max_depth": 3} | options
    leaves = theirs.pop("max_leaves", None)
    model = DecisionTreeClassifier(random_state=0, max_leaf_nodes=leaves, **theirs)
    model.fit(differences, preference)
    assert (tree.probability(differences) == model.predict_proba(differences)[:, 1]).all()
    assert (tree.depth, tree.n_leaves) == (model.get_depth(), model.get_n_leaves())
    other = np.float32(np.random.default_rng(1).normal(0, 3, (500, 5)))
    assert (tree.probability(other) == model.predict_proba(other)[:, 1]).all()
    counts = np.bincount(tree.apply(differences), minlength=len(tree.feature))
    leaf = tree.feature < 0
    np.testing.assert_allclose(tree.share[leaf] * len(differences), counts[leaf], rtol=1e-12)


@given(
    # halves of float32's steps above 2, so that odd numbers are ties
    st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=2, max_size=30)
)
@example([(2, False), (3, True)])
def test_fit_sends_each_fitted_difference_where_scikit_learn_sent_it(pairs):
    differences = np.array([[2 + steps * 2**-23] for steps, _ in pairs])
    preference = np.array([int(second) for _, second in pairs])
    assume(set(preference) == {0, 1})
    tree = PreferenceTree.fit(differences, preference, attributes=["a"], max_depth=None)
    model = DecisionTreeClassifier(criterion="log_loss", random_state=0)
    model.fit(differences, preference)
    assert (tree.probability(differences) == model.predict_proba(differences)[:, 1]).all()


def test_the_raw_threshold_would_send_a_tie_the_other_way():
    tie = 2 + 3 * 2**-23  # float32 rounds it up, and scikit-learn splits exactly there
    differences = np.array([[2 + 2**-22], [tie]])
    model = DecisionTreeClassifier().fit(differences, [0, 1])
    assert model.tree_.threshold[0] == tie and model.predict(differences).tolist() == [0, 1]
    raw = PreferenceTree.single_split("a", model.tree_.threshold[0])
    assert raw.predict(differences).tolist() == [0, 0]


def test_fitting_both_orders_equals_fitting_the_doubled_pairs():
    differences, preference = numbers()
    both = PreferenceTree.fit(differences, preference, attributes=ATTRIBUTES, orders="both")
    doubled = np.r_[differences, -differences], np.r_[preference, 1 - preference]
    assert same(both, PreferenceTree.fit(*doubled, attributes=ATTRIBUTES))
    assert both.value[0].tolist() == [0.5, 0.5]
    assert not same(both, PreferenceTree.fit(differences, preference, attributes=ATTRIBUTES))


def test_doubling_all_differences_doubles_the_thresholds():
    differences, preference = numbers()
    one = PreferenceTree.fit(differences, preference, attributes=ATTRIBUTES)
    two = PreferenceTree.fit(2 * differences, preference, attributes=ATTRIBUTES)
    assert (one.feature == two.feature).all()
    np.testing.assert_array_equal(2 * one.threshold, two.threshold)  # powers of two are exact


def test_fit_is_the_same_each_time_and_for_each_type_of_preference():
    differences, preference = numbers()
    fits = [
        PreferenceTree.fit(differences, preference.astype(kind), attributes=ATTRIBUTES, seed=3)
        for kind in (int, float, bool, np.int8)
    ]
    assert all(same(fits[0], fit) for fit in fits)


def test_min_leaf_and_pruning_make_smaller_trees():
    differences, preference = numbers()
    full = PreferenceTree.fit(differences, preference, attributes=ATTRIBUTES, max_depth=None)
    for option in ({"min_leaf": 20}, {"pruning": 0.02}, {"max_leaves": 4}):
        options = {"attributes": ATTRIBUTES, "max_depth": None} | option
        tree = PreferenceTree.fit(differences, preference, **options)
        assert 1 < tree.n_leaves < full.n_leaves / 2
    assert tree.n_leaves == 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_difference_that_is_no_number_is_refused(value):
    differences, preference = numbers()
    tree = PreferenceTree.fit(differences, preference, attributes=ATTRIBUTES)
    differences[7, 2] = value
    with pytest.raises(ValueError, match="pair 7 hold nan or infinity"):
        tree.probability(differences)
    with pytest.raises(ValueError, match="pair 7 hold nan or infinity"):
        PreferenceTree.fit(differences, preference, attributes=ATTRIBUTES)


def test_another_number_of_attributes_is_refused_by_name():
    tree = PreferenceTree.published("Human")
    with pytest.raises(ValueError, match=r"5 attributes \(helpfulness, .*differences have 4"):
        tree.predict(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="5 attributes"):
        tree.path(np.zeros(4))
    with pytest.raises(ValueError, match="is not one of"):
        PreferenceTree.single_split("d", 0.0, attributes=NAMES)


@pytest.mark.parametrize("preference", [[0, 0, 0], [0, 1, 2], [0.0, 1.0, np.nan], [0, 1, None]])
def test_preferences_other_than_both_0_and_1_are_refused(preference):
    with pytest.raises(ValueError, match=r"0 and 1 among them.*drop ties"):
        PreferenceTree.fit(np.zeros((3, 1)), np.array(preference), attributes=["a"])


# Pickles


def read(path):
    return PreferenceTree.from_pickle(path, attributes=ATTRIBUTES)


def dumped(folder, model, protocol=4):
    path = folder / "tree.pkl"
    path.write_bytes(pickle.dumps(model, protocol=protocol))
    return path


def fitted(preference=None, **options):
    differences, given = numbers()
    model = DecisionTreeClassifier(criterion="log_loss", max_depth=3, random_state=0)
    return model.set_params(**options).fit(
        differences, given if preference is None else preference(given)
    )


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_pickle_of_any_version_and_protocol_predicts_as_it_did(path):
    expected = json.loads((PICKLES / "expected.json").read_text())
    differences, tree = np.array(expected["differences"]), read(path)
    assert tree.probability(differences).tolist() == expected["probability"]
    assert tree.apply(differences).tolist() == expected["leaf"]
    assert same(tree, read(GOOD[-1]))


def test_the_pickles_span_versions_and_protocols():
    stems = {path.stem for path in GOOD}
    versions = ("1.1.3", "1.2.2", "1.5.2", "1.9.1")
    assert stems == {f"sklearn-{v}-protocol-{p}" for v in versions for p in range(2, 6)}


def test_reading_a_pickle_equals_fitting_the_tree(tmp_path):
    fit = PreferenceTree.fit(*numbers(), attributes=ATTRIBUTES)
    assert same(read(dumped(tmp_path, fitted())), fit)


@pytest.mark.parametrize(
    "preference",
    [
        lambda p: p.astype(bool),
        lambda p: 2 * p - 1,
        lambda p: p.astype(float),
        lambda p: p.astype(np.int8),
    ],
    ids=["bool", "minus one and one", "float", "int8"],
)
def test_the_lower_class_is_response_1(tmp_path, preference):
    assert same(read(dumped(tmp_path, fitted(preference))), read(dumped(tmp_path, fitted())))


@pytest.mark.parametrize(
    "options", [{"max_depth": None, "max_leaf_nodes": 7}, {"class_weight": {0: 1.0, 1: 3.0}}]
)
def test_best_first_and_weighted_trees_are_read(tmp_path, options):
    model, (differences, _) = fitted(**options), numbers()
    tree = read(dumped(tmp_path, model))
    assert (tree.probability(differences) == model.predict_proba(differences)[:, 1]).all()


def test_feature_names_beside_the_tree_do_no_harm(tmp_path):
    import pandas as pd

    differences, preference = numbers()
    frame = pd.DataFrame(differences, columns=list(ATTRIBUTES))
    model = DecisionTreeClassifier(max_depth=2).fit(frame, preference)
    assert read(dumped(tmp_path, model)).depth == 2


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: {"tree": fitted()}, "found a dict"),
        (lambda: [fitted()], "found a list"),
        (lambda: fitted().tree_, r"found sklearn\.tree\._tree Tree"),
        (lambda: np.arange(3), "found numpy.core"),
        (lambda: DecisionTreeRegressor().fit(*numbers()), "DecisionTreeRegressor"),
        (lambda: RandomForestClassifier(2).fit(*numbers()), "RandomForestClassifier"),
        (DecisionTreeClassifier, "KeyError"),
        (lambda: fitted(lambda p: p + 1), r"found \[1, 2\]"),
        (lambda: fitted(lambda p: p + np.arange(200) % 2), r"found \[0, 1, 2\]"),
        (lambda: fitted(lambda p: np.where(p, "yes", "no")), "something else than numbers"),
        (lambda: fitted(lambda p: np.where(p, "yes", "no").astype(object)), "else than numbers"),
        (lambda: fitted(lambda p: np.stack([p, p], axis=1)), "expected numpy"),
        (lambda: fitted(random_state=np.random.RandomState(0)), "randomstate"),
    ],
)
def test_a_pickle_of_something_else_is_refused_by_what_was_found(tmp_path, model, message):
    with pytest.raises(ValueError, match=rf"tree\.pkl: expected the plain pickle.*{message}"):
        read(dumped(tmp_path, model()))


def test_another_number_of_features_is_refused():
    with pytest.raises(ValueError, match="it has 5 features, you named 3"):
        PreferenceTree.from_pickle(GOOD[0], attributes=NAMES)


def test_a_missing_pickle_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.pkl")


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def named(module, name):
    return text(module) + text(name) + b"\x93"


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A file that exists once anything in a pickle has been called or imported."""
    file = tmp_path / "canary"
    (tmp_path / "canary_module.py").write_text(f"open({str(file)!r}, 'w')\ndef f(*a): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    return file


def hostile(canary):
    touch, four = text(f"touch {canary}"), b"\x80\x04"
    call = text(f"open({str(canary)!r}, 'w')") + b"\x85R"
    system = b"cposix\nsystem\n" + touch + b"\x85R"
    evaluate = b"cbuiltins\neval\n" + call
    good = GOOD[-1].read_bytes()
    inner, array = good[11:-1], named("numpy", "ndarray")
    doubled = b"".join(b"h" + bytes([n, 104, n]) + b"\x86\x94" for n in range(90))
    posix = text("posix") + b"h\x00\x93" + touch + b"\x85R"
    reconstruct = named("numpy.core.multiarray", "_reconstruct.__class__")
    return {
        "GLOBAL": b"\x80\x02" + system + b".",
        "STACK_GLOBAL": four + named("os", "system") + touch + b"\x85R.",
        "memoised strings": four + text("system") + b"\x940" + posix + b".",
        "memoised strings, no POP": four + b"(" + text("system") + b"\x94" + posix + b"t.",
        "eval": b"\x80\x02" + evaluate + b".",
        "import of a module": b"\x80\x02ccanary_module\nf\n)R.",
        "dotted name": four + named("numpy", "os.system") + touch + b"\x85R.",
        "allowed module": four + reconstruct + b")R.",
        "nested in the state": four + inner + b"}(" + text("tree_") + system + b"ub.",
        "nested as a key": four + inner + b"}(" + system + b"K\x00ub.",
        "before the tree": four + b"(" + evaluate + b"0" + inner + b".",
        "after the end": good + b"\x80\x02" + system + b".",
        "a result called": four + b"cnumpy\nndarray\n)R" + call + b".",
        "INST": b"(" + touch + b"iposix\nsystem\n.",
        "OBJ": b"\x80\x02(cposix\nsystem\n" + touch + b"o.",
        "NEWOBJ": b"\x80\x02ccanary_module\nf\n" + touch + b"\x85\x81.",
        "NEWOBJ_EX": four + b"ccanary_module\nf\n)}\x92.",
        "EXT1": b"\x80\x02\x82\x01.",
        "EXT2": b"\x80\x02\x83\x01\x00.",
        "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
        "PERSID": b"Pcanary\n.",
        "BINPERSID": b"\x80\x02" + text("canary") + b"Q.",
        "BUILD of a class": four + array + b"}" + text("__reduce__") + b"K\x00sb.",
        "BUILD of slots": four + array + b")RN}" + text("__class__") + array + b"s\x86b.",
        "BUILD of text": four + text("a") + b"}b.",
        "getattr": four + named("builtins", "getattr") + array + text("__init__") + b"\x86R.",
        "numpy.load": four + named("numpy", "load") + text(str(canary)) + b"\x85R.",
        "odd dtype": four + named("numpy", "dtype") + text("O") + b"\x89\x88\x87R.",
        "buffers": b"\x80\x05\x97\x98.",
        "huge bytes": four + b"\x8e" + struct.pack("<Q", 2**62) + b".",
        "huge array": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b".",
        "huge memo": four + b"Nr" + struct.pack("<I", 2**31 - 1) + b".",
        "huge frame": four + b"\x95" + struct.pack("<Q", 2**62) + b"N.",
        "huge number": b"\x80\x02\x8b" + struct.pack("<I", 2**31 - 1) + b".",
        "tuples of tuples as a key": four + b"}()\x94" + doubled + b"Nu.",
        "deep": b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
        "itself": b"\x80\x02]q\x00h\x00a.",
        "a dict that holds itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
        "text protocol": pickle.dumps(fitted(), protocol=0),
        "nothing": b"",
        "too large": b"N" * 2**24 + b"..",
        "stack underflow": four + b"R.",
        "no value": b".",
    }


CASES = list(hostile(Path("canary")))


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path, canary, case):
    path = tmp_path / "tree.pkl"
    path.write_bytes(hostile(canary)[case])
    with pytest.raises(ValueError, match="expected the plain pickle"):
        read(path)
    assert not canary.exists()


@pytest.mark.parametrize(
    "case", ["GLOBAL", "STACK_GLOBAL", "memoised strings", "eval", "import of a module", "INST"]
)
def test_the_same_pickle_is_dangerous_to_pickle_itself(canary, case):
    pickle.loads(hostile(canary)[case])
    assert canary.exists()


def test_an_extension_code_that_pickle_has_cached_is_refused(tmp_path, canary):
    copyreg.add_extension("posix", "system", 240)
    try:
        assert pickle.loads(b"\x80\x02\x82\xf0.") is os.system  # from here on, no name is looked up
        called = b"\x80\x02\x82\xf0" + text(f"touch {canary}") + b"\x85R."
        (tmp_path / "tree.pkl").write_bytes(called)
        with pytest.raises(ValueError, match="opcode EXT1"):
            read(tmp_path / "tree.pkl")
        assert not canary.exists()
    finally:
        copyreg.remove_extension("posix", "system", 240)


def test_reading_imports_and_calls_nothing_of_scikit_learn(monkeypatch):
    def refuse(*_):
        raise AssertionError("called")

    monkeypatch.setattr(DecisionTreeClassifier, "__setstate__", refuse)
    monkeypatch.setattr(np._core.multiarray, "_reconstruct", refuse)
    monkeypatch.setattr(np._core.numeric, "_frombuffer", refuse)
    with pytest.raises(AssertionError):
        pickle.load(io.BytesIO(GOOD[-1].read_bytes()))
    assert read(GOOD[-1]).depth == 3


def outcome(folder, data):
    """The tree, or None where it is refused; any other error fails the test."""
    path = folder / "tree.pkl"
    path.write_bytes(data)
    try:
        tree = read(path)
    except ValueError:
        return None
    chance = tree.probability(np.arange(-10, 10).reshape(4, 5))
    assert ((0 <= chance) & (chance <= 1)).all()
    return tree


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pickles")


@pytest.mark.parametrize("path", [GOOD[0], GOOD[-1]], ids=lambda path: path.stem)
def test_a_truncated_pickle_is_refused(folder, path):
    data = path.read_bytes()
    assert not any(outcome(folder, data[:size]) for size in range(0, len(data), 29))


@settings(max_examples=200)
@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.integers(0, 2**12), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_a_damaged_pickle_gives_a_tree_or_a_value_error(folder, path, changes):
    data = bytearray(path.read_bytes())
    for place, byte in changes:
        data[place % len(data)] = byte
    outcome(folder, bytes(data))


@given(st.binary(max_size=300), st.sampled_from((b"", b"\x80\x02", b"\x80\x04")))
def test_random_bytes_are_refused(folder, data, start):
    assert outcome(folder, start + data) is None


opcodes = [
    b"(", b")", b"]", b"}", b"N", b"\x88", b"K\x01", b"\x85", b"\x86", b"\x87", b"t", b"a", b"e",
    b"s", b"u", b"R", b"\x81", b"b", b"\x94", b"h\x00", b"h\x01", b"q\x00", b"\x93", text("numpy"),
    text("dtype"), text("i8"), b"C\x01a", named("numpy", "dtype"), named("_codecs", "encode"),
    named("sklearn.tree._classes", "DecisionTreeClassifier"), named("sklearn.tree._tree", "Tree"),
]  # fmt: skip


@settings(max_examples=200)
@given(st.lists(st.sampled_from(opcodes), max_size=25))
def test_allowed_opcodes_in_any_order_are_refused(folder, parts):
    assert outcome(folder, b"\x80\x04" + b"".join(parts) + b".") is None


def test_an_unknown_order_is_an_error():
    with pytest.raises(ValueError, match="orders must be"):
        PreferenceTree.fit(
            np.array([[0.0], [1.0]]), np.array([0, 1]), attributes=("a",), orders="bth"
        )


def test_importances_are_those_of_scikit_learn():
    generator = np.random.default_rng(3)
    differences = generator.integers(-4, 5, size=(400, 3)).astype(float)
    noisy = differences @ [1.0, 0.5, 0.0] + generator.normal(size=400) > 0
    ours = PreferenceTree.fit(differences, noisy.astype(int), attributes=NAMES)
    theirs = DecisionTreeClassifier(criterion="log_loss", max_depth=3, random_state=0)
    theirs.fit(differences, noisy)
    assert len(np.flatnonzero(ours.importances)) > 1
    np.testing.assert_allclose(ours.importances, theirs.feature_importances_, rtol=0, atol=1e-9)


def test_the_published_human_tree_has_the_published_importances():
    """The picture rounds fractions to 0.001 and shares to 0.1 %; the authors average bootstraps."""
    tree = PreferenceTree.published("Human")
    np.testing.assert_allclose(tree.importances[:2], [0.98, 0.017], rtol=0, atol=0.006)
    assert tree.importances.sum() == pytest.approx(1)


@given(trees())
def test_a_lone_leaf_asks_nothing_and_every_path_is_as_long_as_the_depth_at_most(tree):
    assert 0 <= tree.expected_path_length
    if tree.n_leaves == 1:
        assert tree.expected_path_length == 0 and not tree.importances.any()


def test_the_expected_path_is_the_mean_path_of_the_fitted_pairs():
    generator = np.random.default_rng(4)
    differences = generator.normal(size=(300, 3))
    preference = (differences[:, 0] + generator.normal(size=300) > 0).astype(int)
    tree = PreferenceTree.fit(
        differences, preference, attributes=NAMES, max_depth=None, min_leaf=20
    )
    lengths = [len(tree.path(row)) for row in differences]
    assert tree.expected_path_length == pytest.approx(np.mean(lengths))


@given(trees(), trees(), st.lists(st.tuples(grid, grid, grid), min_size=1, max_size=8))
def test_the_distance_of_two_trees_is_symmetric_and_zero_to_itself(one, other, rows):
    differences = np.array(rows, dtype=float)
    assert one.distance(one, differences) == 0
    assert one.distance(other, differences) == other.distance(one, differences) <= 1


@given(
    seed=st.integers(0, 200),
    pairs=st.integers(30, 200),
    options=st.fixed_dictionaries(
        {
            "min_leaf": st.integers(1, 14),
            "criterion": st.sampled_from(["log_loss", "gini"]),
            "orders": st.sampled_from(["as_given", "both"]),
            "max_depth": st.sampled_from([1, 3, 8, None]),
            "max_leaves": st.sampled_from([None, 2, 5]),
            "pruning": st.sampled_from([0.0, 0.01]),
        }
    ),
)
@settings(max_examples=150, deadline=None)
def test_equal_pairs_fitted_as_one_of_their_weight_give_the_same_tree(seed, pairs, options):
    generator = np.random.default_rng(seed)
    d = generator.integers(-2, 3, size=(pairs, 3)) / 2
    preference = (generator.random(pairs) < 0.2 + 0.6 * (d[:, 0] + d[:, 1] > 0)).astype(int)
    preference[:2] = 0, 1
    options = {"attributes": ["a", "b", "c"], "seed": seed} | options
    alone = PreferenceTree.fit(d, preference, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dtreward.tree.growth.MANY", 0)
        together = PreferenceTree.fit(d, preference, **options)
    ours, theirs = alone.to_dict()["nodes"], together.to_dict()["nodes"]
    assert [node["threshold"] for node in ours] == [node["threshold"] for node in theirs]
    assert [node["attribute"] for node in ours] == [node["attribute"] for node in theirs]
    assert np.allclose(alone.value, together.value, rtol=0, atol=1e-12)
    assert np.allclose(alone.share, together.share, rtol=0, atol=1e-12)


def test_a_table_must_name_its_columns_as_the_tree_does():
    table = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 0.0, 1.0]})
    preference = np.array([0, 1, 1])
    tree = PreferenceTree.fit(table, preference, attributes=["a", "b"])
    assert tree.predict(table).tolist() == preference.tolist()
    assert tree.predict(table.to_numpy()).tolist() == preference.tolist()
    with pytest.raises(ValueError, match=r"named \['b', 'a'\], the tree's attributes \['a', 'b'\]"):
        PreferenceTree.fit(table[["b", "a"]], preference, attributes=["a", "b"])
    with pytest.raises(ValueError, match=r"named \['b', 'a'\]"):
        tree.probability(table[["b", "a"]])
    unnamed = pd.DataFrame(table.to_numpy())
    assert tree.predict(unnamed).tolist() == preference.tolist()
