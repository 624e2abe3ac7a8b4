"""How each attribute alone goes with preferences."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from dtreward.judges.strength import attribute_strengths


def measure(differences, preference, longer=None, **options):
    """Measure, one prompt a pair; give {(attribute, measure): row}."""
    count, width = differences.shape
    longer = np.arange(count) % 7.0 if longer is None else longer
    names = [f"a{number}" for number in range(width)]
    options = {"resamples": 200} | options
    table = attribute_strengths(differences, preference, longer, range(count), names, **options)
    return table.set_index(["attribute", "measure"]).to_dict("index")


@pytest.fixture
def votes():
    """Preferences that follow the first attribute, and twice as often the second."""
    rng = np.random.default_rng(0)
    differences = rng.integers(-2, 3, (400, 3)).astype(float)
    lean = differences[:, 0] + 2 * differences[:, 1] + rng.logistic(0, 1, 400)
    return differences, (lean > 0).astype(int)


def test_kappa_is_scikit_learns_on_the_pairs_that_differ(votes):
    differences, preference = votes
    found = measure(differences, preference)
    for number in range(3):
        column = differences[:, number]
        differs = column != 0
        kappa = cohen_kappa_score(column[differs] > 0, preference[differs] == 1)
        assert found[f"a{number}", "kappa"]["estimate"] == pytest.approx(kappa)
        strength = found[f"a{number}", "strength"]
        assert strength["estimate"] == pytest.approx(kappa * differs.mean())
        assert strength["low"] < strength["estimate"] < strength["high"]


def test_an_attribute_that_nobody_looks_at_has_no_strength_and_no_effect(votes):
    found = measure(*votes)
    for measure_name in ("strength", "effect at equal length"):
        ignored = found["a2", measure_name]
        assert ignored["low"] < 0 < ignored["high"]
        assert found["a1", measure_name]["low"] > found["a0", measure_name]["high"] > 0


def test_swapping_all_responses_changes_nothing(votes):
    differences, preference = votes
    longer = differences[:, 2] + 0.5
    one = measure(differences, preference, longer)
    other = measure(-differences, 1 - preference, -longer)
    for key, row in one.items():
        if key[1] != "effect at equal length":
            assert row["estimate"] == pytest.approx(other[key]["estimate"])


def test_a_judge_of_length_has_no_effect_of_what_only_goes_with_length():
    rng = np.random.default_rng(1)
    longer = rng.normal(size=600)
    follows = longer + rng.normal(size=600)
    preference = (longer + rng.logistic(0, 0.3, 600) > 0).astype(int)
    found = measure(follows[:, None], preference, longer)
    assert found["a0", "kappa"]["low"] > 0.2
    effect = found["a0", "effect at equal length"]
    assert effect["low"] < 0 < effect["high"]


def test_an_attribute_that_is_length_itself_or_constant_has_no_effect_to_give(votes):
    differences, preference = votes
    longer = differences[:, 0]
    differences[:, 2] = 0
    found = measure(differences, preference, longer)
    assert np.isnan(found["a0", "effect at equal length"]["estimate"])
    assert np.isnan(found["a2", "kappa"]["estimate"])
    assert found["a2", "differs"]["estimate"] == 0
