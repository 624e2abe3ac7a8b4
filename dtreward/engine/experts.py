"""Mixtures of experts on a CPU, computed so that a token's state does not depend on its neighbours."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.integrations.moe import ExpertsInterface

ROWS = 32  # tokens that one expert computes together
IMPLEMENTATION = "tiled"


def tiled_experts(
    experts: nn.Module, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor
) -> Tensor:
    """Compute a layer of experts; transformers calls this for a model that `tile_experts` has set.

    How many tokens an expert gets depends on what else is in a pack, and the number of rows of a
    product changes its rounding. So every product has the same number of rows.

    Args:
        experts: the layer, with the stacked weights of all experts.
        hidden_states: shape (tokens, hidden).
        top_k_index: which experts each token goes to, shape (tokens, experts of a token).
        top_k_weights: how much each of them counts, in the same shape.

    Returns:
        the weighted sum of the experts' outputs, shape (tokens, hidden).
    """
    tokens, count = top_k_index.shape
    sorted_experts, order = torch.sort(top_k_index.flatten(), stable=True)
    states = hidden_states[order // count]
    outputs = torch.empty_like(states)
    for expert, start, stop in _tiles(sorted_experts):
        tile = functional.pad(states[start:stop], (0, 0, 0, ROWS - (stop - start)))
        outputs[start:stop] = _one_expert(experts, expert, tile)[: stop - start]
    in_place = torch.empty_like(outputs)
    in_place[order] = outputs
    weighted = in_place.view(tokens, count, -1) * top_k_weights[..., None]
    return weighted.sum(dim=1).to(hidden_states.dtype)


def _tiles(sorted_experts: Tensor) -> Iterator[tuple[int, int, int]]:
    """Cut the rows of each expert into tiles: the expert, its first row and the row after its last."""
    first = 0
    numbers, counts = torch.unique_consecutive(sorted_experts, return_counts=True)
    for expert, rows in zip(numbers.tolist(), counts.tolist(), strict=True):
        for start in range(first, first + rows, ROWS):
            yield expert, start, min(start + ROWS, first + rows)
        first += rows


def _one_expert(experts: nn.Module, expert: int, states: Tensor) -> Tensor:
    """Compute what one expert makes of some states, shape (rows, hidden)."""
    if experts.has_gate:
        inner = experts._apply_gate(_product(experts, "gate_up_proj", expert, states))
    else:
        inner = experts.act_fn(_product(experts, "up_proj", expert, states))
    outer = _product(experts, "down_proj", expert, inner)
    if getattr(experts, "has_post_expert_norm", False):
        outer = experts.post_expert_norm(outer)
    return outer


def _product(experts: nn.Module, name: str, expert: int, states: Tensor) -> Tensor:
    """Multiply states by one expert's matrix of this name, and add its bias."""
    matrix = getattr(experts, name)[expert]
    output = states @ (matrix if experts.is_transposed else matrix.T)
    if experts.has_bias:
        output = output + getattr(experts, f"{name}_bias")[expert]
    return output


def tile_experts(transformer: nn.Module) -> None:
    """Make a transformer on a CPU compute its experts, if it has any, by `tiled_experts`."""
    transformer.set_experts_implementation(IMPLEMENTATION)


ExpertsInterface.register(IMPLEMENTATION, tiled_experts)
