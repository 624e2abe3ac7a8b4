"""Random choices for the demo world's texts, and choices made by hand for its examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, no_type_check

import numpy as np

from dtreward.files import digest

BLOCK = 8192  # uniform numbers drawn at a time


class Draws:
    """Random choices, a few thousand at a time: much faster than asking the generator for each."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator = generator
        self.block = iter(())

    @no_type_check
    def pick(self, options: Sequence[Any], key: str = "") -> Any:
        """Choose one of `options`, each alike; `key` names the choice for a `Script`."""
        for uniform in self.block:
            return options[int(uniform * len(options))]
        self.block = iter(self.generator.random(BLOCK).tolist())
        return self.pick(options, key)


class KeyedDraws(Draws):
    """Random choices that depend on nothing but their key and how often it came before.

    What is written twice with the same seed differs only where it has to.

    Example:
        >>> fruit = ["apple", "pear", "plum"]
        >>> with_a_name = KeyedDraws(0)
        >>> _ = with_a_name.pick(["Ann", "Ben"], "name")
        >>> with_a_name.pick(fruit, "fruit") == KeyedDraws(0).pick(fruit, "fruit")
        True
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.times: Counter[str] = Counter()

    @no_type_check
    def pick(self, options: Sequence[Any], key: str = "") -> Any:
        """Choose one of `options`, each alike."""
        self.times[key] += 1
        drawn = digest(f"{self.seed}", key, f"{self.times[key]}")
        return options[int(drawn[:12], 16) * len(options) // 16**12]


class Script(Draws):
    """Choices made by hand: `chosen[key]` if it is given, otherwise the first option.

    Raises:
        ValueError: if a chosen option is not among the options, so that no draw could make it.

    Example:
        >>> Script({"fruit": "pear"}).pick(["apple", "pear"], "fruit")
        'pear'
    """

    def __init__(self, chosen: Mapping[str, Any]) -> None:
        self.chosen = chosen

    @no_type_check
    def pick(self, options: Sequence[Any], key: str = "") -> Any:
        """Choose what `chosen` says for this key."""
        choice = self.chosen.get(key, options[0])
        if choice not in options:
            raise ValueError(f"expected one of {options} for {key!r}, got {choice!r}")
        return choice
