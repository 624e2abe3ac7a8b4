"""Arrange conversations in packs of a fixed number of tokens, with each shared prompt once."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

TokenIds = Sequence[int] | np.ndarray
LEAST = 32  # a pack has room for size / 32 segments; a pack's size is a multiple of it


@dataclass(frozen=True)
class Unit:
    """Conversations that lie together in a pack, their common prefix only once.

    Attributes:
        conversations: their indices.
        prefix: tokens of the common prefix; 0 for a single conversation.
        tokens: that the unit takes in a pack.
        keys: tokens of all its conversations, the prefix counted for each; attention reads them.
    """

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
        return [conversation for unit in self.units for conversation in unit.conversations]


@dataclass(frozen=True)
class Pack:
    """One forward pass: a row of tokens in which conversations lie one after the other.

    A unit lies as [common prefix][rest of its first][rest of its second]...; what is left at the
    end is one dummy conversation. The queries of segment s are the tokens from `query_offsets[s]`
    to `query_offsets[s + 1]`; its keys are the tokens `keys[key_offsets[s]:key_offsets[s + 1]]`.
    Attention is causal, and the segment's last query sees all its keys.

    The length of each array depends on the pack's size alone, not on what it holds, so that the
    hardware treats, and rounds, all packs alike. The dummy is the last segment. The segments
    between the conversations and the dummy are empty; unused entries of `rows` and `keys` are 0.

    Attributes:
        longest: tokens of the longest conversation, the dummy included.
        reads: how many entries of `rows` are used.
    """

    token_ids: Int[np.ndarray, " size"]
    position_ids: Int[np.ndarray, " size"]
    query_offsets: Int[np.ndarray, " offsets"]
    key_offsets: Int[np.ndarray, " offsets"]
    keys: Int[np.ndarray, " keys"]
    rows: Int[np.ndarray, " rows"]
    longest: int
    reads: int


@dataclass(frozen=True)
class _Segment:
    """Where one conversation lies in a pack.

    Attributes:
        conversation: its index.
        length: its tokens.
        shared: how many of its first tokens the first conversation of its unit has laid out.
        unit_start: where its unit starts, and so its shared tokens.
        start: where its other tokens start.
    """

    conversation: int
    length: int
    shared: int
    unit_start: int
    start: int

    @property
    def stop(self) -> int:
        """The place after its last token."""
        return self.start + self.length - self.shared

    def places(self) -> np.ndarray:
        """Give the places in the pack of all its tokens."""
        shared = np.arange(self.unit_start, self.unit_start + self.shared)
        own = np.arange(self.start, self.stop)
        return np.concatenate([shared, own])


class _Room(NamedTuple):
    """What a unit takes besides its tokens, or what a pack has left of it."""

    segments: int
    repeated_keys: int


def common_prefix(first: TokenIds, second: TokenIds) -> int:
    """Count the tokens with which two conversations both begin.

    The last token of each is never counted: each conversation keeps a token of its own.

    Example:
        >>> common_prefix([1, 2, 3], [1, 2, 4, 5]), common_prefix([1, 2], [1, 2])
        (2, 1)
    """
    most = min(len(first), len(second)) - 1
    differs = np.asarray(first[:most]) != np.asarray(second[:most])
    if not differs.any():
        return most
    return int(differs.argmax())


def check_size(size: object) -> None:
    """Raise a ValueError for a size that no pack can have; called before a model is loaded."""
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

    Conversations of one prompt share their common prefix. One that is longer than `size` has a
    pack of its own, whose size is the first of 2, 4, 8, ... times `size` that holds it. With a few
    responses to each prompt, packs are nearly full. Many short responses to a long prompt fill a
    pack's keys before its tokens, because the keys repeat the prompt for each of them.

    Args:
        token_ids: of each conversation, at least one token.
        size: tokens of a pack, a multiple of 32.
        prompts: one for each conversation; those of equal prompts are searched for a common
            prefix. Without prompts nothing is shared.
        apart: a conversation of more tokens than this shares nothing and has a pack of its own.

    Example:
        >>> [plan.conversations for plan in plan_packs([[1] * 60, [2] * 40, [3] * 20], 64)]
        [[0], [1, 2]]
    """
    check_size(size)
    longest_together = apart or size
    alone: list[Plan] = []
    units: list[Unit] = []
    for group in _groups(token_ids, prompts, longest_together):
        for unit in _units(token_ids, group, size):
            if len(unit.conversations) == 1 and unit.tokens > min(size, longest_together):
                alone.append(Plan(_doubled_until(size, unit.tokens), (unit,)))
            else:
                units.append(unit)
    together = [Plan(size, tuple(pack)) for pack in _best_fit(units, size)]
    return together + alone


def lay_out(plan: Plan, token_ids: Sequence[TokenIds], positions: Sequence[Sequence[int]]) -> Pack:
    """Lay a plan's conversations into one row of tokens.

    Args:
        token_ids: of every conversation, in the plan or not.
        positions: of every conversation, the tokens whose states are read: equally many of each.
            Rows of the pack are in the order of `plan.conversations`, then of these.
    """
    segments = _segments(plan, token_ids)
    used = segments[-1].stop
    dummy = np.arange(used, plan.size)
    own_ids = []
    own_positions = []
    places = []
    rows = []
    for segment in segments:
        own_ids.append(np.asarray(token_ids[segment.conversation])[segment.shared :])
        own_positions.append(np.arange(segment.shared, segment.length))
        places.append(segment.places())
        rows.append(places[-1][list(positions[segment.conversation])])
    lengths = [segment.length for segment in segments]
    query_ends = [segment.stop for segment in segments]
    key_ends = np.cumsum(lengths).tolist()
    room = plan.size // LEAST  # segments besides the dummy
    reads = sum(map(len, rows))
    return Pack(
        token_ids=_filled(own_ids, plan.size),
        position_ids=_filled(own_positions, plan.size),
        query_offsets=_offsets(query_ends, plan.size, room),
        key_offsets=_offsets(key_ends, key_ends[-1] + len(dummy), room),
        keys=_filled([*places, dummy], 2 * plan.size),
        rows=_filled(rows, room * len(positions[segments[0].conversation])),
        longest=max(*lengths, len(dummy)),
        reads=reads,
    )


def _groups(
    token_ids: Sequence[TokenIds], prompts: Sequence[Hashable] | None, longest: int
) -> list[list[int]]:
    """Group the conversations of each prompt; one that is longer than `longest` is a group alone."""
    groups: dict[Hashable, list[int]] = {}
    for conversation, ids in enumerate(token_ids):
        if prompts is None or len(ids) > longest:
            group = ("alone", conversation)
        else:
            group = ("prompt", prompts[conversation])
        groups.setdefault(group, []).append(conversation)
    return list(groups.values())


def _units(token_ids: Sequence[TokenIds], group: Sequence[int], size: int) -> list[Unit]:
    """Put conversations of one prompt together as long as they fit into one pack."""
    units: list[Unit] = []
    for conversation in group:
        joined = None
        if units:
            joined = _joined(units[-1], conversation, token_ids, size)
        if joined is not None:
            units[-1] = joined
        else:
            length = len(token_ids[conversation])
            units.append(Unit((conversation,), prefix=0, tokens=length, keys=length))
    return units


def _joined(unit: Unit, conversation: int, token_ids: Sequence[TokenIds], size: int) -> Unit | None:
    """Add a conversation to a unit; None if they share nothing or do not fit into one pack."""
    first = token_ids[unit.conversations[0]]
    prefix = common_prefix(first, token_ids[conversation])
    if unit.prefix:
        prefix = min(prefix, unit.prefix)
    if not prefix:
        return None
    conversations = (*unit.conversations, conversation)
    keys = unit.keys + len(token_ids[conversation])
    tokens = keys - prefix * (len(conversations) - 1)
    if tokens > size or keys - tokens > size or len(conversations) > size // LEAST:
        return None
    return Unit(conversations, prefix, tokens, keys)


def _doubled_until(size: int, tokens: int) -> int:
    """Double a pack's size until it holds so many tokens.

    Example:
        >>> _doubled_until(64, 64), _doubled_until(64, 129)
        (64, 256)
    """
    while size < tokens:
        size *= 2
    return size


def _best_fit(units: list[Unit], size: int) -> list[list[Unit]]:
    """Put each unit, the largest first, into the fullest pack that still takes it."""
    if not units:
        return []
    packs: list[list[Unit]] = []
    rooms: list[_Room] = []  # of each pack
    open_packs: list[tuple[int, int]] = []  # (free tokens, pack), sorted
    ordered = sorted(units, key=lambda unit: -unit.tokens)
    fewest_tokens = ordered[-1].tokens
    least = _Room(*map(min, zip(*map(_needs, units), strict=True)))
    for unit in ordered:
        needs = _needs(unit)
        place = bisect_left(open_packs, (unit.tokens, -1))
        while place < len(open_packs) and not _takes(rooms[open_packs[place][1]], needs):
            place += 1
        if place < len(open_packs):
            free, pack = open_packs.pop(place)
        else:
            free = size
            pack = len(packs)
            packs.append([])
            rooms.append(_Room(segments=size // LEAST, repeated_keys=size))
        packs[pack].append(unit)
        free -= unit.tokens
        rooms[pack] = _left(rooms[pack], needs)
        # Full packs are left out, or each later unit would search all of them.
        if free >= fewest_tokens and _takes(rooms[pack], least):
            insort(open_packs, (free, pack))
    return packs


def _needs(unit: Unit) -> _Room:
    """Say what a unit takes besides its tokens."""
    return _Room(len(unit.conversations), unit.keys - unit.tokens)


def _takes(room: _Room, needs: _Room) -> bool:
    """Say whether there is room for what is needed."""
    return needs.segments <= room.segments and needs.repeated_keys <= room.repeated_keys


def _left(room: _Room, needs: _Room) -> _Room:
    """Say what is left when what is needed is taken."""
    return _Room(room.segments - needs.segments, room.repeated_keys - needs.repeated_keys)


def _segments(plan: Plan, token_ids: Sequence[TokenIds]) -> list[_Segment]:
    """Place a plan's conversations one after the other."""
    segments: list[_Segment] = []
    start = 0
    for unit in plan.units:
        unit_start = start
        shared = 0  # the unit's first conversation lays the common prefix out
        for conversation in unit.conversations:
            length = len(token_ids[conversation])
            segment = _Segment(conversation, length, shared, unit_start, start)
            segments.append(segment)
            start = segment.stop
            shared = unit.prefix
    return segments


def _offsets(ends: list[int], last: int, room: int) -> np.ndarray:
    """Give the offsets of the conversations' segments, of empty ones, and of the dummy."""
    empty = [ends[-1]] * (room - len(ends))
    return np.array([0, *ends, *empty, last], np.int32)


def _filled(parts: Sequence[np.ndarray], length: int) -> np.ndarray:
    """Join the parts, and fill up with zeros to a fixed length."""
    whole = np.zeros(length, np.int64)
    values = np.concatenate(parts)
    whole[: len(values)] = values
    return whole
