"""Read what a model's folder holds: the tensors of its head, their number format, its tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from dtreward.models.checkpoint_folder import PICKLED_TREE
from dtreward.models.head_names import HEAD_PREFIXES, plain_name
from dtreward.tree.tree import PreferenceTree

LANGUAGE_HEAD = "lm_head.weight"
TREE = "decision_tree.json"
EMBEDDINGS = ("model.embed_tokens.weight", "embed_tokens.weight")  # without its task, the latter
BACKBONE = ("model.", "embed_tokens.", "layers.", "norm.")  # how its tensors' names begin
COUNTS = "num_batches_tracked"  # of batch norms: a whole number
HEAD_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def read_head(
    files: Sequence[Path],
    *,
    prefixes: tuple[str, ...] = HEAD_PREFIXES,
    next_token: bool = False,
    tied: bool = False,
) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint's head, by name, in float64, which changes none of them.

    Args:
        files: the checkpoint's safetensors files.
        prefixes: how the names of a head's tensors begin.
        next_token: read the first row of a language model's head, too; it gives the logit of
            token 0. Without it the language model's head is left out.
        tied: whether the language model's head is its embedding, where the files have no other.

    Raises:
        ValueError: if a tensor holds nan or infinity, is stored in integers or 8 bits, of which
            the scales are unknown, or is in two files.
    """
    tensors = {}
    embedding = {}
    for path in files:
        with safe_open(path, "pt") as file:
            stored_names = list(file.keys())
            for stored_name in stored_names:
                name = plain_name(stored_name)
                if name == LANGUAGE_HEAD:
                    if next_token:
                        tensors[name] = file.get_slice(stored_name)[:1]
                elif name.startswith(prefixes):
                    _check_new(name, tensors, path)
                    tensors[name] = file.get_tensor(stored_name)
                elif next_token and tied and name in EMBEDDINGS:
                    embedding = {LANGUAGE_HEAD: file.get_slice(stored_name)[:1]}
    return check_head_tensors(files[0].parent, embedding | tensors)


def check_head_tensors(
    folder: Path, tensors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Check a head's tensors, and give them in float64.

    Raises:
        ValueError: if one holds nan or infinity, or is stored in integers or 8 bits.
    """
    for name, tensor in tensors.items():
        _check_head_tensor(folder, name, tensor)
    return {name: tensor.double() for name, tensor in tensors.items()}


def has_language_head(files: Sequence[Path]) -> bool:
    """Say whether a checkpoint has a language model's own head, as tensors of that name."""
    return any(plain_name(name) == LANGUAGE_HEAD for name in tensor_names(files))


def tensor_names(files: Sequence[Path]) -> list[str]:
    """List the names of all tensors, as they are stored."""
    names = []
    for path in files:
        with safe_open(path, "pt") as file:
            names += file.keys()
    return names


def unknown_tensors(files: Sequence[Path]) -> list[str]:
    """Name the tensors that belong neither to a transformer nor to a head that is known."""
    names = map(plain_name, tensor_names(files))
    return sorted(name for name in names if not name.startswith((*BACKBONE, *HEAD_PREFIXES)))


def stored_dtype(config: Mapping[str, Any], files: Sequence[Path]) -> torch.dtype:
    """Tell the number format of a checkpoint's weights: as configured, else as they are.

    Example:
        >>> from dtreward.models.checkpoint_folder import read_config, weight_files
        >>> folder = Path("data/demo")
        >>> stored_dtype(read_config(folder), weight_files(folder))
        torch.bfloat16
    """
    name = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    dtype = getattr(torch, name.removeprefix("torch."), None)
    if isinstance(dtype, torch.dtype):
        return dtype
    if name != "auto" or files[0].suffix != ".safetensors":
        raise ValueError(
            f'{files[0].parent}: config.json has dtype {name!r}; expected one such as "bfloat16"'
        )
    with safe_open(files[0], "pt") as file:
        names = list(file.keys())
        arrays = [name for name in names if file.get_slice(name).get_shape()]
        return file.get_slice(arrays[0])[:1].dtype


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


def _check_new(name: str, tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Refuse a tensor of a head that an earlier file had, too."""
    if name in tensors:
        raise ValueError(
            f"{path.parent} has {name} of its head twice, the second time in {path.name}; keep the "
            "one that was trained"
        )


def _check_head_tensor(folder: Path, name: str, tensor: torch.Tensor) -> None:
    """Refuse a tensor of a head that holds no plain numbers, or that is not finite."""
    is_count = name.endswith(COUNTS) and not tensor.is_floating_point()
    if tensor.dtype not in HEAD_DTYPES and not is_count:
        short = str(tensor.dtype).removeprefix("torch.")
        raise ValueError(
            f"{folder}: {name} of the head is stored as {short}; load the checkpoint that it was "
            "made from"
        )
    if not tensor.isfinite().all():
        raise ValueError(f"{folder}: {name} of the head holds nan or infinity; fetch it again")
