"""Every reward model, read from its files, as one `RewardModel` that compares two responses.

`load` finds a checkpoint by name, hub id or folder; what it returns says which response is better,
and why. The files below need torch, so each is imported only when one of its names is first used.

- `loader`: the public `load`
- `load_checkpoint`: one checkpoint, or an ensemble's: which head, which tree, which token is read
- `load_backbone`: a checkpoint's transformer and tokenizer, checked before weights are read
- `decoders`: the classes of transformers that read a checkpoint
- `gguf`: a GGUF file as an ordinary model folder
- `catalogue`: the reward models known by name, and what their files do not say
- `names`: what may be a model's name, judged before torch is imported
- `check`: does a model hold what the catalogue assumes, before it is downloaded?
- `findings`: what a check has found, as text and as plain values
- `facts`: what a model's files hold, beside what the catalogue and publications say
- `remote`: a model on the hub as a folder without its weights
- `checkpoint_folder`: finds a model's folder, checks its configuration and files before torch is imported
- `checkpoint`: what a folder holds: the tensors of the head, their number format, the tree
- `comparison`: `Comparison`, the result of `compare`, and the base class `RewardModel`
- `rated_pairs`: pairs whose attributes are the rewards that a model reads
- `adapter`: a LoRA adapter, merged into its model on load
- `head_names`: the names under which trainers write a head, and which forms are known
- `pooling_rule`: which token a head was trained to read, found by a checkpoint's files
- `heads`: the layers that turn hidden states into rewards and a score
- `head_model`: a backbone with a head, and perhaps a tree
- `probe`: linear probes, fitted to ratings
- `probe_figure`: how well probes read, drawn
- `scoring`: what a model says of every pair of a table, in a file that grows part by part
- `critic`: a language model that writes which response is better
- `ensemble`: a weighted sum of other models' scores
- `endpoint`: a model behind a web address as a reward model
- `precision`: what float8 changes in rewards and preferences
- `export`: writes a decision-tree checkpoint that plain transformers loads
- `card`: writes the model card of such a checkpoint
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtreward.models.comparison import Comparison, RewardModel
    from dtreward.models.loader import load

__all__ = ["Comparison", "RewardModel", "load"]
HOMES = {
    "Comparison": "dtreward.models.comparison",
    "RewardModel": "dtreward.models.comparison",
    "load": "dtreward.models.loader",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, because its module needs torch."""
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    message = f"dtreward.models has no {name!r}; it has {', '.join(__all__)} and its modules"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return __all__
