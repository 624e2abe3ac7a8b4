"""What judges can be asked: which of two responses is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dtreward.judges.judge import TEMPLATE, render
from dtreward.judges.reading import verdict


@runtime_checkable
class Question(Protocol):
    """A question that is asked about many texts."""

    @property
    def choices(self) -> Sequence[str]:
        """Give what it can be answered with."""

    @property
    def key(self) -> str:
        """Give all that changes its answers, beside judge and texts: stored answers are found by it."""

    def render(self, texts: Sequence[str]) -> str:
        """Write the question about texts as it is sent."""

    def read(self, text: str, *, is_cut: bool = False) -> str:
        """Read an answer: one of `choices`, "refused" or "unparsed"."""


@dataclass(frozen=True)
class PairQuestion:
    """Which of two responses to a prompt is better?

    Args:
        template: with the fields {conversation}, {response_a} and {response_b}.

    Example:
        >>> question = PairQuestion("{conversation} {response_a} or {response_b}?")
        >>> question.render(("2 + 2?", "4", "5")), question.read("A is better")
        ('User: 2 + 2? 4 or 5?', 'A')
    """

    template: str = TEMPLATE
    choices = ("A", "B")

    @property
    def key(self) -> str:
        """The template."""
        return self.template

    def render(self, texts: Sequence[str]) -> str:
        """Write the question about a prompt, the response shown first, and the other one."""
        return render(self.template, *texts)

    def read(self, text: str, *, is_cut: bool = False) -> str:
        """Read the last explicit verdict."""
        return verdict(text, is_cut=is_cut)
