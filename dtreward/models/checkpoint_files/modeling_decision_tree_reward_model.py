"""Reward models that predict attributes linearly and decide by a tree; stands alone in a checkpoint.

Needs torch, transformers and huggingface_hub. Nothing is pickled: the tree is JSON.
"""

import json
import re
from datetime import date
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from jinja2.exceptions import TemplateError
from torch import nn
from transformers import Gemma2ForSequenceClassification, LlamaForSequenceClassification

# Some templates would otherwise write today's date.
DATE = date(2024, 7, 26)
TODAY = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


class Float32Linear(nn.Linear):
    """A linear head that computes in float32 whatever the backbone's dtype is."""

    def forward(self, hidden):
        return nn.functional.linear(hidden.float(), self.weight.float(), self.bias.float())


def turns_of(prompt):
    """Split a prompt into (role, text): chat messages, a transcript, or HelpSteer2's turns."""
    if not isinstance(prompt, str):
        return [(message["role"].title(), message["content"]) for message in prompt]
    if prompt.startswith("\n\nHuman:"):
        pieces = re.split(r"\n\n(Human|Assistant):", prompt.removesuffix("\n\nAssistant:"))[1:]
        roles = [{"Human": "User"}.get(name, name) for name in pieces[::2]]
        return list(zip(roles, [text.strip() for text in pieces[1::2]], strict=True))
    first, *later = prompt.split("<extra_id_1>")
    turns = [("User", first)]
    if first.startswith("<extra_id_0>"):
        turns = [first.removeprefix("<extra_id_0>").partition("\n")[::2]]
    return turns + [turn.partition("\n")[::2] for turn in later]


def takes_system_turn(tokenizer):
    """Say whether the chat template writes a system turn; else it goes before the user's text."""
    turns = [{"role": "system", "content": "\ue000"}, {"role": "user", "content": "2 + 2?"}]
    try:
        return "\ue000" in tokenizer.apply_chat_template(turns, tokenize=False)
    except TemplateError:
        return False


def messages(prompt, response):
    """Split a prompt into messages, at most one system turn first, and append the response."""
    turns = [*turns_of(prompt), ("Assistant", response)]
    has_system_turn = turns[0][0] == "System"
    for place, (role, text) in enumerate(turns):
        expected = ("User", "Assistant")[(place - has_system_turn) % 2]
        if has_system_turn and place == 0:
            expected = "System"
        if role.strip() != expected or not text.strip():
            raise ValueError(f"turn {place + 1} must be {expected} with text, came {role!r:.40}")
    return [{"role": role.strip().lower(), "content": text.rstrip("\n")} for role, text in turns]


class DecisionTreeRewardMixin:
    """A head of one row an attribute, and a tree over the differences of two responses' rewards."""

    _keep_in_fp32_modules_strict = ("score",)

    def __init__(self, config):
        super().__init__(config)
        self.score = Float32Linear(config.hidden_size, config.num_labels, bias=True)
        self.attributes = [config.id2label[place] for place in range(config.num_labels)]
        self.nodes = None
        self.post_init()
        self.check_attention()

    def check_attention(self):
        """Raise if the attention in use would silently drop Gemma-2's soft-cap."""
        capped = getattr(self.config, "attn_logit_softcapping", None) is not None
        if capped and self.config._attn_implementation not in ("eager", "flash_attention_2"):
            raise ValueError(
                f"attention {self.config._attn_implementation!r} may drop the soft-cap; load with "
                'attn_implementation="eager" (or "flash_attention_2" with flash-attn >= 2.6)'
            )

    def load_decision_tree(self, repo_id, filename="decision_tree.pkl"):
        """Read the JSON tree that stands beside `filename` in a folder or on the hub."""
        name, local = Path(filename).with_suffix(".json").name, Path(repo_id).is_dir()
        path = Path(repo_id, name) if local else Path(hf_hub_download(repo_id, name))
        tree = json.loads(path.read_text(encoding="utf-8"))
        if tree["format"] != "dtreward-preference-tree" or tree["attributes"] != self.attributes:
            raise ValueError(f"expected a tree over {self.attributes} in {path}")
        self.nodes = tree["nodes"]

    def token_ids(self, prompt, response, tokenizer):
        """Apply the chat template; then one BOS or none, by the configuration's `bos_rule`."""
        turns = messages(prompt, response)
        if turns[0]["role"] == "system" and not takes_system_turn(tokenizer):
            system, user, *later = turns
            turns = [user | {"content": f"{system['content']}\n\n{user['content']}"}, *later]
        template = tokenizer.get_chat_template()
        text = tokenizer.apply_chat_template(
            turns,
            chat_template=TODAY.sub(lambda call: repr(DATE.strftime(call[2])), template),
            tokenize=False,
            date_string=DATE.strftime("%d %b %Y"),
        )
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        while ids and ids[0] == tokenizer.bos_token_id:
            ids = ids[1:]
        return [tokenizer.bos_token_id, *ids] if self.config.bos_rule == "one" else ids

    @torch.inference_mode()
    def rewards(self, prompt, response, tokenizer):
        """Predict one response's attributes from the hidden state of its last token."""
        self.check_attention()
        ids = self.token_ids(prompt, response, tokenizer)
        output = self.model(torch.tensor([ids], device=self.device), use_cache=False)
        return self.score(output.last_hidden_state[0, len(ids) - 1]).tolist()

    def probability(self, differences):
        """Follow the tree to a leaf: the probability that response 2 is preferred."""
        node = self.nodes[0]
        while node["attribute"] is not None:
            difference = differences[self.attributes.index(node["attribute"])]
            node = self.nodes[node["left" if difference <= node["threshold"] else "right"]]
        return node["value"][1]

    def compare(self, prompt, response1, response2, tokenizer, device=None):  # device: as loaded
        """Predict both responses' rewards, and which is preferred (0: response 1, 1: response 2)."""
        if self.nodes is None:
            raise ValueError("no tree yet; call model.load_decision_tree(repo_id) first")
        pair = [self.rewards(prompt, each, tokenizer) for each in (response1, response2)]
        probability = self.probability([two - one for one, two in zip(*pair, strict=True)])
        decided = {"preference": int(probability > 0.5), "probability": probability}
        return {"rewards": pair, "attributes": list(self.attributes)} | decided


class LlamaForDecisionTreeRewardModel(DecisionTreeRewardMixin, LlamaForSequenceClassification):
    """The model with a Llama backbone."""


class Gemma2ForDecisionTreeRewardModel(DecisionTreeRewardMixin, Gemma2ForSequenceClassification):
    """The model with a Gemma-2 backbone."""
