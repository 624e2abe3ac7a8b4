"""Linear layers in float8."""

import warnings

import torch
from torch import Tensor, nn

MOST = torch.finfo(torch.float8_e4m3fn).max
NOT_FOR_RESULTS = (
    "float8 changes the order of two responses several times as often as bfloat16 does, in every way "
    "that was tried (docs/speed.md); use it to explore, and bfloat16 for results"
)
SMALLEST = 1e-12  # of a row's largest value, so that a row of zeros is not divided by zero


class Fp8Linear(nn.Module):
    """A linear layer of float8 (e4m3) numbers, with a scale for each output and each token.

    Each row of the weights and of the states is divided by a scale that makes its largest value
    the largest of float8; the products are multiplied by both scales.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.bias = linear.bias
        weight = linear.weight.detach()
        scale = _scale(weight)
        self.weight = nn.Buffer((weight / scale).to(torch.float8_e4m3fn))
        self.scale = nn.Buffer(scale.T.contiguous())

    def forward(self, states: Tensor) -> Tensor:
        """Compute the layer's output, in the number format of `states`."""
        rows = states.flatten(0, -2)
        scale = _scale(rows)
        quantized = (rows / scale).clamp(-MOST, MOST).to(torch.float8_e4m3fn)
        if states.is_cuda:
            output = torch._scaled_mm(
                quantized,
                self.weight.T,
                scale_a=scale,
                scale_b=self.scale,
                bias=self.bias,
                out_dtype=states.dtype,
                use_fast_accum=True,
            )
        else:  # the same numbers, without the hardware for it
            output = quantized.float() @ self.weight.T.float() * scale * self.scale
            if self.bias is not None:
                output = output + self.bias
            output = output.to(states.dtype)
        return output.unflatten(0, states.shape[:-1])


def to_fp8(transformer: nn.Module) -> None:
    """Replace the linear layers of a transformer's decoder layers, one after the other, in place.

    It warns first that the results are not those of bfloat16.

    Raises:
        ValueError: on a GPU, if the model is not in bfloat16: its products with a scale for each
            row have no other output.
    """
    warnings.warn(NOT_FOR_RESULTS, stacklevel=2)
    on_gpu = next(transformer.parameters()).is_cuda
    if on_gpu and transformer.dtype != torch.bfloat16:
        raise ValueError(
            f"float8 needs a model in bfloat16, came {transformer.dtype}; "
            'use load(dtype="bfloat16")'
        )
    for layer in transformer.layers:
        _replace_linear_layers(layer)
    if any(layer._compiled_call_impl is not None for layer in transformer.layers):
        # What was compiled holds the layers that were replaced, and so their memory.
        torch._dynamo.reset()
        for layer in transformer.layers:
            layer.compile(dynamic=False)


def _replace_linear_layers(layer: nn.Module) -> None:
    """Replace the linear layers inside one decoder layer."""
    for path, module in list(layer.named_modules()):
        if isinstance(module, nn.Linear):
            parent, _, name = path.rpartition(".")
            setattr(layer.get_submodule(parent), name, Fp8Linear(module))


def _scale(rows: Tensor) -> Tensor:
    """Give the scale of each row, shape (rows, 1), in float32."""
    largest = rows.abs().amax(1, keepdim=True).float()
    return largest.clamp(min=SMALLEST) / MOST
