"""One law for every kernel: packed and shared equals one conversation at a time, in float64."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from types import MethodType, SimpleNamespace

import numpy as np
import pytest
import torch
from exact_attention import EXACT
from hypothesis import given, settings
from hypothesis import strategies as st
from replicas import HIDDEN, SLIDING_WINDOW, make_replica
from transformers import AutoModel, LlamaConfig

from dtreward.engine import attention
from dtreward.engine.attention import KERNELS, choose, self_test, why_not
from dtreward.engine.forward import hidden_states, last_hidden_states
from dtreward.models.loader import load

CPU = torch.device("cpu")


def exact_norm(self, states):
    """RMSNorm in float64: transformers' rounds to float32, which would hide what is tested."""
    eps = getattr(self, "variance_epsilon", None) or self.eps
    normed = states * torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + eps)
    return normed * (1 + self.weight if "Gemma" in type(self).__name__ else self.weight)


def in_float64(transformer):
    for module in transformer.modules():
        if "RMSNorm" in type(module).__name__:
            module.forward = MethodType(exact_norm, module)
    return transformer


@pytest.fixture(scope="module", params=["llama", "gemma2"])
def folder(request, tmp_path_factory):
    return make_replica(tmp_path_factory.mktemp("attention") / request.param, request.param)


@pytest.fixture(scope="module")
def one_at_a_time(folder):
    plain = in_float64(AutoModel.from_pretrained(folder, dtype=torch.float64))
    plain.config._attn_implementation = EXACT

    @torch.inference_mode()
    def states(ids):
        return plain(torch.tensor([list(ids)]), use_cache=False).last_hidden_state[0].numpy()

    return states


@pytest.fixture(scope="module", params=["plain", "flex"])
def backbone(request, folder):
    backbone = load(folder, dtype=torch.float64, attention=request.param, pack_tokens=128).backbone
    in_float64(backbone.transformer)
    return backbone


drawn = st.lists(
    st.tuples(st.integers(1, 60), st.lists(st.integers(1, 60), min_size=1, max_size=3)),
    min_size=1,
    max_size=4,
)


@settings(deadline=None, max_examples=25)
@given(drawn, st.integers(0, 2**32 - 1))
def test_packed_and_shared_equals_one_conversation_at_a_time(backbone, one_at_a_time, drawn, seed):
    """Conversations from 2 to 120 tokens, in Gemma's case to seven windows long."""
    draw = np.random.default_rng(seed)
    ids, prompts = [], []
    for number, (prompt, rests) in enumerate(drawn):
        start = draw.integers(0, 255, prompt)
        ids += [np.concatenate([start, draw.integers(0, 255, rest)]) for rest in rests]
        prompts += [number] * len(rests)
    places = [(len(each) - 1, len(each) // 2) for each in ids]
    found = hidden_states(backbone, ids, places, prompts)
    wanted = np.stack([one_at_a_time(each)[list(at)] for each, at in zip(ids, places, strict=True)])
    assert np.abs(found - wanted).max() < 1e-10 * np.abs(wanted).max()


def test_the_law_would_notice_a_neighbour(backbone, one_at_a_time, monkeypatch):
    """Control: with keys shifted by one, the same comparison fails by far."""
    ids = [np.arange(30), np.arange(40) + 7]
    real = attention.lay_out
    from dtreward.engine import forward as extract

    def shifted(*arguments):
        pack = real(*arguments)
        pack.keys[1:] = pack.keys[:-1]
        return pack

    monkeypatch.setattr(extract, "lay_out", shifted)
    found = last_hidden_states(backbone, ids)
    wanted = np.stack([one_at_a_time(each)[-1] for each in ids])
    assert np.abs(found - wanted).max() > 1e-3 * np.abs(wanted).max()


def test_a_pruned_last_layer_gives_what_the_whole_one_gives(folder):
    """To rounding: the rows of its products are fewer, and stand elsewhere."""
    ids = [np.arange(30) + row for row in range(5)]
    pruned = load(folder, dtype=torch.float64, pack_tokens=64).backbone
    whole = load(folder, dtype=torch.float64, pack_tokens=64).backbone
    del whole.transformer.layers[-1].forward
    found, wanted = (last_hidden_states(each, ids) for each in (pruned, whole))
    assert np.abs(found - wanted).max() < 1e-6 * np.abs(wanted).max()


def test_a_conversation_takes_its_kernel_by_its_own_length_never_by_its_company(
    tmp_path, monkeypatch
):
    """Two kernels that differ a little: a wrong choice would show as other bits."""
    monkeypatch.setattr(attention, "flex", lambda *given: 1.001 * attention.plain(*given))
    folder = make_replica(tmp_path / "gemma2", "gemma2")
    backbone = load(folder, pack_tokens=64).backbone
    two = replace(backbone, kernels=("plain", "flex"))
    assert backbone.window is None and two.window == SLIDING_WINDOW
    prompt = np.arange(9)
    ids = [np.concatenate([prompt, np.arange(rest) + 20]) for rest in (3, 7, 8, 30, 1, 5)]
    assert {len(each) > SLIDING_WINDOW for each in ids} == {True, False}
    found = last_hidden_states(two, ids, ["same"] * 6)
    assert np.array_equal(found, last_hidden_states(two, ids))
    assert np.array_equal(found[::-1], last_hidden_states(two, ids[::-1], ["same"] * 6))
    first, second = (replace(backbone, kernels=(name, name)) for name in ("plain", "flex"))
    short = [row for row in range(6) if len(ids[row]) <= SLIDING_WINDOW]
    assert np.array_equal(found[short], last_hidden_states(first, ids)[short])
    other = last_hidden_states(second, ids)
    assert (found[short] != other[short]).any(axis=1).all()


def test_beyond_the_window_there_is_a_stated_path(monkeypatch):
    config = load_config(sliding_window=SLIDING_WINDOW)
    assert choose(config, CPU, torch.float32) == ("plain", "plain")
    assert choose(config, CPU, torch.float32, "flex") == ("flex", "flex")
    fit, gpu = {"fa3_fwd", "flex", "plain"}, torch.device("cuda")
    monkeypatch.setattr(attention, "why_not", lambda name, *place: None if name in fit else "no")
    assert choose(config, gpu, torch.bfloat16) == ("fa3_fwd", "flex")
    assert choose(load_config(), gpu, torch.bfloat16) == ("fa3_fwd", "fa3_fwd")
    fit.add("flash_attn")
    assert choose(config, gpu, torch.bfloat16) == ("flash_attn", "flash_attn")


def load_config(**options):
    shape = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(**shape)
    for name, value in options.items():
        setattr(config, name, value)
    return config


def test_kernels_that_need_a_gpu_say_so_and_the_error_names_what_is_legal():
    for kernel in ("flash_attn", "fa3_fwd", "varlen_attn"):
        assert "needs a GPU" in why_not(kernel, load_config(), CPU, torch.bfloat16)
        with pytest.raises(ValueError, match=f"{kernel}: needs a GPU.*leave it out"):
            choose(load_config(), CPU, torch.float32, kernel)
    with pytest.raises(ValueError, match=r"attention must be one of .*plain.*, came 'sdpa'"):
        choose(load_config(), CPU, torch.float32, "sdpa")


def by_segments(query, key, value, asks, shows, scale, softcap, left):
    """What a kernel of variable lengths is documented to do: causal, aligned at the end."""
    found = torch.zeros_like(query)
    groups = query.shape[1] // key.shape[1]
    for (q0, q1), (k0, k1) in zip(pairwise(asks.tolist()), pairwise(shows.tolist()), strict=True):
        shown = (each[k0:k1].repeat_interleave(groups, 1).transpose(0, 1) for each in (key, value))
        keys, values = shown
        scores = query[q0:q1].transpose(0, 1) @ keys.mT * scale
        scores = softcap * torch.tanh(scores / softcap) if softcap else scores
        back = (torch.arange(q1 - q0) + (k1 - k0) - (q1 - q0))[:, None] - torch.arange(k1 - k0)
        hidden = (back < 0) | ((back > left) if left >= 0 else False)
        states = scores.masked_fill(hidden, -torch.inf).softmax(-1) @ values
        found[q0:q1] = states.transpose(0, 1)
    return found


@pytest.fixture
def foreign(monkeypatch):
    """Stand-ins for the packages of a GPU: their signatures, with arithmetic that a CPU does."""

    def flash(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, *, softmax_scale,
              causal, window_size, softcap):  # fmt: skip
        assert causal and window_size[1] == 0 and max_seqlen_q == max_seqlen_k >= 330
        return by_segments(
            q, k, v, cu_seqlens_q, cu_seqlens_k, softmax_scale, softcap, window_size[0]
        )

    def varlen(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size,
               enable_gqa=False):  # fmt: skip
        assert enable_gqa and window_size[1] == 0 and max_q == max_k >= 330
        return by_segments(query, key, value, cu_seq_q, cu_seq_k, scale, 0.0, window_size[0])

    def fa3(q, k, v, *, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, num_splits,
            softmax_scale, is_causal, softcap):  # fmt: skip
        assert is_causal and num_splits == 1 and max_seqlen_q == max_seqlen_k == len(q)
        found = by_segments(q, k, v, cu_seqlens_q, cu_seqlens_k, softmax_scale, softcap, -1)
        return found, None, None, None

    modules = {"flash_attn": SimpleNamespace(flash_attn_varlen_func=flash), "fa3_fwd._C": None}
    modules["torch.nn.attention.varlen"] = SimpleNamespace(varlen_attn=varlen)
    monkeypatch.setattr(attention, "import_module", modules.__getitem__)
    monkeypatch.setattr(torch.ops, "fa3_fwd", SimpleNamespace(fwd=fa3), raising=False)


@pytest.mark.parametrize(
    ("kernel", "softcap", "window"),
    [(name, softcap, window) for name, softcap, window in product(KERNELS, (0.0, 2.0), (0, 50))
     if name not in ("flex", "plain") and not (name == "varlen_attn" and softcap)
     and not (name == "fa3_fwd" and window)],
)  # fmt: skip
def test_gpu_kernels_are_given_what_their_interfaces_say(foreign, kernel, softcap, window):
    error = self_test(kernel, load_config(), CPU, torch.float32, softcap, window)
    assert error < 1e-6


def test_a_kernel_that_errs_is_left_out(monkeypatch):
    real = attention.plain
    monkeypatch.setattr(attention, "flex", lambda *given: 1.01 * real(*given))
    assert "differs by" in why_not("flex", load_config(), CPU, torch.float32)
    monkeypatch.setattr(attention, "flex", lambda *given: torch.full_like(given[0], torch.nan))
    assert "differs by inf" in why_not("flex", load_config(), CPU, torch.float32)
    monkeypatch.setattr(attention, "flex", lambda *given: 1 / 0)
    assert "ZeroDivisionError" in why_not("flex", load_config(), CPU, torch.float32)


@pytest.mark.parametrize("window", [0, 50])
def test_tiles_that_nobody_reads_are_left_out_and_the_others_keep_their_bits(window):
    """Two conversations of 200 and 90 tokens: the last of each is read, and token 0 as filling."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(300, heads, 8, generator=generator) for heads in (4, 2, 2))
    offsets = torch.tensor([0, 200, 290, 300])
    segments = attention.Segments(offsets, offsets, torch.arange(300), 200)
    whole = attention.plain(query, key, value, segments, 0.4, 0.0, window)
    read = segments._replace(read=torch.tensor([199, 289, 0]))
    found = attention.plain(query, key, value, read, 0.4, 0.0, window)
    computed = [*range(64), *range(192, 200), *range(264, 290)]
    left_out = sorted({*range(290)} - {*computed})
    assert torch.equal(found[computed], whole[computed])
    assert not found[left_out].any()
    assert whole[left_out].any(dim=(1, 2)).all()


@pytest.mark.parametrize("softcap", [0.0, 2.0])
@pytest.mark.parametrize("window", [0, 50])
def test_flex_agrees_with_plain(softcap, window):
    error = self_test("flex", load_config(), CPU, torch.float32, softcap, window)
    assert 0 < error < 1e-6
    assert set(KERNELS) >= {"flex", "plain"} and HIDDEN
