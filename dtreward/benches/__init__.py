"""Ask reward models about the pairs of a bench, and score their answers as its leaderboard does.

RewardBench is the first bench; what another bench would need too is in files of its own.

- `evaluation`: what a model says of each pair, kept as it goes (`judge`, `evaluate`)
- `rewardbench`: RewardBench's pairs and sections (`load_bench`, `section_scores`,
  `section_intervals`)
- `candidates`: the models that a study names, opened one by one, and the baselines by length
- `tables`: an overview of all rows, shares by subset, tests of each two, decisions beside a simpler
  rule, the control
- `published_scores`: the published scores, how sure they are, and which ranks are ties
- `leaderboard`: measured scores beside the published ones, as a table
- `figures`: the pictures of these results
"""

from dtreward.benches.evaluation import evaluate, judge
from dtreward.benches.rewardbench import load_bench, section_intervals, section_scores

__all__ = ["evaluate", "judge", "load_bench", "section_intervals", "section_scores"]
