"""Eight-bit products, row by row: faster on GPUs that have them, and what they change."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from dtreward.comparison import Texts, conversations_of
from dtreward.models import HeadModel

MOST = torch.finfo(torch.float8_e4m3fn).max


class Fp8Linear(nn.Module):
    """A linear layer of float8 (e4m3) weights, one scale an output, and inputs, one scale a token."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, self.bias = linear.weight.detach(), linear.bias
        scale = _scale(weight)
        self.weight = nn.Buffer((weight / scale).to(torch.float8_e4m3fn))
        self.scale = nn.Buffer(scale.T.contiguous())

    def forward(self, states: Tensor) -> Tensor:
        rows = states.flatten(0, -2)
        scale = _scale(rows)
        short = (rows / scale).clamp(-MOST, MOST).to(torch.float8_e4m3fn)
        if states.is_cuda:
            scales = {"scale_a": scale, "scale_b": self.scale, "bias": self.bias}
            options = {"out_dtype": states.dtype, "use_fast_accum": True}
            found = torch._scaled_mm(short, self.weight.T, **scales, **options)
        else:  # the same numbers, without the hardware
            found = short.float() @ self.weight.T.float() * scale * self.scale
            found = (found if self.bias is None else found + self.bias).to(states.dtype)
        return found.unflatten(0, states.shape[:-1])


def to_fp8(transformer: nn.Module) -> None:
    """Replace the linear layers of a transformer's decoder layers, one after the other, in place.

    A ValueError on a GPU but for bfloat16, the one form that its products by rows give.
    """
    dtype, on_gpu = transformer.dtype, next(transformer.parameters()).is_cuda
    if on_gpu and dtype != torch.bfloat16:
        raise ValueError(f'float8 needs a model in bfloat16, came {dtype}; load(dtype="bfloat16")')
    for layer in transformer.layers:
        for name, module in list(layer.named_modules()):
            if isinstance(module, nn.Linear):
                parent, _, last = name.rpartition(".")
                setattr(layer.get_submodule(parent), last, Fp8Linear(module))
    if any(layer._compiled_call_impl is not None for layer in transformer.layers):
        torch._dynamo.reset()  # what was compiled holds the layers that were replaced
        for layer in transformer.layers:
            layer.compile(dynamic=False)


def use_fp8(
    model: HeadModel, prompts: Texts, responses1: Texts, responses2: Texts
) -> tuple[HeadModel, pd.DataFrame]:
    """Turn a model to float8, in place, and tell what that changes on a sample of pairs.

    Returns:
        the model, and a row an attribute: mean and largest absolute change of the reward, beside
        the reward's standard deviation; share of pairs whose difference changes its sign; and, in
        the row "preference", the share whose preference flips, where the model has one.
    """
    conversations = conversations_of(prompts, responses1, responses2)
    texts = prompts, responses1, responses2
    before, decided = model.rewards(conversations), _decisions(model, *texts)
    to_fp8(model.backbone.transformer)
    told = model.backbone.identity | {"precision": "float8 rows"}
    model = replace(model, backbone=replace(model.backbone, identity=told))
    after = model.rewards(conversations)
    signs = [np.sign(each[1::2] - each[::2]) for each in (before, after)]
    change = np.abs(after - before)
    columns = {"mean change": change.mean(axis=0), "largest change": change.max(axis=0)}
    columns |= {"standard deviation": before.std(axis=0)}
    columns |= {"differences that change sign": (signs[0] != signs[1]).mean(axis=0)}
    table = pd.DataFrame(columns, index=list(model.attributes))
    if decided is not None:
        now = _decisions(model, *texts)
        table.loc["preference", "differences that change sign"] = np.mean(decided != now)
    return model, table


def _decisions(model: HeadModel, *texts: Texts) -> np.ndarray | None:
    if model.kind == "multi-attribute":
        return None
    return np.array([each.preference for each in model.compare_many(*texts)])


def _scale(rows: Tensor) -> Tensor:
    return rows.abs().amax(1, keepdim=True).float().clamp(min=1e-12) / MOST
