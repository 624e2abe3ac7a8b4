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

FAMILIES = {"llama": "Llama", "gemma": "Gemma", "gemma2": "Gemma2"}
TREE = "decision_tree.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHIPPED = Path(__file__).with_name("checkpoint_files")  # what an exported checkpoint carries
COPIED = ("*token*.json", "tokenizer.model", "*.jinja", "LICENSE*", "NOTICE*")
FETCHED = ("*.json", "*.safetensors", "*.jinja", "*.md", "*.model", "*.txt", "LICENSE", "NOTICE")
# Where some versions of transformers note files of the machine that saved the folder.
PATHS = ("_name_or_path", "name_or_path", "special_tokens_map_file", "num_labels")


def find_folder(
    name: str | Path, revision: str | None = None, *, pickled: bool = False
) -> tuple[Path, str]:
    """Find a model's folder, and its commit ("" where it is not from the hub)."""
    if str(name) and Path(name).is_dir():
        if revision is not None:
            raise ValueError(f"{name} is a folder: it has no revision {revision!r}; leave it out")
        return Path(name), ""
    if str(name).count("/") != 1 or str(name)[0] in "./~":
        raise FileNotFoundError(f"no folder {name}; give one, a hub id or one of catalogue.KNOWN")
    fetched = [*FETCHED, "decision_tree.pkl", *["*.bin"] * pickled]
    files = {"allow_patterns": fetched, "ignore_patterns": ["*/*"]}
    try:
        found = Path(snapshot_download(str(name), revision=revision, **files))
    except (OSError, HfHubHTTPError) as error:  # no such repository, no access, or no network
        here = f"there is no folder {name} here, and the hub did not give it"
        raise FileNotFoundError(f"{here} ({type(error).__name__}: {error})") from error
    return found, found.name


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json, and refuse what would load otherwise than it says."""
    if (folder / "adapter_config.json").exists():
        raise ValueError(f"{folder} is an adapter; merge it into its model and save that")
    config = _object(folder / "config.json")
    if (came := config.get("model_type")) not in [*FAMILIES]:
        raise ValueError(f"model_type must be one of {', '.join(FAMILIES)}, {folder} has {came!r}")
    hidden, labels = config.get("hidden_size"), config.get("id2label", {})
    named = isinstance(labels, dict) and {*map(type, labels.values())} <= {str}
    numbered = named and all(map(str.isdecimal, labels))
    if not (numbered and type(hidden) is int and 0 < hidden < 2**17):
        came = f"hidden_size {hidden!r:.40} and id2label {labels!r:.80}"
        raise ValueError(f"{folder}: config.json has {came}; fetch it again, or mend it")
    if "quantization_config" in config:
        raise ValueError(f"{folder} is quantized; load the checkpoint that it was made from")
    return config


def weight_files(folder: Path, *, pickled: bool = False) -> list[Path]:
    """List a checkpoint's safetensors files; PyTorch's .bin files only where `pickled`."""
    for single in (WEIGHTS, *["pytorch_model.bin"] * pickled):
        index, names = folder / f"{single}.index.json", {single}
        if index.exists() and not (folder / single).exists():
            placed = _object(index).get("weight_map")
            names = {*map(str, placed.values())} if isinstance(placed, dict) else {""}
            if not names or any(not name or Path(name).name != name for name in names):
                raise ValueError(f"{index} does not map tensors to files beside it; fetch it again")
        if index.exists() or (folder / single).exists():
            return [_whole(folder / name) for name in sorted(names)]
    told = f"{folder} has no {WEIGHTS} (nor an index of shards); .bin files are pickles and are not"
    advice = "where you trust them, load them with transformers and save_pretrained() them"
    raise ValueError(f"{told} read: {advice}")


def _whole(path: Path) -> Path:
    """Check that the header of a safetensors file is as long as the file, before hours of work."""
    try:
        with safe_open(path, "pt") if path.suffix == ".safetensors" else path.open("rb"):
            return path
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is absent or not whole ({error}); fetch it again") from error


def _object(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")).items())
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        told = f"{path.parent} has no {path.name} in JSON ({error})"
        raise ValueError(f"{told}; fetch it again") from error


def read_head(
    files: Sequence[Path], dtype: torch.dtype, *, next_token: bool = False
) -> dict[str, torch.Tensor]:
    """Read the tensors of a checkpoint's head; a language model's first row only if `next_token`."""
    head = {}
    for path in files:
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                if name == "lm_head.weight":
                    head |= {name: file.get_slice(name)[:1]} if next_token else {}
                elif name.startswith(HEAD_PREFIXES):
                    head[name] = file.get_tensor(name)
    return {name: tensor.to(dtype) for name, tensor in head.items()}


def read_tree(
    folder: Path, attributes: Sequence[str], published: str = ""
) -> PreferenceTree | None:
    """Read the tree: JSON, else a pickle by its raw arrays, else the published one of that name."""
    if (folder / TREE).exists():
        return PreferenceTree.load(folder / TREE)
    pickled = (folder / TREE).with_suffix(".pkl")
    if pickled.exists():
        return PreferenceTree.from_pickle(pickled, attributes=attributes)
    return PreferenceTree.published(published) if published else None
