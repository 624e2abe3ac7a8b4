"""Ask reward models about the items of a bench, and score their answers as its leaderboard does.

`load_bench` reads RewardBench, RewardBench 2, RM-Bench or JudgeBench, and `evaluate` keeps what a
model says of each item; the bench then gives `scores` and `intervals` of these results.

- `bench`: what every bench is (`Bench`)
- `reading`: find out which bench a name or file is, and read it (`load_bench`)
- `rewardbench`, `rewardbench2`, `rmbench`, `judgebench`: one bench each: its items, rules, sections
- `evaluation`: what a model says of each item, kept as it goes (`evaluate`), and of pairs (`judge`)
- `responses`: the same for items with several responses
- `scoring`: scores that are weighted sums of means, with intervals
- `candidates`: the models that a study names, opened one by one, and the baselines by length
- `tables`: an overview of all rows, shares by subset, tests of each two, decisions beside a simpler
  rule, the control
- `published_scores`: RewardBench's published scores, how sure they are, and which ranks are ties
- `published_rows`: published scores of the other benches by their source
- `leaderboard`: measured scores beside the published ones, as a table
- `figures`, `style_figure`: the pictures of these results
"""

from dtreward.benches.bench import Bench
from dtreward.benches.evaluation import evaluate, judge
from dtreward.benches.reading import load_bench
from dtreward.benches.rewardbench import section_intervals, section_scores

__all__ = ["Bench", "evaluate", "judge", "load_bench", "section_intervals", "section_scores"]
