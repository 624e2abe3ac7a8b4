"""Reward models, whatever they are made of, as objects that compare two responses.

`load` reads a model by name, hub id or folder; no code of it runs and nothing is unpickled.

- `load`: from a name, hub id or folder to a model
- `catalogue`: the models known by name, and what their files do not say
- `checkpoint`: configuration, weights, head and tree of a model's folder
- `export`: a decision-tree reward model as a folder that plain transformers loads
- `heads`: what turns hidden states into rewards and a score
- `head_model`: a backbone with a head, and a tree where it has one
- `critic`: a language model that writes which response is better
- `endpoint`: a judge behind an endpoint as a reward model
- `ensemble`: a weighted sum of other models' scores
- `comparison`: the result of comparing two responses, and the interface of all models
- `precision`: what float8 changes in a model's rewards and preferences
"""
