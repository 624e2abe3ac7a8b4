"""Conversations to packs of exactly so many tokens, a shared prompt once: pure arithmetic."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

TokenIds = Sequence[int] | np.ndarray
LEAST = 32  # a pack has room for size / 32 segments; a pack's size is a multiple of it


@dataclass(frozen=True)
class Unit:
    """Conversations that lie together, their `prefix` common tokens once, and what that takes."""

    conversations: tuple[int, ...]
    prefix: int
    tokens: int
    keys: int


@dataclass(frozen=True)
class Plan:
    """Which units lie together in a pack of `size` tokens."""

    size: int
    units: tuple[Unit, ...]

    @property
    def conversations(self) -> list[int]:
        """Indices of the conversations, in the order in which a pack holds them."""
        return [each for unit in self.units for each in unit.conversations]


@dataclass(frozen=True)
class Pack:
    """One forward pass: a row of tokens in which conversations lie one after the other.

    A unit lies as [common prefix][rest of its first][rest of its second]...; what is left at the
    end is one dummy conversation. Segment s asks with the tokens from `query_offsets[s]` to
    `query_offsets[s + 1]`, and sees the tokens `keys[key_offsets[s]:key_offsets[s + 1]]`, causally,
    its last token all of them. No array's length depends on what the pack holds, only on its size:
    to the hardware all packs are alike, and so is the rounding. The dummy is the last segment;
    segments before it, and rows after the last that is read, are empty or repeat token 0.
    """

    token_ids: Int[np.ndarray, " size"]
    position_ids: Int[np.ndarray, " size"]
    query_offsets: Int[np.ndarray, " offsets"]
    key_offsets: Int[np.ndarray, " offsets"]
    keys: Int[np.ndarray, " keys"]
    rows: Int[np.ndarray, " rows"]
    longest: int  # tokens of the longest conversation
    reads: int  # how many rows are read; the others fill up


def common_prefix(first: TokenIds, second: TokenIds) -> int:
    """Count the tokens that two conversations begin with in common; the last one of each is its own.

    Example:
        >>> common_prefix([1, 2, 3], [1, 2, 4, 5]), common_prefix([1, 2], [1, 2])
        (2, 1)
    """
    most = min(len(first), len(second)) - 1
    differs = np.asarray(first[:most]) != np.asarray(second[:most])
    return int(differs.argmax()) if differs.any() else most


def check_size(size: object) -> None:
    """Raise a ValueError for a size that no pack has; asked before a model is loaded."""
    if not isinstance(size, int) or size < LEAST or size % LEAST:
        raise ValueError(f"pack_tokens must be a multiple of {LEAST}, came {size!r}")


def plan_packs(
    token_ids: Sequence[TokenIds],
    size: int,
    prompts: Sequence[Hashable] | None = None,
    *,
    apart: int | None = None,
) -> list[Plan]:
    """Say which conversations lie together in packs of `size` tokens: best fit, longest first.

    Conversations of one prompt share their common prefix. One longer than `size` has a pack of its
    own, of the first of 2, 4, 8, ... times `size` that holds it. Packs are full for a few responses to
    a prompt; many short ones to a long prompt run out of room for its repeated keys before.

    Args:
        token_ids: of each conversation, at least one token.
        size: tokens of a pack, a multiple of 32.
        prompts: equal ones are looked at for a common prefix; without them nothing is shared.
        apart: a conversation of more tokens than this shares nothing and has a pack of its own.

    Example:
        >>> [plan.conversations for plan in plan_packs([[1] * 60, [2] * 40, [3] * 20], 64)]
        [[0], [1, 2]]
    """
    check_size(size)
    groups: dict[Hashable, list[int]] = {}
    for place, ids in enumerate(token_ids):
        alone = prompts is None or len(ids) > (apart or size)
        group = ("alone", place) if alone else ("prompt", prompts[place])
        groups.setdefault(group, []).append(place)
    single: list[Plan] = []
    units: list[Unit] = []
    for group in groups.values():
        for unit in _units(token_ids, group, size):
            if len(unit.conversations) == 1 and unit.tokens > min(size, apart or size):
                room = size << max(0, (-(-unit.tokens // size) - 1).bit_length())
                single.append(Plan(room, (unit,)))
            else:
                units.append(unit)
    return [*(Plan(size, tuple(pack)) for pack in _best_fit(units, size)), *single]


def lay_out(plan: Plan, token_ids: Sequence[TokenIds], positions: Sequence[Sequence[int]]) -> Pack:
    """Lay a plan's conversations into one row of tokens.

    Args:
        token_ids: of every conversation, of the plan or not.
        positions: tokens of each conversation whose states are read; as many of every one. Rows of
            the pack are in the order of `plan.conversations`, then of these.
    """
    segments, at, rows, longest = plan.size // LEAST, 0, [], 1
    ids, places, keys, query_ends, key_ends = [], [], [], [0], [0]
    for unit in plan.units:
        start = at
        for nth, place in enumerate(unit.conversations):
            own, length = unit.prefix if nth else 0, len(token_ids[place])
            stop = at + length - own
            shown = np.concatenate([np.arange(start, start + own), np.arange(at, stop)])
            ids.append(np.asarray(token_ids[place])[own:])
            places.append(np.arange(own, length))
            keys.append(shown)
            rows.extend(shown[list(positions[place])])
            query_ends.append(stop)
            key_ends.append(key_ends[-1] + length)
            at, longest = stop, max(longest, length)
    left = plan.size - at
    keys.append(np.arange(at, plan.size))
    empty = segments + 1 - len(query_ends)
    query_ends += [at] * empty + [plan.size]
    key_ends += [key_ends[-1]] * empty + [key_ends[-1] + left]
    most = segments * len(positions[plan.conversations[0]])
    return Pack(
        token_ids=_filled([*ids, np.zeros(left)], plan.size),
        position_ids=_filled([*places, np.zeros(left)], plan.size),
        query_offsets=np.array(query_ends, np.int32),
        key_offsets=np.array(key_ends, np.int32),
        keys=_filled(keys, 2 * plan.size),
        rows=_filled([np.array(rows)], most),
        longest=max(longest, left),
        reads=len(rows),
    )


def _units(token_ids: Sequence[TokenIds], group: Sequence[int], size: int) -> list[Unit]:
    """Put conversations of one prompt together as long as they fit into one pack."""
    found: list[Unit] = []
    for place in group:
        length = len(token_ids[place])
        if found:
            last, first = found[-1], token_ids[found[-1].conversations[0]]
            together = (*last.conversations, place)
            prefix = min(last.prefix or size, common_prefix(first, token_ids[place]))
            keys = last.keys + length
            tokens = keys - prefix * (len(together) - 1)
            fits = tokens <= size and keys - tokens <= size and len(together) <= size // LEAST
            if prefix and fits:
                found[-1] = Unit(together, prefix, tokens, keys)
                continue
        found.append(Unit((place,), 0, length, length))
    return found


def _best_fit(units: list[Unit], size: int) -> list[list[Unit]]:
    packs: list[list[Unit]] = []
    room: list[tuple[int, int]] = []  # (tokens free, pack), of packs that take one more
    spare: list[tuple[int, int]] = []  # (segments, keys beyond its tokens) free, of each pack
    order = sorted(units, key=lambda unit: -unit.tokens)
    least = [min(each) for each in zip(*map(_needs, units), strict=True)]
    for unit in order:
        place = bisect_left(room, (unit.tokens, -1))
        while place < len(room) and not _takes(spare[room[place][1]], _needs(unit)):
            place += 1
        free, pack = room.pop(place) if place < len(room) else (size, len(packs))
        if pack == len(packs):
            packs.append([])
            spare.append((size // LEAST, size))
        packs[pack].append(unit)
        spare[pack] = tuple(a - b for a, b in zip(spare[pack], _needs(unit), strict=True))
        if free - unit.tokens >= order[-1].tokens and _takes(spare[pack], least):
            insort(room, (free - unit.tokens, pack))
    return packs


def _needs(unit: Unit) -> tuple[int, int]:
    return len(unit.conversations), unit.keys - unit.tokens


def _takes(spare: Sequence[int], needs: Sequence[int]) -> bool:
    return all(need <= free for need, free in zip(needs, spare, strict=True))


def _filled(parts: Sequence[np.ndarray], length: int) -> np.ndarray:
    whole = np.zeros(length, np.int64)
    values = np.concatenate(parts)
    whole[: len(values)] = values
    return whole
