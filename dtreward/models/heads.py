"""What stands on a backbone: heads that turn hidden states into rewards and a score."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Tensors whose names begin so are a head's; all others are the backbone's.
PREFIXES = ("score.", "regression_layer.", "gating.", "reward_transform_matrix", "lm_head.")
GATE = re.compile(r"gating\.layers\.\d+\.weight$")
States = Float[Tensor, "positions hidden"]  # of one response: its last token, then its prompt's end
Read = tuple[Float[Tensor, " attributes"], Float[Tensor, ""]]  # rewards and score


class LinearHead(nn.Module):
    """Rewards are linear in the last token's state; a single one is the score."""

    gated = False

    def __init__(self, attributes: Sequence[str], hidden: int, *, bias: bool) -> None:
        """Make room for the tensors of the sequence classifiers of transformers."""
        super().__init__()
        self.attributes = tuple(attributes)
        self.scored = len(self.attributes) == 1
        self.score = nn.Linear(hidden, len(self.attributes), bias=bias)

    def forward(self, states: States) -> Read:
        """Read one response; the score is nan where there are several rewards."""
        rewards = self.score(states[0])
        return rewards, rewards[0] if self.scored else rewards[0] * torch.nan


class TwoLayerHead(LinearHead):
    """INF-ORM's: the score is behind one hidden layer."""

    def __init__(self, hidden: int) -> None:
        """Make room for `score.0` and `score.2`; the ReLU between them has no tensors."""
        super().__init__(["score"], hidden, bias=True)
        self.score = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))


class GatedHead(nn.Module):
    """QRM's and ArmoRM's: the score weighs the rewards by a gate that reads the prompt's end.

    Rewards are means over quantiles (ArmoRM has one each), as they are before the transform, which
    in ArmoRM takes the verbosity out. Source: QRM, allenai/reward-bench rewardbench/models/qrm.py;
    ArmoRM, RLHFlow/RLHF-Reward-Modeling armo-rm.
    """

    gated = scored = True

    def __init__(self, attributes: Sequence[str], tensors: Mapping[str, Tensor], config: Mapping):
        """Make room for the tensors; QRM's gate has batch norms, and ArmoRM a transform for sure."""
        super().__init__()
        self.attributes, hidden, count = tuple(attributes), config["hidden_size"], len(attributes)
        if "gating_temperature" not in config:  # 10, 5 and 1 are all in use
            raise ValueError("config.json has no gating_temperature; add its authors' own")
        self.temperature, depth = config["gating_temperature"], config.get("gating_n_hidden", 3)
        rows, wide = count * config.get("num_quantiles", 1), config.get("gating_hidden_dim", 1024)
        self.regression_layer = nn.Linear(hidden, rows, bias=False)
        # Their places differ (QRM has dropout between some): matrices are linear, vectors norms.
        weights = {int(name.split(".")[2]): tensors[name] for name in tensors if GATE.match(name)}
        sizes = [weights[place].ndim for place in sorted(weights)]
        normed, last = 1 in sizes, max(weights, default=0)
        if sizes != [2, *[1] * normed] * depth + [2]:
            came = f"came layers {sorted(weights)} of {sizes} dimensions; fetch it again"
            raise ValueError(f"expected a head with a gate of {depth} hidden layers; {came}")
        kept = (transform := "reward_transform_matrix") in tensors or not normed
        self.register_buffer(transform, torch.eye(count), persistent=kept)
        layers = nn.ModuleList(nn.Identity() for _ in range(last + 1))
        for place, weight in weights.items():
            shape = (wide if place else hidden), (count if place == last else wide)
            linear = nn.Linear(*shape, bias=place == last or not normed)
            layers[place] = linear if weight.ndim == 2 else nn.BatchNorm1d(wide)
        self.gating = nn.Module()
        self.gating.layers, self.gating.logit_scale = layers, nn.Parameter(torch.ones(1))

    def forward(self, states: States) -> Read:
        """Read one response."""
        quantiles = self.regression_layer(states[0]).reshape(len(self.attributes), -1)
        rewards = quantiles.mean(dim=1)
        return rewards, self.gate(states[1]) @ (rewards @ self.reward_transform_matrix)

    def gate(self, state: Float[Tensor, " hidden"]) -> Float[Tensor, " attributes"]:
        """Weigh the attributes for the prompt that ends in this state."""
        values, layers = state[None], list(self.gating.layers)
        for layer in layers:
            values = layer(values)
            if isinstance(layer, nn.Linear) and layer is not layers[-1]:
                values = values.relu()
        return (values / self.temperature).softmax(dim=1)[0] * self.gating.logit_scale


Head = LinearHead | GatedHead


def make_head(
    tensors: Mapping[str, Tensor], config: Mapping, attributes: Sequence[str] = ()
) -> Head:
    """Make the head that a checkpoint's tensors are, in their dtype; never a random one.

    `lm_head.weight` alone, whole or its first row, is Nemotron's: the next token's logit of id 0.

    Raises:
        ValueError: for tensors that are missing, unexpected or wrongly shaped, or rows without names.
    """
    hidden, shapes = config["hidden_size"], {name: (*each.shape,) for name, each in tensors.items()}
    if "regression_layer.weight" in tensors:
        rows = len(tensors["regression_layer.weight"])
        count = config.get("num_objectives", rows // config.get("num_quantiles", 1))
        head = GatedHead(read_attributes(config, count, attributes), tensors, config)
    elif "score.0.weight" in tensors:
        head = TwoLayerHead(hidden)
    else:
        if set(tensors) == {"lm_head.weight"}:
            tensors = {"score.weight": tensors["lm_head.weight"][:1]}
        if "score.weight" not in tensors:
            wanted = f"expected a head ({', '.join(PREFIXES[:3])}); found {shapes or 'none'}"
            raise ValueError(f"{wanted}; fetch it again, or pass reads= for a language model")
        names = read_attributes(config, len(tensors["score.weight"]), attributes)
        head = LinearHead(names, hidden, bias="score.bias" in tensors)
    head = head.to(next(iter(tensors.values())).dtype)
    try:
        head.load_state_dict(tensors)
    except RuntimeError as error:
        advice = f"fetch it again, or mend its config.json; found {shapes}"
        raise ValueError(f"head is not as its kind has it; {advice}: {error}") from error
    return head.eval().requires_grad_(False)


def read_attributes(config: Mapping, rows: int, given: Sequence[str] = ()) -> tuple[str, ...]:
    """Name the head's rows: as the configuration does, else as given; a single row is "score"."""
    names = named_rows(config)
    if names and given and names != tuple(given):
        raise ValueError(f"checkpoint names its attributes {names}; leave out {tuple(given)}")
    names = names or tuple(given) or ("score",) * (rows == 1)
    if len(names) != rows or len(set(names)) != rows:
        came = f"head has {rows} rows, their names are {names or 'not in the checkpoint'}"
        raise ValueError(f"{came}; pass {rows} distinct attributes= to load()")
    return names


def named_rows(config: Mapping) -> tuple[str, ...]:
    """Give the names of the head's rows in the configuration, without those that say nothing."""
    labels = sorted(config.get("id2label", {}).items(), key=lambda label: int(label[0]))
    return tuple(name for _, name in labels if not name.startswith("LABEL_"))
