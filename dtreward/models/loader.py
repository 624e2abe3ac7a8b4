"""Load a reward model by name, hub id or folder."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dtreward.models.catalogue import CatalogueEntry, find_entry
from dtreward.models.checkpoint_folder import find_folder

if TYPE_CHECKING:
    import torch

    from dtreward.models.comparison import RewardModel
    from dtreward.tree.tree import PreferenceTree

READS = ("next token", "verdict")


def load(  # noqa: PLR0913
    name: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    attention: str | None = None,
    revision: str | None = None,
    reads: str | None = None,
    bos: Literal["one", "none"] | None = None,
    pooling: str | None = None,
    pack_tokens: int | None = None,
    max_length: int | None = None,
    too_long: Literal["error", "cut_prompt_start"] = "error",
    attributes: Sequence[str] | None = None,
    tree: PreferenceTree | None = None,
) -> RewardModel:
    """Load a reward model from a folder or the hub; run none of its code and unpickle nothing.

    Args:
        name: a folder, a hub id such as "RLHFlow/Decision-Tree-Reward-Llama-3.1-8B", or a name of
            the leaderboard (`catalogue.CATALOGUE`).
        device: CUDA where there is one, else the CPU; "auto" spreads the layers over all GPUs.
        dtype: of the backbone, float64 to float16: by default float32 on the CPU, and the
            checkpoint's own on a GPU. The head is float32, or float64 beside a float64 backbone.
        attention: a kernel of `dtreward.engine.attention`: by default the first that works here.
        reads: of a language model without a reward model's head: "next token" (the logit of token
            0 is the score) or "verdict" (it writes [[A]] or [[B]]); the catalogue knows its own.
        bos: "one" or "none"; by default what the checkpoint records, else "one" where the tokenizer
            has a BOS token (Qwen's has none).
        pooling: which token the head reads: "last", "last_not_pad" (TRL and transformers), "eos"
            (OpenRLHF) or "appended:ID" (InternLM2, Athene); see `dtreward.pooling`. By default what
            the checkpoint's files tell, and an error that asks where they leave it open.
        pack_tokens: tokens of one forward pass. For one value of it, rewards are the same bit for
            bit, alone and in any company. By default 1,024 on the CPU. On a GPU by default 4,096,
            but conversations of one call that all fit into a pack of 512, 1,024 or 2,048 tokens
            (a prompt that they share counts once) are read in the smallest that holds them. So
            `compare` of a short pair is fast; its rewards may differ by rounding from those of
            `compare_many` with more pairs. Give a number, and every call takes this size; 16,384 is
            the fastest for many pairs.
        max_length: most tokens of a conversation: by default 4,096, or as many as the model takes
            if that is less.
        too_long: what happens to a longer conversation: an "error", or "cut_prompt_start", which
            drops tokens from the start of its prompt (recorded).
        attributes: names of the head's rows, for a checkpoint that does not name them.
        tree: decides in place of the checkpoint's own.

    Raises:
        ValueError: if a tensor is missing, unexpected, wrongly shaped or not finite, if the
            checkpoint is of an unknown kind, or if its chat template is not the one that its gate
            was trained with; the message names it.
        FileNotFoundError: if there is no such model.
        MemoryError: if the weights need more memory than is free.

    Example:
        >>> load("data/demo").attributes
        ('helpfulness', 'correctness', 'coherence', 'complexity', 'verbosity')
    """
    _check_reads(reads)
    if isinstance(attributes, str):
        raise TypeError(f"attributes must be a list of names, came the text {attributes!r}")
    entry = find_entry(name) or CatalogueEntry(str(name), pooling="")
    is_ensemble = entry.reads == "scores"
    if is_ensemble and (revision or reads or attributes or tree or pooling):
        raise ValueError(
            f"{name} is several models: give revision, reads, attributes, tree or pooling to each "
            "of them"
        )
    is_folder = bool(name) and Path(name).is_dir()
    if entry.reads and not entry.repo and not is_folder and not is_ensemble:
        raise ValueError(f'{name}: {entry.note}; load(folder, reads="verdict") loads yours')
    location = name if is_folder else entry.repo
    found = None if is_ensemble else find_folder(location, revision, weights=False)
    # A wrong name has been refused by now, in a tenth of the time that importing torch takes.
    from dtreward.models.load_backbone import LoadOptions
    from dtreward.models.load_checkpoint import CheckpointOptions, load_ensemble, load_one

    options = LoadOptions(device, dtype, attention, bos, max_length, too_long, pack_tokens, pooling)
    if found is None:
        return load_ensemble(options)
    choices = CheckpointOptions(revision, reads, tuple(attributes or ()), tree)
    return load_one(name, entry, found, options, choices)


def _check_reads(reads: str | None) -> None:
    if reads and reads not in READS:
        near = get_close_matches(str(reads).lower(), READS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"reads must be one of {READS}, or None for a head, came {reads!r}{hint}")
