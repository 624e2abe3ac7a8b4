"""Read a model's folder: configuration, weights, head and tree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError, safe_open

from dtreward.models.heads import HEAD_PREFIXES
from dtreward.tree.tree import PreferenceTree

# By config.json's model_type, how the names of transformers' classes begin.
FAMILIES = {"llama": "Llama", "gemma": "Gemma", "gemma2": "Gemma2"}
TREE = "decision_tree.json"
PICKLED_TREE = "decision_tree.pkl"
WEIGHTS = "model.safetensors"
PICKLED_WEIGHTS = "pytorch_model.bin"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
FETCHED = ("*.json", "*.safetensors", "*.jinja", "*.md", "*.model", "*.txt", "LICENSE", "NOTICE")
LARGEST_HIDDEN_SIZE = 2**17 - 1  # numbers in a hidden state; larger than any model's


def find_folder(
    name: str | Path, revision: str | None = None, *, pickled: bool = False
) -> tuple[Path, str]:
    """Find a model's folder and its commit; a model on the hub is fetched where it is absent.

    Args:
        name: a folder, or a hub id such as "owner/model".
        revision: commit, branch or tag on the hub; a folder has none.
        pickled: whether PyTorch's .bin files are fetched, too.

    Returns:
        the folder, and the commit; the commit is "" for a name that is a folder.

    Raises:
        ValueError: if a revision of a folder is asked for.
        FileNotFoundError: if there is no such folder, and the hub does not give the model.

    Example:
        >>> folder, commit = find_folder("data/demo")
        >>> folder.name, commit
        ('demo', '')
    """
    if str(name) and Path(name).is_dir():
        if revision is not None:
            raise ValueError(f"{name} is a folder: it has no revision {revision!r}; leave it out")
        return Path(name), ""
    if str(name).count("/") != 1 or str(name)[0] in "./~":
        raise FileNotFoundError(
            f"no folder {name}; give one, a hub id or one of catalogue.CATALOGUE"
        )
    patterns = [*FETCHED, PICKLED_TREE]
    if pickled:
        patterns.append("*.bin")
    try:
        fetched = snapshot_download(
            str(name), revision=revision, allow_patterns=patterns, ignore_patterns=["*/*"]
        )
    except (OSError, HfHubHTTPError) as error:  # no such repository, no access, or no network
        raise FileNotFoundError(
            f"there is no folder {name} here, and the hub did not give it "
            f"({type(error).__name__}: {error})"
        ) from error
    folder = Path(fetched)
    return folder, folder.name


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json, and refuse a checkpoint that would be loaded as something else.

    Raises:
        ValueError: for an adapter, a quantized checkpoint or another kind of model, or if the
            file is damaged.

    Example:
        >>> read_config(Path("data/demo"))["model_type"]
        'llama'
    """
    if (folder / ADAPTER).exists():
        raise ValueError(f"{folder} is an adapter; merge it into its model and save that")
    config = _read_object(folder / "config.json")
    model_type = config.get("model_type")
    if model_type not in list(FAMILIES):  # a list, because the file's value may be unhashable
        raise ValueError(
            f"model_type must be one of {', '.join(FAMILIES)}, {folder} has {model_type!r}"
        )
    hidden = config.get("hidden_size")
    labels = config.get("id2label", {})
    if not _is_hidden_size(hidden) or not _are_labels(labels):
        raise ValueError(
            f"{folder}: config.json has hidden_size {hidden!r:.40} and id2label {labels!r:.80}; "
            "fetch it again, or correct it"
        )
    if "quantization_config" in config:
        raise ValueError(f"{folder} is quantized; load the checkpoint that it was made from")
    return config


def weight_files(folder: Path, *, pickled: bool = False) -> list[Path]:
    """List a checkpoint's safetensors files, each checked to be whole.

    Args:
        pickled: take PyTorch's .bin files where there are no safetensors files.

    Raises:
        ValueError: if there are no such files, or if one is absent or damaged.

    Example:
        >>> [path.name for path in weight_files(Path("data/demo"))]
        ['model.safetensors']
    """
    for single in [WEIGHTS, PICKLED_WEIGHTS] if pickled else [WEIGHTS]:
        names = _weight_names(folder, single)
        if names:
            return [_check_whole(folder / name) for name in names]
    raise ValueError(
        f"{folder} has no {WEIGHTS} (nor an index of shards); .bin files are pickles and are not "
        "read: where you trust them, load them with transformers and save_pretrained() them"
    )


def read_head(
    files: Sequence[Path], dtype: torch.dtype, *, next_token: bool = False
) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint's head, by name, in the given number format.

    Args:
        files: the checkpoint's safetensors files.
        next_token: read the first row of a language model's head, too; it gives the logit of
            token 0. Without it the language model's head is left out.
    """
    tensors = {}
    for path in files:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            for name in names:
                if name == "lm_head.weight":
                    if next_token:
                        tensors[name] = file.get_slice(name)[:1]
                elif name.startswith(HEAD_PREFIXES):
                    tensors[name] = file.get_tensor(name)
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}


def read_tree(
    folder: Path, attributes: Sequence[str], published: str = ""
) -> PreferenceTree | None:
    """Read a checkpoint's tree; None if it has none.

    A JSON file comes first, then a pickle, of which only the arrays are read, then the published
    tree.

    Args:
        attributes: names of the head's rows, which a pickle does not give.
        published: name of the published tree of this model; "" for none.
    """
    if (folder / TREE).exists():
        return PreferenceTree.load(folder / TREE)
    if (folder / PICKLED_TREE).exists():
        return PreferenceTree.from_pickle(folder / PICKLED_TREE, attributes=attributes)
    if published:
        return PreferenceTree.published(published)
    return None


def _is_hidden_size(value: Any) -> bool:
    """Say whether a value from config.json can be the length of a hidden state."""
    # `True` is an int in Python, but no length.
    return type(value) is int and 0 < value <= LARGEST_HIDDEN_SIZE


def _are_labels(labels: Any) -> bool:
    """Say whether a value from config.json maps row numbers, in text, to names."""
    if not isinstance(labels, dict):
        return False
    for number, name in labels.items():
        if not number.isdecimal() or not isinstance(name, str):
            return False
    return True


def _weight_names(folder: Path, single: str) -> list[str]:
    """List the files with weights: one, or the shards that its index names; empty for none.

    Args:
        single: name of the file where the weights are not in shards.
    """
    index = folder / f"{single}.index.json"
    if (folder / single).exists():
        return [single]
    if not index.exists():
        return []
    weight_map = _read_object(index).get("weight_map")
    names = set()
    if isinstance(weight_map, dict):
        names = {str(name) for name in weight_map.values()}
    # A name with a folder in it could lead out of the checkpoint's folder.
    are_beside = all(name and Path(name).name == name for name in names)
    if not names or not are_beside:
        raise ValueError(f"{index} does not map tensors to files beside it; fetch it again")
    return sorted(names)


def _check_whole(path: Path) -> Path:
    """Check before hours of work that a file is there and as long as its header says."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt"):
                return path
        with path.open("rb"):
            return path
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is absent or not whole ({error}); fetch it again") from error


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object; a ValueError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path.parent} has no {path.name} in JSON ({error}); fetch it again"
        ) from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise ValueError(  # noqa: TRY004 (what is wrong is a file, not an argument)
            f"{path.parent} has no {path.name} in JSON (expected an object, found {kind}); "
            "fetch it again"
        )
    return content
