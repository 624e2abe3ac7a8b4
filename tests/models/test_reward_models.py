"""Every reward model of the leaderboard: a replica of its folder scores as plain words say."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import json
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import exact_attention
import numpy as np
import pytest
import reward_references as reference
import torch
from huggingface_hub import try_to_load_from_cache
from replicas import FIVE, read_tensors, write_tensors
from reward_replicas import (
    BETTER,
    CRITIC,
    HIDDEN,
    MEMBERS,
    NEWER,
    REPLICAS,
    TEMPLATES,
    URM,
    WORSE,
    make_critic,
    split,
    write_index,
    write_tokenizer,
)
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2ForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from dtreward.engine.forward import hidden_states
from dtreward.models import checkpoint_folder
from dtreward.models import load_backbone as loading
from dtreward.models.catalogue import CATALOGUE, find_entry, model_label
from dtreward.models.critic import Critic
from dtreward.models.ensemble import WEIGHTS, Ensemble
from dtreward.models.loader import load
from dtreward.tree.tree import PreferenceTree

UNAVAILABLE = {"TextEval-Llama3.1-70B"}
# The eight sizes and the two languages of a model have the same files: one of each stands for them.
KINDS = (URM, "Skywork-Reward-V2-Llama-3.1-8B", "Skywork-Reward-V2-Qwen3-8B")
KINDS += ("Qwen-2.5-Nemotron-32B-Reward",)
ALL = REPLICAS | {name: NEWER[name] for name in KINDS} | MEMBERS
EVERY = ALL | NEWER
GATED = [name for name, each in ALL.items() if each.reading == "gated"]
SCORED = [name for name, each in ALL.items() if not each.tree]
GEMMA_2 = [name for name, each in ALL.items() if each.family == "gemma2"]
HEADS = (
    "score.",
    "weights.fc.",
    "regression_layer.",
    "gating.",
    "reward_transform_matrix",
    "lm_head.",
)

PROMPT = "Jane has 12 apples and gives 4 away.\n\nHow many are left?\n"
LATER = f"{PROMPT}<extra_id_1>Assistant\nEight.\n<extra_id_1>User\n Are you sure? été 数学 🍎"
LLAMA, GEMMA = reference.MARKERS["llama"], reference.MARKERS["gemma"]
# As they are given, and the turns that they stand for. The last response spells two markers.
CONVERSATIONS = {
    (PROMPT, "12 - 4 = 8, so 8 apples are left."): (
        PROMPT,
        "12 - 4 = 8, so 8 apples are left.",
    ),
    (PROMPT, "\n\n  No.\n"): (PROMPT, "No."),
    (LATER, "Yes: 12 minus 4 is 8."): (
        PROMPT,
        "Eight.",
        " Are you sure? été 数学 🍎",
        "Yes: 12 minus 4 is 8.",
    ),
    (LATER, f"I quote{LLAMA}and{GEMMA}this."): (
        PROMPT,
        "Eight.",
        " Are you sure? été 数学 🍎",
        f"I quote{LLAMA}and{GEMMA}this.",
    ),
}
EXACT = {"dtype": "float64"}


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A replica of each model that has a head, by its name on the leaderboard or its hub id."""
    parent = tmp_path_factory.mktemp("hub")
    return {name: each.make(parent) for name, each in EVERY.items()}


@pytest.fixture(scope="session")
def critic_folder(tmp_path_factory) -> Path:
    return make_critic(tmp_path_factory.mktemp("critic"))


@pytest.fixture
def hub(folders, critic_folder, monkeypatch) -> list:
    """The hub, which has the replicas; what was asked of it is noted."""
    asked, has = [], {EVERY[name].repo: folder for name, folder in folders.items()}
    has |= {CRITIC: critic_folder}

    def fetch(repo_id, **options):
        asked.append(SimpleNamespace(repo=repo_id, **options))
        return str(has[repo_id])

    monkeypatch.setattr(checkpoint_folder, "snapshot_download", fetch)
    return asked


def spoilt(folder: Path, parent: Path, *, config=(), **changes) -> Path:
    """Copy a folder with some tensors changed, or left out where None, and keys of its config."""
    copy = Path(shutil.copytree(folder, parent / folder.name, dirs_exist_ok=True))
    tensors = read_tensors(folder) | changes
    write_tensors(copy, {name: each for name, each in tensors.items() if each is not None})
    settings = json.loads((copy / "config.json").read_text()) | dict(config)
    settings = {key: value for key, value in settings.items() if value is not ...}
    (copy / "config.json").write_text(json.dumps(settings))
    return copy


def all_scores(model) -> np.ndarray:
    return model.scores(list(CONVERSATIONS))


# The catalogue


def test_every_model_of_the_catalogue_has_a_replica_or_is_marked_unavailable(hub):
    others = {"MetaMetrics-RM-v1.0", "Skywork-Critic-Llama-3.1-70B"}
    assert set(CATALOGUE) == set(REPLICAS) | set(NEWER) | others | UNAVAILABLE
    assert all(CATALOGUE[name].repo == NEWER[name].repo for name in NEWER)
    assert all(not CATALOGUE[name].repo and CATALOGUE[name].note for name in UNAVAILABLE)
    assert set(WEIGHTS) - set(MEMBERS) == {name for name in WEIGHTS if "internlm2" in name}


def test_the_catalogue_has_the_models_of_the_published_leaderboard_and_armorm(root):
    rows = (root / "dtreward/published/leaderboard.csv").read_text().splitlines()[1:]
    assert all(any(name in row for name in CATALOGUE) for row in rows)
    older = [name for name in CATALOGUE if name not in NEWER]
    assert len(older) == len(rows) + 1


@pytest.mark.parametrize("module", ["replicas", "reward_replicas", "reward_references"])
def test_replicas_and_references_know_nothing_of_the_package(root, module):
    tree = ast.parse((root / f"tests/{module}.py").read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [getattr(node, "module", None) or node.names[0].name for node in found]
    assert names and not any(name.startswith("dtreward") for name in names)


@pytest.mark.parametrize("name", [*REPLICAS, *KINDS])
def test_a_name_of_the_catalogue_is_found_on_the_hub_by_its_repository(hub, name):
    model = load(name)
    assert [each.repo for each in hub] == [ALL[name].repo] * 2
    assert model.backbone.identity["model"] == ALL[name].repo
    assert ["*.safetensors" in each.allow_patterns for each in hub] == [False, True]
    asked = [pattern for each in hub for pattern in each.allow_patterns]
    assert not any(pattern.endswith((".bin", ".py", "*")) for pattern in asked)
    assert dict(load(ALL[name].repo).backbone.identity) == dict(model.backbone.identity)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_model_of_the_same_name_by_somebody_else_is_another_model(hub, name, tmp_path):
    assert find_entry(f"me/{name}") is None
    with pytest.raises(KeyError, match=f"me/{name}"):
        load(f"me/{name}")
    assert find_entry(tmp_path / name) is None


def test_a_label_is_a_name_and_never_a_path(tmp_path, monkeypatch):
    entry = next(iter(CATALOGUE))
    for folder in (f"models/{entry}", "weights/mine", "study/checkpoint"):
        (tmp_path / folder).mkdir(parents=True)
    labels = [model_label(path) for path in sorted(tmp_path.glob("*/*"))]
    assert labels == [entry, "study/checkpoint", "mine"]
    monkeypatch.chdir(tmp_path / "study" / "checkpoint")
    assert (model_label("."), model_label("../../weights/mine")) == ("study/checkpoint", "mine")
    assert model_label(CATALOGUE[entry].repo) == entry
    assert model_label("me/mine") == "me/mine"  # an id of the hub


def test_a_model_is_found_by_its_repository_by_its_owner_and_name_and_by_a_folder(tmp_path):
    nemotron = CATALOGUE["Llama-3.1-Nemotron-70B-Reward"]
    assert (
        find_entry("nvidia/Llama-3.1-Nemotron-70B-Reward") is find_entry(nemotron.repo) is nemotron
    )
    (tmp_path / "INF-ORM-Llama3.1-70B").mkdir()
    assert find_entry(tmp_path / "INF-ORM-Llama3.1-70B") is CATALOGUE["INF-QRM-Llama3.1-70B"]
    assert find_entry("") is find_entry(".") is find_entry("/") is None


@pytest.mark.parametrize(
    "given",
    [{"revision": "abc"}, {"attributes": ["x"]}, {"reads": "verdict"}, {"pooling": "eos"}],
)
def test_what_belongs_to_one_model_is_refused_of_one_made_of_several(hub, given):
    with pytest.raises(ValueError, match="is several"):
        load("MetaMetrics-RM-v1.0", **given)
    assert not hub


# Scores


@pytest.mark.parametrize("name", EVERY)
def test_scores_are_those_of_a_second_computation_in_float64(folders, name):
    model = load(folders[name], **EXACT)
    rewards = model.rewards(list(CONVERSATIONS))
    assert rewards.dtype == np.float64 and rewards.shape == (len(CONVERSATIONS), EVERY[name].rows)
    told = all_scores(model) if not EVERY[name].tree else [None] * len(CONVERSATIONS)
    for row, turns in enumerate(CONVERSATIONS.values()):
        expected, score = reference.read(EVERY[name], folders[name], turns)
        np.testing.assert_allclose(rewards[row], expected.numpy(), rtol=1e-6)
        if not EVERY[name].tree:
            assert told[row] == pytest.approx(score.item(), rel=1e-6)
    assert np.ptp(rewards[:, 0]) > 1e-3  # they are not all the same


@pytest.mark.parametrize("name", ALL)
def test_the_defaults_give_nearly_those_scores(folders, name):
    exact, plain = load(folders[name], **EXACT), load(folders[name])
    one, other = (each.rewards(list(CONVERSATIONS)) for each in (exact, plain))
    # float32 rounds by 6e-8 a step; sharp random attention over ~200 tokens magnifies that.
    assert np.abs(one - other).max() < 1e-3 * np.abs(one).max()


@pytest.mark.parametrize("name", ALL)
def test_company_and_order_change_nothing_to_the_bit(folders, name):
    model, texts = load(folders[name]), list(CONVERSATIONS)
    together = model.rewards(texts)
    assert np.array_equal(model.rewards(texts[::-1])[::-1], together)
    assert np.array_equal(np.concatenate([model.rewards([each]) for each in texts]), together)
    assert model.rewards([]).shape == (0, ALL[name].rows)
    if name in SCORED:
        scores = all_scores(model)
        assert [model.scores([each])[0] for each in texts] == scores.tolist()
        assert model.scores(texts[::-1])[::-1].tolist() == scores.tolist()


@pytest.mark.parametrize("name", ALL)
def test_padding_that_others_need_changes_nothing(folders, name):
    model, (given, turns) = load(folders[name], **EXACT), list(CONVERSATIONS.items())[2]
    expected, score = reference.read(ALL[name], folders[name], turns, pads=9)
    np.testing.assert_allclose(model.rewards([given])[0], expected.numpy(), rtol=1e-6)
    if name in SCORED:
        assert model.scores([given])[0] == pytest.approx(score.item(), rel=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_a_pad_token_that_ends_every_turn_changes_nothing(folders, tmp_path, name):
    ends = {"llama": "<|eot_id|>", "qwen2": "<|im_end|>", "qwen3": "<|im_end|>"}
    end = ends.get(ALL[name].family, "<end_of_turn>")
    # What is not in the catalogue must be told that the pad token is read, too.
    known = {} if name in CATALOGUE else {"pooling": "last"}
    model = load(folders[name], **known)
    number = model.backbone.chat.tokenizer.convert_tokens_to_ids(end)
    changed = {"pad_token_id": number, "eos_token_id": number}
    copy = spoilt(folders[name], tmp_path, config=changed)
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        settings = json.loads((copy / file).read_text())
        (copy / file).write_text(json.dumps(settings | {"pad_token": end, "eos_token": end}))
    other = load(copy, **known)
    assert other.backbone.chat.tokenizer.pad_token_id == number
    texts = list(CONVERSATIONS)
    assert np.array_equal(other.rewards(texts), model.rewards(texts))


def test_that_pad_token_moves_the_score_of_plain_transformers(folders, tmp_path):
    """The positive control: pooling by the pad id reads another token."""
    name = "Skywork-Reward-Llama-3.1-8B-v0.2"
    config = json.loads((folders[name] / "config.json").read_text())
    copy = spoilt(folders[name], tmp_path, config={"pad_token_id": config["eos_token_id"]})
    ids = torch.tensor([load(copy).backbone.chat.token_ids(PROMPT, "Eight.").ids])
    plain = [
        LlamaForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
        for folder in (folders[name], copy)
    ]
    with torch.inference_mode():
        one, other = (model(ids).logits.item() for model in plain)
    assert load(copy).scores([(PROMPT, "Eight.")])[0] == pytest.approx(one, rel=1e-3)
    assert abs(one - other) > 0.01 * abs(one)


def test_the_larger_score_is_preferred_with_the_probability_of_bradley_terry(folders):
    model = load(folders["QRM-Llama3.1-8B-v2"])
    output = model.compare(PROMPT, "Eight.", "Sixteen, I think.")
    first, second = model.scores([(PROMPT, "Eight."), (PROMPT, "Sixteen, I think.")]).tolist()
    assert output.scores == [first, second] and output.preference == int(second > first)
    assert output.probability == pytest.approx(1 / (1 + np.exp(first - second)), rel=1e-6)
    assert output.attributes == list(FIVE) and len(output.rewards[0]) == 5


@pytest.mark.parametrize("name", [name for name in REPLICAS if REPLICAS[name].tree])
def test_a_model_whose_files_lack_the_tree_decides_by_the_published_one(folders, tmp_path, name):
    copy = spoilt(folders[name], tmp_path)
    (copy / "decision_tree.json").unlink()
    published = PreferenceTree.published(name)
    assert load(copy).tree.rule_sentences() == published.rule_sentences()
    with pytest.raises(ValueError, match="gives no scores"):
        load(copy).scores([(PROMPT, "Eight.")])


@pytest.mark.slow
def test_skywork_reward_v2_gives_the_usage_example_its_published_scores(root):
    name = "Skywork-Reward-V2-Llama-3.1-8B"
    repo = CATALOGUE[name].repo
    if not isinstance(try_to_load_from_cache(repo, "model.safetensors.index.json"), str):
        pytest.skip(f"{repo} is not in the hub's cache")
    example = json.loads((root / "dtreward/published/usage_example.json").read_text())
    pair = (example["prompt"], example["response1"], example["response2"])
    scores = load(name, dtype="bfloat16").compare(*pair).scores
    # bfloat16 has 8 significant bits. SGLang's scores, 23.125 and 3.578125, are one unit in the
    # last place from the published ones; two units are allowed.
    published = np.array(example["published_scores"][name]["scores"])
    last_place = 2.0 ** (np.floor(np.log2(published)) - 7)
    assert (np.abs(scores - published) <= 2 * last_place).all()


def test_nemotrons_score_is_the_first_score_that_generate_gives(folders):
    folder = folders["Llama-3.1-Nemotron-70B-Reward"]
    model = load(folder, **EXACT)
    plain = LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float64, attn_implementation=exact_attention.EXACT
    )
    for (given, score), turns in zip(
        zip(CONVERSATIONS, all_scores(model), strict=True), CONVERSATIONS.values(), strict=True
    ):
        ids = torch.tensor([reference.token_ids(folder, "llama-3.1", turns)])
        options = {"return_dict_in_generate": True, "output_scores": True}
        written = plain.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, **options
        )
        # generate keeps its scores in float32: 2**-24 = 6e-8 of their size.
        assert score == pytest.approx(written.scores[0][0][0].item(), rel=1e-6), given


def test_a_language_model_is_a_reward_model_only_by_its_name_or_where_asked(folders, tmp_path):
    folder = folders["Llama-3.1-Nemotron-70B-Reward"]
    copy = Path(shutil.copytree(folder, tmp_path / "unknown"))
    with pytest.raises(ValueError, match="found none"):
        load(copy)
    told = all_scores(load(copy, reads="next token"))
    assert np.array_equal(told, all_scores(load(folder)))


@pytest.mark.parametrize(
    ("name", "plain_class", "softcap"),
    [
        ("Ray2333/GRM-Gemma-2B-rewardmodel-ft", GemmaForCausalLM, {}),
        ("Skywork-Reward-Gemma-2-27B", Gemma2ForCausalLM, {}),
        ("Skywork-Reward-Gemma-2-27B", Gemma2ForCausalLM, {"final_logit_softcapping": None}),
        ("Skywork-Reward-Gemma-2-27B", Gemma2ForCausalLM, {"final_logit_softcapping": ...}),
    ],
)
def test_a_language_model_whose_head_is_its_embedding_is_read_by_its_next_token(
    folders, tmp_path, name, plain_class, softcap
):
    """Gemma-2 bends its logits, at 30 where its config.json says nothing."""
    folder = folders[name]
    larger = 1000 * read_tensors(folder)["model.norm.weight"]  # so that the bend shows
    changes = {"score.weight": None, "model.norm.weight": larger}
    copy = spoilt(folder, tmp_path, config=softcap, **changes)
    model = load(copy, reads="next token", **EXACT)
    plain = plain_class.from_pretrained(
        copy, dtype=torch.float64, attn_implementation=exact_attention.EXACT
    )
    given = (PROMPT, "Eight.")
    ids = torch.tensor([model.backbone.chat.token_ids(*given).ids])
    with torch.inference_mode():
        expected = plain(ids).logits[0, -1, 0].item()
    is_bent = name.startswith("Skywork") and softcap != {"final_logit_softcapping": None}
    assert (abs(expected) < 30) == is_bent
    assert model.scores([given])[0] == pytest.approx(expected, rel=1e-6)
    assert ("softcap" in model.head.identity_text()) == is_bent


def test_a_language_model_that_says_that_its_head_is_missing_is_refused(folders, tmp_path):
    folder = folders["Ray2333/GRM-Gemma-2B-rewardmodel-ft"]
    changes = {"config": {"tie_word_embeddings": False}, "score.weight": None}
    untied = spoilt(folder, tmp_path / "untied", **changes)
    with pytest.raises(ValueError, match=r"head lm_head\.weight and no other; .* has none"):
        load(untied, reads="next token")


# The gate


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
    "{% endfor %}"
)


@pytest.mark.parametrize("other", ["chatml", "another header", "the other family's"])
@pytest.mark.parametrize("name", GATED)
def test_a_gated_model_with_another_chat_template_is_refused(folders, tmp_path, name, other):
    """It would read the gate at a token that it was not trained on, and score all the same."""
    copy = spoilt(folders[name], tmp_path)
    is_llama = ALL[name].family == "llama"
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    own = settings["chat_template"]
    settings["chat_template"] = {
        "chatml": CHATML,
        "another header": own.replace("<|end_header_id|>\n\n", "<|end_header_id|>\n").replace(
            "set role = 'model'", "set role = 'assistant'"
        ),
        "the other family's": TEMPLATES["gemma" if is_llama else "llama-3"],
    }[other]
    assert settings["chat_template"] != own
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    marker = LLAMA if is_llama else GEMMA
    with pytest.raises(ValueError, match=r"its gate reads the end of the prompt") as caught:
        load(copy)
    assert repr(marker) in str(caught.value)
    reads_no_gate = spoilt(folders["Skywork-Reward-Llama-3.1-8B-v0.2"], tmp_path)
    (reads_no_gate / "tokenizer_config.json").write_text(json.dumps(settings))
    if is_llama:  # the control: a head without a gate takes the template
        assert load(reads_no_gate).scores([(PROMPT, "Eight.")]).shape == (1,)


def test_a_gated_model_whose_tokenizer_lacks_the_markers_tokens_is_refused(folders, tmp_path):
    copy = spoilt(folders["ArmoRM-Llama3-8B-v0.1"], tmp_path)
    write_tokenizer(copy, "gemma", "llama-3")
    with pytest.raises(ValueError, match=r"reads the token <\|eot_id\|>, which its tokenizer"):
        load(copy)


@pytest.mark.parametrize("name", GATED)
def test_the_gate_reads_the_first_token_of_the_last_marker(folders, name):
    model = load(folders[name], **EXACT)
    family, template, chat = ALL[name].family, ALL[name].template, model.backbone.chat
    markers = []
    for given, turns in CONVERSATIONS.items():
        ids = reference.token_ids(folders[name], template, turns)
        assert list(chat.token_ids(*given).ids) == ids
        place = chat.prompt_end(ids)
        assert place == reference.prompt_end(folders[name], family, ids)
        end = chat.tokenizer.convert_tokens_to_ids(
            reference.MARKERS[family].partition(">")[0] + ">"
        )
        assert ids[place] == end
        markers.append(chat.tokenizer.decode(ids).count(reference.MARKERS[family]))
    assert markers == [1, 1, 2, 3]


@pytest.mark.parametrize("name", GATED)
def test_a_gate_that_read_another_token_would_give_another_score(folders, name):
    """The positive control: the first marker, and the marker's last token, both show."""
    model, given = load(folders[name], **EXACT), list(CONVERSATIONS)[2]
    ids = model.backbone.chat.token_ids(*given).ids
    place, last = model.backbone.chat.prompt_end(ids), len(ids) - 1
    others = [model.backbone.chat.prompt_end(ids[:place]), place + 3, last]
    read = hidden_states(model.backbone, [ids] * 4, [(last, each) for each in [place, *others]])
    scores = [model.head(torch.from_numpy(states))[1].item() for states in read]
    assert scores[0] == model.scores([given])[0]
    assert all(abs(each - scores[0]) > 1e-3 * abs(scores[0]) for each in scores[1:])


@pytest.mark.parametrize("name", GATED)
def test_a_conversation_without_the_gates_marker_is_an_error_that_says_what_to_do(
    folders, tmp_path, name
):
    """A template that trims nothing, and newlines that melt into those of the marker."""
    copy = spoilt(folders[name], tmp_path)
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    settings["chat_template"] = settings["chat_template"].replace(" | trim", "")
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    left, right = ("ĊĊ", "Ċ") if ALL[name].family == "llama" else ("\n", "\n")
    if left + right not in vocab:  # in place of another token, so that nothing else changes
        vocab[left + right] = vocab.pop("[[")
        tokenizer["model"]["merges"] = [["Ċ", "Ċ"], [left, right]]
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    model = load(copy)
    assert model.scores([(PROMPT, "Eight.")]).shape == (1,)
    with pytest.raises(ValueError, match="chat template that the model was published with"):
        model.scores([(PROMPT, "\nEight.")])


@pytest.mark.parametrize("name", GATED)
def test_a_cut_prompt_keeps_the_gates_marker(folders, name):
    model = load(folders[name], max_length=60, too_long="cut_prompt_start")
    assert np.isfinite(model.scores([(PROMPT * 20, "Eight.")])).all()


def test_the_rewards_of_armorm_are_those_before_its_transform(folders):
    model = load(folders["ArmoRM-Llama3-8B-v0.1"])
    assert model.attributes[4] == "helpsteer-verbosity" and len(set(model.attributes)) == 19
    turned = model.head.reward_transform_matrix
    assert not torch.equal(turned, torch.eye(19))


def test_a_gate_whose_configuration_does_not_tell_its_temperature_is_an_error(folders, tmp_path):
    copy = spoilt(folders["QRM-Gemma-2-27B"], tmp_path, config={"gating_temperature": ...})
    with pytest.raises(ValueError, match=r"config\.json has no gating_temperature; add"):
        load(copy)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"gating_temperature": 0}, "gating_temperature 0; expected the number above 0"),
        ({"gating_temperature": "5"}, "gating_temperature '5'; expected the number above 0"),
        ({"num_objectives": 4}, "head has 95 rows, config.json has num_objectives 4 and"),
        ({"num_quantiles": 0}, "num_objectives 5 and num_quantiles 0"),
    ],
)
def test_a_gate_that_is_configured_otherwise_is_an_error(folders, tmp_path, entry, words):
    copy = spoilt(folders["QRM-Gemma-2-27B"], tmp_path, config=entry)
    with pytest.raises(ValueError, match=words):
        load(copy)


# What is refused


@pytest.mark.parametrize("name", ALL)
def test_each_missing_or_cut_tensor_of_a_head_is_an_error(folders, tmp_path, name):
    tensors = read_tensors(folders[name])
    heads = [each for each in tensors if each.startswith(HEADS)]
    gated = 11 if ALL[name].transform else 22
    counts = {"linear": 1 + ALL[name].bias, "two layers": 4, "next token": 1, "gated": gated}
    counts["normal"] = 7
    assert len(heads) == counts[ALL[name].reading]
    unused = [each for each in heads if each.endswith(".num_batches_tracked")]
    without = spoilt(folders[name], tmp_path, **dict.fromkeys(unused))
    before, after = (load(each).rewards(list(CONVERSATIONS)) for each in (folders[name], without))
    assert np.array_equal(before, after)  # counts of the training: they have no say
    for each in set(heads) - set(unused):
        with pytest.raises(ValueError, match="head"):
            load(spoilt(folders[name], tmp_path, **{each: None}))
        if tensors[each].ndim:
            cut = tensors[each][..., :-1].clone()
            with pytest.raises(ValueError, match=r"head|gate"):
                load(spoilt(folders[name], tmp_path, **{each: cut}))


@pytest.mark.parametrize("name", ALL)
def test_a_head_with_other_rows_or_one_tensor_more_is_an_error(folders, tmp_path, name):
    tensors = read_tensors(folders[name])
    last = {"two layers": "score.2.weight", "gated": "regression_layer.weight"}
    last = last.get(ALL[name].reading, "score.weight")
    if last in tensors:
        more = torch.cat([tensors[last], tensors[last][:1]])
        with pytest.raises(ValueError, match="head"):
            load(spoilt(folders[name], tmp_path, **{last: more}))
    with pytest.raises(ValueError, match=r"head.*score\.7\.weight"):
        load(spoilt(folders[name], tmp_path, **{"score.7.weight": torch.zeros(2, HIDDEN)}))


@pytest.mark.parametrize("name", ALL)
def test_a_missing_or_renamed_tensor_of_the_backbone_is_an_error(folders, tmp_path, name):
    norm = read_tensors(folders[name])["model.norm.weight"]
    for changes in ({}, {"model.final_norm.weight": norm}):
        with pytest.raises(ValueError, match=r"missing_keys.*norm\.weight"):
            load(spoilt(folders[name], tmp_path, **{"model.norm.weight": None}, **changes))


def test_a_gate_that_lost_a_whole_layer_or_its_norms_is_an_error(folders, tmp_path):
    folder = folders["QRM-Gemma-2-27B"]
    gate = [each for each in read_tensors(folder) if each.startswith("gating.layers.")]
    layer = {each: None for each in gate if each.split(".")[2] in ("4", "6")}
    norms = {each: None for each in gate if each.split(".")[2] in ("2", "6", "10")}
    assert (len(layer), len(norms)) == (6, 15)
    for parts in (layer, norms):
        with pytest.raises(ValueError, match=r"gate of 3 hidden layers|gating\.layers\.0\.bias"):
            load(spoilt(folder, tmp_path, **parts))


@pytest.mark.parametrize("name", ["INF-QRM-Llama3.1-70B", "QRM-Gemma-2-27B"])
def test_a_model_larger_than_memory_is_refused_before_it_is_read(folders, monkeypatch, name):
    size = sum(path.stat().st_size for path in folders[name].glob("*.safetensors"))
    available = SimpleNamespace(available=size + 1000)
    monkeypatch.setattr(loading.psutil, "virtual_memory", lambda: available)
    assert load(folders[name], dtype="bfloat16")
    monkeypatch.setattr(loading, "_read_transformer", lambda *_: pytest.fail("read"))
    with pytest.raises(MemoryError, match=r'larger device, device="auto".*smaller dtype='):
        load(folders[name], dtype="float32")


# Gemma-2's soft-cap


@pytest.mark.parametrize("name", GEMMA_2)
def test_the_soft_cap_is_never_dropped(folders, tmp_path, name):
    model = load(folders[name], **EXACT)
    given, turns = next(iter(CONVERSATIONS.items()))
    uncapped = spoilt(folders[name], tmp_path, config={"attn_logit_softcapping": None})
    capped, dropped = (
        reference.read(ALL[name], each, turns)[0] for each in (folders[name], uncapped)
    )
    np.testing.assert_allclose(model.rewards([given])[0], capped.numpy(), rtol=1e-6)
    assert (capped - dropped).abs().max() > 0.01 * capped.abs().max()
    for attention in ("sdpa", "eager", "flash_attention_2"):
        with pytest.raises(ValueError, match="attention must be one of"):
            load(folders[name], attention=attention)
    default = load(folders[name]).backbone
    assert default.identity["attention"] == "plain"
    assert default.transformer.config._attn_implementation == "packed"
    assert default.transformer.config.attn_logit_softcapping == 2.0


# Skywork-Critic

SIGNED = (f"Eight {BETTER}", f"Sixteen {WORSE}")
UNSIGNED = ("Eight.", "Sixteen.")


@pytest.fixture
def critic(hub) -> Critic:
    model = load("Skywork-Critic-Llama-3.1-70B")
    assert {each.repo for each in hub} == {CRITIC}
    return model


def test_the_critic_is_fetched_and_read_with_its_shards_as_tensors_only(
    hub, critic_folder, monkeypatch
):
    opened, real = [], torch.load

    def record(path, *positional, **options):
        opened.append((Path(path).name, options.get("weights_only"), options.get("mmap")))
        return real(path, *positional, **options)

    monkeypatch.setattr(torch, "load", record)
    model = load("Skywork-Critic-Llama-3.1-70B")
    assert ["*.bin" in each.allow_patterns for each in hub] == [False, True]
    assert isinstance(model, Critic) and model.kind == "verdict"
    assert {name for name, *_ in opened} == {path.name for path in critic_folder.glob("*.bin")}
    assert len(list(critic_folder.glob("*.bin"))) == 3
    assert all(each[1:] == (True, True) for each in opened)


def test_the_critic_is_asked_in_both_orders_and_writes_its_verdict(critic):
    better, worse = SIGNED
    assert (critic.verdict(PROMPT, better, worse), critic.verdict(PROMPT, worse, better)) == (0, 1)
    first, second = critic.compare_many([PROMPT] * 2, [better, worse], [worse, better])
    assert (first.preference, first.probability, first.swap_flips) == (0, 0.0, True)
    assert (second.preference, second.probability, second.swap_flips) == (1, 1.0, True)
    assert first.scores is None and first.rewards == [[], []] and "Response 1" in str(first)


def test_a_critic_that_prefers_a_position_prefers_no_response(critic):
    for pair in (UNSIGNED, UNSIGNED[::-1]):
        assert critic.verdict(PROMPT, *pair) == 0
        output = critic.compare(PROMPT, *pair)
        assert (output.preference, output.probability, output.swap_flips) == (0, 0.5, False)


def test_a_critic_that_writes_no_verdict_prefers_no_response(tmp_path):
    critic = load(make_critic(tmp_path, opening="]]"))
    assert critic.verdict(PROMPT, *SIGNED) is None
    output = critic.compare(PROMPT, *SIGNED)
    assert output.no_verdict == 2
    assert (output.preference, output.probability, output.swap_flips) == (0, 0.5, False)


@pytest.mark.parametrize("pair", [SIGNED, SIGNED[::-1], UNSIGNED])
def test_the_critics_verdict_is_what_plain_transformers_generates(critic, critic_folder, pair):
    request = critic.template.format(prompt=PROMPT, first=pair[0], second=pair[1])
    text = reference.text_of("llama-3.1", [request])
    text += "<|start_header_id|>assistant<|end_header_id|>\n\n"
    tokenizer = AutoTokenizer.from_pretrained(critic_folder)
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")
    assert critic.question(PROMPT, *pair).ids == tuple(ids["input_ids"][0].tolist())
    plain = AutoModelForCausalLM.from_pretrained(critic_folder, attn_implementation="eager")
    written = plain.generate(**ids, do_sample=False, max_new_tokens=20)
    answer = tokenizer.decode(written[0, ids["input_ids"].shape[1] :])
    assert answer == ("[[B]]<|eot_id|>" if pair == SIGNED[::-1] else "[[A]]<|eot_id|>")
    assert critic.verdict(PROMPT, *pair) == float("[[B]]" in answer)


@pytest.mark.parametrize("verdicts", list(itertools.product([0.0, 0.5, 1.0], repeat=2)))
def test_two_verdicts_make_one_preference_by_their_mean(critic, monkeypatch, verdicts):
    told = iter(verdicts)
    monkeypatch.setattr(Critic, "verdict", lambda *_: next(told))
    output = critic.compare(PROMPT, *UNSIGNED)
    given, swapped = verdicts
    assert output.probability == np.mean([given, 1 - swapped])
    assert output.preference == int(np.mean([given, 1 - swapped]) > 0.5)
    assert output.swap_flips == ({given, swapped} == {0.0, 1.0})


def test_a_prompt_of_several_turns_is_shown_to_the_critic_with_its_roles(critic, monkeypatch):
    asked = []
    chat = type(critic.backbone.chat)
    real = chat.request_ids
    spy = lambda self, *parts: asked.append("".join(parts)) or real(self, *parts)
    monkeypatch.setattr(chat, "request_ids", spy)
    critic.verdict(LATER, *SIGNED)
    assert "user: Jane" in asked[0] and "\n\nassistant: Eight.\n\nuser:  Are you" in asked[0]
    assert "<extra_id_1>" not in asked[0]


def critic_of(folder: Path, max_length: int, **options) -> Critic:
    return load(folder, reads="verdict", max_length=max_length, **options)


def test_a_question_that_is_too_long_is_an_error_unless_a_cut_is_chosen(critic, critic_folder):
    whole = len(critic.question(PROMPT, *SIGNED).ids)
    exact = critic_of(critic_folder, whole)
    assert exact.question(PROMPT, *SIGNED) == critic.question(PROMPT, *SIGNED)
    with pytest.raises(ValueError, match="1 tokens longer than max_length"):
        critic_of(critic_folder, whole - 1).question(PROMPT, *SIGNED)


@pytest.mark.parametrize(
    "prompt", [PROMPT, LATER, "  One two.\n\nThree [User Question] four {five}"]
)
@pytest.mark.parametrize("start", ["", "  \n"])
def test_a_cut_question_loses_the_start_of_the_prompt_and_nothing_else(
    critic, critic_folder, prompt, start
):
    critic = dataclasses.replace(critic, template=start + critic.template)
    whole = critic.question(prompt, *SIGNED).ids
    before, after = (
        critic.template.format(prompt="\ue000", first=SIGNED[0], second=SIGNED[1])
    ).split("\ue000")
    decode = critic.backbone.chat.tokenizer.decode
    for cut in (1, 3, 9):
        model = critic_of(critic_folder, len(whole) - cut, too_long="cut_prompt_start")
        model = dataclasses.replace(model, template=critic.template)
        short = model.question(prompt, *SIGNED)
        assert (short.cut, len(short.ids)) == (cut, len(whole) - cut)
        same = [a == b for a, b in zip(short.ids, whole, strict=False)]
        at = same.index(False) if False in same else len(short.ids)
        first = next(k for k in range(at + 1) if short.ids == whole[:k] + whole[k + cut :])
        assert before.strip() in decode(whole[:at]) and after.strip() in decode(
            whole[first + cut :]
        )
        assert model.verdict(prompt, *SIGNED) == 0.0 and model.verdict(prompt, *SIGNED[::-1]) == 1.0


def test_instruction_and_responses_are_never_cut(critic, critic_folder):
    prompt = PROMPT.strip()  # its last line break would become a token with those behind it
    most = len(critic.question(prompt, *SIGNED).ids)
    empty = len(critic.question("x", *SIGNED).ids) - 1
    model = critic_of(critic_folder, empty, too_long="cut_prompt_start")
    assert model.question(prompt, *SIGNED).cut == most - empty
    with pytest.raises(ValueError, match="the response is never cut"):
        model.question(prompt, SIGNED[0], SIGNED[1] + " + 1")


def test_a_critic_says_how_much_it_cut(critic, critic_folder):
    whole = len(critic.question(PROMPT, *SIGNED).ids)
    model = critic_of(critic_folder, whole - 4, too_long="cut_prompt_start")
    assert "4 tokens of the prompt cut" in str(model.compare(PROMPT, *SIGNED))
    assert "cut" not in str(critic.compare(PROMPT, *SIGNED))


def test_a_critic_names_the_pair_that_it_cannot_read_or_goes_on_without_it(critic):
    texts = [[PROMPT] * 3, [SIGNED[0], "", SIGNED[1]], [SIGNED[1], "Eight.", SIGNED[0]]]
    with pytest.raises(ValueError, match="row 1: turn 2 must be Assistant with text"):
        critic.compare_many(*texts)
    first, bad, last = critic.compare_many(*texts, on_error="record")
    assert (first.preference, bad.row, last.preference) == (0, 1, 1)


def test_a_critic_asks_nothing_of_blank_responses(critic):
    for pair in (("", "Eight."), ("Eight.", " \n")):
        with pytest.raises(ValueError, match="with text"):
            critic.verdict(PROMPT, *pair)


class Malicious:
    """A pickle that makes a folder as soon as it is opened carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        import os

        return os.mkdir, (self.path,)


@pytest.mark.parametrize("form", ["pickle", "zip", "legacy"])
def test_a_malicious_shard_executes_nothing_and_is_an_error(critic_folder, tmp_path, form):
    copy = Path(shutil.copytree(critic_folder, tmp_path / "critic"))
    shard = copy / "pytorch_model-00002-of-00003.bin"
    proof = tmp_path / "executed"
    content = {**torch.load(shard, weights_only=True), "evil": Malicious(proof)}
    if form == "pickle":
        shard.write_bytes(pickle.dumps({"evil": Malicious(proof)}, protocol=2))
    else:
        torch.save(content, shard, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ValueError, match=r"more than tensors.*take a checkpoint in safetensors"):
        load(copy, reads="verdict")
    assert not proof.exists()
    torch.load(shard, weights_only=False) if form != "pickle" else pickle.loads(shard.read_bytes())
    assert proof.exists()  # the positive control: opened carelessly, it does execute


def test_shards_of_pickles_are_refused_for_a_model_with_a_head(critic_folder):
    with pytest.raises(ValueError, match=r"no model\.safetensors.*\.bin files are pickles"):
        load(critic_folder, reads="next token")


def test_a_critic_in_safetensors_or_in_one_file_reads_alike(critic_folder, tmp_path):
    tensors = {}
    for path in sorted(critic_folder.glob("*.bin")):
        tensors |= torch.load(path, weights_only=True)
        shared = {"ignore": shutil.ignore_patterns("*.bin", "*.index.json")}
    single, safe = (tmp_path / name for name in ("single", "safe"))
    for folder in (single, safe):
        shutil.copytree(critic_folder, folder, **shared)
    torch.save(tensors, single / "pytorch_model.bin")
    write_tensors(safe, tensors)
    for folder in (single, safe):
        model = load(folder, reads="verdict")
        assert (model.verdict(PROMPT, *SIGNED), model.verdict(PROMPT, *SIGNED[::-1])) == (0, 1)


@pytest.mark.parametrize("change", ["missing", "mismatched"])
def test_a_critic_with_a_wrong_tensor_is_an_error(critic_folder, tmp_path, change):
    copy = Path(shutil.copytree(critic_folder, tmp_path / "critic"))
    tensors = {}
    for path in sorted(copy.glob("*.bin")):
        tensors |= torch.load(path, weights_only=True)
    head = tensors.pop("lm_head.weight")
    if change == "mismatched":
        tensors["lm_head.weight"] = head[:-1].clone()
    parts = split(tensors, 3, "pytorch_model", ".bin")
    for name, part in parts.items():
        torch.save(part, copy / name)
    write_index(copy / "pytorch_model.bin.index.json", parts)
    with pytest.raises(ValueError, match=rf"{change}_keys.*lm_head\.weight"):
        load(copy, reads="verdict")


def test_readings_and_dtypes_that_do_not_exist_name_those_that_do(critic_folder, folders):
    for reads in ("bogus", "scores", "Verdict"):
        with pytest.raises(
            ValueError, match=rf"reads must be one of \('next token', 'verdict'\).*'{reads}'"
        ):
            load(critic_folder, reads=reads)
    folder = folders["Skywork-Reward-Llama-3.1-8B-v0.2"]
    for dtype in ("float33", "int8", "torch.bool", "nn"):
        with pytest.raises(ValueError, match=r"dtype must be one of \('float64', .*'bfloat16'"):
            load(folder, dtype=dtype)
    for dtype in ("torch.bfloat16", torch.bfloat16, "bfloat16"):
        assert load(folder, dtype=dtype).backbone.identity["dtype"] == "bfloat16"


# TextEval, and any generative judge


def test_texteval_says_that_nothing_is_public_and_what_to_do():
    with pytest.raises(ValueError, match=r'nothing public.*load\(folder, reads="verdict"\)'):
        load("TextEval-Llama3.1-70B")


def test_a_folder_of_any_language_model_stands_in_for_texteval(critic_folder, tmp_path):
    folder = Path(shutil.copytree(critic_folder, tmp_path / "judge"))
    assert load(folder, reads="verdict").compare(PROMPT, *SIGNED[::-1]).preference == 1
    named = Path(shutil.copytree(critic_folder, tmp_path / "TextEval-Llama3.1-70B"))
    assert load(named).compare(PROMPT, *SIGNED[::-1]).preference == 1


def test_a_gemma_that_judges_is_loaded_as_gemma_never_as_llama(folders, tmp_path):
    folder = folders["Ray2333/GRM-Gemma-2B-rewardmodel-ft"]
    copy = spoilt(folder, tmp_path, **{"score.weight": None})
    judge = load(copy, reads="verdict")
    assert type(judge.backbone.transformer) is GemmaForCausalLM
    assert isinstance(judge.backbone.transformer.config, GemmaConfig)
    ids = torch.tensor([judge.backbone.chat.request_ids(PROMPT).ids])
    plain = AutoModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    with torch.inference_mode():
        state = plain(ids).last_hidden_state[0, -1]
        expected = read_tensors(folder)["model.embed_tokens.weight"].float() @ state
        logits = judge.backbone.transformer(ids).logits[0, -1]
    # float32 rounds by 6e-8 a step; sharp random attention magnifies that.
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-3 * expected.abs().max().item())
    assert judge.verdict(PROMPT, *UNSIGNED) in (0.0, 1.0, None)


# MetaMetrics

PUBLISHED = {
    "Skywork/Skywork-Reward-Llama-3.1-8B": 1.0,
    "internlm/internlm2-7b-reward": 0.54822,
    "internlm/internlm2-1_8b-reward": 0.22149,
    "Ray2333/GRM-Llama3-8B-rewardmodel-ft": 0.21878,
    "Ray2333/GRM-Gemma-2B-rewardmodel-ft": 0.11442,
}


def scaled_sum(scores: dict[str, list[float]], weights: dict[str, float]) -> list[float]:
    sums = [0.0] * len(next(iter(scores.values())))
    for name, weight in weights.items():
        low, high = min(scores[name]), max(scores[name])
        for place, value in enumerate(scores[name]):
            sums[place] += weight * (value - low) / (high - low)
    return sums


def test_metametrics_from_a_table_is_the_weighted_sum_of_scores_scaled_to_0_to_1():
    rng = np.random.default_rng(0)
    table = {name: (rng.normal(size=40) * 7 + 3).tolist() for name in PUBLISHED}
    told = Ensemble({}, WEIGHTS).weigh({name: np.array(each) for name, each in table.items()})
    np.testing.assert_allclose(told, scaled_sum(table, PUBLISHED), rtol=1e-12)
    assert 0 <= told.min() and told.max() <= sum(PUBLISHED.values())


def test_metametrics_with_the_limits_of_calibration_data_scores_each_response_alone():
    limits = dict.fromkeys(PUBLISHED, (-2.0, 6.0))
    ensemble = Ensemble({}, WEIGHTS, limits)
    together = ensemble.weigh({name: np.array([-2.0, 2.0, 8.0]) for name in PUBLISHED})
    np.testing.assert_allclose(together, np.array([0, 0.5, 1.25]) * sum(PUBLISHED.values()))
    assert ensemble.weigh({name: np.array([2.0]) for name in PUBLISHED})[0] == together[1]


def test_metametrics_names_the_members_that_are_unavailable():
    table = {name: np.array([0.0, 1.0]) for name in MEMBERS}
    with pytest.raises(ValueError, match=r"internlm2-1_8b-reward.*internlm2-7b-reward.*missing"):
        Ensemble({}, WEIGHTS).weigh(table)
    note = CATALOGUE["MetaMetrics-RM-v1.0"].note
    assert all(name.split("/")[1] in note for name in set(PUBLISHED) - set(MEMBERS))


def test_metametrics_live_is_the_weighted_sum_of_its_members_that_can_be_loaded(hub, folders):
    model = load("MetaMetrics-RM-v1.0", **EXACT)
    assert {each.repo for each in hub} == set(MEMBERS) == set(model.members)
    scores = {
        name: [
            reference.read(each, folders[name], turns)[1].item() for turns in CONVERSATIONS.values()
        ]
        for name, each in MEMBERS.items()
    }
    weights = {name: PUBLISHED[name] for name in MEMBERS}
    np.testing.assert_allclose(all_scores(model), scaled_sum(scores, weights), rtol=1e-6)
    assert model.kind == "score"


def test_metametrics_compares_by_the_larger_sum(hub):
    model = load("MetaMetrics-RM-v1.0")
    firsts, seconds = ["Eight.", "No.", "12 - 4 = 8."], ["Sixteen.", "Yes!", "Perhaps 8?"]
    outputs = model.compare_many([PROMPT] * 3, firsts, seconds)
    texts = [(PROMPT, each) for pair in zip(firsts, seconds, strict=True) for each in pair]
    pairs = model.scores(texts).reshape(-1, 2)
    assert [each.preference for each in outputs] == (pairs[:, 1] > pairs[:, 0]).astype(int).tolist()
    assert [each.scores for each in outputs] == pairs.tolist()
    assert model.compare_many([], [], []) == []


def test_metametrics_goes_on_without_the_pair_that_a_member_cannot_read(hub):
    model = load("MetaMetrics-RM-v1.0")
    prompts, firsts, seconds = [PROMPT] * 3, ["Eight.", "", "12 - 4 = 8."], ["No.", "Yes!", "8?"]
    with pytest.raises(ValueError, match="row 2: the response must be a text"):
        model.compare_many(prompts, firsts, seconds)
    with pytest.warns(UserWarning, match="row 2: the response must be"):
        outcomes = model.compare_many(prompts, firsts, seconds, on_error="record")
    kept = model.compare_many(prompts[::2], firsts[::2], seconds[::2])
    assert [outcomes[0].scores, outcomes[2].scores] == [each.scores for each in kept]
    assert outcomes[1].row == 1 and "response 1: no score of Skywork" in outcomes[1].reason


def test_responses_that_all_members_score_alike_are_a_tie_not_a_missing_number(hub):
    output = load("MetaMetrics-RM-v1.0").compare(PROMPT, "Eight.", "Eight.")
    assert (output.preference, output.probability, output.scores) == (0, 0.5, [0.0, 0.0])


# Templates


@pytest.mark.parametrize("template", [name for name in TEMPLATES if name.startswith("llama")])
def test_every_template_gives_one_bos(folders, tmp_path, template):
    copy = spoilt(folders["Skywork-Reward-Llama-3.1-8B-v0.2"], tmp_path)
    settings = json.loads((copy / "tokenizer_config.json").read_text())
    settings["chat_template"] = TEMPLATES[template]
    (copy / "tokenizer_config.json").write_text(json.dumps(settings))
    chat = load(copy).backbone.chat
    ids = chat.token_ids(PROMPT, "Eight.").ids
    assert list(ids) == reference.token_ids(copy, template, (PROMPT, "Eight."))
    assert ids.count(chat.tokenizer.bos_token_id) == 1
