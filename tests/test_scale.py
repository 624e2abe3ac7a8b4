"""A million pairs on one machine: the full measurement is slow (pytest -m slow), its parts are not."""

import sys

import pandas as pd
import pytest
from scale import NOTEBOOKS, PANEL, make_judges, make_table, measure, run_measured

from dtreward.judges.agreement import consistency
from dtreward.pairs.frame import load_pairs


def test_the_measured_table_is_read_whole_and_judges_are_as_consistent_as_told(tmp_path):
    make_table(3000).to_parquet(tmp_path / "pairs.parquet")
    pairs = load_pairs(tmp_path / "pairs.parquet")
    assert pairs.counts["pairs"] == pairs.counts["prompts"] == 3000
    assert pairs.counts["duplicates"] == pairs.counts["unreadable"] == 0
    found = consistency(make_judges(pairs.frame))["consistency"]
    for judge, share in PANEL.items():  # five standard errors of 3,000 pairs
        assert abs(found[judge] - share) < 5 * (share * (1 - share) / 3000) ** 0.5


def test_memory_and_processor_of_children_are_counted():
    child = "x = bytearray(300_000_000)\nimport time\nend = time.process_time() + 1.5\n"
    child += "while time.process_time() < end: x[::4096] = x[::4096]"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    cost = run_measured([sys.executable, "-c", parent])
    assert 0.3 <= cost["gb"] < 0.6 and 1 <= cost["cpu_seconds"] <= cost["seconds"] + 0.5


@pytest.mark.slow
def test_a_million_pairs_take_eight_gigabytes_and_eleven_times_what_a_tenth_takes(tmp_path):
    few, many = (measure(tmp_path, pairs, {"jobs": 1}) for pairs in (100_000, 1_000_000))
    table = pd.concat({"few": pd.DataFrame(few).T, "many": pd.DataFrame(many).T})
    assert set(few) == set(many) == set(NOTEBOOKS)
    assert (table.loc["many", "gb"] <= 8).all(), table
    assert (table.loc["many", "cpu_seconds"] <= 11 * table.loc["few", "cpu_seconds"]).all(), table
