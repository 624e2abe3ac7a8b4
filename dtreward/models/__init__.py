"""Every reward model, read from its files, as one `RewardModel` that compares two responses.

`load` finds a checkpoint by name, hub id or folder; what it returns says which response is better,
and why. Nothing is imported here, because the files below need torch.

- `load`: the public `load`: which checkpoint, which head, which tree
- `load_backbone`: a checkpoint's transformer and tokenizer, checked before weights are read
- `catalogue`: the reward models known by name, and what their files do not say
- `checkpoint`: reads a model's folder: configuration, weight files, head, tree
- `comparison`: `Comparison`, the result of `compare`, and the base class `RewardModel`
- `heads`: the layers that turn hidden states into rewards and a score
- `head_model`: a backbone with a head, and perhaps a tree
- `critic`: a language model that writes which response is better
- `ensemble`: a weighted sum of other models' scores
- `endpoint`: a model behind a web address as a reward model
- `precision`: what float8 changes in rewards and preferences
- `export`: writes a decision-tree checkpoint that plain transformers loads
"""
