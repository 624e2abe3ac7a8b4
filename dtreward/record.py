"""What made a result: claims, parameters, versions and hashes of inputs."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from dtreward.files import file_digest, write_json

PACKAGES = ("dtreward", "numpy", "pandas", "scikit-learn", "torch", "transformers")


@dataclass(frozen=True)
class Claim:
    """One sentence of a notebook's last cell, and whether the numbers bear it out.

    Example:
        >>> print(Claim("The tree beats its floor: 0.90 [0.88, 0.92] against 0.51.", True))
        held: The tree beats its floor: 0.90 [0.88, 0.92] against 0.51.
    """

    sentence: str
    held: bool

    def __str__(self) -> str:
        return f"{'held' if self.held else 'did not hold'}: {self.sentence}"


def provenance(parameters: Mapping[str, Any], inputs: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Gather what made a result: parameters, hashes of its input files, versions, machine type.

    Example:
        >>> provenance({"seed": 0})["parameters"]
        {'seed': 0}
    """
    found = {each.name: each.version for each in metadata.distributions()}
    installed = {name: found[name] for name in PACKAGES if name in found}
    return {
        "parameters": dict(parameters),
        "inputs": {Path(path).name: file_digest(path) for path in inputs},
        "versions": {"python": platform.python_version()} | installed,
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

    An executed copy beside it is of another run, and goes: a study then knows what to run again.

    Args:
        numbers: what was measured; intervals may be dataclasses.
        claims: what the notebook says it found, in its own sentences.
        parameters: the notebook's parameters.
        inputs: files that it read; their hashes are recorded.
    """
    found = {"numbers": dict(numbers), "claims": list(claims)}
    Path(path).with_suffix(".ipynb").unlink(missing_ok=True)
    return write_json(path, found | {"provenance": provenance(parameters, inputs)})
