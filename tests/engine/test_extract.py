"""Features are the last token's final state, and survive kill -9 and damaged files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from copy import deepcopy
from dataclasses import replace
from itertools import count
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from extraction import (
    ARCHITECTURES,
    CONVERSATIONS,
    SHARD_SIZE,
    SHARDS,
    contents,
    extract,
    load_backbone,
    many,
    stamps,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import die_at, start
from replicas import HIDDEN, SLIDING_WINDOW, make_replica
from safetensors.numpy import load_file, save_file
from tqdm.auto import tqdm
from transformers import AutoModel, AutoTokenizer

from dtreward.conversation import ChatTokenizer
from dtreward.engine import features as extract_module
from dtreward.engine.backbone import Backbone
from dtreward.engine.features import layers_of, read_features, shard_digest
from dtreward.engine.forward import last_hidden_states, last_positions, states_by_layer
from dtreward.engine.tokens import check_on_error
from dtreward.files import Store
from dtreward.models.loader import load


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As in the child processes: threads may share out a sum in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("backbones")
    return {name: make_replica(folder / name, name) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def backbones(folders) -> dict[str, Backbone]:
    return {name: load_backbone(folder) for name, folder in folders.items()}


@pytest.fixture
def backbone(backbones) -> Backbone:
    return backbones["llama"]


@pytest.fixture(scope="module")
def untouched(backbones, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    extract(backbones["llama"], folder)
    return folder


@pytest.fixture
def copy(untouched, tmp_path) -> Path:
    return Path(shutil.copytree(untouched, tmp_path / "features"))


# Several devices


@pytest.fixture
def twins(backbone, monkeypatch) -> None:
    """Two copies side by side, as of two GPUs; a CPU counts as one device, so they are made here."""
    both = [backbone, backbone._copy(torch.device("cpu"))]
    monkeypatch.setattr(Backbone, "everywhere", lambda own, devices, most: both[:most])


def test_devices_share_the_shards_and_write_the_same_bytes(backbone, twins, untouched, tmp_path):
    told = extract(backbone, tmp_path / "features")
    assert list(told["shards"]) == SHARDS and told["bit_for_bit"]
    assert contents(tmp_path / "features") == contents(untouched)


def test_a_device_that_rounds_otherwise_is_told(backbone, twins, tmp_path):
    _, copy = backbone.everywhere(None, 2)
    copy.transformer.norm.weight = torch.nn.Parameter(copy.transformer.norm.weight * 1.001)
    assert not extract(backbone, tmp_path / "features")["bit_for_bit"]


def test_both_devices_work_and_what_one_cannot_compute_stops_all(
    backbone, twins, tmp_path, monkeypatch
):
    used, numbers, real = set(), count(), extract_module.shard_features

    def shard_features(own, plans, token_ids):
        used.add(id(own))
        time.sleep(0.02)
        if next(numbers) == 4:
            raise RuntimeError("out of memory")
        return real(own, plans, token_ids)

    monkeypatch.setattr(extract_module, "shard_features", shard_features)
    with pytest.raises(RuntimeError, match="out of memory"):
        extract(backbone, tmp_path / "features")
    assert len(used) == 2
    written = [*(tmp_path / "features").glob("[!.]*.safetensors")]
    assert 0 < len(written) < len(SHARDS)
    before = stamps(tmp_path / "features", [path.name for path in written])
    extract(backbone, tmp_path / "features")
    assert stamps(tmp_path / "features", before) == before
    assert read_features(tmp_path / "features").shape == (len(CONVERSATIONS), HIDDEN)


# What features are


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_features_are_the_last_tokens_state_of_plain_transformers_in_float64(folders, architecture):
    """Against right-padded input, in float64; only the rounding to float32 (6e-8) differs."""
    backbone = load_backbone(folders[architecture], dtype=torch.float64)
    tokens = [backbone.chat.token_ids(*each).ids for each in CONVERSATIONS]
    assert min(map(len, tokens)) > 2 * SLIDING_WINDOW
    plain = AutoModel.from_pretrained(
        folders[architecture], dtype=torch.float64, attn_implementation="eager"
    )
    expected = np.empty((len(tokens), HIDDEN))
    for row, ids in enumerate(tokens):
        padded = torch.tensor([[*ids, *[backbone.chat.tokenizer.pad_token_id] * 8]])
        mask = torch.tensor([[1] * len(ids) + [0] * 8])
        with torch.inference_mode():
            output = plain(padded, attention_mask=mask, output_hidden_states=True)
        expected[row] = output.hidden_states[-1][0, len(ids) - 1].numpy()
    features = last_hidden_states(backbone, tokens)
    assert features.dtype == np.float64 and features.shape == (len(tokens), HIDDEN)
    errors = np.linalg.norm(features - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert errors.max() < 1e-6


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_float32_features_are_near_those_in_float64(folders, backbones, architecture):
    exact = load(folders[architecture], dtype=torch.float64).backbone
    tokens = [exact.chat.token_ids(*each).ids for each in CONVERSATIONS]
    one, other = (last_hidden_states(each, tokens) for each in (exact, backbones[architecture]))
    # float32 rounds by 6e-8 a step; sharp random attention over ~100 tokens magnifies that.
    assert np.abs(one - other).max() < 1e-4 * np.abs(one).max()


def test_the_sliding_window_is_at_work(folders, backbones, tmp_path):
    wide = Path(shutil.copytree(folders["gemma2"], tmp_path / "wide"))
    config = json.loads((wide / "config.json").read_text())
    (wide / "config.json").write_text(json.dumps(config | {"sliding_window": 4096}))
    tokens = [backbones["gemma2"].chat.token_ids(*CONVERSATIONS[0]).ids]
    one, other = (
        last_hidden_states(each, tokens) for each in (backbones["gemma2"], load(wide).backbone)
    )
    assert np.abs(one - other).max() > 0.01


def test_the_last_token_is_found_by_length_even_where_it_is_the_pad_id(folders, backbone):
    pad = backbone.chat.tokenizer.pad_token_id
    short, padded = last_hidden_states(backbone, [(5, 6, 7), (5, 6, 7, pad)])
    plain = AutoModel.from_pretrained(folders["llama"], attn_implementation="eager")
    with torch.inference_mode():
        states = plain(torch.tensor([[5, 6, 7, pad]])).last_hidden_state[0]
    assert np.allclose(padded, states[-1].numpy(), atol=1e-5)
    assert not np.allclose(short, padded)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(st.integers(0, 200), min_size=1, max_size=40).map(tuple), max_size=5))
def test_features_do_not_depend_on_the_company_to_the_bit(backbones, tokens):
    for backbone in backbones.values():
        together = last_hidden_states(backbone, tokens)
        alone = [last_hidden_states(backbone, [ids])[0] for ids in tokens]
        assert together.shape == (len(tokens), HIDDEN)
        assert all(np.array_equal(*rows) for rows in zip(together, alone, strict=True))


# Inner layers


def hidden_states_of_transformers(folder, tokens, dtype=torch.float32) -> np.ndarray:
    """The last token's state after every layer, shape (conversations, layers, hidden)."""
    plain = AutoModel.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    states = []
    for ids in tokens:
        with torch.inference_mode():
            output = plain(torch.tensor([list(ids)]), output_hidden_states=True)
        states.append([state[0, -1].numpy() for state in output.hidden_states])
    return np.array(states)


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "demo"])
def test_inner_layers_are_transformers_own_hidden_states(folders, backbones, root, architecture):
    if architecture == "demo":  # six layers, of which two replicas have two
        folder = root / "data/demo"
        whole = load(folder).backbone
    else:
        folder = folders[architecture]
        whole = backbones[architecture]
    count = whole.transformer.config.num_hidden_layers
    inner = list(range(1, count))
    read = whole.reading([*inner[::-1], -1])
    tokens = [whole.chat.token_ids(*each).ids for each in CONVERSATIONS]
    states = states_by_layer(read, tokens, last_positions(tokens))[:, 0]
    expected = hidden_states_of_transformers(folder, tokens)[:, [*inner[::-1], count]]
    scale = np.linalg.norm(expected, axis=-1)
    assert (np.linalg.norm(states - expected, axis=-1) / scale).max() < 1e-5
    assert np.array_equal(states[:, -1], last_hidden_states(whole, tokens)), "the last is as it was"
    alone = [last_hidden_states(whole.reading([1]), [ids])[0] for ids in tokens]
    assert np.array_equal(states[:, inner[::-1].index(1)], alone), "whatever else is computed"
    assert len({whole.identity.get("layers"), read.identity["layers"], "1"}) == 3


@pytest.mark.parametrize("layer", [0, 2, -2])
def test_a_layer_that_is_not_there_is_refused(backbone, layer):
    with pytest.raises(ValueError, match=rf"from 1 to 1, or -1 .* came {layer}"):
        backbone.reading([-1, layer])


def test_a_head_is_not_put_on_an_inner_layer(root):
    model = load(root / "data/demo")
    with pytest.raises(ValueError, match=r"a head reads the last layer .* reads layer 3"):
        replace(model, backbone=model.backbone.reading([3, -1]))
    text = [("How many?", "3.")]
    beside = replace(model, backbone=model.backbone.reading([-1, 3]))
    assert np.array_equal(beside.rewards(text), model.rewards(text))


def test_shards_hold_every_layer_and_each_is_read_by_its_number(backbone, untouched, tmp_path):
    both = backbone.reading([1, -1])
    manifest = extract(both, tmp_path / "features")
    assert manifest["bit_for_bit"] and layers_of(manifest["key"]) == (1, -1)
    tokens = [backbone.chat.token_ids(*each).ids for each in CONVERSATIONS]
    inner = last_hidden_states(both, tokens)
    assert np.array_equal(read_features(tmp_path / "features", CONVERSATIONS), inner)
    assert np.array_equal(read_features(tmp_path / "features", layer=-1), read_features(untouched))
    assert not np.array_equal(inner, read_features(untouched))
    before = stamps(tmp_path / "features")
    assert extract(both, tmp_path / "features") == manifest, "what is there is not made again"
    assert stamps(tmp_path / "features") == before
    with pytest.raises(ValueError, match="of the layers 1, -1, none of 2"):
        read_features(tmp_path / "features", layer=2)
    with pytest.raises(ValueError, match="layers '1,-1', now None"):
        extract(backbone, tmp_path / "features")


def test_random_weights_are_drawn_by_their_seed_and_have_another_identity(backbone):
    tokens = [backbone.chat.token_ids(*each).ids for each in CONVERSATIONS[:4]]
    drawn = [backbone.again(device="cpu", random_seed=seed) for seed in (0, 0, 1)]
    one, same, other = (last_hidden_states(each, tokens) for each in drawn)
    assert np.array_equal(one, same)
    assert not np.isclose(one, other).any(axis=1).all()
    assert len({each.identity["weights"] for each in (backbone, *drawn)}) == 3
    assert drawn[0].identity["weights"].startswith("random, seed 0")
    shapes = [
        {name: weight.shape for name, weight in each.transformer.named_parameters()}
        for each in (backbone, drawn[0])
    ]
    assert shapes[0] == shapes[1]
    spread = np.std(drawn[0].transformer.layers[0].mlp.up_proj.weight.detach().numpy())
    # 1,536 draws: their standard deviation is known to 2 %, and the replica's config says 0.4.
    assert abs(spread / 0.4 - 1) < 0.1
    read = backbone.reading([1]).again(device="cpu", random_seed=0)
    assert read.layers == (1,) and read.identity["layers"] == "1"


def test_a_backbone_is_put_into_evaluation_mode(backbone):
    backbone.transformer.train()
    assert not replace(backbone).transformer.training


# Shards and their manifest


def test_what_is_read_is_what_the_backbone_gives(backbone, untouched):
    tokens = [backbone.chat.token_ids(*each).ids for each in CONVERSATIONS]
    assert np.array_equal(read_features(untouched), last_hidden_states(backbone, tokens))
    assert np.array_equal(read_features(untouched, CONVERSATIONS), read_features(untouched))


def test_the_manifest_counts_rows_tokens_and_cut_conversations(backbone, tmp_path):
    chat = ChatTokenizer(backbone.chat.tokenizer, max_length=90, too_long="cut_prompt_start")
    tokens = [chat.token_ids(*each) for each in CONVERSATIONS]
    cut = sum(each.cut > 0 for each in tokens)
    assert 0 < cut < len(CONVERSATIONS)
    manifest = extract(replace(backbone, chat=chat), tmp_path)
    assert manifest == json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["rows"] == len(CONVERSATIONS) and manifest["conversations_cut"] == cut
    assert manifest["tokens"] == sum(len(each.ids) for each in tokens)
    assert sorted(manifest["shards"]) == SHARDS


def test_the_key_holds_all_that_changes_features(backbone, untouched):
    key = json.loads((untouched / "manifest.json").read_text())["key"]
    assert backbone.identity.items() <= key.items()
    assert backbone.chat.identity.items() <= key.items()
    assert {"model", "revision", "weights", "dtype", "attention", "bos", "conversations"} <= set(
        key
    )


def test_the_size_of_shards_does_not_change_features(backbone, untouched, tmp_path):
    extract(backbone, tmp_path, shard_size=100)
    assert np.array_equal(read_features(tmp_path), read_features(untouched))


def test_a_second_call_computes_nothing(backbone, copy, monkeypatch):
    before = stamps(copy)
    monkeypatch.setattr(backbone.transformer, "forward", lambda **_: pytest.fail("computed"))
    extract(backbone, copy)
    assert stamps(copy) == before


def test_the_bar_moves_with_every_pack_and_ends_at_the_whole(backbone, copy, monkeypatch):
    """On a CPU; packs of finished shards are counted at its start."""
    steps = []

    class Bar(tqdm):
        def update(self, n=1):
            steps.append(n)
            return super().update(n)

    monkeypatch.setattr(extract_module, "tqdm", Bar)
    (copy / SHARDS[0]).unlink()
    (copy / SHARDS[1]).unlink()
    manifest = extract(backbone, copy, progress=True)
    moves = [step for step in steps if step]
    assert len(moves) == 2 * SHARD_SIZE
    assert 0 < sum(moves) < manifest["tokens"]
    steps.clear()
    shutil.rmtree(copy)
    manifest = extract(backbone, copy, progress=True)
    moves = [step for step in steps if step]
    assert len(moves) == manifest["packs"]
    assert sum(moves) == manifest["tokens"]


def test_no_conversations_give_no_rows(backbone, tmp_path):
    extract(backbone, tmp_path, [])
    assert read_features(tmp_path).shape == (0, HIDDEN)


def test_a_refused_conversation_is_refused_before_any_work(backbone, tmp_path):
    row = len(CONVERSATIONS)
    with pytest.raises(
        ValueError, match=f"row {row}: the response must be a text .* goes on without"
    ):
        extract(backbone, tmp_path / "features", [*CONVERSATIONS, ("a prompt", " ")])
    assert not (tmp_path / "features").exists()


def test_what_cannot_be_read_is_left_out_where_asked_and_changes_no_other(
    backbone, untouched, tmp_path
):
    spoilt = [("", "an answer"), *CONVERSATIONS, ("a prompt", None), ([{"role": "judge"}], "x")]
    options = {"folder": tmp_path, "shard_size": SHARD_SIZE, "progress": False}
    manifest = extract_module.extract_features(backbone, spoilt, on_error="record", **options)
    last = len(spoilt) - 1
    assert [each["row"] for each in manifest["unread"]] == [0, last - 1, last]
    assert "turn 1 must be User" in manifest["unread"][0]["reason"]
    assert "not blank, came None" in manifest["unread"][1]["reason"]
    features = read_features(tmp_path, spoilt)
    assert np.isnan(features[[0, last - 1, last]]).all()
    assert np.array_equal(features[1 : last - 1], read_features(untouched, CONVERSATIONS))
    again = extract_module.extract_features(backbone, spoilt, on_error="record", **options)
    assert again == manifest
    with pytest.raises(ValueError, match=r"row 0: .*\(and 2 more of "):
        extract_module.extract_features(backbone, spoilt, **options)
    with pytest.raises(ValueError, match=r"on_error must be one of \('error', 'record'\)"):
        check_on_error("skip")


def test_a_token_beyond_the_embedding_is_named(folders, tmp_path):
    folder = Path(shutil.copytree(folders["llama"], tmp_path / "more"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<think>"])
    tokenizer.save_pretrained(folder)
    backbone = load_backbone(folder)
    assert extract(backbone, tmp_path / "fine")["rows"] == len(CONVERSATIONS)
    with pytest.raises(
        ValueError, match=r"row 1: the tokenizer gives '<think>' the id 261, .* 261"
    ):
        extract(backbone, tmp_path / "features", [("a", "b"), ("a", "<think>b")])


def test_features_that_are_not_finite_are_refused_with_their_row(backbone, tmp_path):
    """A token whose embedding is nan stands for what float16 does to a large model."""
    twin = replace(backbone, transformer=deepcopy(backbone.transformer))
    number = backbone.chat.token_ids("a", "#").ids[-2]
    with torch.no_grad():
        twin.transformer.embed_tokens.weight[number] = torch.nan
    texts = [("a", "b"), ("a", "#"), ("a", "c")]
    with pytest.raises(ValueError, match="row 1: its features are not finite in float32: w"):
        extract(twin, tmp_path / "error", texts)
    options = {"shard_size": 1, "progress": False, "on_error": "record"}
    manifest = extract_module.extract_features(twin, texts, tmp_path / "record", **options)
    assert manifest["bit_for_bit"] and [each["row"] for each in manifest["unread"]] == [1]
    features = read_features(tmp_path / "record", texts)
    assert np.isfinite(features[[0, 2]]).all() and np.isnan(features[1]).all()
    assert extract_module.extract_features(twin, texts, tmp_path / "record", **options) == manifest


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_a_url_holds_the_same_files_and_a_lost_one_alone_is_made_again(
    scheme, backbone, untouched, tmp_path, monkeypatch
):
    url, written, write = f"{scheme}://{tmp_path}/features", [], Store.write
    extract(backbone, url)
    files, root = fsspec.url_to_fs(url)
    found = {Path(name).name: files.cat_file(name) for name in files.ls(root, detail=False)}
    assert found == contents(untouched)
    files.rm_file(f"{root}/{SHARDS[1]}")
    with pytest.raises(ValueError, match=f"{SHARDS[1]} is missing or damaged"):
        read_features(url)
    monkeypatch.setattr(Store, "write", lambda *told: (written.append(told[1]), write(*told)))
    extract(backbone, url)
    assert written == ["manifest.json", SHARDS[1], "manifest.json"]
    assert np.array_equal(read_features(url, CONVERSATIONS), read_features(untouched))


# Another key


@pytest.mark.parametrize("name", ["model", "revision", "weights", "dtype", "attention", "torch"])
def test_another_backbone_is_an_error_that_names_the_field(backbone, copy, name):
    before = contents(copy)
    other = replace(backbone, identity=backbone.identity | {name: "other"})
    with pytest.raises(ValueError, match=rf"{name} .*now 'other'; choose another folder") as error:
        extract(other, copy)
    assert error.value.args[0].count(", now ") == 1 and contents(copy) == before


def test_another_bos_rule_template_shard_size_or_text_is_an_error(backbone, copy):
    chat = ChatTokenizer(backbone.chat.tokenizer, bos="none")
    with pytest.raises(ValueError, match="bos 'one', now 'none'"):
        extract(replace(backbone, chat=chat), copy)
    with pytest.raises(ValueError, match="shard_size '1', now '5'"):
        extract(backbone, copy, shard_size=5)
    with pytest.raises(ValueError, match="conversations"):
        extract(backbone, copy, CONVERSATIONS[::-1])


def test_a_text_moved_from_prompt_to_response_is_another_conversation(copy):
    with pytest.raises(ValueError, match="other conversations"):
        read_features(copy, [(a + b[0], b[1:]) for a, b in CONVERSATIONS])


def test_a_shard_of_another_key_is_not_taken(backbone, copy, tmp_path):
    other = replace(backbone, identity=backbone.identity | {"weights": "other"})
    extract(other, tmp_path / "other")
    shutil.copyfile(tmp_path / "other" / SHARDS[1], copy / SHARDS[1])
    with pytest.raises(ValueError, match=SHARDS[1]):
        read_features(copy)


# Damage


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:50],
        lambda data: b"",
        lambda data: data + b"\0",
        lambda data: flip(data, len(data) - 1),
        lambda data: flip(data, len(data) - 4 * HIDDEN * SHARD_SIZE),
        lambda data: flip(data, 0),
        lambda data: flip(data, 40),
        lambda data: None,
    ],
    ids=[
        "cut",
        "cut in header",
        "empty",
        "longer",
        "last bit",
        "first value",
        "length",
        "header",
        "gone",
    ],
)
def test_a_damaged_shard_is_found_and_it_alone_made_again(backbone, untouched, copy, damage):
    path = copy / SHARDS[2]
    damaged = damage(path.read_bytes())
    path.unlink() if damaged is None else path.write_bytes(damaged)
    with pytest.raises(ValueError, match=f"{SHARDS[2]} is missing or damaged"):
        read_features(copy)
    others = [name for name in SHARDS if name != SHARDS[2]]
    before = stamps(copy, others)
    extract(backbone, copy)
    assert contents(copy) == contents(untouched) and stamps(copy, others) == before


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_flipped_bit_goes_unnoticed(backbones, untouched, tmp_path_factory, data):
    copy = Path(shutil.copytree(untouched, tmp_path_factory.mktemp("flip") / "features"))
    path = copy / data.draw(st.sampled_from(SHARDS))
    whole = path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(flip(whole, place))
    with pytest.raises(ValueError, match="damaged"):
        read_features(copy)


def test_shards_that_change_places_are_found(copy):
    one, other = (copy / name for name in SHARDS[:2])
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        read_features(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", '{"key": {}}'])
def test_a_file_that_is_no_manifest_is_named_and_nothing_is_overwritten(backbone, copy, text):
    (copy / "manifest.json").write_text(text)
    for call in (lambda: extract(backbone, copy), lambda: read_features(copy)):
        with pytest.raises(ValueError, match=r"is no manifest of features .*choose another folder"):
            call()
    assert (copy / "manifest.json").read_text() == text and all((copy / n).exists() for n in SHARDS)


def test_a_shard_that_names_rows_that_are_not_there_is_damaged(backbone, copy):
    """One with the right digest, as somebody else may write it."""
    manifest = json.loads((copy / "manifest.json").read_text())
    tensors = load_file(copy / SHARDS[0])
    tensors["rows"] = tensors["rows"] + 1000
    told = shard_digest(tensors["features"], tensors["rows"], manifest["key"])
    save_file(tensors, copy / SHARDS[0], metadata={"digest": told})
    manifest["shards"][SHARDS[0]] = told
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="damaged: it names rows that are not there"):
        read_features(copy)


def test_unfinished_or_absent_features_are_not_read(copy, tmp_path):
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"shards": {}}))
    with pytest.raises(ValueError, match="run extract_features again"):
        read_features(copy)
    with pytest.raises(ValueError, match="no manifest"):
        read_features(tmp_path)


# kill -9


def extract_in_child(model: Path, folder: Path, kill: tuple[str, int, bool] | None) -> None:
    """Extract; where told, die by SIGKILL before or after the n-th call of an `os` function."""
    torch.set_num_threads(1)
    die_at(kill)
    extract(load_backbone(model), folder)


def test_killed_at_every_kind_of_moment_it_resumes_to_the_same_bits(folders, untouched, tmp_path):
    """Each run dies and the next goes on: before the manifest, with a shard half made, after it."""
    folder = tmp_path / "features"
    moments = [
        ("fsync", 1, False),  # the manifest is written, not yet renamed
        ("fsync", 2, False),  # the first shard is written, not yet renamed
        ("replace", 3, False),  # the second is on disk under its temporary name
        ("replace", 3, True),  # two whole shards more
        ("fsync", 1, True),  # in the second manifest, over the first
        ("replace", 2, True),
    ]
    for moment in moments:
        process = start(extract_in_child, folders["llama"], folder, moment)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    with pytest.raises(ValueError, match="has not all 22 features"):
        read_features(folder)
    made = [name for name in SHARDS if (folder / name).exists()]
    assert 0 < len(made) < len(SHARDS)
    before = stamps(folder, made)
    process = start(extract_in_child, folders["llama"], folder, None)
    process.join(60)
    assert process.exitcode == 0
    assert stamps(folder, made) == before
    shards = {name: data for name, data in contents(folder).items() if name != "manifest.json"}
    assert shards.keys() == set(SHARDS)  # nothing temporary is left
    assert np.array_equal(read_features(folder), read_features(untouched, CONVERSATIONS))


def extract_many_in_child(model: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    extract(load_backbone(model), folder, many(), shard_size=1)


def test_killed_from_outside_at_any_time_it_resumes_to_the_same_bits(folders, backbone, tmp_path):
    folder, exits = tmp_path / "features", []
    for wanted in (0, 3, 20, 45):
        process = start(extract_many_in_child, folders["llama"], folder)
        deadline = time.monotonic() + 60
        while len(list(folder.glob("0*.safetensors"))) < wanted and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        exits.append(process.exitcode)
    assert exits == [-signal.SIGKILL] * 4
    made = [path.name for path in folder.glob("0*.safetensors")]
    assert 45 <= len(made) < 60
    before = stamps(folder, made)
    extract(backbone, folder, many(), shard_size=1)
    assert stamps(folder, made) == before
    extract(backbone, tmp_path / "whole", many(), shard_size=1)
    assert contents(folder) == contents(tmp_path / "whole")
