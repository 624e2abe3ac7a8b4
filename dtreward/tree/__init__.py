"""Small decision trees on differences that say which of two responses a judge prefers, and why.

The room fits, explains, stores and draws them; it reads scikit-learn's pickles without executing them.

- `nodes`: the plain table of nodes that everything else here works on
- `rules`: what a table of nodes says in words, and which of its splits decide nothing
- `growth`: a table of nodes from scikit-learn, fitted or pickled
- `pickle`: the node arrays of a pickled scikit-learn tree, read without executing anything
- `document`: a table of nodes as plain JSON values, and back
- `tree`: `PreferenceTree`
- `ablation`: trees of many sizes and settings, measured and chosen among
- `stability`: what of a tree comes back when it is grown again on resamples
- `ablation_figure`: the figures of both
- `rivals`: simpler answers and other models to set beside a tree
- `quality`: how good predictions of preferences are
- `quality_figure`: accuracies and calibration, drawn
- `layout`: where the boxes of a drawn tree stand
- `figure`: a tree drawn for paper
- `page`: a tree drawn for the screen
- `outline`: a tree as nested lists, for narrow screens
"""

from importlib import import_module
from typing import TYPE_CHECKING

from dtreward.tree.nodes import ATTRIBUTES, Step

if TYPE_CHECKING:
    from dtreward.tree.tree import PreferenceTree

__all__ = ["ATTRIBUTES", "PreferenceTree", "Step"]
HOMES = {"PreferenceTree": "dtreward.tree.tree"}


def __getattr__(name: str) -> object:
    """Import `PreferenceTree` when it is first used, because its module needs scikit-learn."""
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    message = f"dtreward.tree has no {name!r}; it has {', '.join(__all__)} and its modules"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return __all__
