"""The demo world's texts: problems posed by families, and responses written to their ratings.

A prompt is a short chain of arithmetic (a `Family` holds its wording), a response writes the chain
out. It makes 4 - correctness mistakes: wrong results, wrong operands, a final answer that
contradicts the last step. Coherence breaks the thread, complexity adds terms and algebra, verbosity
adds descriptions, restatements and filler; helpfulness beyond (or below) correctness shows in
offers (or in a bare result without its unit, and refusals).

What runs a hundred times a response is marked `no_type_check`: the checks of the tests' import hook
would cost twenty times its work.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, no_type_check

import numpy as np

from dtreward.demo import words as bank

OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
SIGNS = {"+": "+", "-": "-", "*": "×", "/": "÷"}
SLIPS = [1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 7, -7, 8, -8, 9, -9, 10, -10, 20, -20]
Number = int | float  # whole results are ints
LABELS = ["{}. ", "Step {}: ", "({}) ", ""]


class Draws:
    """Random choices, a few thousand at a time: much faster than asking the generator for each."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.generator, self.block = generator, iter(())

    @no_type_check
    def pick(self, options: Sequence[Any], key: str = "") -> Any:
        """Choose one of `options`, each alike; `key` names the choice for a `Script`."""
        for uniform in self.block:
            return options[int(uniform * len(options))]
        self.block = iter(self.generator.random(8192).tolist())
        return self.pick(options, key)


class Script(Draws):
    """Choices made by hand: `chosen[key]` where given, else the first option.

    Raises:
        ValueError: if a chosen option is none of the options, so that no draw could make it.

    Example:
        >>> Script({"fruit": "pear"}).pick(["apple", "pear"], "fruit")
        'pear'
    """

    def __init__(self, chosen: Mapping[str, Any]) -> None:
        self.chosen = chosen

    @no_type_check
    def pick(self, options: Sequence[Any], key: str = "") -> Any:
        choice = self.chosen.get(key, options[0])
        if choice not in options:
            raise ValueError(f"expected one of {options} for {key!r}, got {choice!r}")
        return choice


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
        base = self.base(numbers, results)
        return (
            base + self.change if self.sign == "+" else base // self.change if self.sign else base
        )

    @no_type_check
    def base(self, numbers: Sequence[int], results: Sequence[Number]) -> Number:
        """The value before its change: what one takes who forgets the "+1" of "n3+1"."""
        if self.source == "n":
            return numbers[self.index]
        return results[self.index - 1] if self.source else self.index


class Step(NamedTuple):
    left: Operand
    operation: str
    right: Operand
    described: list[str]
    mistaken: list[str]  # how it reads when the change of the right operand is forgotten


class Worked(NamedTuple):
    """One step as a response writes it: x operation y = r; `trapped` where a change is forgotten."""

    x: Number
    operation: str
    y: Number
    r: Number
    trapped: bool


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
    things: list[tuple[str, str]]
    prompts: list[str]
    restate: list[str]
    tail: str
    final: list[str]

    @no_type_check
    def results(self, numbers: Sequence[int], begun: Sequence[Number] = ()) -> list[Number]:
        """Results of all steps, the answer last; the first may be given, right or wrong."""
        results = list(begun)
        for step in self.steps[len(results) :]:
            x, y = step.left.value(numbers, results), step.right.value(numbers, results)
            results.append(_compute(x, step.operation, y))
        return results

    @no_type_check
    def allows(self, numbers: Sequence[int]) -> bool:
        """Whether all results are whole and from 1 to 120."""
        return all(isinstance(r, int) and 1 <= r <= 120 for r in self.results(numbers))

    def is_easy(self, draw: Draws) -> bool:
        """Whether one in ten draws of numbers or more is allowed, so that problems come quickly."""
        drawn = [[draw.pick(span) for span in self.numbers] for _ in range(50)]
        return sum(map(self.allows, drawn)) >= 5


@dataclass(frozen=True)
class Problem:
    """One prompt of a family, with the words and numbers that its responses use."""

    family: Family
    prompt: str
    words: Mapping[str, Any]
    numbers: tuple[int, ...]


@no_type_check
def _compute(x: Number, operation: str, y: Number) -> Number:
    result = OPERATIONS[operation](x, y) if operation != "/" or y else 0
    rounded = round(result, 2)
    return int(rounded) if rounded == int(rounded) else rounded


def _alternatives(written: str) -> list[str]:
    return [option.strip(" ") if " | " in written else option for option in written.split(" | ")]


def _step(program: str, wording: str) -> Step:
    left, operation, right = program.split()
    described, _, mistaken = wording.partition(" ~ ")
    operands = Operand.parse(left), Operand.parse(right)
    trap = _alternatives(mistaken) if mistaken else []
    return Step(operands[0], operation, operands[1], _alternatives(described), trap)


def _range(written: str) -> range:
    low, high, step = re.fullmatch(r"(\d+)-(\d+)/?(\d*)", written).groups()
    return range(int(low), int(high) + 1, int(step or 1))


def _thing(written: str) -> tuple[str, str]:
    singular, _, plural = written.partition("/")
    return singular, plural or singular + "s"


def _family(name: str, wording: Mapping[str, Any]) -> Family:
    programs = wording["program"].split("; ")
    return Family(
        name=name,
        program=wording["program"],
        numbers=tuple(map(_range, wording["numbers"].split())),
        steps=tuple(map(_step, programs, wording["steps"])),
        things=[_thing(thing) for thing in wording["things"].split()],
        prompts=_alternatives(wording["prompts"]),
        restate=_alternatives(wording["restate"]),
        tail=wording["tail"],
        final=_alternatives(wording["final"]),
    )


def _composed(name: str, wording: Mapping[str, Any], length: int, draw: Draws) -> Family:
    """Chain `length` events of a story or puzzle to a family."""
    ranges = {"+ n": "2-30", "- n": "2-25", "* n": "2-5", "/ n": "2-6", "/ n+1": "2-5"}
    events = [draw.pick(wording["events"]) for _ in range(length)]
    told, programs, steps = "", [], []
    for number, (taken, clause, described) in enumerate(events, start=1):
        told += (draw.pick(wording["joins"]) if told else "") + clause.replace(
            "{n}", f"{{n{number}}}"
        )
        left = f"r{number - 1}" if number > 1 else "n0"
        programs.append(f"{left} {taken.replace('n', f'n{number}')}")
        steps.append(described.replace("{n}", f"{{n{number}}}"))
    if wording is bank.STORY:
        told = told.replace("{she}", "{She}", 1) if told.startswith("{she}") else told
    filled = {
        "program": "; ".join(programs),
        "numbers": " ".join(["3-40", *(ranges[taken] for taken, _, _ in events)]),
        "prompts": wording["prompts"].replace("{events}", told),
        "steps": steps,
    }
    return _family(name, {**wording, **filled})


def _families() -> dict[str, Family]:
    written = {
        name: _family(name, wording) for name, wording in (bank.STUDY | bank.TRAINING).items()
    }
    draw = Draws(np.random.default_rng(0))
    for kind, wording in (("story", bank.STORY), ("puzzle", bank.PUZZLE)):
        for number in range(60):
            name = f"{kind} {number:02d}"
            written[name] = _composed(name, wording, 2 + number % 3, draw)
            while not written[name].is_easy(draw):
                written[name] = _composed(name, wording, 2 + number % 3, draw)
    return written


FAMILIES = _families()
STUDY = tuple(bank.STUDY)
TRAINING = tuple(name for name in FAMILIES if name not in bank.STUDY)


def pose(family: str | Family, draw: Draws) -> Problem:
    """Pose one problem of a family: words, numbers and wording by `draw`.

    Example:
        >>> pose("explaining an average", Script({"n0": 4, "n1": 8, "n2": 6})).prompt
        'Explain what the average of 4, 8 and 6 is.'
    """
    family = FAMILIES[family] if isinstance(family, str) else family
    name = draw.pick(bank.NAMES, "name")
    friend = draw.pick([other for other in bank.NAMES if other is not name], "friend")
    singular, plural = draw.pick(family.things, "things")
    for _ in range(10_000):
        numbers = tuple(draw.pick(span, f"n{i}") for i, span in enumerate(family.numbers))
        if family.allows(numbers):
            break
    else:
        raise ValueError(f"expected numbers that make whole results in {family.name!r}: {numbers}")
    words = dict(zip(("A", "She", "her", "herself"), name, strict=True))
    words |= {"she": name[1].lower(), "B": friend[0], "thing": singular, "things": plural}
    words |= {f"n{i}": number for i, number in enumerate(numbers)}
    prompt = draw.pick(family.prompts, "prompt").format_map(words)
    return Problem(family, _count_one(prompt, words), words, numbers)


def respond(problem: Problem, ratings: Sequence[int], draw: Draws) -> str:
    """Write a response to its ratings (0 to 4, in the order of `ATTRIBUTES`).

    Example:
        >>> problem = pose("explaining an average", Script({"n0": 4, "n1": 8, "n2": 6}))
        >>> respond(problem, (4, 4, 4, 1, 0), Script({"label": "", "tail": ""}))
        '4 + 8 = 12. 12 + 6 = 18. 18 ÷ 3 = 6. The average is 6 units.'
    """
    helpfulness, correctness, coherence, complexity, verbosity = ratings
    own = helpfulness - correctness
    worked, answer = _work_out(problem, 4 - correctness, draw)
    lines = [_line(problem, k, step, verbosity, own, draw) for k, step in enumerate(worked)]
    last = len(lines) - 1

    for _ in range(complexity - 1):
        k = draw.pick(range(len(lines)), "technical line")
        place = max(i for i, sentence in enumerate(lines[k]) if " = " in sentence)
        operations = bank.TECHNICAL[worked[k].operation] + "|" + bank.TECHNICAL["any"]
        sentence = draw.pick(operations.split("|"), "technical")
        lines[k].insert(place, sentence.format_map(problem.words | _shown(worked[k])))
    loose = [bank.SIMPLE] * (complexity == 0) + [bank.FILLERS] * (verbosity == 3)
    for sayings in loose:
        _insert(lines, draw.pick(range(len(lines)), "line"), _said(sayings, problem, draw), draw)
    if verbosity == 4:
        for k in range(len(lines)):
            _insert(lines, k, _said(bank.FILLERS, problem, draw), draw)

    label = draw.pick(LABELS, "label")
    swap = False
    for _ in range(4 - coherence):
        breaks = ["stray", "contradiction"] + ["swap"] * (label != "" and last > 1 and not swap)
        if (kind := draw.pick(breaks, "break")) == "swap":
            swap = True
            continue
        sayings = bank.STRAY if kind == "stray" else bank.CONTRADICTIONS
        _insert(lines, draw.pick(range(len(lines)), "line"), _said(sayings, problem, draw), draw)

    final = _alternatives(bank.BARE) if own < 0 else problem.family.final
    final = draw.pick(final, "final").format_map(problem.words | {"r": _number(answer)})
    closing = [draw.pick(bank.REFUSALS.split("|"), "refusal") for _ in range(-1 - own)]
    closing += [_said(bank.OFFERS, problem, draw) for _ in range(own)]
    closing += [_said(bank.ENDINGS, problem, draw) for _ in range(verbosity == 4)]
    written = [label.format(k + 1) + " ".join(line) for k, line in enumerate(lines)]
    if swap:
        k = draw.pick(range(last - 1), "swapped")
        written[k], written[k + 1] = written[k + 1], written[k]
    joint = "\n" if label else " "
    opening = [_said(bank.OPENINGS, problem, draw) for _ in range(max(verbosity - 2, 0))]
    ending = " ".join([final, *closing])
    body = joint.join([" ".join(opening)] * bool(opening) + written)
    return _count_one(body + draw.pick([" ", joint], "answer line") + ending, problem.words)


def _work_out(problem: Problem, mistakes: int, draw: Draws) -> tuple[list[Worked], Number]:
    """The steps and the final answer, with so many mistakes, each of one unit."""
    steps, worked, results = problem.family.steps, [], []
    places = [("final", len(steps))]
    for k, step in enumerate(steps):
        places += [("result", k)] * 2 + [("operand", k)] * (step.right.source != "")
    wrong = set()
    for number in range(mistakes):
        wrong.add(draw.pick([place for place in places if place not in wrong], f"mistake {number}"))
    for k, step in enumerate(steps):
        x, y = step.left.value(problem.numbers, results), step.right.value(problem.numbers, results)
        trapped = False
        if ("operand", k) in wrong:
            slips = [_rounded(y + d) for d in SLIPS if y + d >= 1]
            outcomes = [_compute(x, step.operation, slip) for slip in slips]
            slips = _plausible(problem, results, slips, outcomes)
            base = step.right.base(problem.numbers, results)
            y = draw.pick([base] * len(slips) + slips if step.mistaken else slips, f"operand {k}")
            trapped = y == base and bool(step.mistaken)
        r = _compute(x, step.operation, y)
        if ("result", k) in wrong:
            slips = [_rounded(r + d) for d in SLIPS if r + d >= 0 or r < 0]
            r = draw.pick(_plausible(problem, results, slips, slips), f"result {k}")
        worked.append(Worked(x, step.operation, y, r, trapped))
        results.append(r)
    answer = results[-1]
    if ("final", len(steps)) in wrong:
        near = [int(answer)] * 9 if answer != int(answer) else []
        near += [_rounded(answer + d) for d in SLIPS if answer + d >= 0 or answer < 0]
        answer = draw.pick(near, "wrong answer")
    return worked, answer


@no_type_check
def _plausible(
    problem: Problem, results: list[Number], slips: list[Number], outcomes: list[Number]
) -> list[Number]:
    """Slips after which all is still whole, where there are any: a fraction would give them away."""
    whole = []
    for slip, outcome in zip(slips, outcomes, strict=True):
        after = problem.family.results(problem.numbers, [*results, outcome])[len(results) :]
        if all(isinstance(r, int) for r in after):
            whole.append(slip)
    return whole or slips


@no_type_check
def _line(
    problem: Problem, k: int, step: Worked, verbosity: int, own: int, draw: Draws
) -> list[str]:
    """One step's sentences: described (from verbosity 1), computed, restated (from verbosity 2)."""
    family, words = problem.family, problem.words | _shown(step)
    planned, last = family.steps[k], k == len(family.steps) - 1
    units = ["", "", " {things}"] if own >= 0 else [""]
    tails = [family.tail, ""] if last and own >= 0 else units
    lead = draw.pick(["", "", "", "", "So ", "We get ", "We write "], f"lead {k}")
    equation = lead + "{x} {o} {y} = {r}" + draw.pick(tails, "tail" if last else "unit") + "."
    described = planned.mistaken if step.trapped else planned.described
    sentences = [draw.pick(described, f"described {k}")] * (verbosity >= 1) + [equation]
    if verbosity >= 2 and not last:
        sentences.append(draw.pick(family.restate, f"restated {k}"))
    return [sentence.format_map(words) for sentence in sentences]


@no_type_check
def _insert(lines: list[list[str]], k: int, sentence: str, draw: Draws) -> None:
    """Put a sentence before or after a step; before the last, after which comes the answer."""
    at_end = k < len(lines) - 1 and draw.pick([True, False], "at end")
    lines[k].insert(len(lines[k]) if at_end else 0, sentence)


@no_type_check
def _said(sayings: tuple[list[str], ...], problem: Problem, draw: Draws) -> str:
    return "".join(draw.pick(part, "said") for part in sayings).format_map(problem.words)


@no_type_check
def _shown(step: Worked) -> dict[str, str]:
    shown = {"x": _number(step.x), "y": _number(step.y), "r": _number(step.r)}
    return shown | {"o": SIGNS[step.operation]}


@no_type_check
def _rounded(value: Number) -> Number:
    return value if isinstance(value, int) else round(value, 2)


@no_type_check
def _number(value: Number) -> str:
    return str(value) if isinstance(value, int) else f"{value:.2f}".rstrip("0").rstrip(".")


@no_type_check
def _count_one(written: str, words: Mapping[str, Any]) -> str:
    for more in ("", "more "):
        written = written.replace(f" 1 {more}{words['things']}", f" 1 {more}{words['thing']}")
    return written
