"""The demo world's responses, written to their ratings.

A response writes out the chain of arithmetic that a prompt asks for. It makes 4 - correctness
mistakes: wrong results, wrong operands, a final answer that contradicts the last step. Low
coherence breaks the thread, complexity adds terms and algebra, verbosity adds descriptions,
restatements and filler. Helpfulness above correctness shows in offers; below it, in a bare result
without its unit, and in refusals.

What runs a hundred times a response is marked `no_type_check`: the type checks that the tests
switch on would cost twenty times its work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

from dtreward.demo.draws import Draws
from dtreward.demo.families import WORDS, Number, Problem, compute, count_one

SIGNS = {"+": "+", "-": "-", "*": "×", "/": "÷"}
SLIPS = [1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 7, -7, 8, -8, 9, -9, 10, -10, 20, -20]
LABELS = ["{}. ", "Step {}: ", "({}) ", ""]
LEADS = ["", "", "", "", "So ", "We get ", "We write "]
Place = tuple[str, int]  # where a mistake is: "operand", "result" or "final", and the step


class Worked(NamedTuple):
    """One step as a response writes it: x operation y = r; `trapped` where a change is forgotten."""

    x: Number
    operation: str
    y: Number
    r: Number
    trapped: bool


def respond(problem: Problem, ratings: Sequence[int], draw: Draws) -> str:
    """Write a response to its ratings (0 to 4, in the order of `ATTRIBUTES`).

    Example:
        >>> from dtreward.demo.draws import Script
        >>> from dtreward.demo.families import pose
        >>> problem = pose("explaining an average", Script({"n0": 4, "n1": 8, "n2": 6}))
        >>> respond(problem, (4, 4, 4, 1, 0), Script({"label": "", "tail": ""}))
        '4 + 8 = 12. 12 + 6 = 18. 18 ÷ 3 = 6. The average is 6 units.'
    """
    helpfulness, correctness, coherence, complexity, verbosity = ratings
    surplus = helpfulness - correctness
    worked, answer = _work_out(problem, 4 - correctness, draw)
    lines = []
    for place, step in enumerate(worked):
        lines.append(_line(problem, place, step, verbosity, surplus, draw))
    _add_terms(lines, worked, problem, complexity, draw)
    _add_filler(lines, problem, complexity, verbosity, draw)

    label = draw.pick(LABELS, "label")
    swaps = _break_thread(lines, problem, 4 - coherence, label != "", draw)
    final = draw.pick(WORDS["bare"] if surplus < 0 else problem.family.final, "final")
    final = final.format_map(problem.words | {"r": _number(answer)})
    closing = _closing(problem, surplus, verbosity, draw)
    written = [label.format(place + 1) + " ".join(line) for place, line in enumerate(lines)]
    if swaps:
        place = draw.pick(range(len(lines) - 2), "swapped")
        written.insert(place, written.pop(place + 1))

    joint = "\n" if label else " "
    opening = [_said("openings", problem, draw) for _ in range(verbosity - 2)]
    if opening:
        written.insert(0, " ".join(opening))
    before_answer = draw.pick([" ", joint], "answer line")
    text = joint.join(written) + before_answer + " ".join([final, *closing])
    return count_one(text, problem.words)


def _work_out(problem: Problem, mistakes: int, draw: Draws) -> tuple[list[Worked], Number]:
    """Give the steps and the final answer, with so many mistakes, each of one unit."""
    steps = problem.family.steps
    wrong = _mistaken_places(problem, mistakes, draw)
    worked = []
    results = []
    for place, step in enumerate(steps):
        x = step.left.value(problem.numbers, results)
        y = step.right.value(problem.numbers, results)
        trapped = False
        if ("operand", place) in wrong:
            base = step.right.base(problem.numbers, results)
            y = _wrong_operand(problem, results, place, x, y, draw)
            trapped = y == base and bool(step.mistaken)
        r = compute(x, step.operation, y)
        if ("result", place) in wrong:
            slips = _slips(r)
            r = draw.pick(_plausible(problem, results, slips, slips), f"result {place}")
        worked.append(Worked(x, step.operation, y, r, trapped))
        results.append(r)
    answer = results[-1]
    if ("final", len(steps)) in wrong:
        near = [int(answer)] * 9 if answer != int(answer) else []
        answer = draw.pick(near + _slips(answer), "wrong answer")
    return worked, answer


def _mistaken_places(problem: Problem, mistakes: int, draw: Draws) -> set[Place]:
    """Draw where the mistakes are; a wrong result is twice as likely as a wrong operand."""
    steps = problem.family.steps
    places = [("final", len(steps))]
    for place, step in enumerate(steps):
        places += [("result", place), ("result", place)]
        if step.right.source:  # a constant of the family is never mistaken
            places.append(("operand", place))
    wrong = set()
    for number in range(mistakes):
        wrong.add(draw.pick([place for place in places if place not in wrong], f"mistake {number}"))
    return wrong


@no_type_check
def _wrong_operand(
    problem: Problem, results: list[Number], place: int, x: Number, y: Number, draw: Draws
) -> Number:
    """Draw a wrong right operand; where a change can be forgotten, half of the time it is."""
    step = problem.family.steps[place]
    slips = [_rounded(y + slip) for slip in SLIPS if y + slip >= 1]
    outcomes = [compute(x, step.operation, slip) for slip in slips]
    options = _plausible(problem, results, slips, outcomes)
    if step.mistaken:
        base = step.right.base(problem.numbers, results)
        options = [base] * len(options) + options
    return draw.pick(options, f"operand {place}")


@no_type_check
def _slips(result: Number) -> list[Number]:
    """Give wrong values near a result; a result that is not negative does not become so."""
    return [_rounded(result + slip) for slip in SLIPS if result + slip >= 0 or result < 0]


@no_type_check
def _plausible(
    problem: Problem, results: list[Number], slips: list[Number], outcomes: list[Number]
) -> list[Number]:
    """Give the slips after which all is still whole, or all: a fraction would give them away."""
    whole = []
    for slip, outcome in zip(slips, outcomes, strict=True):
        after = problem.family.results(problem.numbers, [*results, outcome])[len(results) :]
        if all(isinstance(result, int) for result in after):
            whole.append(slip)
    return whole or slips


@no_type_check
def _line(
    problem: Problem, place: int, step: Worked, verbosity: int, surplus: int, draw: Draws
) -> list[str]:
    """Write a step: described (from verbosity 1), computed, restated (from verbosity 2)."""
    family = problem.family
    planned = family.steps[place]
    is_last = place == len(family.steps) - 1
    if surplus < 0:
        tails = [""]
    elif is_last:
        tails = [family.tail, ""]
    else:
        tails = ["", "", " {things}"]
    lead = draw.pick(LEADS, f"lead {place}")
    tail = draw.pick(tails, "tail" if is_last else "unit")
    described = planned.mistaken if step.trapped else planned.described
    description = draw.pick(described, f"described {place}")
    sentences = [lead + "{x} {o} {y} = {r}" + tail + "."]
    if verbosity >= 1:
        sentences.insert(0, description)
    if verbosity >= 2 and not is_last:
        sentences.append(draw.pick(family.restate, f"restated {place}"))
    words = problem.words | _shown(step)
    return [sentence.format_map(words) for sentence in sentences]


@no_type_check
def _add_terms(
    lines: list[list[str]], worked: list[Worked], problem: Problem, complexity: int, draw: Draws
) -> None:
    """Put technical sentences before equations, one less than the complexity."""
    for _ in range(complexity - 1):
        place = draw.pick(range(len(lines)), "technical line")
        equation = max(k for k, sentence in enumerate(lines[place]) if " = " in sentence)
        step = worked[place]
        sentences = WORDS["technical"][step.operation] + WORDS["technical"]["any"]
        sentence = draw.pick(sentences, "technical")
        lines[place].insert(equation, sentence.format_map(problem.words | _shown(step)))


@no_type_check
def _add_filler(
    lines: list[list[str]], problem: Problem, complexity: int, verbosity: int, draw: Draws
) -> None:
    """Put in a child's words at complexity 0, a filler at verbosity 3, one a step at 4."""
    if complexity == 0:
        _insert_somewhere(lines, "simple", problem, draw)
    if verbosity == 3:
        _insert_somewhere(lines, "fillers", problem, draw)
    if verbosity == 4:
        for place in range(len(lines)):
            _insert(lines, place, "fillers", problem, draw)


@no_type_check
def _break_thread(
    lines: list[list[str]], problem: Problem, breaks: int, labelled: bool, draw: Draws
) -> bool:
    """Put in stray sentences and contradictions; say whether two numbered steps are to be swapped.

    A swap, once at most, is one of the breaks; the last step stays where it is.
    """
    swaps = False
    for _ in range(breaks):
        kinds = ["stray", "contradiction"]
        if labelled and len(lines) > 2 and not swaps:
            kinds.append("swap")
        kind = draw.pick(kinds, "break")
        if kind == "swap":
            swaps = True
        else:
            sayings = "stray" if kind == "stray" else "contradictions"
            _insert_somewhere(lines, sayings, problem, draw)
    return swaps


@no_type_check
def _closing(problem: Problem, surplus: int, verbosity: int, draw: Draws) -> list[str]:
    """Give what follows the final answer: refusals or offers, and an ending at verbosity 4."""
    sentences = [draw.pick(WORDS["refusals"], "refusal") for _ in range(-1 - surplus)]
    sentences += [_said("offers", problem, draw) for _ in range(surplus)]
    if verbosity == 4:
        sentences.append(_said("endings", problem, draw))
    return sentences


@no_type_check
def _insert_somewhere(lines: list[list[str]], sayings: str, problem: Problem, draw: Draws) -> None:
    place = draw.pick(range(len(lines)), f"{sayings} line")
    _insert(lines, place, sayings, problem, draw)


@no_type_check
def _insert(
    lines: list[list[str]], place: int, sayings: str, problem: Problem, draw: Draws
) -> None:
    """Put a sentence before or after a step; before the last, which the answer follows."""
    sentence = _said(sayings, problem, draw)
    is_last = place == len(lines) - 1
    if not is_last and draw.pick([True, False], f"{sayings} at end"):
        lines[place].append(sentence)
    else:
        lines[place].insert(0, sentence)


@no_type_check
def _said(sayings: str, problem: Problem, draw: Draws) -> str:
    """Join one choice from each part of a bank of sayings."""
    parts = enumerate(WORDS[sayings])
    said = "".join(draw.pick(part, f"{sayings} {place}") for place, part in parts)
    return said.format_map(problem.words)


@no_type_check
def _shown(step: Worked) -> dict[str, str]:
    return {
        "x": _number(step.x),
        "y": _number(step.y),
        "r": _number(step.r),
        "o": SIGNS[step.operation],
    }


@no_type_check
def _rounded(value: Number) -> Number:
    return value if isinstance(value, int) else round(value, 2)


@no_type_check
def _number(value: Number) -> str:
    return str(value) if isinstance(value, int) else f"{value:.2f}".rstrip("0").rstrip(".")
