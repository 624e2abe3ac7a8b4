"""Reward models that say why: load one, compare two responses, see the path through its tree."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtreward.models import load
    from dtreward.tree import PreferenceTree

__all__ = ["PreferenceTree", "load"]


def __getattr__(name: str) -> object:
    """Import what is asked for, so that reading pairs or a tree does not wait for torch."""
    if name == "load":
        from dtreward.models import load

        return load
    if name == "PreferenceTree":
        from dtreward.tree import PreferenceTree

        return PreferenceTree
    raise AttributeError(f"dtreward has no {name!r}; it has {', '.join(__all__)} and its modules")


def __dir__() -> list[str]:
    return __all__
