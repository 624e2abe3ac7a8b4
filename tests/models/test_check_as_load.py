"""What `check` says of a model's files is what `load` does with them."""

import json

import pytest
import torch
from hub_server import serve
from huggingface_hub import constants
from replicas import HIDDEN, make_replica, read_tensors, write_tensors
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dtreward.models.check import check_model
from dtreward.models.loader import load

TRL_CARD = "---\ntags:\n- trl\n- reward-trainer\n---\n# A replica\n"


def store_in_integers(folder):
    tensors = read_tensors(folder)
    name = "model.layers.0.mlp.up_proj.weight"
    write_tensors(folder, tensors | {name: (tensors[name] * 20).to(torch.int8)})


def empty_the_tokenizer(folder):
    """As transformers makes of a Qwen's folder that lacks its tokenizer.json."""
    empty = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE({}, [])))
    empty.chat_template = (folder / "chat_template.jinja").read_text()
    empty.save_pretrained(folder)


def spread_of_nothing(folder):
    set_config(folder, value_head_prefix="score", mean=0.5, std=0)


def set_config(folder, **entries):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entries))


FAULTS = {
    "stored as I8, and its scales are unknown": store_in_integers,
    "makes no tokens of a conversation; fetch tokenizer.json": empty_the_tokenizer,
    "has mean 0.5 and std 0 of the scores": spread_of_nothing,
}


@pytest.mark.parametrize("words", FAULTS)
def test_what_load_refuses_is_refused_by_a_check_with_the_same_words(words, tmp_path):
    folder = make_replica(tmp_path / "model")
    assert not check_model(str(folder)).refused  # before it is broken
    FAULTS[words](folder)
    with pytest.raises(ValueError, match=words):
        load(folder)
    assert words in check_model(str(folder)).reason


def with_head_beside(folder):
    """A language model with LLaMA-Factory's head in a file of its own."""
    tensors = read_tensors(folder)
    head = {"v_head.summary.weight": torch.ones(1, HIDDEN), "v_head.summary.bias": torch.ones(1)}
    backbone = {name: tensor for name, tensor in tensors.items() if name != "score.weight"}
    write_tensors(folder, backbone)
    save_file(head, folder / "value_head.safetensors")
    set_config(folder, architectures=["LlamaForCausalLM"])


def with_trls_card(folder):
    """A classifier whose pad token ends each response; its card says that TRL trained it."""
    end = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids("<|eot_id|>")
    set_config(folder, pad_token_id=end)
    (folder / "README.md").write_text(TRL_CARD)


@pytest.mark.parametrize("change", [with_head_beside, with_trls_card])
def test_a_check_at_the_hub_finds_head_and_rule_as_load_does(change, tmp_path, monkeypatch):
    folder = make_replica(tmp_path / "model")
    change(folder)
    loaded = load(folder)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve({"me/model": folder}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        template = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        check = check_model("me/model")
    facts = {fact.name: fact.found for fact in check.facts}
    assert (check.refused, check.decides) == (False, "score")
    assert facts["pooling"] == loaded.backbone.chat.pooling
