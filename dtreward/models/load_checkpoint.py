"""Load a checkpoint: which head, which tree, which token is read; or the members of an ensemble."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dtreward.engine.backbone import Backbone
from dtreward.models import ensemble
from dtreward.models.adapter import Adapter, read_adapter, read_adapter_head
from dtreward.models.catalogue import CatalogueEntry, find_entry
from dtreward.models.checkpoint import (
    LANGUAGE_HEAD,
    has_language_head,
    read_head,
    read_tree,
    unknown_tensors,
)
from dtreward.models.checkpoint_folder import (
    ADAPTER,
    find_folder,
    is_of_demo_world,
    refuse_process_rewards,
    value_head_file,
    weight_files,
)
from dtreward.models.critic import Critic
from dtreward.models.ensemble import Ensemble
from dtreward.models.head_model import HeadModel
from dtreward.models.head_names import head_prefixes, keeps_language_head, normalisation_of
from dtreward.models.heads import GATE_MARKERS, SOFTCAP, Head, make_head, named_rows
from dtreward.models.load_backbone import (
    Checkpoint,
    Description,
    LoadOptions,
    check_marker,
    check_matrices,
    check_tensors,
    count_formats,
    describe,
    describe_shape,
    load_backbone,
    refuse_formats,
)
from dtreward.models.pooling_rule import find_pooling
from dtreward.pooling import LAST
from dtreward.tree.tree import PreferenceTree


def load_language_model(
    name: str | Path, options: LoadOptions | None = None, *, revision: str | None = None
) -> Backbone:
    """Load the frozen transformer and the tokenizer of any model, with or without a head.

    Its features are what a probe reads. A head in the checkpoint is left out. A tokenizer without a
    chat template takes the plain transcript "User: ...", "Assistant: ...", which its identity tells
    from other templates.

    Args:
        name: a folder, a GGUF file, a hub id, or a name of the leaderboard.
        options: device, dtype and the like, as `load` takes them.
        revision: of a hub model.

    Raises:
        ValueError, FileNotFoundError, MemoryError: as `load`.

    Example:
        >>> load_language_model("data/demo").hidden_size
        192
    """
    options = options or LoadOptions()
    checkpoint, folder = _find_plain(name, revision)
    description, options = _describe(checkpoint, options, folder, known=LAST)
    return load_backbone(checkpoint, options, replace(description, folder=checkpoint.find()))


def put_own_head(
    backbone: Backbone, name: str | Path, *, revision: str | None = None
) -> HeadModel | None:
    """Put the head of a model's own files on its loaded backbone; None where they have none.

    Args:
        backbone: as `load_language_model` gave it for this name and revision.

    Example:
        >>> put_own_head(load_language_model("data/demo"), "data/demo").kind
        'decision-tree'
    """
    checkpoint, folder = _find_plain(name, revision)
    plain = describe(checkpoint, LoadOptions(), folder)
    tensors = _read_tensors(plain, weight_files(checkpoint.find()), "")
    if not tensors:
        return None
    entry = find_entry(name) or CatalogueEntry(str(name), pooling="")
    choices = CheckpointOptions(revision)
    head = _make_head(plain, tensors, entry, choices)
    tree = _find_tree(folder, tensors, head, entry, choices)
    rule = find_pooling(folder, plain.config, plain.chat, known=entry.pooling)
    backbone = replace(backbone, chat=replace(backbone.chat, pooling=rule))
    return HeadModel(backbone, head.to(backbone.wide_dtype), tree)


def _find_plain(name: str | Path, revision: str | None) -> tuple[Checkpoint, Path]:
    """Find any model as a language model: its checkpoint, and a folder with its small files."""
    entry = find_entry(name)
    repo = name if entry is None or Path(name).exists() else entry.repo
    folder, commit = find_folder(repo, revision, weights=False)
    if Path(repo).exists():
        place = folder.resolve()
        return Checkpoint(str(place), place.name, commit, plain=True), folder
    return Checkpoint(str(repo), str(repo), commit, plain=True), folder


def _describe(
    checkpoint: Checkpoint, options: LoadOptions, folder: Path, known: str
) -> tuple[Description, LoadOptions]:
    """Describe a checkpoint, and settle which token is read; the options then say it, too.

    Args:
        known: the rule of the catalogue; "" where the folder is asked.
    """
    if checkpoint.writes and options.pooling:
        raise ValueError(
            f'pooling={options.pooling!r} is which token a head reads, and reads="verdict" has no '
            "head; leave one of them out"
        )
    plain = describe(checkpoint, replace(options, pooling=None), folder)
    rule = _find_pooling(checkpoint, plain, asked=options.pooling or "", known=known)
    try:
        chat = replace(plain.chat, pooling=rule)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    return replace(plain, chat=chat), replace(options, pooling=rule)


def _find_pooling(
    checkpoint: Checkpoint, description: Description, *, asked: str = "", known: str = ""
) -> str:
    """Say which token the head of a checkpoint, or of its adapter, reads."""
    chat = description.chat
    if checkpoint.adapter is None:
        return find_pooling(description.folder, description.config, chat, asked=asked, known=known)
    # The configuration that an adapter was trained with is not kept: only its tokenizer is.
    config = description.config | {"pad_token_id": chat.tokenizer.pad_token_id}
    config = config | {"transformers_version": ""}
    return find_pooling(checkpoint.adapter.folder, config, chat, asked=asked, known=known)


@dataclass(frozen=True)
class CheckpointOptions:
    """The arguments of `load` that concern one checkpoint, under the same names."""

    revision: str | None = None
    reads: str | None = None
    attributes: tuple[str, ...] = ()
    tree: PreferenceTree | None = None


@dataclass(frozen=True, eq=False)
class Judgement:
    """What `load` makes of a checkpoint's files, found out without reading its weights.

    Attributes:
        entry: what the catalogue says of it; of an unknown model only its name.
        config: config.json; empty where it cannot be read.
        description: of the small files; None where config.json cannot be read.
        pooling: which token the head reads; "" where no file tells, or there is no head.
        formats: how many tensors are stored in each number format.
        head: None for none, or one that `load` refuses.
        head_shapes: of the tensors of a head, by name; of a language model's only one row is read.
        tree: that decides; None for none.
        problems: why `load` refuses it, by the step that found it: "class", "tokenizer",
            "pooling", "weights", "head", "tree", "template" or "tensors". Empty if `load` takes it.
    """

    entry: CatalogueEntry
    config: dict[str, Any]
    description: Description | None
    pooling: str
    formats: dict[str, int]
    head: Head | None
    head_shapes: dict[str, tuple[int, ...]]
    tree: PreferenceTree | None
    problems: dict[str, str]

    @property
    def decides(self) -> str:
        """What the loaded model would decide by: the `kind` of a `RewardModel`."""
        if self.entry.reads == "verdict":
            return "verdict"
        if self.tree is not None:
            return "decision-tree"
        return "score" if self.head is not None and self.head.scored else "multi-attribute"


def judge(name: str | Path, folder: Path, adapter: Adapter | None = None) -> Judgement:
    """Take every step of `load` that needs no weights, each one though another has failed.

    Args:
        name: as given to `load`, by which the catalogue knows the model.
        folder: of its files; of weight files only the headers are read, and the head's values.
        adapter: that `load` would merge into the model of the folder, and whose head it takes.

    Example:
        >>> judgement = judge("data/demo", Path("data/demo"))
        >>> judgement.problems, judgement.head.attributes[0], judgement.formats
        ({}, 'helpfulness', {'BF16': 56, 'F32': 2})
    """
    entry = find_entry(name) or CatalogueEntry(str(name), pooling="")
    writes = entry.reads == "verdict"
    place = folder.resolve()
    checkpoint = Checkpoint(str(place), place.name, "", writes, adapter=adapter)
    steps = _Steps({})
    described = steps.take("class", describe_shape, checkpoint, folder)
    if described is None:
        return Judgement(entry, {}, None, "", {}, None, {}, None, steps.problems)
    config, shape = described
    if adapter is None:
        steps.take("class", refuse_process_rewards, folder, config)
    pooling = ""
    description = steps.take("tokenizer", describe, checkpoint, LoadOptions(), folder)
    if description is not None and not entry.reads:
        known = partial(_find_pooling, known=entry.pooling)
        pooling = steps.take("pooling", known, checkpoint, description) or ""
    description = description or Description(folder, config, shape, None)
    files = steps.take("weights", partial(weight_files, pickled=writes), folder) or []
    if not files or files[0].suffix != ".safetensors":
        found = (pooling, {}, None, {}, None)
        return Judgement(entry, config, description, *found, steps.problems)
    tensors, head, tree = _judge_head(steps, checkpoint, description, files, entry)
    steps.take("tensors", refuse_formats, files)
    steps.take("tensors", check_tensors, checkpoint, description, files)
    steps.take("tensors", check_matrices, checkpoint, description)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    found = (pooling, count_formats(files), head, shapes, tree)
    return Judgement(entry, config, description, *found, steps.problems)


def _judge_head(
    steps: _Steps,
    checkpoint: Checkpoint,
    description: Description,
    files: Sequence[Path],
    entry: CatalogueEntry,
) -> tuple[dict[str, torch.Tensor], Head | None, PreferenceTree | None]:
    """Take the steps of `load` that concern the head, and the tree on it."""
    choices = CheckpointOptions(None, None, (), None)
    adapter = checkpoint.adapter
    if adapter:
        tensors = steps.take("head", read_adapter_head, adapter, description.config) or {}
        description = replace(description, folder=adapter.folder)
    else:
        tensors = steps.take("head", _read_tensors, description, files, entry.reads) or {}
    if "head" in steps.problems or checkpoint.writes:
        return tensors, None, None
    head = steps.take("head", _make_head, description, tensors, entry, choices)
    if head is None:
        return tensors, None, None
    if not entry.reads and not adapter:
        steps.take("head", _read_normalisation, description)
    tree = steps.take("tree", _find_tree, description.folder, tensors, head, entry, choices)
    if head.gated and description.chat is not None:
        marker = steps.take("template", _gate_marker, description, head)
        steps.take("template", check_marker, description.folder, description.chat, marker)
    return tensors, head, tree


@dataclass(frozen=True)
class _Steps:
    """Takes steps, and notes why one fails; of a step that fails twice, the first reason."""

    problems: dict[str, str]

    def take(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function; None where it refuses its arguments."""
        try:
            return function(*arguments)
        except ValueError as error:
            self.problems.setdefault(name, str(error))
            return None


def load_one(
    name: str | Path,
    entry: CatalogueEntry,
    found: tuple[Path, str],
    options: LoadOptions,
    choices: CheckpointOptions,
) -> HeadModel | Critic:
    """Load a single checkpoint: its backbone, and its head and tree unless it writes verdicts.

    Args:
        name: as given to `load`.
        entry: what the catalogue knows of it.
        found: the folder with its small files, and its commit. The hub's weights are hundreds of
            GB, so what the small files say is judged before.
    """
    folder, commit = found
    is_folder = Path(name).is_dir()
    reads = choices.reads or entry.reads
    writes = reads == "verdict"
    location = name if is_folder else entry.repo
    if (folder / ADAPTER).exists():
        folder, commit = find_folder(location, choices.revision)  # fetches its weights
        label = entry.repo if commit else folder.resolve().name
        return _load_adapted(label, folder, entry, options, choices)
    if is_folder:
        checkpoint = Checkpoint(str(folder.resolve()), folder.resolve().name, commit, writes)
    else:
        checkpoint = Checkpoint(entry.repo, entry.repo, commit, writes)
    known = LAST if reads else entry.pooling
    description, options = _describe(checkpoint, options, folder, known)
    refuse_process_rewards(folder, description.config)
    if not is_folder:
        checkpoint.find()  # fetches the weights
    # Head and tree come next, because reading a backbone takes minutes.
    files = weight_files(folder, pickled=writes)
    if writes:
        if files[0].suffix == ".safetensors":
            _read_tensors(description, files, reads)  # refuses a reward model's head
        return Critic(load_backbone(checkpoint, options, description))
    tensors = _read_tensors(description, files, reads)
    head = _make_head(description, tensors, entry, choices)
    tree = _find_tree(folder, tensors, head, entry, choices)
    marker = _gate_marker(description, head)
    normalisation = None if reads else _read_normalisation(description)
    backbone = load_backbone(checkpoint, options, description, marker=marker)
    head = head.to(backbone.wide_dtype)
    return HeadModel(backbone, head, tree, normalisation, demo=is_of_demo_world(folder))


def _gate_marker(description: Description, head: Head) -> str | None:
    """Give what the chat template writes where a gate reads; None for a head without a gate."""
    if not head.gated:
        return None
    family = description.config["model_type"]
    if family not in GATE_MARKERS:
        raise ValueError(
            f"{description.folder}: its gate reads the end of the prompt, which is known for "
            f"{', '.join(GATE_MARKERS)}, and not for {family}; only these are read with a gate"
        )
    return GATE_MARKERS[family]


def _read_normalisation(description: Description) -> tuple[float, float] | None:
    try:
        return normalisation_of(description.config)
    except ValueError as error:
        raise ValueError(f"{description.folder}: {error}") from None


def _load_adapted(
    label: str,
    folder: Path,
    entry: CatalogueEntry,
    options: LoadOptions,
    choices: CheckpointOptions,
) -> HeadModel:
    """Load the base model of an adapter, merge the adapter, and put on it the adapter's head.

    Args:
        label: names the model in identities.
        folder: of the adapter.
    """
    if choices.reads:
        raise ValueError(
            f"{folder} is an adapter with a head; reads={choices.reads!r} is for language models: "
            "leave it out"
        )
    adapter = read_adapter(folder)
    base_folder, commit = _find_base(adapter)
    location = adapter.base if commit else str(base_folder.resolve())
    checkpoint = Checkpoint(location, label, commit, adapter=adapter)
    description, options = _describe(checkpoint, options, base_folder, entry.pooling)
    tensors = read_adapter_head(adapter, description.config)
    head = _make_head(replace(description, folder=folder), tensors, entry, choices)
    tree = _find_tree(folder, tensors, head, entry, choices)
    marker = _gate_marker(description, head)
    description = replace(description, folder=checkpoint.find())  # fetches the base's weights
    backbone = load_backbone(checkpoint, options, description, marker=marker)
    return HeadModel(backbone, head.to(backbone.wide_dtype), tree)


def _find_base(adapter: Adapter) -> tuple[Path, str]:
    """Find the small files of an adapter's base model."""
    try:
        return find_folder(adapter.base, adapter.revision, weights=False)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{adapter.folder} is an adapter to {adapter.base}: {error}; if that model is elsewhere, "
            f"say where in base_model_name_or_path of its {ADAPTER}"
        ) from None


def _load_member(name: str, options: LoadOptions) -> HeadModel | Critic:
    entry = find_entry(name) or CatalogueEntry(name, pooling="")
    found = find_folder(entry.repo, weights=False)
    return load_one(name, entry, found, options, CheckpointOptions())


def load_ensemble(options: LoadOptions) -> Ensemble:
    """Load every member of MetaMetrics that transformers can load."""
    members = {
        member: _load_member(member, replace(options, pooling=LAST))
        for member in ensemble.AVAILABLE
    }
    return Ensemble(members, ensemble.AVAILABLE)


def _read_tensors(
    description: Description, files: Sequence[Path], reads: str
) -> dict[str, torch.Tensor]:
    """Read the head's tensors; of a language model (`reads` is not empty) those of no other head."""
    folder = description.folder
    tied = description.shape.tie_word_embeddings
    files = [*files, *value_head_file(folder)]
    prefixes = head_prefixes(description.config)
    tensors = read_head(files, prefixes=prefixes, next_token=bool(reads), tied=tied)
    if reads and set(tensors) != {LANGUAGE_HEAD}:
        raise ValueError(
            f'reads="{reads}" takes a language model with the head {LANGUAGE_HEAD} and no other; '
            f"{folder} has {', '.join(tensors) or 'none'}: leave reads out, or fetch it again"
        )
    foreign = [] if tensors else unknown_tensors(files)[:3]
    if foreign:
        raise ValueError(
            f"{folder} has no head that load knows, but {', '.join(foreign)}; if that is one row "
            "of weights, save it as score.weight (and its bias as score.bias) beside the others"
        )
    if tensors and not reads and not keeps_language_head(description.config, tensors):
        _refuse_language_head(description, files, tensors)
    return tensors


def _refuse_language_head(
    description: Description, files: Sequence[Path], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Refuse a sequence classifier that has a language model's head left over."""
    if has_language_head(files):
        raise ValueError(
            f"{description.folder} has {LANGUAGE_HEAD} beside its head ({', '.join(tensors)}), and "
            f"a {description.config.get('architectures')} has no such tensor; if the language "
            "model's head is left over, save the checkpoint without it"
        )


def _make_head(
    description: Description,
    tensors: Mapping[str, torch.Tensor],
    entry: CatalogueEntry,
    choices: CheckpointOptions,
) -> Head:
    """Make the head from its tensors, with the caller's names of its rows or the catalogue's."""
    config = dict(description.config)
    # Gemma-2 bends its logits also where config.json does not say so.
    config[SOFTCAP] = getattr(description.shape, SOFTCAP, None)
    attributes = choices.attributes
    if not attributes and not named_rows(config):
        attributes = entry.attributes
    try:
        return make_head(tensors, config, attributes)
    except ValueError as error:
        raise ValueError(f"{description.folder}: {error}") from None


def _find_tree(
    folder: Path,
    tensors: Mapping[str, torch.Tensor],
    head: Head,
    entry: CatalogueEntry,
    choices: CheckpointOptions,
) -> PreferenceTree | None:
    """Take the caller's tree or read the checkpoint's, and check that it fits the head."""
    tree = choices.tree
    if tree is None:
        tree = read_tree(folder, head.attributes, entry.tree)
        if tree is not None and "score.bias" not in tensors:
            advice = "fetch it again; if it never had one, pass its tree as tree="
            raise ValueError(f"{folder} has a tree, but its head lacks score.bias: {advice}")
    if tree is not None and tree.attributes != head.attributes:
        raise ValueError(f"tree is over {tree.attributes}, the model's are {head.attributes}")
    return tree
