"""The demo world: pairs, judges, a bench and a small backbone that the project makes itself.

Its truth is planted, so that the study can be run anywhere and checked; only the demo study and its
tests import it.

- `draws`: random choices, choices that depend on their name alone, and choices made by hand
- `families`: kinds of prompts, read from `words.yaml`; problems posed by them
- `text`: responses written to their ratings
- `votes`: simulated judges, and what they think of each pair
- `world`: pairs with ratings and people's preferences
- `edits`: responses rewritten with one rating changed, and how far rewards move with it
- `planted`: what a study found beside what was planted
- `recurrence`: how often a split that recurs on resamples was planted
- `judges`: the simulated judges behind an HTTP endpoint
- `bench`: pairs in RewardBench's form
- `newer_benches`: best-of-four, styles and judged pairs in the forms of RewardBench 2, RM-Bench and JudgeBench
- `batches`: what the backbone is trained on
- `train`: the command that trains the backbone
- `probe`: what can be read from the backbone
"""
