"""Which token a head reads: each rule scores as its trainer does, and is found by what trainers leave."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from replicas import make_replica, read_tensors
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from dtreward.models.load_checkpoint import judge
from dtreward.models.loader import load

TEXTS = [
    ("2 + 2?", "4, because two and two are four."),
    ("2 + 2?", "Five.\n"),
    ("Is it <|eot_id|>?", "It is<|eot_id|><|eot_id|>"),
]
END = "<|eot_id|>"  # with which the template ends a response
EXACT = {"dtype": torch.float64, "attn_implementation": "eager"}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A sequence classifier whose pad token is another than the end of a response."""
    return make_replica(tmp_path_factory.mktemp("models") / "classifier")


@pytest.fixture(scope="module")
def trapped(classifier):
    """The same, where responses are padded with the token that ends them, as TRL does for Llama 3."""
    folder = classifier.with_name("trapped")
    shutil.copytree(classifier, folder)
    number = tokenizer_of(folder).convert_tokens_to_ids(END)
    edit(folder / "config.json", pad_token_id=number)
    edit(folder / "tokenizer_config.json", pad_token=END)
    return folder


def edit(path, **entries):
    settings = json.loads(path.read_text()) | entries
    path.write_text(json.dumps(settings))


def changed(folder, target, **entries):
    """Copy a checkpoint with other entries in its config.json."""
    shutil.copytree(folder, target)
    edit(target / "config.json", **entries)
    return target


def tokenizer_of(folder):
    return AutoTokenizer.from_pretrained(folder)


def rendered(folder, prompt, response):
    """Write a conversation by the folder's template; a response loses its last line breaks."""
    turns = [("user", prompt), ("assistant", response.rstrip("\n"))]
    messages = [{"role": role, "content": text} for role, text in turns]
    return tokenizer_of(folder).apply_chat_template(messages, tokenize=False)


def ids_of(folder, text):
    tokenizer = tokenizer_of(folder)
    return [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"]]


def score_at_end(folder, ids):
    """Score the last of some tokens by plain transformers."""
    model = AutoModel.from_pretrained(folder, **EXACT).eval()
    with torch.inference_mode():
        state = model(torch.tensor([ids])).last_hidden_state[0, -1]
    return (read_tensors(folder)["score.weight"].double() @ state).item()


def test_the_rule_of_transformers_scores_as_its_sequence_classifier(trapped):
    model = load(trapped, pooling="last_not_pad", dtype="float64")
    plain = AutoModelForSequenceClassification.from_pretrained(
        trapped, num_labels=1, **EXACT
    ).eval()
    scores = []
    for prompt, response in TEXTS:
        ids = ids_of(trapped, rendered(trapped, prompt, response))
        padded = torch.tensor([ids + [plain.config.pad_token_id] * 5])
        with torch.inference_mode():
            scores.append(plain(padded).logits.item())
    # Both are float64, but for transformers' softmax, which is float32.
    np.testing.assert_allclose(model.scores(TEXTS), scores, rtol=1e-5)
    last = load(trapped, pooling="last", dtype="float64").scores(TEXTS)
    assert (np.abs(last - scores) > 0.01 * np.abs(scores)).all()  # the positive control


def test_the_rule_of_openrlhf_scores_at_the_end_of_sequence_token(classifier, tmp_path):
    eos = tokenizer_of(classifier).pad_token  # a token that the template does not write
    other = shutil.copytree(classifier, tmp_path / "other")
    edit(other / "tokenizer_config.json", eos_token=eos)
    for folder, ending in ((classifier, ""), (other, f" {eos}")):
        model = load(folder, pooling="eos", dtype="float64")
        expected = []
        for prompt, response in TEXTS:
            text = rendered(folder, prompt, response).rstrip("\n")
            expected.append(score_at_end(folder, ids_of(folder, text + ending)))
        np.testing.assert_allclose(model.scores(TEXTS), expected, rtol=1e-5)


def test_the_rule_of_an_appended_token_scores_at_that_token(classifier):
    model = load(classifier, pooling="appended:7", dtype="float64")
    expected = [
        score_at_end(classifier, [*ids_of(classifier, rendered(classifier, *text)), 7])
        for text in TEXTS
    ]
    np.testing.assert_allclose(model.scores(TEXTS), expected, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["last", "last_not_pad", "eos", "appended:7"])
def test_company_changes_nothing_whatever_token_is_read(trapped, pooling):
    model = load(trapped, pooling=pooling)
    together = model.scores(TEXTS)
    assert np.array_equal([model.scores([text])[0] for text in TEXTS], together)


@pytest.mark.parametrize("pooling", ["last", "last_not_pad", "eos", "appended:7"])
def test_a_cut_conversation_keeps_its_length_and_the_token_that_is_read(trapped, pooling):
    long = ("Count. " * 40, "4")
    whole = load(trapped, pooling=pooling).backbone.chat.token_ids(*long).ids
    options = {"max_length": len(whole) - 9, "too_long": "cut_prompt_start"}
    cut = load(trapped, pooling=pooling, **options).backbone.chat.token_ids(*long)
    assert (len(cut.ids), cut.cut) == (len(whole) - 9, 9)
    assert cut.ids[-6:] == whole[-6:] and cut.ids[:4] == whole[:4]


def test_the_rule_is_part_of_the_identity_unless_the_last_token_is_read(trapped):
    last, other = (load(trapped, pooling=rule) for rule in ("last", "last_not_pad"))
    pad = json.loads((trapped / "config.json").read_text())["pad_token_id"]
    assert other.identity["backbone"]["pooling"] == f"last_not_pad:{pad}"
    # Results of the time when every model was read at its last token stay valid.
    assert "pooling" not in last.identity["backbone"]
    assert other.backbone.again(device="cpu").chat.pooling == f"last_not_pad:{pad}"


# What a folder tells


def rule_of(folder, **options):
    return load(folder, **options).backbone.chat.pooling


def test_where_pads_end_no_response_all_trainers_read_the_last_token(classifier):
    assert rule_of(classifier) == rule_of(classifier, pooling="last_not_pad") == "last"


def test_where_a_response_ends_in_the_pad_token_the_caller_is_asked(trapped):
    with pytest.raises(ValueError, match="trainers differ") as caught:
        load(trapped)
    assert "pooling='last_not_pad'" in str(caught.value) and "pooling='last'" in str(caught.value)
    assert f"its pad token is {END!r}" in str(caught.value)


def test_a_checkpoint_is_judged_alike_without_its_weights(classifier, trapped):
    assert judge(classifier, classifier).problems == {}
    problems = judge(trapped, trapped).problems
    assert list(problems) == ["pooling"] and "trainers differ" in problems["pooling"]


CARD = "---\nlibrary_name: transformers\ntags:\n- generated_from_trainer\n- trl\n- reward-trainer\n---\n"


def test_a_card_of_trls_trainer_tells_that_pads_are_left_out(trapped, tmp_path):
    folder = changed(trapped, tmp_path / "model", transformers_version="4.52.3")
    (folder / "README.md").write_text(CARD)
    assert rule_of(folder).startswith("last_not_pad:")
    assert rule_of(folder, pooling="last") == "last"
    # Older versions read the token before the first pad, which may be the end of the prompt.
    older = changed(folder, tmp_path / "older", transformers_version="4.45.2")
    with pytest.raises(ValueError, match="trainers differ"):
        load(older)


@pytest.mark.parametrize("card", ["---\ntags: [\n---\n", "---\n- 1\n---\n", "", "\x00"])
def test_a_card_that_says_nothing_is_no_hint(trapped, tmp_path, card):
    folder = changed(trapped, tmp_path / "model", transformers_version="4.52.3")
    (folder / "README.md").write_text(card)
    with pytest.raises(ValueError, match="trainers differ"):
        load(folder)


@pytest.mark.parametrize(
    ("entries", "rule"),
    [
        ({"value_head_prefix": "score"}, "eos"),
        ({"reward_token_id": 7}, "appended:7"),
        ({"bos_rule": "one"}, "last"),
        ({"pooling_rule": "appended:9", "value_head_prefix": "score"}, "appended:9"),
    ],
)
def test_entries_that_trainers_leave_in_the_configuration_tell_the_rule(
    trapped, tmp_path, entries, rule
):
    assert rule_of(changed(trapped, tmp_path / "model", **entries)) == rule


def test_athene_reads_the_cls_token_of_its_tokenizer(classifier, tmp_path):
    athene = {"architectures": ["AtheneForSequenceClassification"]}
    folder = changed(classifier, tmp_path / "model", **athene)
    with pytest.raises(ValueError, match=r'has none; pass pooling="appended:ID"'):
        load(folder)
    token = tokenizer_of(folder).pad_token
    edit(folder / "tokenizer_config.json", cls_token=token)
    number = tokenizer_of(folder).convert_tokens_to_ids(token)
    assert rule_of(folder) == f"appended:{number}"


def test_a_rule_that_cannot_be_followed_is_an_error_that_says_why(classifier, tmp_path):
    with pytest.raises(
        ValueError, match=r"pooling must be one of last, .*did you mean 'appended:7'"
    ):
        load(classifier, pooling="apended:7")
    with pytest.raises(ValueError, match="did you mean 'last_not_pad'"):
        load(classifier, pooling="last_nonpad")
    with pytest.raises(ValueError, match=r"the id 99999, but the model's embedding has"):
        load(classifier, pooling="appended:99999").scores(TEXTS)
    no_pad = changed(classifier, tmp_path / "model", pad_token_id=None)
    with pytest.raises(ValueError, match="needs the pad token"):
        load(no_pad, pooling="last_not_pad")
    wrong = changed(classifier, tmp_path / "wrong", pooling_rule=["last"])
    with pytest.raises(ValueError, match=r"pooling must be one of last, .*came .*last"):
        load(wrong)
    with pytest.raises(ValueError, match="has no head; leave one of them out"):
        load(classifier, pooling="eos", reads="verdict")
