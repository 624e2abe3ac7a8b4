"""Ask the judges of a study about one pair before all of them are asked, and show what they say.

    dtreward try-judges study=NAME [parameter=value ...]

The pair is the first that notebook 06 will ask about, and its answers are kept with the study's.
Before notebook 01 has written the pairs, it is a pair of this file, whose answers are not kept.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dtreward.files import digest
from dtreward.judges.ask import collect
from dtreward.judges.judge import TEMPLATE, Judge
from dtreward.judges.spending import cost_table, expected_cost
from dtreward.judges.store import both_orders, stored_answers
from dtreward.pairs.columns import TEXTS
from dtreward.pairs.split import draw_prompts
from dtreward.pairs.votes import merge_votes
from dtreward.study.plan import plan_study
from dtreward.study.settings import default_parameters, parse_words

JUDGES = "06_collect_judge_preferences"
PAIR = ("How many days has a week?", "A week has seven days.", "A week has eight days.")
MOST_SHOWN = 300  # characters of a reply


def try_judges(words: Sequence[str]) -> None:
    """Print what each judge of a study replies about one pair, and what all questions will cost.

    It exits with one line where the study asks no judges, or where a judge cannot be asked.

    Args:
        words: name=value, as `dtreward preflight` takes them.
    """
    try:
        plan = plan_study(parse_words(words))
        parameters = default_parameters(JUDGES) | plan.parameters.get(JUDGES, {})
        panel = [Judge(**settings) for settings in parameters["judges"]]
        if not panel:
            sys.exit(f"The study '{plan.study}' asks no judges: its parameter `judges` is empty.")
        with ExitStack() as stack:
            store = Path(plan.folder, "judges.sqlite")
            asked = asked_pairs(Path(plan.folder, "pairs.parquet"), parameters)
            if asked is None:
                store = Path(stack.enter_context(tempfile.TemporaryDirectory()), "judges.sqlite")
                asked = pd.DataFrame([PAIR], columns=TEXTS)
                print(
                    "Notebook 01 has not written the study's pairs yet: this is a pair of our own.\n"
                )
            show_trial(store, asked, panel, parameters["template"] or TEMPLATE)
            if len(asked) == 1:
                print("\nRun notebook 01 first, to be told what the study's pairs can cost.")
    except (FileNotFoundError, TypeError, ValueError) as error:
        sys.exit(str(error))


def asked_pairs(file: Path, parameters: dict[str, Any]) -> pd.DataFrame | None:
    """Give the pairs that notebook 06 will ask about; None before notebook 01 has run."""
    if not file.exists():
        return None
    pairs = merge_votes(pd.read_parquet(file))
    chance = np.random.default_rng(parameters["seed"])
    return pairs[draw_prompts(pairs["prompt_id"], parameters["judged"], chance)]


def show_trial(store: Path, asked: pd.DataFrame, judges: Sequence[Judge], template: str) -> None:
    """Ask about the first pair in both orders, and print replies, costs, and the cost of all."""
    one = asked.head(1)
    run = collect(store, one, judges, template=template, concurrency=1, retries=1)
    stored = stored_answers(store, judges, template=template)
    shown = [digest(*texts) for orders in both_orders(one) for texts in orders]
    for row in stored[stored["shown"].isin(shown)].itertuples():
        reply = " ".join(row.text.split())
        print(f"{row.judge}: {row.state} (finish reason: {row.finish or 'none'})")
        print(f"    {reply:.{MOST_SHOWN}}")
    if run.stopped:
        print(run.stopped)
    print("\nWhat this did cost:")
    print(cost_table(judges, run.spent).to_string())
    if len(asked) > 1:
        print(
            f"\nWhat all {len(asked):,} pairs can cost at most, answers that are stored left out:"
        )
        print(expected_cost(store, asked, judges, template=template).to_string())
