"""The demo world's bench: pairs in RewardBench's form, so that all of the study runs without it.

Subsets have the names of RewardBench's that they stand in for. They ask about the demo world's
problems, and their scores say nothing about RewardBench:

- Chat: `alpacaeval-easy` and `mt-bench-easy` (all right against all wrong), `alpacaeval-length`
  (the same, both as long), `mt-bench-med` (one or two mistakes more).
- Chat Hard: `mt-bench-hard` (as right, but less helpful by a point), `llmbar-adver-manual` (plain
  and right against elaborate and wrong), `llmbar-adver-neighbor` (the rejected response is a good
  answer to another problem of its family).
- Safety: nothing in this world is dangerous. Only `xstest-should-respond` has a stand-in: harmless
  problems, where the rejected response ends in a refusal to say more.
- Reasoning: `math-prm` (no mistake against one), `hep-python` (the same text but for the answer).
"""

import re
from functools import cache

import numpy as np
import pandas as pd

from dtreward.demo.draws import Draws
from dtreward.demo.families import STUDY, Problem
from dtreward.demo.text import respond
from dtreward.demo.world import make_pairs, new_problem

Planned = tuple[int | None, ...]  # ratings, in the order of `tree.ATTRIBUTES`
# Ratings of the chosen and the rejected response; None is drawn once for both, OWN for each.
OWN = -1
RATINGS = {
    "alpacaeval-easy": ((4, 4, 4, 1, 2), (0, 0, 1, 1, 2)),
    "alpacaeval-length": ((4, 4, 4, 2, 2), (0, 0, 4, 2, 2)),
    "mt-bench-easy": ((4, 4, 4, 2, 3), (0, 0, 2, 1, 1)),
    "mt-bench-med": ((4, 4, 4, None, None), (2, 2, 3, None, None)),
    "mt-bench-hard": ((4, 3, 4, None, None), (3, 3, 4, None, None)),
    "llmbar-adver-neighbor": ((4, 4, 4, None, None), (4, 4, 4, None, None)),
    "llmbar-adver-manual": ((3, 4, 4, 0, 0), (1, 1, 4, 3, 4)),
    "xstest-should-respond": ((4, 4, 4, OWN, OWN), (1, 4, 4, OWN, OWN)),
    "math-prm": ((4, 4, 4, None, None), (3, 3, 4, None, None)),
    "hep-python": ((4, 4, 4, 1, 1), (4, 4, 4, 1, 1)),
}


def make_bench(pairs: int = 24, *, seed: int = 0) -> pd.DataFrame:
    """Make so many pairs of each subset, about problems that `make_pairs(seed=seed)` does not have.

    Columns: id, prompt, chosen, chosen_model, rejected, rejected_model, subset. In place of a model
    stand the ratings that the response was written to.

    >>> bench = make_bench(2)
    >>> len(bench), bench["subset"].nunique(), bench.equals(make_bench(2))
    (20, 10, True)
    """
    seen = set(study_prompts(seed))
    draw = Draws(np.random.default_rng([seed, 1]))
    rows = []
    for subset, (chosen, rejected) in RATINGS.items():
        for _ in range(pairs):
            problem = new_problem(STUDY, seen, draw)
            ratings = draw_open_ratings(chosen, rejected, draw)
            texts = _texts(subset, problem, ratings, seen, draw)
            models = ["demo " + "".join(map(str, rating)) for rating in ratings]
            row = (len(rows), problem.prompt, texts[0], models[0], texts[1], models[1], subset)
            rows.append(row)
    columns = ["id", "prompt", "chosen", "chosen_model", "rejected", "rejected_model", "subset"]
    return pd.DataFrame(rows, columns=columns)


@cache
def study_prompts(seed: int) -> frozenset[str]:
    """Give the prompts of `make_pairs(seed=seed)`, which take a second to make."""
    return frozenset(make_pairs(seed=seed)["prompt"])


def _texts(
    subset: str, problem: Problem, ratings: list[tuple[int, ...]], seen: set[str], draw: Draws
) -> list[str]:
    """Write the chosen and the rejected response, which differ."""
    chosen, rejected = (respond(problem, rating, draw) for rating in ratings)
    if subset == "llmbar-adver-neighbor":
        neighbour = new_problem([problem.family.name], seen, draw)
        rejected = respond(neighbour, ratings[1], draw)
    if subset == "hep-python":
        rejected = change_answer(chosen, draw)
    while rejected == chosen:
        rejected = respond(problem, ratings[1], draw)
    return [chosen, rejected]


def draw_open_ratings(chosen: Planned, rejected: Planned, draw: Draws) -> list[tuple[int, ...]]:
    """Draw the ratings that are left open: None once for both responses, OWN for each."""
    shared = [draw.pick(range(4)) for _ in chosen]
    ratings = []
    for planned in (chosen, rejected):
        own = [draw.pick(range(4)) for _ in planned]
        rating = []
        for place, value in enumerate(planned):
            if value is None:
                rating.append(shared[place])
            elif value == OWN:
                rating.append(own[place])
            else:
                rating.append(value)
        ratings.append(tuple(rating))
    return ratings


def change_answer(text: str, draw: Draws) -> str:
    """Change the last number by 1 to 3: a final answer that contradicts the steps."""
    *_, last = re.finditer(r"\d+", text)
    changed = int(last[0]) + draw.pick([1, 2, 3])
    return text[: last.start()] + str(changed) + text[last.end() :]
