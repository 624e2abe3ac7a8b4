"""The real studies run: every notebook of both, on small copies of what they download.

The command is the user's own: preflight, then snakemake, with the cache of the hub's client in place
and the network off. Overridden are the device (what `SET=device=cpu` does for a user too) and the
numbers of processes, resamples, bootstraps, shuffles and of pairs that are timed, to be quick. The weights are random, so that claims
need not hold: they must be recorded so, and stop nothing.
"""

import json
import os
import re
import subprocess
import sys
from html import unescape

import nbformat
import pandas as pd
import pytest
import yaml
from conftest import ROOT, snakemake
from hub_cache import JUDGES, commit_of, fill_cache
from studies import finished

from dtreward import load
from dtreward.benches.rewardbench import WEIGHTS
from dtreward.pairs.columns import TEXTS
from dtreward.study.chapters import outputs_of

GIVEN = ["device=cpu", "jobs=1", "resamples=20", "bootstraps=2", "shuffles=2", "pairs=4"]
GIVEN += ["random_backbone=20", "sweep=1"]
TRAIN, VALIDATION = 90, 30


def preflight(folder, study):
    command = [sys.executable, "-m", "dtreward.cli", "preflight", f"study={study}", *GIVEN]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """An empty home of the hub's client, and no network."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(home))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield home


GEMMA = pytest.param("paper-gemma-27b", marks=pytest.mark.slow)  # four minutes of CI's thirty


@pytest.fixture(scope="module", params=["paper-llama-8b", GEMMA])
def real(request, workshop, offline, tmp_path_factory):
    """One real study, run from nothing: its YAML, its folder, the commits of what it read."""
    study = yaml.safe_load((ROOT / "notebooks/studies" / f"{request.param}.yaml").read_text())
    downloads, scratch = study["needs"]["downloads"], tmp_path_factory.mktemp("scratch")
    assert preflight(workshop, request.param).returncode == 1  # nothing is there yet
    commits = fill_cache(offline, scratch, downloads, list(WEIGHTS.index), (TRAIN, VALIDATION))
    done = preflight(workshop, request.param)
    assert done.returncode == 0, done.stderr
    done = snakemake(workshop, f"study={request.param}", *GIVEN, options=["--resources", "gpu=1"])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert_models_run_alone(done.stdout + done.stderr)
    return study, workshop / "data" / request.param, commits


def assert_models_run_alone(log):
    """A card of the stated size holds one model: those notebooks must not run side by side."""
    running = set()
    for name, what in re.findall(r"(?m)^   (\w+) (runs|is done)", log):
        if name[:2] in ("00", "02", "03", "04", "09"):
            (running.add if what == "runs" else running.remove)(name)
            assert len(running) < 2, running
    assert "   09_evaluate_rewardbench runs" in log and not running


def record(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def test_every_notebook_runs_and_what_does_not_hold_is_recorded_and_stops_nothing(real):
    study, folder, _ = real
    assert finished(folder) == sorted(study["notebooks"])
    claims = [claim for name in study["notebooks"][:4] for claim in record(folder, name)["claims"]]
    assert {claim["held"] for claim in claims} == {True, False, None}
    for name in study["notebooks"]:
        notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
        text = json.dumps(notebook)
        assert "Traceback" not in text and str(folder.parent) not in text


def test_nothing_that_a_real_study_shows_or_records_speaks_of_the_demo_world(real):
    study, folder, _ = real
    for name in study["notebooks"]:
        cells = nbformat.read(folder / f"{name}.ipynb", as_version=4).cells
        shown = json.dumps([cell.get("outputs") for cell in cells]).lower()
        shown = shown.replace("demo worlds", "")  # on which the rule of recurrence was measured
        assert "demo world" not in shown and "demo bench" not in shown, name
    for path in [*folder.glob("*.json"), *folder.glob("09_table.*"), *folder.glob("paper/*.tex")]:
        assert "demo world" not in path.read_text().lower(), path.name
    assert "Demo world" not in (folder / "checkpoint" / "README.md").read_text()


def test_no_notebook_of_a_real_study_shows_a_text_of_its_pairs(real):
    study, folder, _ = real
    frame = pd.read_parquet(folder / "pairs.parquet")
    texts = {text.strip()[:20] for text in frame[TEXTS].to_numpy().ravel()}
    beginnings = [text for text in texts if len(text) > 10]
    assert len(beginnings) > 50
    for name in study["notebooks"]:
        if name != "00_compare_two_responses":  # shows a published example
            for output in outputs_of(nbformat.read(folder / f"{name}.ipynb", as_version=4)):
                shown = [output.get("text", ""), *output.get("data", {}).values()]
                text = unescape(" ".join(str(part) for part in shown))
                assert not [one for one in beginnings if one in text], name


def test_every_record_names_the_commits_of_what_was_read(real):
    study, folder, commits = real
    own = {
        name: record(folder, name)["provenance"]["parameters"] for name in study["notebooks"][:2]
    }
    model = study["parameters"]["model"]
    assert own["01_load_pairs"]["revision"] == commits["nvidia/HelpSteer2"]
    assert own["02_extract_features"]["model_revision"] == commits[model]
    judges = record(folder, "06_collect_judge_preferences")["provenance"]["parameters"]
    assert judges["judges_revision"] == commits["RLHFlow/LLM-Preferences-HelpSteer2"]
    bench = record(folder, "09_evaluate_rewardbench")["provenance"]["parameters"]
    assert bench["bench_revision"] == commits["allenai/reward-bench"]
    assert bench["revisions"].items() <= commits.items() and model in bench["revisions"]


def test_published_numbers_stand_beside_those_that_are_reproduced(real):
    study, folder, _ = real
    lines = (folder / "paper" / "table_reproduced.md").read_text().split("\n\n")[0].split("\n")
    kinds = {line.strip("| ").split(" | ")[0].strip() for line in lines[2:]}
    backbone = "Gemma-2-27B" if "gemma" in study["parameters"]["study"] else "Llama-3.1-8B"
    of_trees = ("Human", "GPT-4o", "Llama-3.1-8B", f"Decision-Tree-Reward-{backbone}")
    assert kinds >= {f"tree of {name}, threshold" for name in of_trees}
    assert kinds >= {"share of a rating", "correlation of ratings", "consistency, %", "importance"}
    claims = [one["sentence"] for one in record(folder, "99_draw_paper_figures")["claims"]]
    assert any(
        f"of {len(lines) - 2} published numbers lie in the interval" in one for one in claims
    )


def test_odd_rows_of_helpsteer2_are_dropped_or_kept_and_counted(real):
    _, folder, _ = real
    counts = record(folder, "01_load_pairs")["numbers"]["counts"]
    odd = {"repeated pairs": 1, "duplicates": 0, "prompt in a later split": 1}
    odd |= {"unreadable": 2, "identical responses": 1, "preferences without ratings": 1}
    odd |= {"unpaired responses": 2}
    assert odd.items() <= counts.items()
    frame = pd.read_parquet(folder / "pairs.parquet")
    assert frame["prompt"].str.contains("<extra_id_1>").sum() >= (TRAIN + VALIDATION) / 3
    assert frame["prompt"].str.contains("数学").any()
    assert (frame["split"] == "test").sum() == VALIDATION + 1
    nobody = (TRAIN + VALIDATION) // 8 * 2  # of strength zero, or never asked
    assert frame["preference"].isna().sum() == pytest.approx(nobody, abs=3)


def test_judges_are_read_in_either_order_and_people_are_none_of_them(real):
    _, folder, _ = real
    votes = pd.read_parquet(folder / "judges.parquet")
    assert set(votes["judge"]) == set(JUDGES)
    pairs = pd.read_parquet(folder / "pairs.parquet")
    people = pairs["preference"].reindex(votes["pair"]).to_numpy(float)
    both = votes.assign(people=people).dropna(subset=["preference", "people"])
    alike = (both["preference"] == both["people"]).groupby(both["judge"]).mean()
    assert alike["GPT-4o"] > 0.7  # 0.85 was planted; a mistaken order would give one half
    kept = pd.read_parquet(folder / "07_judges.parquet").set_index("judge")["dropped"]
    assert kept["Mistral-7B-v0.3"] and not kept["GPT-4o"]


def test_the_bench_asks_the_studys_checkpoint_and_the_published_models_and_none_fails(real):
    study, folder, _ = real
    table = pd.read_csv(folder / "09_table.csv")
    measured = set(table.loc[table["row"].isin(["measured", "baseline"]), "model"])
    own = f"{study['parameters']['study']}/checkpoint"
    names = {entry.split("/")[1] for entry in study["09_evaluate_rewardbench"]["models"][1:]}
    assert measured == names | {own, "longest response", "shortest response"}
    assert not table["row"].str.startswith("failed").any()
    results = folder / "rewardbench" / f"{own.replace('/', '_')}.parquet"
    assert len(pd.read_parquet(results)) == 3 * len(WEIGHTS)  # the raw split has a row more


def test_the_checkpoint_carries_licence_and_data_set_and_links_the_backbones_weights(real, offline):
    study, folder, _ = real
    model = load(folder / "checkpoint", device="cpu")
    assert model.kind == "decision-tree" and len(model.attributes) == 5
    card = yaml.safe_load((folder / "checkpoint/README.md").read_text().split("---")[1])
    assert card["license_name"] == "skywork-community-license"
    assert card["base_model"] == study["parameters"]["model"]
    assert card["datasets"] == ["nvidia/HelpSteer2"]
    first = folder / "checkpoint" / "model-00001-of-00002.safetensors"
    if os.stat(offline).st_dev == os.stat(folder).st_dev:
        assert first.stat().st_nlink == 2  # no second copy of 15 or 54 GB


def test_the_published_tree_beside_ours_is_that_of_the_same_backbone(real):
    study, folder, _ = real
    (published,) = (folder / "figures").glob("04_published_Decision*.png")
    assert (
        study["parameters"]["model"]
        .split("Reward-")[1]
        .startswith(published.stem.split("Reward-")[1])
    )


def test_a_second_run_does_nothing_and_a_changed_repository_is_refused(real, workshop, offline):
    study, folder, commits = real
    again = snakemake(workshop, f"study={folder.name}", *GIVEN)
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr
    model = study["parameters"]["model"]
    main = offline / "hub" / f"models--{model.replace('/', '--')}" / "refs" / "main"
    main.write_text(moved := commit_of("pushed since"))
    done = preflight(workshop, folder.name)
    main.write_text(commits[model])
    assert done.returncode == 1 and f"{model} is at {moved} now" in done.stderr
    assert preflight(workshop, folder.name).returncode == 0


def test_snakemake_alone_asks_for_the_preflight_first(workshop):
    revisions = workshop / "data" / "paper-llama-8b" / "revisions.json"
    kept = revisions.rename(revisions.with_suffix(".kept")) if revisions.exists() else None
    done = snakemake(workshop, "study=paper-llama-8b", *GIVEN, options=["--dry-run"])
    if kept:
        kept.rename(revisions)
    assert done.returncode != 0 and "make study STUDY=paper-llama-8b" in done.stderr
