"""A real study says what it needs before it starts, and stops where something of it is missing.

The hub is a server on this machine that answers as the real one does to what is asked of it; what
is checked is the program that `make study` calls, or its function with one answer of the machine
replaced.
"""

import json
import os
import re
import subprocess
import sys
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import torch
import yaml
from conftest import ROOT
from hub_cache import commit_of
from hub_server import serve
from huggingface_hub.file_download import repo_folder_name
from reward_replicas import REPLICAS

from dtreward.study import preflight
from dtreward.study.hub import read_downloads
from dtreward.study.settings import legal_parameters, study_parameters

REAL = ["paper-llama-8b", "paper-gemma-27b"]
GATED = "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2"


def read_study(name):
    return yaml.safe_load((ROOT / "notebooks" / "studies" / f"{name}.yaml").read_text())


def repositories(name="paper-llama-8b"):
    downloads = read_study(name)["needs"]["downloads"]
    return {repo: commit_of(repo, each["revision"]) for repo, each in downloads.items()}


class Hub(BaseHTTPRequestHandler):
    """Answers for `server.newest` ({repository: commit}); `server.gated` ones want a token."""

    def do_GET(self):
        path, newest = self.path.split("?")[0], self.server.newest
        found = re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)(?:/(.*))?", path)
        repo, rest = found[1], found[2] or ""
        if repo not in newest:
            return self.answer(404, {"error": "Repository not found"}, "RepoNotFound")
        closed = repo in self.server.gated and "Authorization" not in self.headers
        if rest == "auth-check":
            status, code = (403, "GatedRepo") if closed else (200, "")
            return self.answer(status, {"error": code}, code)
        if rest.startswith("commits/"):
            older = commit_of(repo + " before")
            return self.answer(200, [commit(newest[repo]), commit(older)])
        wanted = rest.removeprefix("revision/") or newest[repo]
        if wanted not in (newest[repo], "main"):
            return self.answer(404, {"error": f"Invalid rev id: {wanted}"}, "RevisionNotFound")
        self.answer(200, {"id": repo, "sha": newest[repo], "siblings": []})

    def do_HEAD(self):
        self.do_GET()

    def answer(self, status, value, code=""):
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        data = json.dumps(value).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def commit(name):
    told = {"title": "", "message": "", "authors": [], "date": "2025-01-24T00:00:00.000Z"}
    return {"id": name} | told


@pytest.fixture
def hub():
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.newest, server.gated = repositories(), set()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(tmp_path, endpoint, *words, study="paper-llama-8b", **environment):
    """Call the program as `make study` does; the results would go under tmp_path."""
    if not isinstance(endpoint, str):
        endpoint = f"http://127.0.0.1:{endpoint.server_address[1]}"
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    clean |= {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": endpoint} | environment
    for repo, newest in repositories().items():  # models in the cache are not checked again
        snapshots = tmp_path / "home/hub" / repo_folder_name(repo_id=repo, repo_type="model")
        for commit_ in (newest, commit_of("pushed since")):
            (snapshots / "snapshots" / commit_).mkdir(parents=True, exist_ok=True)
            (snapshots / "snapshots" / commit_ / "config.json").write_text("{}")
    command = [
        sys.executable,
        "-m",
        "dtreward.cli",
        "preflight",
        f"study={study}",
        f"data_dir={tmp_path}",
    ]
    command += words
    return subprocess.run(command, check=False, cwd=ROOT, env=clean, capture_output=True, text=True)


@pytest.mark.parametrize("study", REAL)
def test_a_real_study_writes_down_every_parameter_of_every_notebook(study):
    parameters = study_parameters(read_study(study), {})
    assert set(parameters) >= {"02_extract_features", "06_collect_judge_preferences"}
    for name, given in parameters.items():
        wanted = legal_parameters(ROOT / "notebooks" / f"{name}.ipynb")
        wanted -= {"model"} if name.startswith("00") else set()  # the checkpoint; the Snakefile's
        assert wanted - set(given) == set(), name


@pytest.mark.parametrize("study", REAL)
def test_a_real_study_plants_nothing_and_names_the_commits_that_the_package_pins(study):
    from dtreward.benches.rewardbench import REVISION
    from dtreward.judges.votes import PINNED
    from dtreward.pairs.formats import HELPSTEER2_REVISION

    read = read_study(study)
    assert not read["parameters"]["planted"] and read["parameters"]["limit"] == 0
    revisions = {name: each["revision"] for name, each in read["needs"]["downloads"].items()}
    assert revisions["nvidia/HelpSteer2"] == HELPSTEER2_REVISION
    assert revisions["allenai/reward-bench"] == REVISION
    assert revisions["RLHFlow/LLM-Preferences-HelpSteer2"] == PINNED


@pytest.mark.parametrize("study", REAL)
def test_every_repository_that_a_notebook_reads_is_pinned_for_it(study):
    read = read_study(study)
    commits = {name: commit_of(name) for name in read["needs"]["downloads"]}
    pinned = preflight.pin(study_parameters(read, {}), commits)
    assert preflight.repositories_of(read, {}) >= set(commits)
    assert pinned["01_load_pairs"]["revision"] == commits["nvidia/HelpSteer2"]
    for name in ("02_extract_features", "04_fit_preference_tree", "10_measure_throughput"):
        assert pinned[name]["model_revision"] == commits[read["parameters"]["model"]]
    judges = pinned["06_collect_judge_preferences"]["judges_revision"]
    assert judges == commits["RLHFlow/LLM-Preferences-HelpSteer2"]
    bench = pinned["09_evaluate_rewardbench"]
    assert bench["bench_revision"] == commits["allenai/reward-bench"]
    from_hub = [entry for entry in bench["models"] if not entry.startswith("..")]
    assert (
        bench["revisions"] == {entry: commits[entry] for entry in from_hub} and len(from_hub) == 2
    )


def test_a_name_of_the_leaderboard_is_pinned_by_its_repository_and_a_judge_by_nothing():
    repo = "RLHFlow/Decision-Tree-Reward-Llama-3.1-8B"
    judge = {"name": "J", "model": "m", "endpoint": "vllm"}
    own = {"models": ["Decision-Tree-Reward-Llama-3.1-8B", judge], "revisions": {}}
    own |= {"model": "Decision-Tree-Reward-Llama-3.1-8B", "model_revision": ""}
    pinned = preflight.pin({"09": own}, {repo: "c"})["09"]
    assert pinned["revisions"] == {repo: "c"} and pinned["model_revision"] == "c"
    study = {"notebooks": ["09"], "parameters": {}, "09": own}
    assert preflight.repositories_of(study, {}) >= {repo}
    assert preflight.pin({"09": {"revisions": {}}}, {repo: "c"})["09"] == {"revisions": {}}


def test_further_benches_on_the_hub_are_pinned_and_those_by_name_or_file_are_not():
    repo = "THU-KEG/RM-Bench"
    own = {"models": [], "benches": [repo, "JudgeBench", "../data/own.parquet"], "revisions": {}}
    assert preflight.pin({"09": own}, {repo: "c"})["09"]["revisions"] == {repo: "c"}


def test_a_folder_is_not_taken_for_the_repository_of_its_name(tmp_path):
    repo = "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2"
    folder = tmp_path / repo.split("/")[1]
    folder.mkdir()
    own = {"model": str(folder), "model_revision": "", "models": [str(folder)], "revisions": {}}
    assert preflight.pin({"09": own}, {repo: "c"}) == {"09": own}
    assert repo not in preflight.repositories_of(
        {"notebooks": ["09"], "parameters": {}, "09": own}, {}
    )


def test_what_is_missing_from_needs_or_given_by_hand_is_not_overwritten():
    own = {"x": {"source": "mine.csv", "revision": "", "model": "a/b", "model_revision": "given"}}
    assert preflight.pin(own, {"a/b": "other"}) == own


def test_it_prints_repositories_commits_sizes_memory_disk_and_hours(tmp_path, hub):
    done = ask(tmp_path, hub, "device=cpu")
    assert done.returncode == 0, done.stderr
    needs = read_study("paper-llama-8b")["needs"]
    for repo, commit_ in repositories().items():
        gb = needs["downloads"][repo]["gb"]
        assert f"{repo}, {needs['downloads'][repo]['kind']}, {commit_}: {gb:.2f} GB" in done.stdout
    total = sum(each["gb"] for each in needs["downloads"].values())
    assert f"{total:.1f} GB to download" in done.stdout
    for key, unit in (("gpu_gb", "GB"), ("memory_gb", "GB"), ("disk_gb", "GB"), ("hours", "h")):
        assert f"{needs[key]} {unit}" in done.stdout


def test_what_is_downloaded_already_is_not_counted_again(tmp_path, hub):
    blobs = tmp_path / "home/hub/models--Skywork--Skywork-Reward-Llama-3.1-8B-v0.2/blobs"
    blobs.mkdir(parents=True)
    with (blobs / "one").open("wb") as file:
        file.truncate(4_000_000_000)  # sparse: no disk is used
    done = ask(tmp_path, hub, "device=cpu")
    assert f"{repositories()[GATED]}: 11.00 GB to download" in done.stdout


def test_without_a_gpu_it_stops_and_names_the_way_out(tmp_path, hub, monkeypatch):
    done = ask(tmp_path, hub, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1 and not list(tmp_path.glob("*/revisions.json"))
    assert "a GPU of 24 GB is needed" in done.stderr and "SET=device=cpu" in done.stderr
    assert "0 GB" not in done.stderr and done.stderr.count("\n- ") == 1
    lack = "finds no GPU here" if torch.version.cuda else "is built without GPU support"
    assert lack in done.stderr
    card = SimpleNamespace(total_memory=25.2e9)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: card)
    assert preflight.missing_gpu(24, "") == [] and preflight.missing_gpu(48, "auto") == []
    assert "its largest GPU has 25 GB" in preflight.missing_gpu(80, "")[0]
    assert "its GPUs together have 50 GB" in preflight.missing_gpu(80, "auto")[0]


def test_without_room_on_the_disk_it_stops_and_says_how_much_is_needed(monkeypatch, tmp_path):
    usage = namedtuple("usage", "free")
    downloads = read_study("paper-gemma-27b")["needs"]["downloads"]
    downloads = read_downloads(downloads)
    total = sum(one.gb for one in downloads)
    monkeypatch.setattr(preflight.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(preflight.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage(1e9 * (total + 9)))
    (sentence,) = preflight.missing_disk(10, downloads, tmp_path / "data" / "new")
    assert f"{total + 10:.0f} GB of disk are needed" in sentence and "HF_HOME" in sentence
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage(1e9 * (total + 11)))
    assert preflight.missing_disk(10, downloads, tmp_path / "data" / "new") == []


def test_a_gated_model_stops_it_and_a_token_opens_the_gate(tmp_path, hub):
    hub.gated = {GATED}
    done = ask(tmp_path, hub, "device=cpu")
    assert done.returncode == 1 and f"{GATED} is gated: accept its terms" in done.stderr
    assert "HF_TOKEN" in done.stderr and done.stderr.count("\n- ") == 1
    token = "hf_" + 12 * "x"
    done = ask(tmp_path, hub, "device=cpu", HF_TOKEN=token)
    assert done.returncode == 0, done.stderr
    assert token not in done.stdout + done.stderr


def test_a_gated_model_that_the_study_was_told_not_to_use_does_not_stop_it(tmp_path, hub):
    hub.gated = {"RLHFlow/Decision-Tree-Reward-Llama-3.1-8B"}
    done = ask(tmp_path, hub, "device=cpu", f"models=[{GATED}]")
    assert done.returncode == 0, done.stderr
    assert "Decision-Tree-Reward-Llama-3.1-8B" not in done.stdout


def test_a_repository_or_commit_that_is_not_there_stops_it(tmp_path, hub):
    hub.newest.pop(GATED)
    hub.newest["allenai/reward-bench"] = commit_of("another")
    done = ask(tmp_path, hub, "device=cpu")
    assert done.returncode == 1 and f"{GATED} is not on http://127.0.0.1" in done.stderr
    assert "allenai/reward-bench: " in done.stderr and "168d848" in done.stderr


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://hub.invalid"])
def test_without_a_network_it_stops_with_one_sentence(tmp_path, endpoint):
    done = ask(tmp_path, endpoint, "device=cpu")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{endpoint} does not answer" in done.stderr and "HF_HUB_OFFLINE=1" in done.stderr
    assert done.stderr.count("\n- ") == 1
    assert "unknown" not in done.stdout
    for repo, each in read_study("paper-llama-8b")["needs"]["downloads"].items():
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"  {repo},")]
        pinned = f"{each['revision']}.*pinned by the study"
        assert re.search(pinned if each["revision"] else "newest commit", line)


def test_without_a_network_it_names_the_commits_that_an_earlier_run_found(tmp_path):
    found = tmp_path / "paper-llama-8b" / "revisions.json"
    found.parent.mkdir()
    found.write_text(json.dumps(repositories()))
    done = ask(tmp_path, "http://127.0.0.1:9", "device=cpu")
    assert f"{GATED}, model, {repositories()[GATED]} (found by an earlier run): " in done.stdout


def test_offline_it_says_what_is_not_in_the_cache(tmp_path):
    done = ask(tmp_path, "http://hub.invalid", "device=cpu", HF_HUB_OFFLINE="1")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.count("is not in") == len(repositories())
    assert done.stdout.count(": not in the cache\n") == len(repositories())
    assert "GB to download" not in done.stdout


def test_first_digits_are_completed_and_the_newest_is_found_and_both_are_kept(tmp_path, hub):
    hub.newest["RLHFlow/LLM-Preferences-HelpSteer2"] = commit_of("moved on", "")
    done = ask(tmp_path, hub, "device=cpu")
    assert "0 of its commits begin with a65aa58" in done.stderr  # neither of the two that it has
    hub.newest = repositories()
    assert ask(tmp_path, hub, "device=cpu").returncode == 0
    kept = json.loads((tmp_path / "paper-llama-8b" / "revisions.json").read_text())
    assert kept == hub.newest
    assert kept["RLHFlow/LLM-Preferences-HelpSteer2"].startswith("a65aa58")


def test_a_repository_that_has_changed_since_the_first_run_is_an_error_with_two_ways_out(
    tmp_path, hub
):
    assert ask(tmp_path, hub, "device=cpu").returncode == 0
    before, now = hub.newest[GATED], commit_of("pushed since")
    hub.newest[GATED] = now
    done = ask(tmp_path, hub, "device=cpu")
    assert (
        done.returncode == 1
        and f"is at {now} now, this study was made with {before}" in done.stderr
    )
    assert "as its revision" in done.stderr and "delete" in done.stderr
    kept = tmp_path / "paper-llama-8b" / "revisions.json"
    assert json.loads(kept.read_text())[GATED] == before
    kept.unlink()
    assert ask(tmp_path, hub, "device=cpu").returncode == 0
    assert json.loads(kept.read_text())[GATED] == now


def test_a_study_without_needs_asks_nobody(tmp_path):
    done = ask(tmp_path, "http://hub.invalid", study="demo")
    assert (done.returncode, done.stderr) == (0, "")
    assert "its results go to" in done.stdout


def test_a_word_without_a_value_is_named(tmp_path):
    done = ask(tmp_path, "http://hub.invalid", "limit 5", study="demo")
    assert done.returncode == 1 and "expected name=value, came 'limit 5'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_load_would_refuse_stops_it_before_the_download(tmp_path, monkeypatch, capsys):
    folders = {
        repo: REPLICAS[repo.split("/")[1]].make(tmp_path)
        for repo in (GATED, "RLHFlow/Decision-Tree-Reward-Llama-3.1-8B")
    }
    downloads = {repo: {"kind": "model", "gb": 0.001, "revision": ""} for repo in folders}
    needs = {"memory_gb": 0.1, "disk_gb": 0.001, "hours": 1, "downloads": downloads}
    study = {"notebooks": ["09"], "parameters": {"study": "x"}, "needs": needs}
    study["09"] = {"models": list(folders)}
    (tmp_path / "x").mkdir()
    monkeypatch.setattr(preflight.constants, "HF_HUB_OFFLINE", False)
    with serve(folders) as server:
        monkeypatch.setattr(preflight.constants, "ENDPOINT", server.address)
        template = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(preflight.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        assert preflight.check(study, {"device": "cpu"}, tmp_path / "x") == []
        told = capsys.readouterr().out
        assert "load takes it: decision-tree" in told and "load takes it: score" in told
        assert "licence differs: the card names none; expected skywork" in told
        next(folders[GATED].glob("*.safetensors")).unlink()
        (sentence,) = preflight.check(study, {"device": "cpu"}, tmp_path / "x")
    assert sentence.startswith(f"{GATED}: refuses it: ") and "absent or not whole" in sentence


def test_make_study_asks_before_snakemake_starts():
    recipe = (ROOT / "Makefile").read_text().split("\nstudy:")[1].split("\ntest:")[0]
    assert recipe.index("dtreward.cli preflight $(CONFIG)") < recipe.index("snakemake --cores")
