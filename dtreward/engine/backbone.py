"""A frozen transformer, the tokenizer that feeds it, and what names both."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import nn

from dtreward.conversation import ChatTokenizer
from dtreward.engine.packing import Plan, TokenIds, plan_packs


@dataclass(frozen=True)
class Backbone:
    """A transformer without its head, the tokenizer that feeds it, and what names both.

    `transformer` returns `last_hidden_state` after its final norm; it is put into evaluation mode.
    `identity` holds all that changes those states: model, revision, digest of the weights, dtype,
    attention, tokens of a pack, device, versions. Features on disk are keyed by it. `kernels` are
    the attention's, up to the model's sliding window and beyond it. `again`, where `load` made it,
    loads the same on some `device`, in another process too.
    """

    transformer: nn.Module
    chat: ChatTokenizer | None  # None: token ids come from elsewhere, as in the benchmark
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
        return len({each.device for each in self.transformer.parameters()}) > 1

    @property
    def window(self) -> int | None:
        """Tokens beyond which a conversation needs the second kernel; None: it is the first one."""
        two = self.kernels[0] != self.kernels[1]
        return getattr(self.transformer.config, "sliding_window", None) if two else None

    def plans(
        self, token_ids: Sequence[TokenIds], prompts: Sequence[Hashable] | None = None
    ) -> list[Plan]:
        """Plan this backbone's packs of some conversations."""
        return plan_packs(token_ids, self.pack_tokens, prompts, apart=self.window)

    def everywhere(
        self, devices: Sequence[str] | None = None, most: int | None = None
    ) -> list[Backbone]:
        """Give this and copies on other devices, `most` in all: named, or all GPUs if on the first."""
        own = self.device
        if devices is None and own.type == "cuda" and own.index == 0 and not self.spread:
            devices = [f"cuda:{place}" for place in range(torch.cuda.device_count())]
        named = dict.fromkeys(torch.zeros(0, device=each).device for each in devices or ())
        others = [each for each in named if each != own]
        return [self, *map(self._copy, others[: most and most - 1])]

    def _copy(self, device: torch.device) -> Backbone:
        own = self.transformer  # tensor by tensor: never twice on one GPU
        moved = {id(each): nn.Parameter(each.to(device), False) for each in own.parameters()}
        moved |= {id(each): each.to(device) for each in own.buffers()}
        transformer = deepcopy(own, moved)
        if self.identity.get("compiled") == "layers":
            for layer in transformer.layers:
                layer.compile(dynamic=False)
        return replace(self, transformer=transformer)
