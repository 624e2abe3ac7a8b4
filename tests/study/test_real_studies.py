"""The real studies that need no GPU run whole, small: on the public files, or on replicas of the hub's.

Numbers of resamples, bootstraps and shuffles are small, to be quick. The command is the user's own.
"""

import json
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
import yaml
from conftest import ROOT, copy_project, snakemake
from gguf_files import write_gguf, write_language_model
from hub_cache import JUDGES, fill_cache
from studies import finished

from dtreward.study.chapters import outputs_of
from dtreward.study.publish import publish
from dtreward.study.texts import find_texts, texts_of

QUICK = ["resamples=20", "bootstraps=2", "shuffles=2", "jobs=1"]


@pytest.fixture(scope="module")
def project(root, tmp_path_factory):
    return copy_project(root, tmp_path_factory.mktemp("real") / "project")


def preflight(folder, *words):
    command = [sys.executable, "-m", "dtreward.cli", "preflight", *words]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)


def yaml_of(study):
    return yaml.safe_load((ROOT / "notebooks/studies" / f"{study}.yaml").read_text())


def run_public(project, study, copy, *words):
    """Run a study on a copy of its public files, as `make study STUDY=... SOURCE=...` does."""
    given = [f"study={study}", *QUICK, *words]
    done = preflight(project, *given, f"source={copy}")
    assert done.returncode == 0, done.stderr
    done = snakemake(project, *given)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    folder = project / "data" / study
    assert finished(folder) == sorted(yaml_of(study)["notebooks"])
    return folder


def assert_shows_no_text(folder):
    """Nothing that `make publish` would copy holds a text of the pairs."""
    files = [
        *folder.glob("*.ipynb"),
        *(folder / "figures").iterdir(),
        *(folder / "paper").iterdir(),
    ]
    texts = texts_of(pd.read_parquet(folder / "pairs.parquet"))
    assert len(texts) > 100
    assert find_texts(texts, files) == {}


def assert_can_be_published(project, study):
    """Its files are copied, credit their sources, and hold neither a checkpoint nor a verdict."""
    publish(study, root=project)  # raises where a text or a verdict on a pair is shown
    copies = sorted((project / "notebooks/executed" / study).glob("*.ipynb"))
    assert [path.stem for path in copies] == sorted(yaml_of(study)["notebooks"])
    for path in copies:
        last = nbformat.read(path, as_version=4).cells[-1].source
        for name, source in yaml_of(study)["sources"].items():
            assert f"**{name}** ({source['licence']})" in last
            assert all(f"made of {part}" in last for part in source.get("made_of", []))
    published = [path for path in (project / "figures" / study).rglob("*") if path.is_file()]
    assert {path.suffix for path in published} <= {".pdf", ".png", ".csv", ".md", ".tex", ".json"}


def assert_speaks_of_no_other_world(folder, study):
    for name in yaml_of(study)["notebooks"]:
        outputs = outputs_of(nbformat.read(folder / f"{name}.ipynb", as_version=4))
        shown = json.dumps(outputs)
        # The rule of recurrence was measured on demo worlds, and says so.
        assert "demo world" not in shown.lower().replace("demo worlds", ""), name
        assert "human ratings" not in shown.lower(), name


def record(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


# Pairs to use: of the 1,200 of llm-judges so many that its set Natural has some dozens.
LLM_JUDGES = ("llm-judges", 700)
ANNOTATORS = pytest.param("annotators", 100, marks=pytest.mark.slow)  # minutes of CI's thirty


@pytest.mark.parametrize(("study", "limit"), [LLM_JUDGES, ANNOTATORS])
def test_a_study_of_public_verdicts_runs_and_shows_no_text(study, limit, project, shared_data):
    folder = run_public(project, study, shared_data / "originals", f"limit={limit}")
    assert_shows_no_text(folder)
    assert_can_be_published(project, study)
    assert_speaks_of_no_other_world(folder, study)


@pytest.mark.slow  # seven notebooks
def test_the_dialogue_study_runs_on_any_gguf_file_and_shows_no_text(project, shared_data, tmp_path):
    """The model has neither a head nor a chat template, and is given as MODEL=."""
    plain = write_language_model(tmp_path / "plain", max_length=4096)
    model = write_gguf(plain, tmp_path / "tiny.gguf", quantised=True)
    given = [f"model={model}", "limit=100", "sweep=0", "random_backbone=100"]
    folder = run_public(project, "dialogue", shared_data / "originals", *given)
    assert_shows_no_text(folder)
    publish("dialogue", root=project)  # raises where a text or a verdict on a pair is shown
    assert_speaks_of_no_other_world(folder, "dialogue")
    numbers = record(folder, "02_extract_features")["numbers"]
    assert numbers["identity"]["dequantised_from"] == "tiny.gguf"
    assert not (project / "data/sources/smollm2").exists()
    assert record(folder, "04_fit_preference_tree")["numbers"]["preference_from"] == "overall"


@pytest.mark.slow  # test_rehearsal.py reads the same replicas
def test_the_published_judges_are_studied_without_a_gpu(project, tmp_path, monkeypatch):
    """Their real files have not been seen here: the preflight shows the columns before it goes on."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    downloads = yaml_of("paper-judges")["needs"]["downloads"]
    assert preflight(project, "study=paper-judges").returncode == 1  # nothing is there yet
    fill_cache(tmp_path / "home", tmp_path / "made", downloads, [], (90, 30))
    done = preflight(project, "study=paper-judges")
    assert done.returncode == 0, done.stderr
    assert "needs no GPU" in done.stdout
    assert "RLHFlow/LLM-Preferences-HelpSteer2, train.jsonl.gz: " in done.stdout
    assert "rows with dataset, split, id, prompt, response_A, response_B, GPT-4o" in done.stdout
    done = snakemake(project, "study=paper-judges", *QUICK)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    folder = project / "data" / "paper-judges"
    assert finished(folder) == sorted(yaml_of("paper-judges")["notebooks"])
    assert set(pd.read_parquet(folder / "judges.parquet")["judge"]) == set(JUDGES)
    index = json.loads((folder / "paper" / "index.json").read_text())
    assert "table_reproduced" in index["drawn"]
    table = (folder / "paper" / "table_reproduced.md").read_text()
    assert all(
        f"tree of {name}, threshold" in table for name in ("Human", "GPT-4o", "Llama-3.1-8B")
    )
