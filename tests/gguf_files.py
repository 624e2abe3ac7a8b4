"""Small language models without a head, as folders and as GGUF files."""

import json
import shutil

import gguf
from conftest import ROOT
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from dtreward.models.checkpoint_folder import read_config

DEMO = ROOT / "data" / "demo"
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def write_language_model(folder, max_length=1024):
    """Write the demo backbone as a plain language model: no head, no chat template."""
    folder.mkdir()
    config = read_config(DEMO)
    for name in ("id2label", "label2id", "auto_map", "architectures"):
        config.pop(name, None)
    config |= {"tie_word_embeddings": True, "architectures": ["LlamaForCausalLM"]}
    config["max_position_embeddings"] = max_length
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(DEMO / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if not name.startswith("score.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(DEMO / name, folder / name)
    return folder


def write_gguf(folder, path, *, quantised=False, chat_template=""):
    """Write a Llama folder as llama.cpp's converter does, with its order of rotary weights."""
    config = read_config(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocabulary)
    writer.add_token_types([3 if token.startswith("<") else 1 for token in vocabulary])
    merges = json.loads((folder / "tokenizer.json").read_text())["model"]["merges"]
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    if chat_template:
        writer.add_chat_template(chat_template)
    for name, tensor in load_file(folder / "model.safetensors").items():
        values = tensor.float().numpy()
        heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
        for part, count in heads.items():
            if part in name:
                values = in_pairs(values, config[count])
        is_matrix = values.ndim == 2 and quantised
        kind = gguf.GGMLQuantizationType.Q8_0 if is_matrix else gguf.GGMLQuantizationType.F32
        writer.add_tensor(gguf_name(name), gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def in_pairs(weights, heads):
    """Put the two halves of each rotary head in turn, as GGUF has them."""
    rows, columns = weights.shape
    halves = weights.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def gguf_name(name):
    short = name.removeprefix("model.").removesuffix(".weight")
    whole = {"embed_tokens": "token_embd", "norm": "output_norm"}
    if short in whole:
        return f"{whole[short]}.weight"
    _, layer, part = short.split(".", 2)
    return f"blk.{layer}.{NAMES[part]}.weight"
