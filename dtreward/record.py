"""The record of a notebook: its numbers and claims, and what made them."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from dtreward.files import file_digest, write_json

OUTCOMES = {True: "held", False: "did not hold", None: "cannot tell"}
PACKAGES = ("dtreward", "numpy", "pandas", "scikit-learn", "torch", "transformers")


@dataclass(frozen=True)
class Claim:
    """One sentence about what a notebook found, and whether the numbers support it.

    Attributes:
        sentence: what was expected, and what was found.
        held: True or False, or None where the numbers cannot tell: there are too few prompts for
            the question.

    Example:
        >>> print(Claim("The tree beats its floor: 0.90 [0.88, 0.92] against 0.51.", True))
        held: The tree beats its floor: 0.90 [0.88, 0.92] against 0.51.
        >>> print(Claim("The tree beats its floor: 0.61 [0.45, 0.77] against 0.51.", None))
        cannot tell: The tree beats its floor: 0.61 [0.45, 0.77] against 0.51.
    """

    sentence: str
    held: bool | None

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`."""
        return OUTCOMES[self.held]

    def __str__(self) -> str:
        return f"{self.outcome}: {self.sentence}"


def count_claims(claims: Iterable[Claim]) -> dict[str, int]:
    """Count claims by outcome, also where there is none.

    Example:
        >>> count_claims([Claim("It is so.", True), Claim("It is more.", True)])
        {'held': 2, 'did not hold': 0, 'cannot tell': 0}
    """
    found = Counter(claim.outcome for claim in claims)
    return {outcome: found[outcome] for outcome in OUTCOMES.values()}


def all_held(outcomes: Iterable[bool | None]) -> bool | None:
    """Give the outcome of "each of these holds": False if one does not, None if one cannot be told.

    Example:
        >>> all_held([True, True]), all_held([True, None, False]), all_held([True, None])
        (True, False, None)
    """
    every = list(outcomes)
    if any(outcome is not None and not outcome for outcome in every):
        return False
    return None if None in every else True


def tally(outcomes: Mapping[str, bool | None]) -> str:
    """Write for how many of several things a claim holds, does not hold, and cannot be told.

    Example:
        >>> tally({"a": True, "b": False, "c": True, "d": None})
        'it holds for 2 of 4, not for 1 (b), and cannot be told for 1 (d)'
        >>> tally({"a": True, "b": None})
        'it holds for 1 of 2, and cannot be told for 1 (b)'
    """
    names: dict[bool | None, list[str]] = {True: [], False: [], None: []}
    for name, outcome in outcomes.items():
        names[outcome].append(name)
    words = f"it holds for {len(names[True])} of {len(outcomes)}"
    if names[False]:
        words += f", not for {len(names[False])} ({', '.join(names[False])})"
    if names[None]:
        words += f", and cannot be told for {len(names[None])} ({', '.join(names[None])})"
    return words


def counted(names: Iterable[str], total: int) -> str:
    """Write how many of a total are named, and their names.

    Example:
        >>> counted(["a", "b"], 3), counted([], 3)
        ('2 of 3 (a, b)', '0 of 3')
    """
    which = list(names)
    listed = f" ({', '.join(which)})" if which else ""
    return f"{len(which)} of {total}{listed}"


def provenance(parameters: Mapping[str, Any], inputs: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Gather what made a result: parameters, hashes of its input files, versions, machine type.

    Args:
        parameters: the notebook's parameters.
        inputs: the files that it read.

    Example:
        >>> provenance({"seed": 0})["parameters"]
        {'seed': 0}
    """
    version_of = {package.name: package.version for package in metadata.distributions()}
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        if name in version_of:
            versions[name] = version_of[name]
    return {
        "parameters": dict(parameters),
        "inputs": {Path(path).name: file_digest(path) for path in inputs},
        "versions": versions,
        "machine": platform.machine(),
    }


def write_result(
    path: str | Path,
    *,
    numbers: Mapping[str, Any],
    claims: Sequence[Claim] = (),
    parameters: Mapping[str, Any],
    inputs: Sequence[str | Path] = (),
) -> Path:
    """Record a notebook's numbers and claims with what made them, as JSON.

    Deletes the executed notebook beside it, which is of an earlier run.

    Args:
        numbers: what was measured; intervals may be dataclasses.
        claims: what the notebook says it found, in its own sentences.
        parameters: the notebook's parameters.
        inputs: files that it read; their hashes are recorded.
    """
    executed = Path(path).with_suffix(".ipynb")
    executed.unlink(missing_ok=True)
    result = {
        "numbers": dict(numbers),
        "claims": list(claims),
        "provenance": provenance(parameters, inputs),
    }
    return write_json(path, result)
