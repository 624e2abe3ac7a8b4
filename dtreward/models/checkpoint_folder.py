"""Find a model's folder, and check its configuration and its files before torch is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open

from dtreward.models.decoders import is_decoder, unknown_decoder
from dtreward.models.names import HUB_ERRORS, not_given, refuse_no_name

PICKLED_TREE = "decision_tree.pkl"
WEIGHTS = "model.safetensors"
PICKLED_WEIGHTS = "pytorch_model.bin"
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
CARD = "README.md"
VALUE_HEAD = "value_head.safetensors"  # LLaMA-Factory's file with the head, beside the weights
PICKLED_VALUE_HEAD = "value_head.bin"
FETCHED = ("*.json", "*.jinja", "*.md", "*.model", "*.txt", "LICENSE", "NOTICE")  # and weights
SNAPSHOTS = "snapshots"  # the folder of the hub's cache that holds what was fetched
# In the names of architectures that rate the steps of a response, and not the whole.
PROCESS_REWARDS = ("ForTokenClassification", "ForProcessReward", "ForPrm")
LARGEST_HIDDEN_SIZE = 2**17 - 1  # numbers in a hidden state; larger than any model's


def find_folder(
    name: str | Path,
    revision: str | None = None,
    *,
    weights: bool = True,
    pickled: bool = False,
) -> tuple[Path, str]:
    """Find a model's folder and its commit; a model on the hub is fetched where it is absent.

    Args:
        name: a folder, a GGUF file, or a hub id such as "owner/model".
        revision: commit, branch or tag on the hub; a folder has none.
        weights: whether the weights are fetched, too; without them a model can be judged by its
            small files first.
        pickled: whether weights may also be PyTorch's .bin files.

    Returns:
        the folder, and the commit; the commit is "" for a name that is a folder.

    Raises:
        ValueError: if a revision of a folder is asked for.
        FileNotFoundError: if there is no such folder, and the hub does not give the model; the
            message suggests names that are nearly the same.

    Example:
        >>> folder, commit = find_folder("data/demo")
        >>> folder.name, commit
        ('demo', '')
    """
    if str(name) and Path(name).is_dir():
        if revision is not None:
            raise ValueError(f"{name} is a folder: it has no revision {revision!r}; leave it out")
        return Path(name), ""
    name = str(name)
    refuse_no_name(name)
    if Path(name).is_file():
        from dtreward.models.gguf import unpack_gguf  # imports torch

        return unpack_gguf(name), ""
    patterns = [*FETCHED, PICKLED_TREE]
    if weights:
        patterns.append("*.safetensors")
    if weights and pickled:
        patterns.append("*.bin")
    try:
        fetched = snapshot_download(
            name, revision=revision, allow_patterns=patterns, ignore_patterns=["*/*"]
        )
    except HUB_ERRORS as error:
        # The library's own error has many lines; this one says what a reader can do about it.
        raise not_given(name, error, revision) from None
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
        raise ValueError(
            f"{folder} is an adapter, which `load` merges into its base model; give the base model "
            "here, or merge the adapter with peft and save the whole model"
        )
    if not (folder / "config.json").exists():
        raise ValueError(f"{folder} is no model: it has no config.json{_models_in(folder)}")
    config = read_object(folder / "config.json")
    model_type = config.get("model_type")
    if not is_decoder(model_type):
        raise ValueError(f"{folder}: {unknown_decoder(model_type)}")
    hidden = config.get("hidden_size")
    labels = config.get("id2label", {})
    if not _is_hidden_size(hidden) or not _are_labels(labels):
        raise ValueError(
            f"{folder}: config.json has hidden_size {hidden!r:.40} and id2label {labels!r:.80}; "
            "fetch it again, or correct it"
        )
    if config.get("quantization_config") is not None:
        raise ValueError(f"{folder} is quantized; load the checkpoint that it was made from")
    return config


def is_of_demo_world(folder: Path) -> bool:
    """Say whether a model's card says that it belongs to the demo world.

    Example:
        >>> is_of_demo_world(Path("data/demo"))
        True
    """
    try:
        return "**Demo world.**" in (folder / CARD).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


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
    raise ValueError(f"{folder} has no {WEIGHTS}{_instead_of_weights(folder)}")


def value_head_file(folder: Path) -> list[Path]:
    """List the file beside the weights that holds the head, checked to be whole; often none.

    Raises:
        ValueError: if there is only a pickle of it, or if it is damaged.
    """
    if (folder / VALUE_HEAD).exists():
        return [_check_whole(folder / VALUE_HEAD)]
    if (folder / PICKLED_VALUE_HEAD).exists():
        raise ValueError(
            f"{folder} has its head in {PICKLED_VALUE_HEAD}, a pickle, which is not read; export it "
            f"again with safetensors, or where you trust it write {VALUE_HEAD} of it with "
            "torch.load(weights_only=True) and safetensors.torch.save_file()"
        )
    return []


def refuse_process_rewards(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse a process reward model, such as a token classifier: it rates the steps of a response.

    Its head has the tensors of a sequence classifier, so only the architecture's name tells.

    Raises:
        ValueError: if config.json names such an architecture.
    """
    architectures = str(config.get("architectures"))
    if any(words in architectures for words in PROCESS_REWARDS):
        raise ValueError(
            f"{folder} is a process reward model ({architectures}), which rates each step of a "
            "response; load takes models that rate a response as a whole"
        )


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        ValueError: for anything else.
    """
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


def _models_in(folder: Path) -> str:
    """Name the models inside a folder that is none itself."""
    inside = sorted(str(path.parent) for path in folder.glob("*/config.json"))
    return f"; give one of the models in it: {', '.join(inside[:5])}" if inside else ""


def _instead_of_weights(folder: Path) -> str:
    """Say what a folder without weights has in their place, and what to do."""
    shards = sorted(path.name for path in folder.glob("*.safetensors"))
    if shards:
        return (
            f" nor {INDEX}, which says what is in which shard; it has {', '.join(shards[:3])}: "
            f"fetch {INDEX}, too"
        )
    # Of a model on the hub only the index of its .bin files was fetched.
    if list(folder.glob("*.bin")) or (folder / f"{PICKLED_WEIGHTS}.index.json").exists():
        return (
            "; .bin files are pickles and are not read: the hub keeps its own conversions to "
            'safetensors in pull requests, so look there and pass revision="refs/pr/N"; or, where '
            "you trust the files, load them with transformers and save_pretrained() them"
        )
    if folder.parent.name == SNAPSHOTS:
        return (
            f" nor {INDEX}; if the hub shows .bin files, these are pickles and are not read: look "
            'for its conversion to safetensors in a pull request and pass revision="refs/pr/N"'
        )
    return f" nor {INDEX}; fetch it again"


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
    weight_map = read_object(index).get("weight_map")
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
            with safe_open(path, "np"):
                return path
        with path.open("rb"):
            return path
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is absent or not whole ({error}); fetch it again") from error
