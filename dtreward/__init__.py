"""Reward models that say why: load one, compare two responses, see the path through its tree."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtreward.explorer import explore
    from dtreward.models import load
    from dtreward.tree import PreferenceTree

__all__ = ["PreferenceTree", "explore", "load"]


def __getattr__(name: str) -> object:
    """Import what is asked for, so that reading pairs or a tree does not wait for torch."""
    modules = {"PreferenceTree": "tree", "explore": "explorer", "load": "models"}
    if name in modules:
        return getattr(import_module(f"dtreward.{modules[name]}"), name)
    raise AttributeError(f"dtreward has no {name!r}; it has {', '.join(__all__)} and its modules")


def __dir__() -> list[str]:
    return __all__
