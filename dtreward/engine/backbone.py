"""A frozen transformer with its tokenizer, and the identity by which its features are kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from dtreward.conversation import ChatTokenizer
from dtreward.engine.packing import Plan, TokenIds, plan_packs


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
        again: `again(device=...)` loads this backbone once more, for example in a Ray worker; None
            if `load` did not make it.
    """

    transformer: nn.Module
    chat: ChatTokenizer | None
    identity: dict[str, str]
    pack_tokens: int = 1024
    kernels: tuple[str, str] = ("plain", "plain")
    again: Callable[..., Backbone] | None = None

    def __post_init__(self) -> None:
        self.transformer.eval()

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

    def plans(
        self, token_ids: Sequence[TokenIds], prompts: Sequence[Hashable] | None = None
    ) -> list[Plan]:
        """Plan this backbone's packs of some conversations."""
        return plan_packs(token_ids, self.pack_tokens, prompts, apart=self.window)

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
