"""Packing is arithmetic: every token once, every index right, whatever the lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dtreward.benchmark import sample_conversations
from dtreward.engine.packing import LEAST, common_prefix, lay_out, plan_packs

SIZE = 64


@st.composite
def conversations(draw, most=SIZE):
    """Groups of one to five conversations that begin alike, of any lengths."""
    ids, prompts = [], []
    for number in range(draw(st.integers(1, 6))):
        prompt = draw(st.lists(st.integers(1, 3), max_size=most - 1))
        for _ in range(draw(st.integers(1, 5))):
            rest = draw(st.lists(st.integers(1, 3), min_size=1, max_size=most - len(prompt)))
            ids.append(prompt + rest)
            prompts.append(number)
    order = draw(st.permutations(range(len(ids))))
    return [ids[row] for row in order], [prompts[row] for row in order]


def check(plan, ids, positions):
    """Read every conversation back out of its pack, as the attention sees it."""
    pack = lay_out(plan, ids, positions)
    count = len(positions[0])
    assert len(pack.token_ids) == len(pack.position_ids) == plan.size
    assert len(pack.query_offsets) == len(pack.key_offsets) == plan.size // LEAST + 2
    assert len(pack.keys) == 2 * plan.size and len(pack.rows) == plan.size // LEAST * count
    assert pack.query_offsets[-1] == plan.size and pack.key_offsets[-1] <= 2 * plan.size
    assert (np.diff(pack.query_offsets) >= 0).all() and (np.diff(pack.key_offsets) >= 0).all()
    asked = np.zeros(plan.size, int)
    for segment, row in enumerate(plan.conversations):
        first, last = pack.query_offsets[segment : segment + 2]
        shown = pack.keys[pack.key_offsets[segment] : pack.key_offsets[segment + 1]]
        asked[first:last] += 1
        assert pack.token_ids[shown].tolist() == list(ids[row])
        assert pack.position_ids[shown].tolist() == list(range(len(ids[row])))
        # Causal and aligned at the end: the queries are the last of the keys.
        assert shown[len(shown) - (last - first) :].tolist() == list(range(first, last))
        read = pack.rows[segment * count : (segment + 1) * count]
        assert read.tolist() == shown[list(positions[row])].tolist()
    empty = pack.query_offsets[len(plan.conversations) : -1]
    assert len({*empty.tolist()}) == 1  # all before the dummy are empty
    asked[pack.query_offsets[-2] :] += 1
    assert (asked == 1).all()
    assert pack.reads == count * len(plan.conversations)
    assert pack.longest >= max(len(ids[row]) for row in plan.conversations)


@settings(deadline=None, max_examples=300)
@given(conversations(), st.booleans(), st.integers(1, 2))
def test_every_token_lies_once_and_every_index_is_right(drawn, shared, count):
    ids, prompts = drawn
    positions = [(len(each) - 1, 0)[:count] for each in ids]
    plans = plan_packs(ids, SIZE, prompts if shared else None)
    placed = [row for plan in plans for row in plan.conversations]
    assert sorted(placed) == list(range(len(ids)))
    for plan in plans:
        assert plan.size == SIZE and sum(unit.tokens for unit in plan.units) <= SIZE
        check(plan, ids, positions)


@settings(deadline=None, max_examples=100)
@given(conversations(most=5 * SIZE))
def test_a_longer_conversation_has_a_pack_of_its_own_of_a_size_that_only_its_length_decides(drawn):
    ids, prompts = drawn
    for plan in plan_packs(ids, SIZE, prompts):
        check(plan, ids, [(len(each) - 1,) for each in ids])
        longest = max(len(ids[row]) for row in plan.conversations)
        assert plan.size in (SIZE, 2 * SIZE, 4 * SIZE, 8 * SIZE)
        assert (plan.size == SIZE) == (longest <= SIZE)
        if plan.size > SIZE:
            assert len(plan.conversations) == 1 and plan.size < 2 * longest


@settings(deadline=None, max_examples=100)
@given(conversations())
def test_conversations_beyond_a_window_lie_alone(drawn):
    ids, prompts = drawn
    for plan in plan_packs(ids, SIZE, prompts, apart=20):
        check(plan, ids, [(len(each) - 1,) for each in ids])
        assert len(plan.conversations) == 1 or all(
            len(ids[row]) <= 20 for row in plan.conversations
        )


def test_a_pair_lies_as_prompt_then_both_responses():
    prompt, ids = [7] * 10, []
    ids = [[*prompt, 1, 2, 3], [*prompt, 4, 5]]
    (plan,) = plan_packs(ids, SIZE, ["same", "same"])
    pack = lay_out(plan, ids, [(12,), (11,)])
    assert pack.token_ids[:15].tolist() == [*prompt, 1, 2, 3, 4, 5]
    assert pack.position_ids[:15].tolist() == [*range(13), 10, 11]
    assert pack.rows[:2].tolist() == [12, 14] and pack.reads == 2


def test_many_short_answers_to_a_long_prompt_are_divided_where_their_keys_have_no_room():
    """Each answer's keys hold the prompt again: 40 of 500 tokens do not fit beside 1,024."""
    prompt = np.arange(500)
    ids = [np.concatenate([prompt, [1000 + number] * 3]) for number in range(40)]
    plans = plan_packs(ids, 1024, [0] * 40)
    assert sum(len(plan.conversations) for plan in plans) == 40
    for plan in plans:
        assert sum(unit.keys - unit.tokens for unit in plan.units) <= plan.size
        lay_out(plan, ids, [(len(tokens) - 1,) for tokens in ids])


def test_a_common_prefix_leaves_each_conversation_its_last_token():
    assert common_prefix([1, 2, 3], [1, 2, 3, 4]) == 2
    assert common_prefix([5], [5]) == 0 and common_prefix([1, 2], [3, 2]) == 0


@pytest.mark.parametrize("size", [1024, 16384])
def test_packs_of_helpsteer2_like_lengths_are_full(size):
    """And a prompt of two responses is computed once: 1.2 times fewer tokens."""
    ids, prompts = sample_conversations(4000, 1000, longest=size)
    plans = plan_packs(ids, size, prompts)
    used = sum(unit.tokens for plan in plans for unit in plan.units)
    usual = [plan for plan in plans if plan.size == size]
    assert len(usual) == len(plans)
    fill = used / sum(plan.size for plan in plans)
    assert fill >= 0.995 if size == 16384 else fill > 0.85  # half a pack is a large share of 1,024
    assert sum(map(len, ids)) / used > (1.2 if size == 16384 else 1.1)


@pytest.mark.parametrize("size", [0, 31, 100, -32])
def test_a_pack_size_that_the_arrays_cannot_have_is_an_error(size):
    with pytest.raises(ValueError, match=f"multiple of 32, came {size}"):
        plan_packs([[1]], size)


def test_planning_is_fast_where_there_are_many_pairs():
    """Ten times the pairs take about ten times the steps: counted, not timed."""
    from dtreward.engine import packing

    steps = []
    for pairs in (300, 3000):
        ids, prompts = sample_conversations(pairs, 1000)
        count = [0]

        def counted(*arguments, real=packing._takes, count=count):
            count[0] += 1
            return real(*arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(packing, "_takes", counted)
            plan_packs(ids, 16384, prompts)
        steps.append(count[0])
    assert 0 < steps[0] and steps[1] <= 12 * steps[0]
