"""The demo world's stand-ins for RewardBench 2, RM-Bench and JudgeBench, in their forms.

They ask about the demo world's problems, and their scores say nothing about these benches:

- RewardBench 2: one right response and three wrong ones. `Factuality` (one or two mistakes more),
  `Precise IF` (a bare result without its unit), `Math` (one mistake), `Safety` (a harmless problem
  that the wrong response refuses to say more about), `Focus` (good answers to other problems of the
  family), `Ties` (four equally right responses, or one, against three wrong ones).
- RM-Bench: a right and a wrong response in three styles, of which none is better: concise;
  detailed; and the detailed text as a Markdown list. `chat` (two mistakes more), `code` (another
  answer below the same steps), `math` (one mistake), `safety-response` (a refusal to say more).
- JudgeBench: one right response of two. `mmlu-pro-demo` (two mistakes), `livebench-reasoning` and
  `livebench-math` (one mistake), `livecodebench` (another answer below the same steps).
"""

import re

import numpy as np
import pandas as pd

from dtreward.demo.bench import (
    OWN,
    Planned,
    change_answer,
    draw_open_ratings,
    make_bench,
    study_prompts,
)
from dtreward.demo.draws import Draws
from dtreward.demo.families import STUDY, Problem
from dtreward.demo.text import respond
from dtreward.demo.world import new_problem

RIGHT = (4, 4, 4, None, None)  # ratings in the order of `tree.ATTRIBUTES`; as in `bench.RATINGS`
BEST_OF_FOUR: dict[str, Planned] = {  # ratings of each wrong response
    "Factuality": (2, 2, 4, OWN, OWN),
    "Precise IF": (2, 4, 4, OWN, OWN),
    "Math": (3, 3, 4, OWN, OWN),
    "Safety": (1, 4, 4, OWN, OWN),
    "Focus": (4, 4, 4, OWN, OWN),
}
STYLED: dict[str, tuple[int, int, int]] = {  # helpfulness, correctness, coherence when wrong
    "chat": (2, 2, 4),
    "code": (4, 4, 4),
    "math": (3, 3, 4),
    "safety-response": (1, 4, 4),
}
CONCISE = (0, 0)  # complexity and verbosity
DETAILED = (2, 3)
JUDGED: dict[str, Planned] = {
    "mmlu-pro-demo": (2, 2, 4, None, None),
    "livebench-reasoning": (3, 3, 4, None, None),
    "livebench-math": (3, 3, 4, OWN, OWN),
    "livecodebench": (4, 4, 4, None, None),
}
ANOTHER_ANSWER = ("code", "livecodebench")
STEP = re.compile(r"(?m)^(\d+\. |\(\d+\) |Step \d+: )")  # labels of `demo.text`
RIGHT_TIES = 4  # responses to a prompt of `tied:`


def make_newer_benches(items: int = 5, *, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Make the three benches, with so many items of each subset, by name and in its columns.

    No prompt is one of `make_pairs(seed=seed)`, of `make_bench(seed=seed)`, or of another bench.

    >>> benches = make_newer_benches(1)
    >>> {name: len(table) for name, table in benches.items()}
    {'RewardBench 2': 7, 'RM-Bench': 4, 'JudgeBench': 4}
    """
    seen = set(study_prompts(seed)) | set(make_bench(seed=seed)["prompt"])
    draw = Draws(np.random.default_rng([seed, 2]))
    return {
        "RewardBench 2": _best_of_four(items, seen, draw),
        "RM-Bench": _in_styles(items, seen, draw),
        "JudgeBench": _judged(items, seen, draw),
    }


def as_markdown(text: str) -> str:
    """Write the sentences of a response as a Markdown list, the last one in bold.

    >>> print(as_markdown("1. So 2 + 2 = 4. The answer is 4."))
    **Solution**
    - So 2 + 2 = 4.
    - **The answer is 4.**
    """
    without_labels = STEP.sub("", text)
    sentences = [part for part in re.split(r"(?<=[.!?]) +|\n+", without_labels) if part]
    lines = [f"- {sentence}" for sentence in sentences[:-1]]
    return "\n".join(["**Solution**", *lines, f"- **{sentences[-1]}**"])


def _best_of_four(items: int, seen: set[str], draw: Draws) -> pd.DataFrame:
    rows = []
    for subset, wrong in BEST_OF_FOUR.items():
        for _ in range(items):
            problem = new_problem(STUDY, seen, draw)
            right = _write(problem, RIGHT, draw)
            others: list[str] = []
            while len(others) < 3:
                asked = problem
                if subset == "Focus":
                    asked = new_problem([problem.family.name], seen, draw)
                text = _write(asked, wrong, draw)
                if text not in (right, *others):
                    others.append(text)
            rows.append((f"{len(rows)}", problem.prompt, [right], others, subset))
    for number in range(items):
        for kind, count in (("ref", 1), ("tied", RIGHT_TIES)):
            problem = new_problem(STUDY, seen, draw)
            right = [_write(problem, (4, 4, 4, OWN, OWN), draw) for _ in range(count)]
            wrong_texts = [_write(problem, (2, 2, 4, OWN, OWN), draw) for _ in range(3)]
            rows.append((f"{kind}:{number}", problem.prompt, right, wrong_texts, "Ties"))
    table = pd.DataFrame(rows, columns=["id", "prompt", "chosen", "rejected", "subset"])
    table["num_correct"] = table["chosen"].map(len)
    table["num_incorrect"] = table["rejected"].map(len)
    return table


def _in_styles(items: int, seen: set[str], draw: Draws) -> pd.DataFrame:
    rows = []
    for domain, wrong in STYLED.items():
        for number in range(items):
            problem = new_problem(STUDY, seen, draw)
            right = _styles(problem, (4, 4, 4), draw)
            if domain in ANOTHER_ANSWER:
                plain = [change_answer(text, draw) for text in right[:2]]
                others = [*plain, as_markdown(plain[1])]
            else:
                others = _styles(problem, wrong, draw)
            rows.append((number, problem.prompt, right, others, domain))
    return pd.DataFrame(rows, columns=["id", "prompt", "chosen", "rejected", "domain"])


def _styles(problem: Problem, quality: tuple[int, int, int], draw: Draws) -> list[str]:
    """Write a response concise, detailed, and the detailed one as Markdown."""
    concise = respond(problem, (*quality, *CONCISE), draw)
    detailed = respond(problem, (*quality, *DETAILED), draw)
    return [concise, detailed, as_markdown(detailed)]


def _judged(items: int, seen: set[str], draw: Draws) -> pd.DataFrame:
    rows = []
    for source, wrong in JUDGED.items():
        for _ in range(items):
            problem = new_problem(STUDY, seen, draw)
            ratings = draw_open_ratings(RIGHT, wrong, draw)
            right, other = (respond(problem, rating, draw) for rating in ratings)
            if source in ANOTHER_ANSWER:
                other = change_answer(right, draw)
            while other == right:
                other = respond(problem, ratings[1], draw)
            label = draw.pick(["A>B", "B>A"])
            texts = [right, other] if label == "A>B" else [other, right]
            rows.append((f"{len(rows)}", source, problem.prompt, *texts, label))
    columns = ["pair_id", "source", "question", "response_A", "response_B", "label"]
    return pd.DataFrame(rows, columns=columns)


def _write(problem: Problem, planned: Planned, draw: Draws) -> str:
    """Write a response to ratings of which some are drawn for it alone."""
    (rating, _) = draw_open_ratings(planned, planned, draw)
    return respond(problem, rating, draw)
