"""Files that earlier code made are read, and nothing in them is computed or asked again."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from safetensors.numpy import load_file

from dtreward.benches import evaluation
from dtreward.benches.evaluation import evaluate
from dtreward.engine.features import extract_features, read_features
from dtreward.judges.ask import collect
from dtreward.judges.judge import Judge
from dtreward.judges.store import stored_answers
from dtreward.models.loader import load
from dtreward.tree.tree import PreferenceTree

KEPT = ROOT / "tests" / "fixtures" / "before_rooms"


@pytest.fixture
def kept(tmp_path):
    """A copy of the kept files, which a test may write to."""
    return shutil.copytree(KEPT, tmp_path / "kept")


@pytest.fixture
def pairs():
    """The pairs that the files are about."""
    return pd.read_parquet(KEPT / "pairs.parquet")


@pytest.fixture
def model():
    """The demo model, with the versions of libraries that the files were made with.

    Other versions change the identity on purpose; here only the project's own code is tested.
    """
    model = load(ROOT / "data" / "demo", device="cpu", max_length=1024)
    key = json.loads((KEPT / "features" / "manifest.json").read_text())["key"]
    versions = {name: key[name] for name in ("torch", "transformers")}
    backbone = replace(model.backbone, identity=model.backbone.identity | versions)
    return replace(model, backbone=backbone)


def conversations_of(pairs):
    """List the six conversations in the order of the features' rows."""
    texts = zip(pairs["prompt"], pairs["response_1"], pairs["response_2"], strict=True)
    return [(prompt, response) for prompt, *responses in texts for response in responses]


def test_features_are_read_and_no_shard_is_made_again(kept, pairs, model):
    conversations = conversations_of(pairs)
    before = {path.name: path.stat().st_mtime_ns for path in (kept / "features").glob("*.safe*")}
    extract_features(model.backbone, conversations, kept / "features", shard_size=1, progress=False)
    after = {path.name: path.stat().st_mtime_ns for path in (kept / "features").glob("*.safe*")}
    assert before and after == before
    features = read_features(kept / "features", conversations)
    np.testing.assert_allclose(features, model.features(conversations), atol=1e-4)


def test_bench_results_are_read_without_asking_the_model(kept, model, monkeypatch):
    monkeypatch.setattr(evaluation, "judge", lambda *_: pytest.fail("the model was asked"))
    bench = pd.read_parquet(kept / "bench.parquet")
    # The demo's leaves have been softened since: another tree would rightly be asked again.
    model = replace(model, tree=PreferenceTree.load(kept / "demo_decision_tree.json"))
    results = evaluate(model, bench, kept / "bench_results.parquet")
    assert len(results) == 3


def test_stored_answers_of_judges_are_not_asked_for_again(kept, pairs):
    judge = Judge("tiny", "tiny-model", "http://127.0.0.1:9/v1", logprobs=False)
    collected = collect(kept / "judges.sqlite", pairs, [judge])
    assert collected.requests == 0 and collected.missing == {"tiny": 0}
    assert list(stored_answers(kept / "judges.sqlite", [judge])["state"]) == ["A"] * 6


def test_probe_and_tree_are_read():
    tree = PreferenceTree.load(KEPT / "tree.json")
    assert load_file(KEPT / "probe.safetensors")["weight"].shape == (len(tree.attributes), 192)


def test_the_text_of_a_head_that_enters_identities_is_the_recorded_one(model):
    recorded = json.loads((KEPT / "head_identity.json").read_text())
    assert model.head.identity_text() == recorded["string"]
    assert model.identity["head"] == recorded["head"]
