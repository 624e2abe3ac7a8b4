"""Preferences of LLM judges and people: asked for, read, kept and compared.

Every answer is stored as it arrives, so that a stopped run loses none.

- `judge`: a model behind an endpoint, and what it is asked
- `question`: what judges can be asked
- `spending`: what questions cost, before and after they are asked
- `reply`: what an endpoint's reply says
- `ask`: put questions to endpoints, many at once
- `store`: answers in a SQLite file
- `reading`: which response an answer names, by the `phrases` of several languages
- `verdict`: outcomes of a pair: one verdict from both orders
- `outcomes`: what came of the questions: outcomes, consistency, positions, certainty
- `ratings`: attributes of responses by a judge
- `public_verdicts`: verdicts of single public data sets
- `votes`: answers that others collected
- `agreement`: consistency of judges, and their agreement with people and each other
- `biases`: what sways each judge: position, length, and what is left of its agreement
- `findings`: sentences about what sways judges, computed
- `bias_tables`: tables of what sways judges, as a notebook shows them
- `bias_figures`: pictures of what sways judges
- `family`: what changes between judges of one family, on the same pairs
- `kept`: whether the pairs on which a judge contradicts itself are like the others
- `length_rule`: a judge's tree beside the rule that looks at length alone
- `people`: judges beside each of several people, who are compared with the others
- `strength`: which attributes go with preferences, one at a time
- `groups`: rates and trees by group of pairs
- `trees`: the tree of each judge, its accuracy, and trees of resamples
- `maps`: distances between trees, and places in two dimensions
- `attribution`: SHAP values of trees
- `resampled`: trees of all judges on the same resamples: what comes back in them
- `published`: what the published judges look at, with its pictures
- `attribution_figures`: pictures of SHAP values
- `figures`: pictures of judges for notebook and paper
"""

from dtreward.judges.agreement import agreement, consistency
from dtreward.judges.judge import TEMPLATE, Judge, render
from dtreward.judges.reading import verdict
from dtreward.judges.store import stored_answers, verdicts
from dtreward.judges.trees import bootstrap_trees
from dtreward.judges.verdict import OUTCOMES
from dtreward.judges.votes import read_preferences

__all__ = [
    "OUTCOMES",
    "TEMPLATE",
    "Judge",
    "agreement",
    "bootstrap_trees",
    "collect",
    "consistency",
    "read_preferences",
    "render",
    "stored_answers",
    "verdict",
    "verdicts",
]


def __getattr__(name: str) -> object:
    """Import `collect` when it is first used: it needs httpx, which comes with an extra."""
    if name == "collect":
        from dtreward.judges.ask import collect

        return collect
    raise AttributeError(f"dtreward.judges has no {name!r}; it has {', '.join(__all__)}")
