"""The ladder runs anywhere, measures what it says, and its committed results are whole."""

from __future__ import annotations

import json

import full_size
import large_model
import numpy as np
import pytest

from dtreward import benchmark
from dtreward.benchmark import SHAPES, measure, sample_conversations
from dtreward.engine.packing import plan_packs
from dtreward.study.throughput import read_measured

RESULTS = ("llama-3.1-8b", "gemma-2-27b")


def test_the_sample_has_helpsteer2s_lengths():
    """The means of the law, cut as it says: 4,000 draws of a lognormal are within 5 % of them."""
    ids, prompts = sample_conversations(4000, 1000, longest=10**6)
    shared = np.array(
        [np.argmin(a[: len(b)] == b[: len(a)]) for a, b in zip(*[iter(ids)] * 2, strict=True)]
    )
    assert abs(shared.mean() - 204) < 0.06 * 204  # two drawn tokens are alike once in a thousand
    assert abs(np.mean([len(each) for each in ids]) - shared.mean() - 338) < 0.05 * 338
    assert prompts[:4] == [0, 0, 1, 1]
    again, _ = sample_conversations(4000, 1000, longest=10**6)
    assert all(np.array_equal(*both) for both in zip(ids, again, strict=True))


@pytest.mark.parametrize("shape", ["tiny-llama", "tiny-gemma-2"])
def test_a_tiny_ladder_has_every_rung_of_a_cpu(shape):
    result = measure(shape, pairs=6, few=3, growth=2)
    rungs = [rung["rung"] for rung in result["rungs"]]
    assert rungs[0] == "one conversation at a time" and rungs[-1].endswith("last layer pruned")
    ids, prompts = sample_conversations(6, 1024, longest=1024)
    for rung, shared in ((result["rungs"][3], None), (result["rungs"][4], prompts)):
        plans = plan_packs(ids, 1024, shared)
        held = sum(plan.size for plan in plans)
        assert rung["hardware_mfu"] / rung["effective_mfu"] == pytest.approx(held / rung["tokens"])
        used = sum(unit.tokens for plan in plans for unit in plan.units)
        assert rung["fill"] == pytest.approx(used / held)
    sorted_batches = result["rungs"][2]
    lengths = sorted(
        len(each) for each in ids[:6]
    )  # three pairs in one batch, padded to the longest
    held = len(lengths) * lengths[-1] / sum(lengths)
    ratio = sorted_batches["hardware_mfu"] / sorted_batches["effective_mfu"]
    assert ratio == pytest.approx(held) and sorted_batches["conversations"] == 6
    assert all(rung["seconds"] > 0 and rung["effective_mfu"] > 0 for rung in result["rungs"])
    assert all(result["bit_for_bit"].values())
    assert [each["pairs"] for each in result["growth"]] == [6, 12]


@pytest.mark.parametrize("name", RESULTS)
def test_a_committed_result_names_its_device_and_was_bit_for_bit_the_same(root, name):
    result = json.loads((root / "data" / "measured" / f"extraction_{name}.json").read_text())
    assert result["shape"] == name and result["pairs"] >= 500 and name in SHAPES
    assert {"device", "torch", "transformers"} <= set(result["machine"])
    assert all(result["bit_for_bit"].values())
    rungs = result["rungs"]
    times = [rung["seconds"] / rung["tokens"] for rung in rungs[2:]]
    assert times[-1] == min(times) and times[-2] == min(times[:-1])  # fp8, then bf16's best


def test_a_sharded_model_with_random_weights_loads_and_scores(tmp_path):
    """Here a tiny one; `python tests/large_model.py gemma-2-27b ...` is for a GPU of 80 GB."""
    told = large_model.measure("tiny-gemma-2", tmp_path / "model")
    assert told["alone_same_bits"] and np.isfinite(told["scores"]).all()
    assert told["bytes"] > 0 and len(told["scores"]) == 8


@pytest.mark.slow  # a minute or two; the small demo study runs the same notebooks
def test_the_full_size_rehearsal_runs_with_a_tiny_model(tmp_path):
    """Here on 60 pairs; its texts have no spaces, and its model's folder names no licence."""
    full_size.main("tiny-llama", tmp_path / "made", tmp_path / "result.json", "60")
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result["costs"]) == full_size.NOTEBOOKS
    assert all(cost["seconds"] > 0 and cost["gb"] > 0 for cost in result["costs"].values())
    assert result["extraction"]["responses"] == 120 and result["extraction"]["bit_for_bit"]
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--pairs", "0"], "expected 4 pairs or more"),
        (["--few", "-3"], "expected 4 pairs or more"),
        (["--pack_tokens", "100"], "multiple of 32"),
        (["--growth", "-1"], "no growth below 0"),
        ([], "cannot write to"),
    ],
)
def test_what_the_benchmark_cannot_do_is_said_before_it_measures(
    words, told, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(benchmark, "measure", lambda *_, **__: pytest.fail("it measures"))
    place = tmp_path / "result.json" if words else tmp_path
    with pytest.raises(SystemExit):
        benchmark.main(["tiny-llama", str(place), *words])
    assert told in capsys.readouterr().err and not [*tmp_path.iterdir()]


def test_few_pairs_are_read_at_every_rung(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "measure", lambda shape, **options: options)
    benchmark.main(["tiny-llama", str(tmp_path / "new" / "result.json"), "--pairs", "9"])
    assert json.loads((tmp_path / "new" / "result.json").read_text())["few"] == 9


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", '{"shape": '])
def test_a_file_that_the_benchmark_did_not_write_is_named(text, tmp_path):
    (tmp_path / "growth_a.json").write_text(text)
    assert read_measured(tmp_path, "extraction") == ([], {})
    with pytest.raises(ValueError, match=r"growth_a.json is no result of the benchmark"):
        read_measured(tmp_path, "growth")
