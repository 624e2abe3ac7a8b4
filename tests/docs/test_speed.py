"""The numbers of docs/speed.md are those of the files in data/measured."""

import json

import pytest
from conftest import ROOT

MEASURED = ROOT / "data" / "measured"


def measured(name):
    return json.loads((MEASURED / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def page():
    return " ".join((ROOT / "docs" / "speed.md").read_text().split())


@pytest.mark.parametrize("shape", ["qwen3-8b", "mistral-7b", "llama-3.2-1b"])
def test_rates_are_the_fastest_rungs_in_sixteen_bits_at_the_hardwares_speed(page, shape):
    run = measured(f"extraction_{shape}")
    assert run["machine"]["device"] == "NVIDIA H200" and all(run["bit_for_bit"].values())
    rung = [rung for rung in run["rungs"] if "fp8" not in rung["rung"]][-1]
    rate = rung["tokens_per_second"]
    assert f"{round(rate, -2 if rate < 1e5 else -3):,.0f}" in page
    assert rung["hardware_mfu"] > 0.8


def test_the_times_of_a_short_pair_are_those_measured(page):
    run = measured("small_packs_llama-3.1-8b")
    small = run["default"]["100"]["median"]
    large = run["sizes"]["4096"]["compare"]["median"]
    assert f"{1000 * small:.0f} ms, and {1000 * large:.0f} ms in packs" in page


def test_no_way_of_float8_comes_within_twice_the_flips_of_bfloat16(page):
    changes = measured("float8_recipes")["changes"]
    flips = {
        name: [each["estimate"] for each in change["order_flips"].values()]
        for name, change in changes.items()
    }
    wide = flips.pop("bfloat16")
    eight = [each for values in flips.values() for each in values]
    assert all(max(values) > 2 * max(wide) for values in flips.values())
    assert f"in {100 * min(eight):.0f} to {100 * max(eight):.0f} of 100 pairs" in page
    assert f"bfloat16 in {100 * min(wide):.0f} to {100 * max(wide):.0f} " in page
