"""Load a checkpoint's transformer and tokenizer, and check all options before reading weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import psutil
import torch
import transformers
from safetensors import safe_open
from transformers import AutoTokenizer, GenerationConfig, PretrainedConfig, PreTrainedModel

from dtreward.conversation import PLAIN_TEMPLATE, ChatTokenizer
from dtreward.engine.attention import check_kernel, choose, prepare
from dtreward.engine.backbone import SMALL_PACKS, Backbone
from dtreward.engine.law import check_architecture
from dtreward.engine.packing import check_size
from dtreward.files import digest, file_digest
from dtreward.models.adapter import Adapter, check_adapter, merge_adapter
from dtreward.models.checkpoint import stored_dtype
from dtreward.models.checkpoint_folder import find_folder, read_config, weight_files
from dtreward.models.decoders import backbone_class, language_model_class
from dtreward.models.gguf import ORIGIN
from dtreward.models.head_names import HEAD_PREFIXES, WRAPPER, head_prefixes, plain_name
from dtreward.pooling import LAST

CONTROL_TOKEN = re.compile(r"<[^<>]+>")
# Rotary embeddings whose angles depend on a token's position alone.
FIXED_ROPE = ("default", "linear", "yarn", "llama3")
DTYPES = ("float64", "float32", "bfloat16", "float16")
PLAIN_FORMATS = ("F64", "F32", "BF16", "F16")  # of safetensors
READ_HERE = ("dtype", "torch_dtype", "quantization_config")
LONGEST = 4096  # tokens of a conversation, unless max_length says otherwise
PACK_TOKENS_CPU = 1024
PACK_TOKENS_GPU = 4096
SMALL_PACKS_GPU = (512, 1024, 2048)
ANNOUNCED_BYTES = 1e9  # larger weights are announced: loading them takes minutes


@dataclass(frozen=True)
class LoadOptions:
    """How a backbone is loaded: the arguments of `load` that concern it, under the same names."""

    device: str | torch.device | None = None
    dtype: str | torch.dtype | None = None
    attention: str | None = None
    bos: str | None = None
    max_length: int | None = None
    too_long: str = "error"
    pack_tokens: int | None = None
    pooling: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a backbone: where it is, and how it is named in identities.

    Args:
        location: an absolute folder, or a hub id.
        name: the folder's own name, or the hub id.
        commit: of the hub; "" for a folder.
        writes: whether it is loaded with its language model's head, to write text.
        plain: whether a tokenizer without a chat template takes the plain transcript
            (`conversation.PLAIN_TEMPLATE`); for language models that nobody taught to chat.
        random_seed: of random weights in the place of its own; None for its own.
        adapter: that is merged into its weights; location and commit are then the base model's.
    """

    location: str
    name: str
    commit: str
    writes: bool = False
    plain: bool = False
    random_seed: int | None = None
    adapter: Adapter | None = None

    def find(self) -> Path:
        """Find the checkpoint's folder on this machine, fetching it where it is absent."""
        folder, _ = find_folder(self.location, self.commit or None, pickled=self.writes)
        return folder


@dataclass(frozen=True)
class Placement:
    """Where a transformer's layers go and in which number format."""

    device: torch.device
    spread: bool  # over all GPUs
    dtype: torch.dtype

    @property
    def device_map(self) -> Any:
        """The argument of that name in `from_pretrained`."""
        return "auto" if self.spread else {"": self.device}


@dataclass(frozen=True)
class Engine:
    """How the transformer computes attention, and the packs that it is given.

    Args:
        implementation: transformers' name of the attention.
        kernels: of the packed attention; none for a language model that writes.
        pack_tokens: tokens of one forward pass; None for a language model that writes.
        compiled: whether layers are compiled.
        pruned: whether the last layer is computed only for the tokens that are read.
        small_packs: smaller sizes, for calls of few short conversations.
    """

    implementation: str
    kernels: tuple[str, str] | None = None
    pack_tokens: int | None = None
    compiled: bool = False
    pruned: bool = True
    small_packs: tuple[int, ...] = ()

    @property
    def identity(self) -> dict[str, str]:
        """What of it changes the hidden states."""
        if self.kernels is None:
            return {"attention": self.implementation}
        identity = {
            "attention": "+".join(dict.fromkeys(self.kernels)),
            "pack_tokens": str(self.pack_tokens),
            "compiled": "layers" if self.compiled else "no",
        }
        if not self.pruned:
            identity["last_layer"] = "whole"
        if self.small_packs:
            identity[SMALL_PACKS] = ", ".join(map(str, self.small_packs))
        return identity


@dataclass(frozen=True)
class Description:
    """What a checkpoint's small files say: its folder is complete but for the weights.

    Attributes:
        config: config.json.
        shape: the same as transformers' configuration.
        chat: its tokenizer and chat template; None only where `loader.judge` found that they
            cannot be read.
    """

    folder: Path
    config: dict[str, Any]
    shape: PretrainedConfig
    chat: ChatTokenizer | None


def describe(checkpoint: Checkpoint, options: LoadOptions, folder: Path) -> Description:
    """Read and judge all files of a checkpoint but its weights.

    Args:
        folder: of the checkpoint; it need not have the weights.

    Raises:
        ValueError: if a file is damaged, or is not what `load` takes.
    """
    config = read_config(folder)
    if options.dtype:
        _dtype(options.dtype)
    check_kernel(options.attention)
    shape = _shape_of(folder, config, writes=checkpoint.writes)
    limit = shape.max_position_embeddings if checkpoint.writes else longest_in_a_pack(shape)
    adapted = checkpoint.adapter
    if adapted and (adapted.folder / "tokenizer.json").exists():
        chat = _load_tokenizer(adapted.folder, shape, limit, options, plain=checkpoint.plain)
    else:
        chat = _load_tokenizer(folder, shape, limit, options, plain=checkpoint.plain)
    return Description(folder, config, shape, chat)


def describe_shape(checkpoint: Checkpoint, folder: Path) -> tuple[dict[str, Any], PretrainedConfig]:
    """Read and judge config.json alone; give it as it is, and as transformers' configuration.

    Raises:
        ValueError: as `describe`.
    """
    config = read_config(folder)
    return config, _shape_of(folder, config, writes=checkpoint.writes)


def load_backbone(
    checkpoint: Checkpoint,
    options: LoadOptions,
    description: Description | None = None,
    *,
    marker: str | None = None,
) -> Backbone:
    """Load the transformer and its tokenizer; all options are checked before weights are read.

    Args:
        description: of the checkpoint's folder, which now has the weights, too; by default the
            folder is found by `checkpoint.find()`, and described.
        marker: what the chat template must write between a prompt and its response, for a gate
            that reads there; None if there is no gate.

    Raises:
        ValueError: for an illegal option, another marker, or a wrong tensor.
    """
    description = description or describe(checkpoint, options, checkpoint.find())
    folder = description.folder
    config = description.config
    chat = description.chat
    shape = description.shape
    files = weight_files(folder, pickled=checkpoint.writes)
    placement = _place(folder.name, config, files, options)
    check_marker(folder, chat, marker)
    model_class = _class_of(config, writes=checkpoint.writes)
    if checkpoint.writes:
        engine = _writing_engine(shape)
    else:
        engine = _choose_engine(description, model_class, placement, options)
    seed = checkpoint.random_seed
    if seed is None:
        transformer = _read_transformer(folder, model_class, shape, placement, engine, files)
        _merge(transformer, checkpoint.adapter)
    else:
        transformer = _draw_transformer(model_class, shape, placement, engine, seed)
    identity = {
        **_identify_weights(checkpoint, folder, config, files),
        **engine.identity,
        "dtype": str(transformer.dtype).removeprefix("torch."),
        "device": placement.device.type,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    again = partial(_load_on, checkpoint, options)
    backbone = Backbone(transformer, chat, identity, again=again, small_packs=engine.small_packs)
    if engine.kernels is None:
        return backbone
    prepare(transformer, compiled=engine.compiled, pruned=engine.pruned)
    return replace(backbone, pack_tokens=engine.pack_tokens, kernels=engine.kernels)


def _merge(transformer: PreTrainedModel, adapter: Adapter | None) -> None:
    """Merge an adapter into the weights, where there is one."""
    if adapter is not None:
        merge_adapter(transformer, adapter)


def _identify_weights(
    checkpoint: Checkpoint, folder: Path, config: Mapping[str, Any], files: Sequence[Path]
) -> dict[str, str]:
    """Say which weights are read, or by which seed random ones are drawn in their place."""
    weights = checkpoint.commit or digest(*map(file_digest, [folder / "config.json", *files]))
    if checkpoint.random_seed is not None:
        weights = f"random, seed {checkpoint.random_seed}, in the shape of {weights}"
    identity = {"model": checkpoint.name, "revision": checkpoint.commit, "weights": weights}
    if checkpoint.adapter:
        identity["adapter"] = checkpoint.adapter.identity
    if ORIGIN in config:
        identity[ORIGIN] = config[ORIGIN]["file"]
    return identity


def _load_on(
    checkpoint: Checkpoint,
    options: LoadOptions,
    device: str | torch.device,
    random_seed: int | None = None,
) -> Backbone:
    checkpoint = replace(checkpoint, random_seed=random_seed)
    return load_backbone(checkpoint, replace(options, device=device))


def _place(
    name: str, config: dict[str, Any], files: Sequence[Path], options: LoadOptions
) -> Placement:
    """Resolve device and number format, and check that the weights fit into free memory."""
    device = _find_device(options.device)
    stored = stored_dtype(config, files)
    default = torch.float32 if device.type == "cpu" else stored
    dtype = _dtype(options.dtype or default)
    spread = options.device == "auto" and torch.cuda.device_count() > 1
    placement = Placement(device, spread, dtype)
    stored_bytes = sum(path.stat().st_size for path in files)
    _check_memory(name, stored_bytes * dtype.itemsize / stored.itemsize, placement)
    return placement


def _dtype(name: str | torch.dtype) -> torch.dtype:
    short = str(name).removeprefix("torch.")
    if short not in DTYPES:
        near = get_close_matches(short, DTYPES, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"dtype must be one of {DTYPES}, came {name!r}{hint}")
    return getattr(torch, short)


def _find_device(name: str | torch.device | None) -> torch.device:
    if name is None or name == "":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device="cuda" if str(name) == "auto" else name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        message = f'device {str(name)!r} is not here: {reason}; give "cpu" or one that is'
        raise ValueError(message) from None


def _check_memory(name: str, size: float, placement: Placement) -> None:
    """Raise a MemoryError where weights of `size` bytes do not fit."""
    where = str(placement.device)
    if placement.spread:
        count = torch.cuda.device_count()
        where = f"{count} GPUs"
        free = sum(torch.cuda.mem_get_info(gpu)[0] for gpu in range(count))
    elif placement.device.type == "cuda":
        free = torch.cuda.mem_get_info(placement.device)[0]
    else:
        free = psutil.virtual_memory().available
    need = f"{name}: weights of {size / 1e9:,.1f} GB, {free / 1e9:,.1f} GB free on {where}"
    if size > free:
        advice = 'take a larger device, device="auto" over several GPUs, or a smaller dtype='
        raise MemoryError(f"{need}; {advice}")
    if size > ANNOUNCED_BYTES:
        print(need, flush=True)


def longest_in_a_pack(shape: PretrainedConfig) -> int:
    """Give the most tokens of a conversation whose rotary angles are its own in any pack.

    Where a pack holds a longer conversation, transformers turns all of it by other angles, so that
    a neighbour would change the score.

    Raises:
        ValueError: for a rotary embedding that is not known.

    Example:
        >>> from transformers import LlamaConfig
        >>> longest_in_a_pack(LlamaConfig(max_position_embeddings=2048))
        2048
    """
    positions = shape.max_position_embeddings
    rope = getattr(shape, "rope_parameters", None) or {}
    by_layer_type = [value for value in rope.values() if isinstance(value, Mapping)]  # Gemma-3
    for parameters in by_layer_type or [rope]:
        rope_type = parameters.get("rope_type", "default")
        if rope_type == "longrope":
            positions = min(positions, parameters["original_max_position_embeddings"])
        elif rope_type not in (*FIXED_ROPE, "dynamic"):  # dynamic changes beyond all positions
            legal = ", ".join((*FIXED_ROPE, "dynamic", "longrope"))
            raise ValueError(f"config.json has rope_type {rope_type!r}; expected one of {legal}")
    return positions


def _load_tokenizer(
    folder: Path, shape: PretrainedConfig, limit: int, options: LoadOptions, *, plain: bool
) -> ChatTokenizer:
    """Read the tokenizer, and check how it is to be used.

    Args:
        limit: most tokens of a conversation that the model takes.
        plain: whether a tokenizer without a chat template takes the plain transcript.
    """
    max_length = options.max_length
    if max_length is None:
        max_length = min(LONGEST, limit)
    if max_length > limit:
        raise ValueError(
            f"max_length {max_length} is above the model's {limit} positions; give {limit} or less"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, config=shape, use_fast=True, trust_remote_code=False
        )
    except Exception as error:  # noqa: BLE001 (damaged files fail in as many ways as there are)
        raise ValueError(_tokenizer_reason(folder, error)) from None
    if plain and not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    has_bos = tokenizer.bos_token_id is not None  # Qwen's has none
    try:
        return ChatTokenizer(
            tokenizer,
            bos=options.bos or getattr(shape, "bos_rule", "one" if has_bos else "none"),
            max_length=max_length,
            too_long=options.too_long,
            model_limit=limit,
            pooling=options.pooling or LAST,
        )
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None


def _tokenizer_reason(folder: Path, error: Exception) -> str:
    """Say why a tokenizer cannot be read, and what to do."""
    if "trust_remote_code" in str(error):
        return (
            f"the tokenizer of {folder} needs code that comes with it, which is not run; give it a "
            "tokenizer.json and a tokenizer_class of transformers"
        )
    if not (folder / "tokenizer.json").exists():
        return (
            f"{folder} has no tokenizer.json; fetch it, too, or make it of the other files of its "
            "tokenizer with save_pretrained() of transformers"
        )
    return (
        f"the tokenizer of {folder} cannot be read ({_in_one_line(error)}); fetch its files again"
    )


def check_marker(folder: Path, chat: ChatTokenizer, marker: str | None) -> None:
    """Refuse a chat template or tokenizer other than the one that a gate was trained with.

    Raises:
        ValueError: if the template does not write `marker`, or if a control token of it is none.
    """
    if marker is None:
        return
    if chat.marker != marker:
        raise ValueError(
            f"{folder}: its gate reads the end of the prompt, where the model's own chat template "
            f"writes {marker!r}; the one that is there writes {chat.marker!r}: put the template "
            "that the model was published with into its place"
        )
    for control in CONTROL_TOKEN.findall(marker):
        if len(chat.tokenizer(control, add_special_tokens=False)["input_ids"]) != 1:
            raise ValueError(
                f"{folder}: its gate reads the token {control}, which its tokenizer does not have; "
                "put the tokenizer that the model was published with into its place"
            )


def _writing_engine(shape: PretrainedConfig) -> Engine:
    """Choose transformers' own attention, for a language model that writes."""
    # Transformers' sdpa drops Gemma-2's soft-cap.
    is_capped = getattr(shape, "attn_logit_softcapping", None)
    return Engine("eager" if is_capped else "sdpa")


def _choose_engine(
    description: Description,
    model_class: type[PreTrainedModel],
    placement: Placement,
    options: LoadOptions,
) -> Engine:
    """Choose the packed attention's kernels, the size of packs, and whether to compile and prune."""
    shape = description.shape
    pruned = _is_pruning_exact(description.folder, model_class, shape)
    pack_tokens, small_packs = _pack_sizes(options.pack_tokens, placement.device)
    kernels = choose(shape, placement.device, placement.dtype, options.attention)
    compiled = placement.device.type == "cuda" and not placement.spread
    return Engine("packed", kernels, pack_tokens, compiled, pruned, small_packs)


def _pack_sizes(asked: int | None, device: torch.device) -> tuple[int, tuple[int, ...]]:
    """Give the tokens of a pack, and the smaller sizes beside it; a size that is asked is alone."""
    if asked is not None:
        check_size(asked)
        return asked, ()
    if device.type == "cpu":
        return PACK_TOKENS_CPU, ()
    return PACK_TOKENS_GPU, SMALL_PACKS_GPU


def _class_of(config: Mapping[str, Any], *, writes: bool) -> type[PreTrainedModel]:
    model_type = config["model_type"]
    return language_model_class(model_type) if writes else backbone_class(model_type)


def _shape_of(folder: Path, config: Mapping[str, Any], *, writes: bool) -> PretrainedConfig:
    """Make transformers' configuration without the entries that `load` has read itself.

    A model is made of it without memory, so that a wrong entry is refused before weights are read.
    """
    model_class = _class_of(config, writes=writes)
    kept = {key: value for key, value in config.items() if key not in READ_HERE}
    try:
        shape = model_class.config_class.from_dict(kept)
        longest_in_a_pack(shape)  # names the rotary embeddings that there are
        with torch.device("meta"):
            model_class(shape)
    except Exception as error:  # noqa: BLE001 (transformers fails at each entry in its own way)
        raise ValueError(
            f"{folder}: transformers makes no model of config.json ({_in_one_line(error)}); fetch "
            "it again, or correct it"
        ) from None
    if not writes:
        _is_pruning_exact(folder, model_class, shape)
    return shape


def _is_pruning_exact(
    folder: Path, model_class: type[PreTrainedModel], shape: PretrainedConfig
) -> bool:
    """Refuse a decoder that cannot be read in packs; say whether its last layer may be pruned."""
    try:
        return check_architecture(model_class, shape)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _read_transformer(
    folder: Path,
    model_class: type[PreTrainedModel],
    shape: PretrainedConfig,
    placement: Placement,
    engine: Engine,
    files: Sequence[Path],
) -> PreTrainedModel:
    """Read the weights; a ValueError names every tensor that is missing, extra or misshapen."""
    if _is_safe(files):
        refuse_formats(files)
    try:
        with _quiet(folder):
            source, options = _source_of(folder, placement, files, writes=engine.kernels is None)
            transformer, problems = model_class.from_pretrained(
                source,
                config=shape,
                dtype=placement.dtype,
                device_map=placement.device_map,
                attn_implementation=engine.implementation,
                ignore_mismatched_sizes=True,  # reported below, with everything else that is wrong
                output_loading_info=True,
                weights_only=True,
                key_mapping={f"^{re.escape(WRAPPER)}": ""},
                **options,
            )
    except UnpicklingError:  # torch's own message tells how to run what is in the file
        message = (
            f"a .bin file of {folder} holds more than tensors; none of it was run; "
            "do not trust it: take a checkpoint in safetensors"
        )
        raise ValueError(message) from None
    _refuse_wrong_tensors(folder, problems, shape)
    _check_finite(folder, transformer)
    return transformer


def _source_of(
    folder: Path, placement: Placement, files: Sequence[Path], *, writes: bool
) -> tuple[Path | None, dict[str, Any]]:
    """Say to `from_pretrained` where the weights are, so that a CPU's memory holds them once."""
    if not _is_safe(files):
        # A pickled shard is only opened as tensors (weights_only), and only for a model that writes.
        return folder, {"use_safetensors": False}
    if placement.device.type != "cpu":
        return folder, {"use_safetensors": True}
    options: dict[str, Any] = {"state_dict": _stored_tensors(files)}
    if writes:
        options["generation_config"] = _generation_of(folder)
    return None, options


def _generation_of(folder: Path) -> GenerationConfig:
    """Read how a language model writes, as `from_pretrained` does where it is given the folder."""
    try:
        return GenerationConfig.from_pretrained(folder)
    except OSError:  # it has no generation_config.json
        return GenerationConfig.from_pretrained(
            folder, config_file_name="config.json", _from_model_config=True
        )


def _is_safe(files: Sequence[Path]) -> bool:
    return files[0].suffix == ".safetensors"


@dataclass(frozen=True)
class _StoredTensor:
    """A tensor in a safetensors file, which is read when transformers indexes it with [...].

    Each reading maps the file anew. So a tensor that is changed to another number format leaves
    memory at once; with one mapping of the file, all that was read of it would stay until the end.
    """

    path: Path
    name: str

    def __getitem__(self, index: Any) -> torch.Tensor:
        with safe_open(self.path, "pt") as file:
            return file.get_tensor(self.name)[index]


def _stored_tensors(files: Sequence[Path]) -> dict[str, _StoredTensor]:
    """Name all tensors of safetensors files; none is read yet."""
    tensors = {}
    for path in files:
        with safe_open(path, "pt") as file:
            tensors |= {name: _StoredTensor(path, name) for name in list(file.keys())}
    return tensors


def count_formats(files: Sequence[Path]) -> dict[str, int]:
    """Count the tensors of safetensors files by number format, such as "BF16"."""
    formats: dict[str, int] = {}
    for path in files:
        with safe_open(path, "pt") as file:
            for name in list(file.keys()):
                stored = file.get_slice(name).get_dtype()
                formats[stored] = formats.get(stored, 0) + 1
    return formats


def refuse_formats(files: Sequence[Path]) -> None:
    """Refuse weights that are stored in integers or 8 bits: their scales are unknown.

    transformers would read the integers as numbers where no quantization_config says otherwise.

    Raises:
        ValueError: with the first such weight.
    """
    for path in files:
        with safe_open(path, "pt") as file:
            for name in list(file.keys()):
                stored = file.get_slice(name).get_dtype()
                if name.endswith(".weight") and stored not in PLAIN_FORMATS:
                    raise ValueError(
                        f"{path.parent}: {name} is stored as {stored}, and its scales are unknown; "
                        "load the checkpoint that it was made from"
                    )


def check_matrices(checkpoint: Checkpoint, description: Description) -> None:
    """Check that the matrices of a checkpoint's adapter fit the transformer of its base model.

    Raises:
        ValueError: if they do not; nothing is checked where there is no adapter.
    """
    if checkpoint.adapter is None:
        return
    model_class = _class_of(description.config, writes=False)
    with torch.device("meta"), _silent():
        transformer = model_class(description.shape)
    check_adapter(transformer, checkpoint.adapter)


def check_tensors(checkpoint: Checkpoint, description: Description, files: Sequence[Path]) -> None:
    """Check that a transformer's tensors have the names and shapes of its config.json.

    Only the headers of the files are read.

    Args:
        files: the checkpoint's safetensors files.

    Raises:
        ValueError: with every tensor that is missing, extra or misshapen.
    """
    state = {}
    for path in files:
        with safe_open(path, "pt") as file:
            for name in list(file.keys()):
                shape = file.get_slice(name).get_shape()
                state[plain_name(name)] = torch.empty(shape, device="meta")
    model_class = _class_of(description.config, writes=checkpoint.writes)
    with _silent():
        _, problems = model_class.from_pretrained(
            None,
            config=description.shape,
            state_dict=state,
            device_map={"": torch.device("meta")},
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _refuse_wrong_tensors(description.folder, problems, description.shape)


def _refuse_wrong_tensors(
    folder: Path, problems: Mapping[str, Any], shape: PretrainedConfig
) -> None:
    """Refuse tensors that are missing, misshapen, or neither the transformer's nor the head's."""
    wrong = {problem: sorted(map(str, names)) for problem, names in problems.items() if names}
    # Heads under the usual names are ignored by the class; config.json may give a name of its own.
    own_names = tuple(set(head_prefixes(shape.to_dict())) - set(HEAD_PREFIXES))
    unexpected = wrong.pop("unexpected_keys", [])
    extra = [name for name in unexpected if not name.startswith(own_names)]
    if extra:
        wrong["unexpected_keys"] = extra
    if wrong:
        advice = "fetch it again, or mend its config.json"
        raise ValueError(f"tensors of {folder} are not those of its config.json; {advice}: {wrong}")


def _draw_transformer(
    model_class: type[PreTrainedModel],
    shape: PretrainedConfig,
    placement: Placement,
    engine: Engine,
    seed: int,
) -> PreTrainedModel:
    """Draw weights as transformers does before training; the same seed draws the same on a device."""
    if placement.spread:
        raise ValueError(
            "random weights are drawn on one device, not spread over several; give one device, or "
            "leave the random backbone out"
        )
    gpus = [placement.device] if placement.device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus), placement.device:
        torch.manual_seed(seed)
        return model_class._from_config(
            shape, dtype=placement.dtype, attn_implementation=engine.implementation
        )


@contextmanager
def _silent() -> Iterator[None]:
    """Leave out what transformers prints while it reads a model."""
    verbosity = transformers.logging.get_verbosity()
    was_enabled = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if was_enabled:
            transformers.logging.enable_progress_bar()


@contextmanager
def _quiet(folder: Path) -> Iterator[None]:
    """Leave transformers' progress bar out where loading takes seconds."""
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    was_enabled = transformers.logging.is_progress_bar_enabled()
    if size < ANNOUNCED_BYTES:
        transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            transformers.logging.enable_progress_bar()


def _check_finite(folder: Path, transformer: PreTrainedModel) -> None:
    """Refuse weights that hold nan or infinity; each device is waited for only once."""
    by_device: dict[torch.device, dict[str, torch.Tensor]] = {}
    for name, parameter in transformer.named_parameters():
        by_device.setdefault(parameter.device, {})[name] = parameter.detach()
    suspects = {}
    for parameters in by_device.values():
        # A sum hands nan and infinity on, at the speed of memory; that of float16 may overflow.
        sums = torch.stack([parameter.sum() for parameter in parameters.values()])
        for (name, parameter), total in zip(parameters.items(), sums.tolist(), strict=True):
            if not math.isfinite(total):
                suspects[name] = parameter
    wrong = [name for name, parameter in suspects.items() if not parameter.isfinite().all()]
    if wrong:
        short = str(transformer.dtype).removeprefix("torch.")
        advice = "fetch it again"
        if short == "float16":  # its largest number is 65,504
            advice = 'use dtype="bfloat16", or fetch it again'
        raise ValueError(
            f"{folder}: weights are nan or infinity in {short}: {', '.join(wrong[:5])}; {advice}"
        )
