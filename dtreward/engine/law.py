"""Check on a small copy of a decoder that its states in a pack are those that it computes alone.

The law is general; which of transformers' decoders keep it is not written down, but found out.
"""

from __future__ import annotations

import json
import platform
from contextlib import suppress
from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np
import torch
import transformers
from huggingface_hub import constants
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from dtreward.engine.attention import prepare
from dtreward.engine.backbone import FINAL, Backbone
from dtreward.engine.forward import states_by_layer
from dtreward.engine.small_copy import WORDS, draw_weights, shrink
from dtreward.files import digest, file_digest, write_json

# Other kinds of layers keep a state along the pack, which runs on from one conversation to the next.
LAYER_KINDS = ("full_attention", "sliding_attention", "chunked_attention")
MOST = 1e-5  # relative error; rounding of float32 was measured at up to 3e-7
# Rounding may send a token to another expert, which one draw of weights shows and two do not.
SEEDS = (0, 1)
PACK_TOKENS = 256
PROMPT = 50  # tokens that three of the conversations share
RESPONSES = (30, 7, 41)
SINGLE = 45  # tokens of a conversation with a prompt of its own


def check_architecture(model_class: type[PreTrainedModel], config: PretrainedConfig) -> bool:
    """Check that a decoder keeps the law, and say whether its last layer may be pruned.

    A small copy with random weights is computed in float32: four conversations, of which three share
    a prompt, in one pack, and one at a time by transformers' own attention. The states of every
    layer must agree to 1e-5. The answer is kept in the cache of Hugging Face's libraries
    (`HF_HOME`), under all that changes it.

    Args:
        model_class: of transformers, without a head.
        config: of the model, with its own sizes.

    Returns:
        whether a last layer that is computed only for the tokens that are read
        (`attention.last_layer`) gives the same states.

    Raises:
        ValueError: if a neighbour in the pack changes a state, or if the decoder cannot be computed
            in packs; with the layer that differs, or the reason.

    Example:
        >>> from transformers import LlamaConfig, LlamaModel
        >>> check_architecture(LlamaModel, LlamaConfig())
        True
    """
    _refuse_hybrid(config)
    try:
        small = shrink(config)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"no small copy of a {config.model_type} decoder can be made, to check that packs "
            f"change nothing ({_in_one_line(error)}); load takes decoders that are built as Llama's"
        ) from None
    place = _cache_folder() / f"{_key(model_class, small)}.json"
    pruned = _stored_answer(place)
    if pruned is None:
        pruned = _check_small_copy(model_class, small)
        with suppress(OSError):  # where nothing can be kept, it is found out each time
            write_json(place, {"model_type": config.model_type, "pruned": pruned})
    return pruned


def _refuse_hybrid(config: PretrainedConfig) -> None:
    """Refuse kinds of layers that are no attention, before anything is built."""
    kinds = dict.fromkeys(getattr(config, "layer_types", None) or ())
    foreign = [str(kind) for kind in kinds if kind not in LAYER_KINDS]
    if foreign:
        raise ValueError(
            f"config.json has layers of kind {', '.join(foreign)}, which keep a state from one "
            "conversation of a pack to the next, so that a neighbour would change the score; "
            f"load takes layers of kind {', '.join(LAYER_KINDS)}"
        )


def _check_small_copy(model_class: type[PreTrainedModel], small: PretrainedConfig) -> bool:
    """Compare a small copy's states in a pack with those alone; say whether pruning is exact."""
    problem = ""
    for seed in SEEDS:
        try:
            exact = _make(model_class, small, "eager")
            draw_weights(exact, seed)
            wanted = _states_alone(exact)
            found = _states_in_a_pack(model_class, small, exact, pruned=False)
        except Exception as error:  # noqa: BLE001 (foreign code fails in as many ways as there are)
            problem = f"cannot be computed in a pack ({_in_one_line(error)})"
            break
        problem = _differing_layer(wanted, found, small)
        if not problem:
            return _is_pruning_exact(model_class, small, exact, wanted)
    raise ValueError(
        f"a small copy of this {small.model_type} decoder {problem}; load takes decoders whose "
        "states do not depend on their neighbours in a pack"
    )


def _is_pruning_exact(
    model_class: type[PreTrainedModel],
    small: PretrainedConfig,
    exact: PreTrainedModel,
    wanted: Float[np.ndarray, "conversations positions layers hidden"],
) -> bool:
    """Say whether a pruned last layer gives the states of a whole one."""
    try:
        found = _states_in_a_pack(model_class, small, exact, pruned=True)
    except Exception:  # noqa: BLE001 (`last_layer` meets a layer with other parts than it knows)
        return False
    return _error(wanted[:, :, -1], found[:, :, -1]) < MOST


def _differing_layer(
    wanted: Float[np.ndarray, "conversations positions layers hidden"],
    found: Float[np.ndarray, "conversations positions layers hidden"],
    small: PretrainedConfig,
) -> str:
    """Name the first layer whose states differ; an empty text if none does."""
    kinds = getattr(small, "layer_types", None) or ["full_attention"] * small.num_hidden_layers
    for place in range(wanted.shape[2]):
        error = _error(wanted[:, :, place], found[:, :, place])
        if not error < MOST:  # nan differs, too
            return (
                f"gives other states in a pack than alone: layer {place + 1} of "
                f"{small.num_hidden_layers} ({kinds[place]}) differs by {error:.1e}, more than "
                f"{MOST:.0e}"
            )
    return ""


def _error(wanted: np.ndarray, found: np.ndarray) -> float:
    """Give the relative error of some states."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def _make(
    model_class: type[PreTrainedModel], small: PretrainedConfig, attention: str
) -> PreTrainedModel:
    """Make a small copy, and leave the caller's random numbers as they are."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        made = model_class._from_config(
            deepcopy(small), dtype=torch.float32, attn_implementation=attention
        )
    return made.eval()


def _sample() -> tuple[list[np.ndarray], list[tuple[int, ...]], list[int]]:
    """Draw the conversations, the positions at which their states are read, and their prompts."""
    draw = np.random.default_rng(0)
    prompt = draw.integers(1, WORDS, PROMPT)
    ids = [np.concatenate([prompt, draw.integers(1, WORDS, length)]) for length in RESPONSES]
    ids.append(draw.integers(1, WORDS, SINGLE))
    positions = [(len(tokens) - 1, len(tokens) - 5, len(tokens) // 2) for tokens in ids]
    return ids, positions, [0] * len(RESPONSES) + [1]


@torch.inference_mode()
def _states_alone(
    exact: PreTrainedModel,
) -> Float[np.ndarray, "conversations positions layers hidden"]:
    """Compute the states of every layer one conversation at a time, by transformers' own code."""
    outputs: list[Tensor] = []

    def keep(layer: nn.Module, arguments: tuple, output: Tensor | tuple) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    hooks = [layer.register_forward_hook(keep) for layer in exact.layers[:-1]]
    states = []
    ids, positions, _ = _sample()
    for tokens, places in zip(ids, positions, strict=True):
        outputs.clear()
        final = exact(torch.from_numpy(tokens)[None], use_cache=False).last_hidden_state
        layers = [layer[0, list(places)] for layer in (*outputs, final)]
        states.append(torch.stack(layers, dim=1).numpy())
    for hook in hooks:
        hook.remove()
    return np.stack(states)


def _states_in_a_pack(
    model_class: type[PreTrainedModel],
    small: PretrainedConfig,
    exact: PreTrainedModel,
    *,
    pruned: bool,
) -> Float[np.ndarray, "conversations positions layers hidden"]:
    """Compute the states of every layer of the same weights in a pack, shared prompts once."""
    transformer = _make(model_class, small, "packed")
    transformer.load_state_dict(exact.state_dict())
    prepare(transformer, compiled=False, pruned=pruned)
    backbone = Backbone(transformer, None, {}, PACK_TOKENS)
    every_layer = [*range(1, small.num_hidden_layers), FINAL]
    ids, positions, prompts = _sample()
    return states_by_layer(backbone.reading(every_layer), ids, positions, prompts)


def _cache_folder() -> Path:
    return Path(constants.HF_HOME, "dtreward", "architectures")


def _key(model_class: type[PreTrainedModel], small: PretrainedConfig) -> str:
    """Hash all that changes the answer: the small configuration, this code and the libraries."""
    foreign = {"architectures", "auto_map", *PretrainedConfig().to_dict()}
    config = {name: value for name, value in small.to_dict().items() if name not in foreign}
    return digest(
        f"{model_class.__module__}.{model_class.__name__}",
        json.dumps(config, sort_keys=True, default=str),
        *_code(),
        torch.__version__,
        transformers.__version__,
        platform.machine(),
    )


@cache
def _code() -> tuple[str, ...]:
    """Hash the files of this room, which compute what is compared."""
    return tuple(file_digest(path) for path in sorted(Path(__file__).parent.glob("*.py")))


def _stored_answer(place: Path) -> bool | None:
    """Read an answer that was kept; None if there is none, or the file is damaged."""
    try:
        pruned = json.loads(place.read_text(encoding="utf-8"))["pruned"]
    except (OSError, ValueError, TypeError, LookupError):
        return None
    return pruned if isinstance(pruned, bool) else None


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
