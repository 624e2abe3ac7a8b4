"""A frozen transformer with its tokenizer, and the identity by which its features are kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn

from dtreward.conversation import ChatTokenizer
from dtreward.engine.attention import tap_layers
from dtreward.engine.packing import LEAST, Plan, TokenIds, plan_packs

FINAL = -1  # the last layer, after the final norm
LAYERS = "layers"  # entry of the identity of a backbone whose inner layers are read
SMALL_PACKS = "small_packs"  # entry of the identity of a backbone that has smaller packs, too


@dataclass(frozen=True)
class Backbone:
    """A transformer without its head, with the tokenizer that feeds it.

    Attributes:
        transformer: returns `last_hidden_state` after its final norm; it is put into evaluation
            mode.
        chat: turns conversations into token ids; None where token ids come from elsewhere, as in
            the benchmark.
        identity: all that changes the hidden states: model, revision, digest of the weights,
            dtype, attention, tokens of a pack, device, versions. Features on disk are keyed by it.
        pack_tokens: tokens of one forward pass.
        kernels: of the attention: the first for conversations within the model's sliding window,
            the second for longer ones.
        again: `again(device=...)` loads this backbone once more, for example in a Ray worker;
            `again(device=..., random_seed=...)` gives it random weights instead. None if `load`
            did not make it.
        layers: whose states are read, the first of them as the features (`reading`).
        small_packs: sizes below `pack_tokens`, ascending: conversations that all fit into one pack
            of such a size are computed in it (`plans`). None: every pack has `pack_tokens`.
    """

    transformer: nn.Module
    chat: ChatTokenizer | None
    identity: dict[str, str]
    pack_tokens: int = 1024
    kernels: tuple[str, str] = ("plain", "plain")
    again: Callable[..., Backbone] | None = None
    layers: tuple[int, ...] = (FINAL,)
    small_packs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.transformer.eval()

    def require_chat(self) -> ChatTokenizer:
        """Give `chat`, for a caller that has conversations.

        Raises:
            ValueError: if the backbone has none.
        """
        if self.chat is None:
            raise ValueError("this backbone has no tokenizer: give it token ids, or load() one")
        return self.chat

    @property
    def hidden_size(self) -> int:
        """Number of values in one hidden state."""
        return self.transformer.config.hidden_size

    @property
    def wide_dtype(self) -> torch.dtype:
        """Number format of what is computed from hidden states: float32, or float64 as they are."""
        return torch.promote_types(self.transformer.dtype, torch.float32)

    @property
    def device(self) -> torch.device:
        """Where the transformer is, and token ids go."""
        return next(self.transformer.parameters()).device

    @property
    def spread(self) -> bool:
        """Whether its layers are on several devices."""
        devices = {parameter.device for parameter in self.transformer.parameters()}
        return len(devices) > 1

    @property
    def window(self) -> int | None:
        """Longest conversation, in tokens, for the first kernel; None: it reads all of them."""
        within, beyond = self.kernels
        if within == beyond:
            return None
        return getattr(self.transformer.config, "sliding_window", None)

    def reading(self, layers: Sequence[int]) -> Backbone:
        """Give this backbone as it reads the states of other layers; both share the transformer.

        One forward pass gives the states of all of them. Features on disk take as many times the
        room.

        Args:
            layers: the first gives the features, the others are kept beside them. -1 is the last
                layer, after the final norm; k is what layer k puts out, the k-th of transformers'
                `hidden_states`. A layer that is named twice is read once.

        Raises:
            ValueError: if there is no such layer.
        """
        count = self.transformer.config.num_hidden_layers
        for layer in layers:
            if layer != FINAL and not 1 <= layer < count:
                raise ValueError(
                    f"expected a layer from 1 to {count - 1}, or -1 for the last after the final "
                    f"norm; came {layer}: correct it"
                )
        read = tuple(dict.fromkeys(layers))
        tap_layers(self.transformer, [layer for layer in read if layer != FINAL])
        identity = {name: value for name, value in self.identity.items() if name != LAYERS}
        if read != (FINAL,):
            identity[LAYERS] = ",".join(map(str, read))
        again = self.again and partial(_load_reading, self.again, read)
        return replace(self, identity=identity, layers=read, again=again)

    def plans(
        self, token_ids: Sequence[TokenIds], prompts: Sequence[Hashable] | None = None
    ) -> list[Plan]:
        """Plan this backbone's packs of some conversations.

        Where all of them fit into one of the small packs, the smallest that holds them is taken.
        Features of one size are the same bits in any company; those of two sizes differ by
        rounding.
        """
        for size in self.small_packs:
            if not _may_fit(token_ids, size):
                continue
            plans = plan_packs(token_ids, size, prompts, apart=self.window)
            if [plan.size for plan in plans] == [size]:
                return plans
        return plan_packs(token_ids, self.pack_tokens, prompts, apart=self.window)

    def with_one_size(self) -> Backbone:
        """Give this backbone with packs of `pack_tokens` alone; both share the transformer."""
        if not self.small_packs:
            return self
        identity = {name: value for name, value in self.identity.items() if name != SMALL_PACKS}
        again = self.again and partial(_load_with_one_size, self.again)
        return replace(self, identity=identity, small_packs=(), again=again)

    def everywhere(
        self, devices: Sequence[str] | None = None, most: int | None = None
    ) -> list[Backbone]:
        """List this backbone and copies of it on other devices.

        Args:
            devices: where the copies go. By default all GPUs, if this backbone is on the first
                and not spread over several; otherwise none.
            most: number of backbones in the list, this one included, at most.
        """
        own = self.device
        if devices is None:
            devices = []
            if own.type == "cuda" and own.index == 0 and not self.spread:
                devices = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        # "cuda" and "cuda:0" are one device; an empty tensor says which.
        resolved = dict.fromkeys(torch.zeros(0, device=name).device for name in devices)
        others = [device for device in resolved if device != own]
        if most is not None:
            others = others[: max(most - 1, 0)]
        return [self, *map(self._copy, others)]

    def _copy(self, device: torch.device) -> Backbone:
        """Copy this backbone to another device."""
        # Tensor by tensor, so that no GPU ever holds the weights twice.
        moved: dict[int, torch.Tensor] = {}
        for parameter in self.transformer.parameters():
            moved[id(parameter)] = nn.Parameter(parameter.to(device), requires_grad=False)
        for buffer in self.transformer.buffers():
            moved[id(buffer)] = buffer.to(device)
        transformer = deepcopy(self.transformer, moved)
        if self.identity.get("compiled") == "layers":
            for layer in transformer.layers:
                layer.compile(dynamic=False)
        return replace(self, transformer=transformer)


def _may_fit(token_ids: Sequence[TokenIds], size: int) -> bool:
    """Say quickly whether conversations could lie in one pack of this size."""
    return len(token_ids) <= size // LEAST and all(len(ids) <= size for ids in token_ids)


def _load_with_one_size(again: Callable[..., Backbone], **options: Any) -> Backbone:
    """Load a backbone once more, with packs of one size."""
    return again(**options).with_one_size()


def _load_reading(
    again: Callable[..., Backbone], layers: tuple[int, ...], **options: Any
) -> Backbone:
    """Load a backbone once more, as it reads some layers."""
    return again(**options).reading(layers)


def differing_fields(stored: Mapping[str, Any], current: Mapping[str, Any], when: str) -> str:
    """Say in which fields two identities differ; an empty text if in none.

    Args:
        when: the word before the current value.

    Example:
        >>> differing_fields({"dtype": "float32", "bos": "one"}, {"dtype": "float16"}, "now")
        "bos 'one', now None; dtype 'float32', now 'float16'"
    """
    differences = []
    for name in sorted({*stored, *current}):
        if stored.get(name) != current.get(name):
            differences.append(f"{name} {stored.get(name)!r}, {when} {current.get(name)!r}")
    return "; ".join(differences)
