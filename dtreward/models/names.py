"""What may be given to `load` as a model's name, judged before torch is imported."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from huggingface_hub import HfApi, constants, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dtreward.models.catalogue import find_entry, near_names

NAMES = "give a folder, a hub id such as owner/model, or a name of the leaderboard"
GGUF = ".gguf"
CONFIG = "config.json"
TIMEOUT = 10  # seconds without an answer of the hub
# What the hub's client raises where it gives nothing.
HUB_ERRORS = (OSError, HfHubHTTPError, HFValidationError, HTTPError)


def refuse_no_name(name: str) -> None:
    """Refuse what is neither an existing folder or GGUF file nor may be a hub id.

    Raises:
        FileNotFoundError: with what was expected, and with names that are nearly the same.

    Example:
        >>> refuse_no_name("data/demo")
        >>> refuse_no_name("RLHFlow/ArmoRM-Llama3-8B-v0.1")
        >>> refuse_no_name("dmo")
        Traceback (most recent call last):
        FileNotFoundError: no folder dmo: give a folder, a hub id such as owner/model, or a name of the leaderboard
    """
    if not name.strip():
        raise FileNotFoundError(f"the model's name is empty: {NAMES}")
    if Path(name).is_dir() or (Path(name).is_file() and Path(name).suffix == GGUF):
        return
    if Path(name).is_file():
        raise FileNotFoundError(f"{name} is a file: give the folder with its config.json")
    if name.count("/") != 1 or name[0] in "./~":
        raise FileNotFoundError(f"no folder {name}{hint(name)}: {NAMES}")


def require_model(name: str, revision: str | None = None) -> None:
    """Refuse a name that `load` would not find, without importing torch or fetching anything.

    A model that is not in the cache of the hub's client is asked for at the hub.

    Args:
        name: as given to `load`.
        revision: of a model on the hub.

    Raises:
        FileNotFoundError: as `load`.
        ValueError: if the model has no repository.
    """
    entry = find_entry(name)
    if entry is not None and not Path(name).is_dir():
        if entry.reads == "scores":
            return
        if not entry.repo:
            raise ValueError(f"{name}: {entry.note}; give the folder of a model of your own")
        name = entry.repo
    refuse_no_name(name)
    if Path(name).exists():
        return
    if isinstance(try_to_load_from_cache(name, CONFIG, revision=revision), str):
        return
    try:
        if constants.HF_HUB_OFFLINE:
            raise LocalEntryNotFoundError("it is not in the cache")
        HfApi().model_info(name, revision=revision, timeout=TIMEOUT)
    except HUB_ERRORS as error:
        raise not_given(name, error, revision) from None


def not_given(name: str, error: Exception, revision: str | None = None) -> FileNotFoundError:
    """Make the error of a name that is no folder here, and that the hub does not give."""
    reason = hub_reason(error, revision)
    if find_entry(name) is not None:  # the name is right
        return FileNotFoundError(f"the hub did not give {name}: {reason}")
    return FileNotFoundError(
        f"no folder {name} here{hint(name)}, and the hub did not give it: {reason}"
    )


def hint(name: str) -> str:
    """Suggest what may have been meant by a name that is no folder: folders first, then models."""
    found = []
    for place in ("..", "data", "../data"):  # from notebooks/, or without the folder of all models
        if Path(place, name, CONFIG).is_file():
            found.append(f"{place}/{name}")
    beside = Path(name).parent
    if beside.is_dir():
        folders = [str(path.parent) for path in beside.glob(f"*/{CONFIG}")]
        found += get_close_matches(name, folders, n=2)
    found += [near for near in near_names(name) if near != name]
    return f" (did you mean {' or '.join(found)}?)" if found else ""


def hub_reason(error: Exception, revision: str | None) -> str:
    """Say in one sentence why the hub gave nothing, and what to do."""
    if isinstance(error, GatedRepoError):
        return "it is gated; accept its terms on its page, then log in with `hf auth login`"
    if isinstance(error, RepositoryNotFoundError):
        return "it has no such model, or a private one; correct the name, or `hf auth login`"
    if isinstance(error, RevisionNotFoundError):
        return f"it has no revision {revision!r} of it"
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return "it cannot be reached from here, and no earlier download has the whole model"
    if isinstance(error, HTTPError):
        return f"{constants.ENDPOINT} does not answer ({type(error).__name__}); mend the network"
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
