"""Reward models that say why: load one, compare two responses, see the path through its tree."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtreward.explorer.widget import explore
    from dtreward.models.loader import load
    from dtreward.pairs.frame import load_pairs
    from dtreward.tree.tree import PreferenceTree

__all__ = ["PreferenceTree", "explore", "load", "load_pairs"]
HOMES = {
    "PreferenceTree": "dtreward.tree.tree",
    "explore": "dtreward.explorer.widget",
    "load": "dtreward.models.loader",
    "load_pairs": "dtreward.pairs.frame",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: reading pairs does not wait for torch."""
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    raise AttributeError(f"dtreward has no {name!r}; it has {', '.join(__all__)} and its modules")


def __dir__() -> list[str]:
    return __all__
