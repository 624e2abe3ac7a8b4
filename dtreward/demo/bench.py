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

import numpy as np
import pandas as pd

from dtreward.demo import world as demo
from dtreward.demo.draws import Draws
from dtreward.demo.families import STUDY, Problem
from dtreward.demo.text import respond

# Ratings of the chosen and the rejected response, in the order of `tree.ATTRIBUTES`; None is drawn
# once for both, OWN for each.
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
    """Make so many pairs of each subset, about problems that `demo.make_pairs(seed=seed)` has not.

    Columns: id, prompt, chosen, chosen_model, rejected, rejected_model, subset. The models are the
    ratings that a response was written to.

    >>> bench = make_bench(2)
    >>> len(bench), bench["subset"].nunique(), bench.equals(make_bench(2))
    (20, 10, True)
    """
    seen, rows = set(demo.make_pairs(seed=seed)["prompt"]), []
    draw = Draws(np.random.default_rng([seed, 1]))
    for subset, (chosen, rejected) in RATINGS.items():
        for _ in range(pairs):
            problem = _new(seen, draw)
            ratings = _ratings((chosen, rejected), draw)
            texts = [respond(problem, each, draw) for each in ratings]
            if subset == "llmbar-adver-neighbor":
                texts[1] = respond(_new(seen, draw, problem.family.name), ratings[1], draw)
            if subset == "hep-python":
                texts[1] = _other_answer(texts[0], draw)
            while texts[0] == texts[1]:
                texts[1] = respond(problem, ratings[1], draw)
            models = ["demo " + "".join(map(str, each)) for each in ratings]
            rows.append(
                (len(rows), problem.prompt, texts[0], models[0], texts[1], models[1], subset)
            )
    columns = ["id", "prompt", "chosen", "chosen_model", "rejected", "rejected_model", "subset"]
    return pd.DataFrame(rows, columns=columns)


def _ratings(pair: tuple[tuple, tuple], draw: Draws) -> list[tuple[int, ...]]:
    drawn = {None: [draw.pick(range(4)) for _ in pair[0]]}
    found = []
    for each in pair:
        drawn[OWN] = [draw.pick(range(4)) for _ in each]
        found.append(tuple(drawn.get(v, [v] * len(each))[k] for k, v in enumerate(each)))
    return found


def _new(seen: set[str], draw: Draws, family: str = "") -> Problem:
    return demo._new_problem([family] if family else STUDY, seen, draw)


def _other_answer(text: str, draw: Draws) -> str:
    """Change the last number by 1 to 3: a final answer that contradicts the steps."""
    *_, last = re.finditer(r"\d+", text)
    changed = int(last[0]) + draw.pick([1, 2, 3])
    return text[: last.start()] + str(changed) + text[last.end() :]
