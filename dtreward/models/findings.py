"""What a check of a model's files has found, as text and as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

HOLDS = "as expected"
DIFFERS = "differs"
REFUSED = "refused"
UNKNOWN = "found"


@dataclass(frozen=True)
class Fact:
    """One thing that was looked at in a model's files.

    Attributes:
        name: such as "head".
        found: what is there.
        expected: what the catalogue or the model's publication says; "" for nothing.
        outcome: `HOLDS`, `DIFFERS` (`load` takes it as it is found), `REFUSED` (`load` refuses the
            model for it) or `UNKNOWN` (nothing was expected).
        consequence: what `load` does, where something differs.
    """

    name: str
    found: str
    expected: str = ""
    outcome: str = UNKNOWN
    consequence: str = ""


@dataclass(frozen=True)
class ModelCheck:
    """All facts of one model, and what was read for them.

    Attributes:
        commit: of the hub; "" for a folder.
        decides: what the loaded model decides by; "" where `load` refuses it.
        requests: that were sent, redirects included.
        received: bytes of content that came.
    """

    name: str
    commit: str
    facts: tuple[Fact, ...]
    decides: str
    requests: int
    received: int

    @property
    def refused(self) -> bool:
        """Whether `load` refuses the model."""
        return any(fact.outcome == REFUSED for fact in self.facts)

    @property
    def differences(self) -> list[Fact]:
        """The facts that are other than expected, or for which `load` refuses the model."""
        return [fact for fact in self.facts if fact.outcome in (DIFFERS, REFUSED)]

    @property
    def reason(self) -> str:
        """Why `load` refuses the model; "" where it does not."""
        return "; ".join(fact.consequence for fact in self.facts if fact.outcome == REFUSED)

    def __str__(self) -> str:
        at = f" at {self.commit}" if self.commit else ""
        lines = [f"{self.name}{at}"]
        for fact in self.facts:
            lines.append(f"  {fact.outcome:<11}  {fact.name:<11}  {fact.found}")
            if fact.outcome in (DIFFERS, REFUSED) and fact.expected:
                lines.append(f"{'':<28}expected: {fact.expected}")
            if fact.consequence:
                lines.append(f"{'':<28}load: {fact.consequence}")
        lines.append(f"  {self.verdict}")
        return "\n".join(lines)

    @property
    def verdict(self) -> str:
        """Say in one sentence what `load` does, and what was read to know it."""
        amount = f"{self.received:,} bytes in {self.requests} requests"
        read = f"{amount} were read" if self.requests else "no request was sent"
        if self.refused:
            names = [fact.name for fact in self.facts if fact.outcome == REFUSED]
            return f"load refuses it ({', '.join(names)}); {read}."
        return f"load takes it: {self.decides}; {read}."


def as_records(checks: Sequence[ModelCheck]) -> list[dict[str, Any]]:
    """Give checks as plain JSON values, for other programs."""
    return [asdict(check) | {"refused": check.refused} for check in checks]


def as_table(checks: Mapping[str, ModelCheck | None]) -> str:
    """Give one line a model: what `load` does with it.

    Args:
        checks: by the model's name as it was given; None for a model that could not be read.

    Example:
        >>> print(as_table({"a/model": ModelCheck("a/model", "", (), "score", 0, 0), "b": None}))
        model    load               differs
        a/model  takes it: score    nothing
        b        could not be read  -
    """
    rows = [("model", "load", "differs")]
    for name, check in checks.items():
        if check is None:
            rows.append((name, "could not be read", "-"))
            continue
        does = "refuses it" if check.refused else f"takes it: {check.decides}"
        differing = ", ".join(fact.name for fact in check.differences)
        rows.append((name, does, differing or "nothing"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}" for a, b, c in rows)
