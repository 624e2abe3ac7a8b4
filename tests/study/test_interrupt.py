"""Ctrl-C in a long cell, as JupyterLab sends it: what is done stays, and the next run goes on."""

import json
import sqlite3
import time
from contextlib import closing
from queue import Empty

import nbformat
import pytest
from conftest import ROOT
from jupyter_client.manager import KernelManager

from dtreward.demo.world import make_pairs
from dtreward.pairs.frame import load_pairs

PATIENCE = 180  # seconds for one cell


class Kernel:
    """A real kernel in notebooks/, as JupyterLab starts one, whose cells can be interrupted."""

    def __init__(self, folder):
        self.manager = KernelManager(kernel_name="python3", transport="ipc", ip=str(folder / "k"))
        self.manager.start_kernel(cwd=str(ROOT / "notebooks"))
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)

    def run(self, source, interrupt_when=None):
        """Run a cell; send SIGINT once a condition holds; give the error's name and what it printed."""
        asked, printed, error, sent = self.client.execute(source), [], None, False
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if interrupt_when and not sent and interrupt_when():
                self.manager.interrupt_kernel()  # SIGINT, to the kernel and what it started
                sent = True
            try:
                message = self.client.get_iopub_msg(timeout=0.05)
            except Empty:
                continue
            if message["parent_header"].get("msg_id") != asked:
                continue
            kind, content = message["msg_type"], message["content"]
            printed.append(content.get("text", ""))
            error = content["ename"] if kind == "error" else error
            if kind == "status" and content["execution_state"] == "idle":
                return error, "".join(printed)
        raise TimeoutError(f"no end of a cell within {PATIENCE} s: {source[:200]}")

    def value(self, expression):
        """Give a value of the kernel that JSON holds."""
        error, text = self.run(f"import json as _j; print(_j.dumps({expression}))")
        assert error is None, text
        return json.loads(text)


@pytest.fixture
def kernel(tmp_path):
    one = Kernel(tmp_path)
    yield one
    one.client.stop_channels()
    one.manager.shutdown_kernel(now=True)


@pytest.fixture
def pairs(tmp_path):
    """Pairs of the demo world in the folder of a study named `halted`."""
    (tmp_path / "halted").mkdir()
    frame = load_pairs(make_pairs(seed=0), limit=300).frame
    frame.to_parquet(tmp_path / "halted" / "pairs.parquet", index=False)
    return frame


def cells(name, **parameters):
    """A notebook's code cells, with parameters behind those of its own."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    code[0] += "".join(f"\n{key} = {value!r}" for key, value in parameters.items())
    return code


def first_with(code, word):
    return next(place for place, source in enumerate(code) if word in source)


def stopped_before(kernel, code, word):
    """Run the cells before the first with this word; give that one and those behind it."""
    long = first_with(code, word)
    for source in code[:long]:
        assert kernel.run(source)[0] is None
    return code[long:]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_ablation_keeps_its_trees_and_grows_only_the_others(
    kernel, pairs, tmp_path, jobs
):
    own = {"study": "halted", "data_dir": str(tmp_path), "model": "", "jobs": jobs, "limit": 300}
    code = cells("05_ablate_depth_and_leaves", **own, bootstraps=10, shuffles=6, resamples=500)
    long = first_with(code, "finish(measured")
    for source in code[:long]:
        assert kernel.run(source)[0] is None
    begun = tmp_path / "begun"  # a letter a block, so that the test knows when to interrupt
    slower = f"""def measure_sizes(*block, _fast=measure_sizes, **options):
    from time import sleep
    sleep(0.2)
    with open({str(begun)!r}, "a") as file:
        file.write("x")
    return _fast(*block, **options)"""
    assert kernel.run(slower)[0] is None
    error, _ = kernel.run(code[long], lambda: begun.exists() and begun.stat().st_size >= 4)
    assert error == "KeyboardInterrupt"
    done, total = kernel.value("[len(measured), len(blocks)]")
    assert 0 < done < total
    assert kernel.run("before = dict(measured)")[0] is None
    error, text = kernel.run(code[long])
    assert error is None, text
    assert kernel.value("[len(measured), all(measured[k] is v for k, v in before.items())]") == [
        total,
        True,
    ]
    for source in code[long + 1 :]:
        error, text = kernel.run(source)
        assert error is None, text
    assert (tmp_path / "halted" / "05_ablate_depth_and_leaves.json").exists()


def test_an_interrupted_collection_keeps_its_answers_and_asks_only_the_others(
    kernel, pairs, tmp_path
):
    own = {"study": "halted", "data_dir": str(tmp_path), "judged": 300, "limit": 300}
    code = cells("06_collect_judge_preferences", **own, resamples=200)
    long = first_with(code, "run = collect(")
    store = tmp_path / "halted" / "judges.sqlite"
    for source in code[:long]:
        assert kernel.run(source)[0] is None
    started = time.monotonic()
    error, _ = kernel.run(code[long], lambda: store.exists() and time.monotonic() > started + 1.5)
    assert error == "KeyboardInterrupt"
    with closing(sqlite3.connect(store)) as database:
        (kept,) = database.execute("SELECT count(*) FROM answers").fetchone()
        before = set(database.execute("SELECT judge, shown, state, text FROM answers"))
    questions = 2 * kernel.value("len(asked) * len(panel)")
    assert 0 < kept < questions
    error, text = kernel.run(code[long])
    assert error is None and f"{questions - kept:,} new answers" in text, text
    with closing(sqlite3.connect(store)) as database:
        assert before <= set(database.execute("SELECT judge, shown, state, text FROM answers"))
    for source in code[long + 1 :]:
        error, text = kernel.run(source)
        assert error is None, text
    assert (tmp_path / "halted" / "judges.parquet").exists()


def test_an_interrupted_extraction_keeps_its_shards_and_computes_only_the_others(
    kernel, pairs, tmp_path
):
    own = {"study": "halted", "data_dir": str(tmp_path), "pack_tokens": 512}
    code = cells("02_extract_features", **own)
    rest = stopped_before(kernel, code, "manifest = extract_features(")

    def shards():
        return sorted((tmp_path / "halted" / "features").glob("*/[!.]*.safetensors"))

    error, _ = kernel.run(rest[0], lambda: len(shards()) >= 2)
    assert error == "KeyboardInterrupt"
    kept = {path: path.stat().st_mtime_ns for path in shards()}
    for source in rest:
        error, text = kernel.run(source)
        assert error is None, text
    assert len(shards()) > len(kept) >= 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    record = json.loads((tmp_path / "halted" / "02_extract_features.json").read_text())
    assert record["numbers"]["resumed"] and all(claim["held"] for claim in record["claims"])


def test_an_interrupted_bench_keeps_its_parts_and_asks_only_about_the_others(kernel, tmp_path):
    own = {"study": "halted", "data_dir": str(tmp_path), "models": ["../data/demo"]}
    code = cells("09_evaluate_rewardbench", **own, resamples=100)
    rest = stopped_before(kernel, code, "evaluate_or_say_why(model")

    def parts():
        return sorted((tmp_path / "halted" / "rewardbench").glob("*.parts/[!.]*.parquet"))

    error, _ = kernel.run(rest[0], lambda: len(parts()) >= 1)
    assert error == "KeyboardInterrupt"  # and not a row of a model that failed
    kept = len(parts())
    counting = """from dtreward.benches import evaluation as bench_module
rows_asked, judge_all = [], bench_module.judge
def judge_counted(model, rows):
    rows_asked.append(len(rows))
    return judge_all(model, rows)
bench_module.judge = judge_counted"""
    assert kernel.run(counting)[0] is None
    for source in rest:
        error, text = kernel.run(source)
        assert error is None, text
    assert kernel.value("len(bench) - sum(rows_asked)") == 64 * kept
    assert kept and not parts() and not kernel.value("list(failed)")
    assert (tmp_path / "halted" / "09_table.csv").exists()
