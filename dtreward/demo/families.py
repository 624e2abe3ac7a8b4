"""Families of the demo world's prompts, read from `words.yaml`, and the problems that they pose.

A prompt is a short chain of arithmetic. A family holds its wording, the ranges of its numbers and
the steps of its answer. Some families are written out, and the others are composed of events.

What runs a hundred times a response is marked `no_type_check`: the type checks that the tests
switch on would cost twenty times its work.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, no_type_check

import numpy as np
import yaml

from dtreward.demo.draws import Draws

WORDS = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
NAMES = [tuple(name) for name in WORDS["names"]]  # name, subject, possessive, reflexive
OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
LARGEST = 120  # that a result may be
TRIES = 10_000  # draws of numbers or problems before giving up
COMPOSED = 60  # families composed of story events, and as many of puzzle events
EVENT_NUMBERS = {"+ n": "2-30", "- n": "2-25", "* n": "2-5", "/ n": "2-6", "/ n+1": "2-5"}
Number = int | float  # whole results are ints


class Operand(NamedTuple):
    """A number of the prompt ("n"), a result of a step ("r") or a constant (""), and a change."""

    source: str
    index: int
    sign: str
    change: int

    @classmethod
    def parse(cls, written: str) -> Operand:
        """Read "n3+1", "r1" or "12"."""
        source, index, sign, change = re.fullmatch(r"([nr]?)(\d+)([+/]?)(\d*)", written).groups()
        return cls(source, int(index), sign, int(change or 0))

    @no_type_check
    def value(self, numbers: Sequence[int], results: Sequence[Number]) -> Number:
        """Give its value, the change included."""
        base = self.base(numbers, results)
        if self.sign == "+":
            return base + self.change
        if self.sign == "/":
            return base // self.change
        return base

    @no_type_check
    def base(self, numbers: Sequence[int], results: Sequence[Number]) -> Number:
        """Give the value before its change: what one takes who forgets the "+1" of "n3+1"."""
        if self.source == "n":
            return numbers[self.index]
        if self.source == "r":
            return results[self.index - 1]
        return self.index


class Step(NamedTuple):
    """One operation of a family's answer, and the sentences that describe it."""

    left: Operand
    operation: str
    right: Operand
    described: list[str]
    mistaken: list[str]  # how it reads when the change of the right operand is forgotten

    @classmethod
    def parse(cls, program: str, wording: Mapping[str, list[str]]) -> Step:
        """Read a program such as "r2 / n3+1", with its wording."""
        left, operation, right = program.split()
        return cls(
            Operand.parse(left),
            operation,
            Operand.parse(right),
            wording["described"],
            wording.get("mistaken", []),
        )


@dataclass(frozen=True)
class Family:
    """A kind of prompt: its wording, the ranges of its numbers, and the steps of its answer.

    `program` has one step a part, such as "n0 - n1; r1 / n2+1": operands are numbers of the prompt
    in its order (n0, ...), results of steps (r1, ...) and constants; the last result is the answer.
    """

    name: str
    program: str
    numbers: tuple[range, ...]
    steps: tuple[Step, ...]
    things: list[tuple[str, str]]  # singular, plural
    prompts: list[str]
    restate: list[str]
    tail: str
    final: list[str]

    @no_type_check
    def results(self, numbers: Sequence[int], begun: Sequence[Number] = ()) -> list[Number]:
        """Give the results of all steps, the answer last; `begun` are first ones, right or wrong."""
        results = list(begun)
        for step in self.steps[len(results) :]:
            x = step.left.value(numbers, results)
            y = step.right.value(numbers, results)
            results.append(compute(x, step.operation, y))
        return results

    @no_type_check
    def allows(self, numbers: Sequence[int]) -> bool:
        """Say whether all results are whole and from 1 to `LARGEST`."""
        results = self.results(numbers)
        return all(isinstance(result, int) and 1 <= result <= LARGEST for result in results)

    def is_easy(self, draw: Draws) -> bool:
        """Say whether a tenth of draws of numbers is allowed, so that problems come quickly."""
        drawn = [[draw.pick(span) for span in self.numbers] for _ in range(50)]
        return sum(self.allows(numbers) for numbers in drawn) >= 5


@dataclass(frozen=True)
class Problem:
    """One prompt of a family, with the words and numbers that its responses use."""

    family: Family
    prompt: str
    words: Mapping[str, Any]
    numbers: tuple[int, ...]


@no_type_check
def compute(x: Number, operation: str, y: Number) -> Number:
    """Give x operation y with two decimals, an int where it is whole; x / 0 is 0."""
    if operation == "/" and not y:
        return 0
    rounded = round(OPERATIONS[operation](x, y), 2)
    return int(rounded) if rounded == int(rounded) else rounded


@no_type_check
def count_one(text: str, words: Mapping[str, Any]) -> str:
    """Write things in the singular after a 1.

    >>> count_one("I have 1 pears.", {"thing": "pear", "things": "pears"})
    'I have 1 pear.'
    """
    for more in ("", "more "):
        text = text.replace(f" 1 {more}{words['things']}", f" 1 {more}{words['thing']}")
    return text


def pose(family: str | Family, draw: Draws) -> Problem:
    """Pose one problem of a family, with words, numbers and wording by `draw`.

    Example:
        >>> from dtreward.demo.draws import Script
        >>> pose("explaining an average", Script({"n0": 4, "n1": 8, "n2": 6})).prompt
        'Explain what the average of 4, 8 and 6 is.'
    """
    if isinstance(family, str):
        family = FAMILIES[family]
    name = draw.pick(NAMES, "name")
    friend = draw.pick([other for other in NAMES if other is not name], "friend")
    singular, plural = draw.pick(family.things, "things")
    numbers = _allowed_numbers(family, draw)
    words = dict(zip(("A", "She", "her", "herself"), name, strict=True))
    words |= {"she": name[1].lower(), "B": friend[0], "thing": singular, "things": plural}
    words |= {f"n{place}": number for place, number in enumerate(numbers)}
    prompt = draw.pick(family.prompts, "prompt").format_map(words)
    return Problem(family, count_one(prompt, words), words, numbers)


def _allowed_numbers(family: Family, draw: Draws) -> tuple[int, ...]:
    for _ in range(TRIES):
        numbers = tuple(draw.pick(span, f"n{place}") for place, span in enumerate(family.numbers))
        if family.allows(numbers):
            return numbers
    raise ValueError(f"expected numbers that make whole results in {family.name!r}: {numbers}")


def _range(written: str) -> range:
    """Read "2-30", or "10-50/10" for every tenth."""
    low, high, step = re.fullmatch(r"(\d+)-(\d+)/?(\d*)", written).groups()
    return range(int(low), int(high) + 1, int(step or 1))


def _thing(written: str) -> tuple[str, str]:
    singular, _, plural = written.partition("/")
    return singular, plural or singular + "s"


def _family(name: str, wording: Mapping[str, Any]) -> Family:
    steps = zip(wording["program"], wording["steps"], strict=True)
    return Family(
        name=name,
        program="; ".join(wording["program"]),
        numbers=tuple(_range(span) for span in wording["numbers"]),
        steps=tuple(Step.parse(program, sentences) for program, sentences in steps),
        things=[_thing(thing) for thing in wording["things"]],
        prompts=wording["prompts"],
        restate=wording["restate"],
        tail=wording["tail"],
        final=wording["final"],
    )


def _composed(name: str, wording: Mapping[str, Any], length: int, draw: Draws) -> Family:
    """Chain `length` events of a story or puzzle to a family."""
    events = [draw.pick(wording["events"]) for _ in range(length)]
    clauses = ""
    programs = []
    steps = []
    numbers = ["3-40"]
    for place, event in enumerate(events, start=1):
        number = f"{{n{place}}}"
        if clauses:
            clauses += draw.pick(wording["joins"])
        clauses += event["clause"].replace("{n}", number)
        left = "n0" if place == 1 else f"r{place - 1}"
        programs.append(f"{left} {event['program'].replace('n', f'n{place}')}")
        steps.append(
            {
                key: [sentence.replace("{n}", number) for sentence in event.get(key, [])]
                for key in ("described", "mistaken")
            }
        )
        numbers.append(EVENT_NUMBERS[event["program"]])
    if clauses.startswith("{she}"):
        clauses = clauses.replace("{she}", "{She}", 1)
    prompts = [prompt.replace("{events}", clauses) for prompt in wording["prompts"]]
    filled = {"program": programs, "numbers": numbers, "prompts": prompts, "steps": steps}
    return _family(name, {**wording, **filled})


def _families() -> dict[str, Family]:
    families = {}
    for name, wording in (WORDS["study"] | WORDS["training"]).items():
        families[name] = _family(name, wording)
    draw = Draws(np.random.default_rng(0))
    for kind in ("story", "puzzle"):
        for number in range(COMPOSED):
            name = f"{kind} {number:02d}"
            length = 2 + number % 3
            family = _composed(name, WORDS[kind], length, draw)
            while not family.is_easy(draw):
                family = _composed(name, WORDS[kind], length, draw)
            families[name] = family
    return families


FAMILIES = _families()
STUDY = tuple(WORDS["study"])
TRAINING = tuple(name for name in FAMILIES if name not in STUDY)
