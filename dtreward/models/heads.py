"""The layers on a backbone that turn its hidden states into rewards and a score."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dtreward.models.head_names import HEAD_NAMES, activation_of, name_as_score

GATE_WEIGHT = re.compile(r"gating\.layers\.\d+\.weight$")
TRANSFORM = "reward_transform_matrix"
SOFTCAP = "final_logit_softcapping"  # in config.json, of a language model's logits
LLAMA_3_MARKER = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
GEMMA_MARKER = "<end_of_turn>\n<start_of_turn>model\n"
# What the published chat templates write between a prompt and its response, by config.json's
# model_type. A gate was trained to read the first token of it.
GATE_MARKERS = {"llama": LLAMA_3_MARKER, "gemma": GEMMA_MARKER, "gemma2": GEMMA_MARKER}
# Hidden states of one conversation: at its last token, and for a gate also where its prompt ends.
States = Float[Tensor, "positions hidden"]
RewardsAndScore = tuple[Float[Tensor, " attributes"], Float[Tensor, ""]]


class LinearHead(nn.Module):
    """Predict rewards that are linear in the last token's state; a single reward is the score."""

    gated = False

    def __init__(
        self, attributes: Sequence[str], hidden: int, *, bias: bool, softcap: float | None = None
    ) -> None:
        """Make the layer named `score`, as the sequence classifiers of transformers name it.

        Args:
            softcap: bends what the layer gives to softcap * tanh(it / softcap), as Gemma-2 does
                with its language model's logits; None leaves it as it is.
        """
        super().__init__()
        self.attributes = tuple(attributes)
        self.scored = len(self.attributes) == 1
        self.softcap = softcap
        self.score = nn.Linear(hidden, len(self.attributes), bias=bias)

    def identity_text(self) -> str:
        """Describe the layers in the text that `HeadModel.identity` hashes.

        Results of earlier runs are kept under this text, so it must stay the same.

        Example:
            >>> print(LinearHead(["score"], 4, bias=False).identity_text())
            LinearHead(
              (score): Linear(in_features=4, out_features=1, bias=False)
            )
        """
        parts = [("score", _layer_text(self.score))]
        if self.softcap:
            parts.append(("softcap", str(self.softcap)))
        return _block("LinearHead", parts)

    def forward(self, states: States) -> RewardsAndScore:
        """Compute one response's rewards and score; with several rewards the score is nan."""
        rewards = self.score(states[0])
        if self.softcap:
            rewards = self.softcap * torch.tanh(rewards / self.softcap)
        score = rewards[0]
        if not self.scored:
            score = torch.full_like(score, torch.nan)
        return rewards, score


class TwoLayerHead(LinearHead):
    """Predict a score from the last token's state through one hidden layer, as INF-ORM does."""

    def __init__(
        self,
        hidden: int,
        inner: int | None = None,
        *,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        """Make the layers `score.0` and `score.2`, both with a bias, as all known classes have.

        Args:
            inner: outputs of the first layer; by default as many as inputs.
            activation: what stands between the layers; it has no tensors.
        """
        super().__init__(["score"], hidden, bias=True)
        inner = hidden if inner is None else inner
        self.score = nn.Sequential(nn.Linear(hidden, inner), activation(), nn.Linear(inner, 1))

    def identity_text(self) -> str:
        """Describe the layers in the text that `HeadModel.identity` hashes."""
        layers = [(str(place), _layer_text(layer)) for place, layer in enumerate(self.score)]
        return _block("TwoLayerHead", [("score", _block("Sequential", layers))])


class NormalHead(nn.Module):
    """Predict a normal distribution of each attribute, and weight their means, as URM does.

    `score` has two rows an attribute: its mean, which is the reward, and its spread, which the
    score does not use. The weights are read at the same token, through three layers with SELU
    between them; nothing makes them positive or sums them to one.

    Source: LxzGordon/URM-LLaMa-3.1-8B, as in sglang's llama_reward.py.
    """

    gated = False
    scored = True

    def __init__(self, attributes: Sequence[str], hidden: int) -> None:
        """Make the layers `score` and `weights.fc`."""
        super().__init__()
        self.attributes = tuple(attributes)
        count = len(self.attributes)
        self.score = nn.Linear(hidden, 2 * count, bias=False)
        self.weights = nn.Module()
        self.weights.fc = nn.Sequential(
            nn.Linear(hidden, hidden),
            nn.SELU(),
            nn.Linear(hidden, hidden),
            nn.SELU(),
            nn.Linear(hidden, count),
        )

    def identity_text(self) -> str:
        """Describe the layers in the text that `HeadModel.identity` hashes."""
        layers = [(str(place), _layer_text(layer)) for place, layer in enumerate(self.weights.fc)]
        weights = _block("Module", [("fc", _block("Sequential", layers))])
        return _block("NormalHead", [("score", _layer_text(self.score)), ("weights", weights)])

    def forward(self, states: States) -> RewardsAndScore:
        """Compute one response's rewards and score."""
        means = self.score(states[0])[0::2]
        return means, self.weights.fc(states[0]) @ means


class GatedHead(nn.Module):
    """Weight the rewards by a gate that reads the prompt's end, as QRM and ArmoRM do.

    A reward is the mean of its quantiles; ArmoRM predicts one quantile of each. The rewards that
    are returned are those before the transform. The score is made of the transformed rewards;
    ArmoRM's transform removes the influence of verbosity.

    Source: QRM, allenai/reward-bench rewardbench/models/qrm.py; ArmoRM,
    RLHFlow/RLHF-Reward-Modeling armo-rm.
    """

    gated = True
    scored = True

    def __init__(
        self, attributes: Sequence[str], tensors: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> None:
        """Make the layers that the checkpoint's tensors need.

        Args:
            attributes: names of the rewards.
            tensors: of the checkpoint's head, by name; only their names and shapes are used.
            config: the checkpoint's config.json.

        Raises:
            ValueError: if the configuration lacks the gate's temperature, or if the gate has
                other layers than the configuration says.
        """
        super().__init__()
        self.attributes = tuple(attributes)
        # There is no default: published checkpoints use 10, 5 and 1.
        if "gating_temperature" not in config:
            raise ValueError(
                "config.json has no gating_temperature; add the one that the model's authors use"
            )
        self.temperature = config["gating_temperature"]
        if not isinstance(self.temperature, int | float) or not self.temperature > 0:
            raise ValueError(
                f"config.json has gating_temperature {self.temperature!r}; expected the number "
                "above 0 that the model's authors use"
            )
        count = len(self.attributes)
        outputs = count * config.get("num_quantiles", 1)
        self.regression_layer = nn.Linear(config["hidden_size"], outputs, bias=False)
        weights = _gate_weights(tensors)
        has_norms = _has_norms(weights, config)
        # Only ArmoRM's checkpoints must have the transform; its gate has no batch norms.
        is_stored = TRANSFORM in tensors or not has_norms
        self.register_buffer(TRANSFORM, torch.eye(count), persistent=is_stored)
        self.gating = nn.Module()
        self.gating.layers = _gate_layers(weights, count, config, has_norms=has_norms)
        self.gating.logit_scale = nn.Parameter(torch.ones(1))

    def identity_text(self) -> str:
        """Describe the layers in the text that `HeadModel.identity` hashes.

        Neighbouring layers that are described alike share one line, such as "(1-2): 2 x Identity()".
        """
        gate = _block("ModuleList", _merge_repeats([*map(_layer_text, self.gating.layers)]))
        parts = [
            ("regression_layer", _layer_text(self.regression_layer)),
            ("gating", _block("Module", [("layers", gate)])),
        ]
        return _block("GatedHead", parts)

    def forward(self, states: States) -> RewardsAndScore:
        """Compute one response's rewards and score."""
        quantiles = self.regression_layer(states[0]).reshape(len(self.attributes), -1)
        rewards = quantiles.mean(dim=1)
        score = self.gate(states[1]) @ (rewards @ self.reward_transform_matrix)
        return rewards, score

    def gate(self, state: Float[Tensor, " hidden"]) -> Float[Tensor, " attributes"]:
        """Compute the weight of each attribute from the state at the prompt's end."""
        layers = list(self.gating.layers)
        values = state[None]
        for layer in layers:
            values = layer(values)
            if isinstance(layer, nn.Linear) and layer is not layers[-1]:
                values = values.relu()
        return (values / self.temperature).softmax(dim=1)[0] * self.gating.logit_scale


Head = LinearHead | GatedHead | NormalHead


def make_head(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], attributes: Sequence[str] = ()
) -> Head:
    """Make the head that a checkpoint's tensors belong to, in their dtype; nothing is random.

    `lm_head.weight` alone is Nemotron's head: the score is the logit of token 0, so of the matrix
    only the first row is used. Gemma-2 bends its logits (`final_logit_softcapping`).

    Args:
        tensors: of the checkpoint's head, by name.
        config: the checkpoint's config.json.
        attributes: names of the head's rows, if the configuration does not name them.

    Raises:
        ValueError: if tensors are missing, unexpected or wrongly shaped, or if rows have no names.

    Example:
        >>> head = make_head({"score.weight": torch.ones(1, 2)}, {"hidden_size": 2})
        >>> rewards, score = head(torch.tensor([[1.0, 2.0]]))
        >>> score.item()
        3.0
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if set(tensors) == {"lm_head.weight"}:
        tensors = {"score.weight": tensors["lm_head.weight"][:1]}
        softcap = config.get(SOFTCAP)
    else:
        tensors = name_as_score(tensors, config)
        softcap = None
    if "regression_layer.weight" in tensors:
        head = _make_gated_head(tensors, config, attributes)
    elif any(name.startswith("weights.fc.") for name in tensors):
        head = _make_normal_head(tensors, config, attributes)
    elif "score.0.weight" in tensors:
        head = _make_two_layer_head(tensors, config)
    elif "score.weight" in tensors:
        _check_rows(tuple(tensors["score.weight"].shape), config)
        names = read_attributes(config, len(tensors["score.weight"]), attributes)
        has_bias = "score.bias" in tensors
        head = LinearHead(names, config["hidden_size"], bias=has_bias, softcap=softcap)
    else:
        raise ValueError(_no_head(config, shapes))
    head = head.to(next(iter(tensors.values())).dtype)
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the head's tensors are not those of a {type(head).__name__}; fetch it again, "
            f"or correct its config.json; found {shapes}: {reason}"
        ) from None
    return head.eval().requires_grad_(False)


def _no_head(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Say that a checkpoint has no head that is known, and what to do."""
    advice = "fetch the checkpoint again"
    if "ForCausalLM" in str(config.get("architectures")) and not shapes:
        advice = (
            'it is a language model: pass reads="verdict", or reads="next token"; if it was '
            "trained to score, the file with its head, value_head.safetensors, is missing"
        )
    known = ", ".join([*HEAD_NAMES, "regression_layer with gating"])
    return f"expected a head ({known}); found {shapes or 'none'}; {advice}"


def read_attributes(
    config: Mapping[str, Any], rows: int, attributes: Sequence[str] = ()
) -> tuple[str, ...]:
    """Name the head's rows: as the configuration does, else by `attributes`.

    A single row without a name is called "score".

    Args:
        config: the checkpoint's config.json.
        rows: of the head, one a reward.
        attributes: names that the caller gives; empty for none.

    Raises:
        ValueError: if the configuration and the caller give different names, or if there are not
            as many distinct names as rows.

    Example:
        >>> read_attributes({"id2label": {"0": "clarity", "1": "depth"}}, 2)
        ('clarity', 'depth')
        >>> read_attributes({}, 1)
        ('score',)
    """
    names = named_rows(config)
    wanted = tuple(attributes)
    if names and wanted and names != wanted:
        raise ValueError(f"checkpoint names its attributes {names}; leave out {wanted}")
    if names and len(set(names)) != rows:
        raise ValueError(
            f"head has {rows} rows, config.json's id2label has {len(set(names))} names: "
            f"{', '.join(names)}; fetch the checkpoint again, or correct its id2label"
        )
    if not names:
        names = wanted
    if not names and rows == 1:
        names = ("score",)
    if len(names) != rows or len(set(names)) != rows:
        raise ValueError(
            f"head has {rows} rows, which the checkpoint does not name; pass {rows} distinct "
            f"attributes= to load(), came {', '.join(names) or 'none'}"
        )
    return names


def named_rows(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the names of the head's rows, without transformers' default names such as LABEL_0.

    Example:
        >>> named_rows({"id2label": {"1": "depth", "0": "clarity"}})
        ('clarity', 'depth')
        >>> named_rows({"id2label": {"0": "LABEL_0"}})
        ()
    """
    labels = sorted(config.get("id2label", {}).items(), key=lambda label: int(label[0]))
    return tuple(name for _, name in labels if not name.startswith("LABEL_"))


def _check_rows(shape: tuple[int, ...], config: Mapping[str, Any]) -> None:
    """Refuse a head without rows as long as a hidden state."""
    if len(shape) != 2 or shape[0] == 0 or shape[1] != config["hidden_size"]:
        raise ValueError(
            f"score.weight of the head has shape {shape}, expected (rows, {config['hidden_size']}), "
            "a row a reward; fetch the checkpoint again, or correct its config.json"
        )


def _make_two_layer_head(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> TwoLayerHead:
    """Make a head of two layers, the inner as wide as its tensor says."""
    first = tensors["score.0.weight"]
    if first.ndim != 2:
        raise ValueError(
            f"score.0.weight of the head has shape {tuple(first.shape)}, expected two dimensions; "
            "fetch the checkpoint again"
        )
    return TwoLayerHead(config["hidden_size"], len(first), activation=activation_of(config))


def _make_normal_head(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], attributes: Sequence[str]
) -> NormalHead:
    """Make URM's head, which has two rows an attribute."""
    if "score.weight" not in tensors:
        raise ValueError(
            f"the head has {', '.join(sorted(tensors))} and no score.weight; fetch it again"
        )
    rows = len(tensors["score.weight"])
    _check_rows(tuple(tensors["score.weight"].shape), config)
    if rows % 2:
        raise ValueError(
            f"score.weight of the head has {rows} rows, expected two an attribute, its mean and its "
            "spread; fetch the checkpoint again"
        )
    return NormalHead(read_attributes(config, rows // 2, attributes), config["hidden_size"])


def _make_gated_head(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], attributes: Sequence[str]
) -> GatedHead:
    """Make a gated head with as many rewards as the configuration or the tensors say."""
    rows = len(tensors["regression_layer.weight"])
    quantiles = config.get("num_quantiles", 1)
    count = config.get("num_objectives")
    if count is None and isinstance(quantiles, int) and quantiles > 0:
        count = rows // quantiles
    if not isinstance(count, int) or not isinstance(quantiles, int) or count * quantiles != rows:
        raise ValueError(
            f"the head has {rows} rows, config.json has num_objectives {count!r} and num_quantiles "
            f"{quantiles!r}, of which they are the product; fetch the checkpoint again"
        )
    return GatedHead(read_attributes(config, count, attributes), tensors, config)


def _gate_weights(tensors: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """Find the weights of the gate's layers, by the layer's place in the list of layers."""
    weights = {}
    for name, tensor in tensors.items():
        if GATE_WEIGHT.match(name):
            place = int(name.split(".")[2])
            weights[place] = tensor
    return weights


def _has_norms(weights: Mapping[int, Tensor], config: Mapping[str, Any]) -> bool:
    """Say whether the gate has batch norms; a ValueError if its layers are not as configured.

    A weight with two dimensions belongs to a linear layer, one with one dimension to a batch norm.
    The places alone do not tell, because some checkpoints have dropout layers between them.
    """
    depth = config.get("gating_n_hidden", 3)
    dimensions = [weights[place].ndim for place in sorted(weights)]
    has_norms = 1 in dimensions
    hidden_layer = [2, 1] if has_norms else [2]
    if dimensions != [*hidden_layer * depth, 2]:
        raise ValueError(
            f"expected a head with a gate of {depth} hidden layers; came layers {sorted(weights)} "
            f"of {dimensions} dimensions; fetch the checkpoint again"
        )
    return has_norms


def _gate_layers(
    weights: Mapping[int, Tensor], attributes: int, config: Mapping[str, Any], *, has_norms: bool
) -> nn.ModuleList:
    """Make the gate's layers, each at its place; places without a tensor do nothing."""
    hidden = config["hidden_size"]
    width = config.get("gating_hidden_dim", 1024)
    last = max(weights)
    layers = nn.ModuleList(nn.Identity() for _ in range(last + 1))
    for place, weight in weights.items():
        if weight.ndim == 1:
            layers[place] = nn.BatchNorm1d(width)
            continue
        inputs = width if place > 0 else hidden
        outputs = attributes if place == last else width
        # A bias before a batch norm would have no effect, and QRM has none there.
        has_bias = place == last or not has_norms
        layers[place] = nn.Linear(inputs, outputs, bias=has_bias)
    return layers


def _layer_text(layer: nn.Module) -> str:
    """Describe one layer, as torch 2.13 prints it."""
    if isinstance(layer, nn.Linear):
        sizes = f"in_features={layer.in_features}, out_features={layer.out_features}"
        return f"Linear({sizes}, bias={layer.bias is not None})"
    if isinstance(layer, nn.BatchNorm1d):
        options = "affine=True, bias=True, track_running_stats=True"
        return f"BatchNorm1d({layer.num_features}, eps=1e-05, momentum=0.1, {options})"
    if isinstance(layer, nn.Identity | nn.ReLU | nn.SELU):
        return f"{type(layer).__name__}()"
    raise TypeError(f"expected a layer of a head, came {type(layer).__name__}; describe it here")


def _block(name: str, parts: Sequence[tuple[str, str]]) -> str:
    """Describe a module of several parts, each indented on lines of its own."""
    lines = [f"{name}("]
    for label, text in parts:
        lines += [f"  {line}" for line in f"({label}): {text}".split("\n")]
    lines.append(")")
    return "\n".join(lines)


def _merge_repeats(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Label texts by their places; equal neighbours become one, with their number before it."""
    parts = []
    start = 0
    for place, text in enumerate(texts):
        is_last = place + 1 == len(texts)
        if not is_last and texts[place + 1] == text:
            continue
        if start == place:
            parts.append((f"{place}", text))
        else:
            parts.append((f"{start}-{place}", f"{place - start + 1} x {text}"))
        start = place + 1
    return parts
