"""Linear layers in float8."""

import torch
from torch import Tensor, nn

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


def _scale(rows: Tensor) -> Tensor:
    return rows.abs().amax(1, keepdim=True).float().clamp(min=1e-12) / MOST
