"""The study runs: through make's own Snakefile and papermill, small, in a folder of its own."""

import fcntl
import gzip
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import SMALL_STUDY, run_command, snakemake
from hub_replicas import helpsteer2_replica
from studies import DEMO, finished

from dtreward import load
from dtreward.record import write_result
from dtreward.study.stamps import FINISHED
from dtreward.tree.tree import PreferenceTree


def test_the_demo_study_leaves_executed_notebooks_a_tree_and_a_reward_model(demo):
    assert finished(demo) == DEMO
    tree = PreferenceTree.load(demo / "tree.json")
    assert tree.depth == 3 and tree.attributes[tree.feature[0]] == "helpfulness"
    model = load(demo / "checkpoint")
    output = model.compare("How many legs do 3 cats have?", "3 x 4 = 12.", "3 x 4 = 11.")
    assert set(output) >= {"rewards", "attributes", "preference"}


def test_every_notebook_ran_to_its_end_and_printed_its_claims(demo):
    for name in DEMO:
        notebook = nbformat.read(demo / f"{name}.ipynb", as_version=4)
        cells = [
            cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()
        ]
        assert all(cell.execution_count for cell in cells)
        text = json.dumps(notebook)
        assert "Traceback" not in text and str(demo.parent) not in text
        if name != "00_compare_two_responses":
            assert "held: " in text
            record = json.loads((demo / f"{name}.json").read_text())
            assert record["claims"] and record["provenance"]["versions"]["dtreward"]


def test_the_probe_stands_beside_random_weights_other_layers_and_edited_responses(demo):
    extracted = json.loads((demo / "02_extract_features.json").read_text())["numbers"]
    assert extracted["layer"] == -1 and extracted["layers"] == [-1, 1, 5]
    numbers = json.loads((demo / "03_fit_attribute_probe.json").read_text())["numbers"]
    controls = {"bag of words", "length", "random weights", "shuffled ratings"}
    assert set(numbers["gain"]) == controls
    assert all(gain["low"] > 0 for gain in numbers["gain"]["random weights"].values())
    by_layer = numbers["layers"]["correctness"]
    assert set(by_layer) == {"-1", "1", "5"}
    assert by_layer["-1"]["low"] > by_layer["1"]["high"], "sums are checked in upper layers"
    moved = numbers["movements"]["verbosity"]
    assert max(moved, key=lambda name: moved[name]["estimate"]) == "verbosity"


def test_every_demo_figure_says_demo_world(demo):
    for name in DEMO[1:]:
        notebook = nbformat.read(demo / f"{name}.ipynb", as_version=4)
        assert "demo world" in json.dumps([cell.get("outputs") for cell in notebook.cells])
    assert {path.suffix for path in (demo / "figures").iterdir()} == {".pdf", ".png"}


def test_a_second_run_does_nothing(demo, workshop):
    again = snakemake(workshop, *SMALL_STUDY)
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr


def test_one_changed_parameter_runs_only_what_depends_on_it(demo, workshop):
    plan = snakemake(workshop, *SMALL_STUDY, "max_depth=2", options=["--dry-run"])
    text = plan.stdout + plan.stderr
    assert "fit_preference_tree" in text and "compare_two_responses" in text
    assert not any(
        f"rule {rule}:" in text
        for rule in (
            "load_pairs",
            "extract_features",
            "fit_attribute_probe",
            "collect_judge_preferences",
        )
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["study=demo", "limits=300"],
            "no parameter limits in the study's notebooks; did you mean limit?",
        ),
        (["study=demo", "limit=-3"], "expected limit of 0 or more, came -3"),
        (["study=demo", "limit=many"], "expected limit as a whole number, came 'many'"),
        (["study=own", "source=nowhere.csv"], "there is no nowhere.csv here; SOURCE is a"),
        (
            ["study=demo", "model=data/dmeo"],
            "there is no data/dmeo here (did you mean data/demo?); MODEL",
        ),
        (["study=own", "source=README.md", "fp8=true"], "run only with MODEL="),
    ],
)
def test_wrong_words_stop_before_anything_runs_and_are_told_in_one_line(workshop, words, told):
    done = snakemake(workshop, *words)
    assert done.returncode != 0 and told in done.stderr
    assert "Traceback" not in done.stderr and "runs" not in done.stdout


def test_a_study_of_your_own_table_does_not_run_without_one(workshop):
    done = snakemake(workshop, "study=own")
    assert done.returncode != 0 and "needs a table" in done.stderr
    assert not (workshop / "data" / "own").exists()


@pytest.fixture
def stamps(demo, tmp_path):
    """Keep the stamps of the demo study, which a plan deletes where files have changed."""
    copy = shutil.copytree(demo / FINISHED, tmp_path / FINISHED)
    yield
    shutil.copytree(copy, demo / FINISHED, dirs_exist_ok=True)


@pytest.mark.usefixtures("stamps")
def test_an_output_that_was_deleted_is_made_again(demo, workshop):
    for name in ("tree.json", "08_compare_shap.json"):
        kept = (demo / name).rename(demo / f"{name}.kept")
        plan = snakemake(workshop, *SMALL_STUDY, options=["--dry-run"])
        kept.rename(demo / name)
        assert "output files have to be generated" in plan.stdout + plan.stderr


def test_a_notebook_is_known_by_its_text_and_not_by_outputs_that_jupyterlab_saved(demo, workshop):
    path = workshop / "notebooks" / "08_compare_shap.ipynb"
    kept, notebook = path.read_bytes(), nbformat.read(path, as_version=4)
    notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="by hand")]
    plans = []
    for words in ("", "\n# changed"):
        notebook.cells[2].source += words
        nbformat.write(notebook, path)
        plans.append(snakemake(workshop, *SMALL_STUDY, options=["--dry-run"]).stdout)
    path.write_bytes(kept)
    assert "rule compare_shap:" not in plans[0] and "rule compare_shap:" in plans[1]


@pytest.mark.usefixtures("stamps")
def test_what_was_run_by_hand_is_run_again(demo, workshop, tmp_path):
    files = [demo / f"05_ablate_depth_and_leaves.{kind}" for kind in ("json", "ipynb")]
    kept = [shutil.copy2(path, tmp_path) for path in files]
    write_result(files[0], numbers={}, parameters={"seed": 3})
    assert not files[1].exists()  # it is not of this record
    plan = snakemake(workshop, *SMALL_STUDY, options=["--dry-run"])
    for copy, path in zip(kept, files, strict=True):
        shutil.copy2(copy, path)
    assert "rule ablate_depth_and_leaves:" in plan.stdout


def test_an_unknown_study_names_those_there_are(workshop):
    done = snakemake(workshop, "study=domo")
    assert done.returncode != 0 and "demo" in done.stderr


def test_a_spent_budget_stops_cleanly_and_the_next_run_goes_on(workshop):
    study = {"notebooks": ["01_load_pairs", "06_collect_judge_preferences"]}
    study["parameters"] = {"study": "thrifty", "source": "demo", "limit": 20, "max_requests": 300}
    (workshop / "notebooks" / "studies" / "thrifty.yaml").write_text(json.dumps(study))
    folder, left = workshop / "data" / "thrifty", []
    for _ in range(3):  # 12 judges, 20 pairs in both orders: 480 questions
        done = snakemake(workshop, "study=thrifty")
        assert done.returncode == 0, done.stderr[-3000:]
        record = json.loads((folder / "06_collect_judge_preferences.json").read_text())
        left.append(record["numbers"]["questions_without_an_answer"])
        assert (folder / "06_collect_judge_preferences.ipynb").exists() == (left[-1] == 0)
    assert left[0] > 0 and left[-1] == 0 and "Nothing to be done" in done.stdout + done.stderr


def test_open_questions_are_asked_again_even_where_a_later_notebook_fails(workshop):
    study = {"notebooks": ["01_load_pairs", "06_collect_judge_preferences", "07_compare_judges"]}
    study["parameters"] = {"study": "unlucky", "source": "demo", "limit": 20, "max_requests": 300}
    study["07_compare_judges"] = {"min_leaf": 1000}  # no judge has pairs enough for it
    (workshop / "notebooks" / "studies" / "unlucky.yaml").write_text(json.dumps(study))
    done = snakemake(workshop, "study=unlucky")
    folder = workshop / "data" / "unlucky"
    assert done.returncode != 0 and (folder / "judges.parquet").exists()
    partial = [path.name[:2] for path in sorted(folder.glob("*.partial.ipynb"))]
    assert partial == ["06", "07"] and "run the study again to ask them" in done.stdout


def test_a_models_tokenizer_and_the_files_of_a_folder_are_inputs(workshop, tmp_path):
    (tmp_path / "bench").mkdir()
    for name in ("one.parquet", "notes.txt"):
        (tmp_path / "bench" / name).touch()
    models = "models=[data/demo,data/demo/checkpoint]"
    words = ["study=demo", f"bench_source={tmp_path / 'bench'}", "measured=data/measured", models]
    options = ["--dry-run", "--forceall", "--printshellcmds"]
    plan = snakemake(workshop, *words, options=options)
    jobs = {text.split(":")[0]: text for text in plan.stdout.split("rule ")[1:]}
    for rule in ("extract_features", "measure_throughput", "evaluate_rewardbench"):
        for file in ("config.json", "tokenizer.json", "model.safetensors", "decision_tree.json"):
            assert f"data/demo/{file}" in jobs[rule].split("output:")[0], (rule, file)
    given = jobs["evaluate_rewardbench"].split("output:")[0]
    assert "bench/one.parquet" in given and "notes.txt" not in given
    assert '"models": ["../data/demo", "../data/demo/checkpoint"]' in plan.stdout
    assert "data/measured/growth_llama-3.1-8b.json" in jobs["measure_throughput"]


def test_what_a_study_makes_is_no_input_of_it_where_its_source_lies_in_the_same_folder(workshop):
    folder = workshop / "data" / "inside"
    helpsteer2_replica(folder)
    study = {
        "notebooks": ["01_load_pairs"],
        "parameters": {"study": "inside", "source": "../data/inside"},
    }
    (workshop / "notebooks" / "studies" / "inside.yaml").write_text(json.dumps(study))
    first, second = (snakemake(workshop, "study=inside") for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr[-2000:]
    assert "Nothing to be done" in second.stdout + second.stderr
    with gzip.open(folder / "train.jsonl.gz", "ab") as file:
        file.write(b"\n")
    plan = snakemake(workshop, "study=inside", options=["--dry-run"])
    assert "rule load_pairs" in plan.stdout and "train.jsonl.gz" in plan.stdout


def test_a_failed_notebook_leaves_a_partial_copy_and_no_output(workshop, tmp_path):
    (tmp_path / "cut.csv").write_text("prompt,response_1")
    done = snakemake(workshop, "study=own", f"source={tmp_path / 'cut.csv'}")
    folder = workshop / "data" / "cut"
    assert done.returncode != 0
    assert finished(folder) == ["01_load_pairs.partial"]
    assert "cut.csv: expected columns prompt" in done.stderr and "Traceback" not in done.stderr
    partial = nbformat.read(folder / "01_load_pairs.partial.ipynb", as_version=4)
    assert any(
        output.output_type == "error"
        for cell in partial.cells
        for output in cell.get("outputs", [])
    )


def test_a_killed_notebook_leaves_no_output_that_counts_as_done(workshop, tmp_path):
    body = "import os, signal, time\nos.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(pause)"
    done, target = run_cell(workshop, tmp_path, body)
    assert done.returncode != 0 and not target.exists()
    assert target.with_suffix(".partial.ipynb").exists()


def test_what_is_printed_in_one_go_is_one_output_however_the_kernel_sent_it(workshop, tmp_path):
    body = "for word in 'abc':\n    print(word, flush=True)\ndisplay(1)\nprint('d')"
    done, target = run_cell(workshop, tmp_path, body)
    assert done.returncode == 0, done.stderr
    outputs = nbformat.read(target, as_version=4).cells[-1].outputs
    assert [output.get("text") for output in outputs] == ["a\nb\nc\n", None, "d\n"]


BAR = """from time import sleep
from tqdm.auto import tqdm
for _ in tqdm(range(40), unit=" things"):
    sleep(0.05)"""


def test_a_bar_is_a_line_of_a_log_and_one_that_updates_on_a_terminal(workshop, tmp_path):
    done, target = run_cell(workshop, tmp_path, BAR)
    assert done.returncode == 0 and done.stderr.count(" things/s]") == done.stderr.count("\n") == 1
    assert not nbformat.read(target, as_version=4).cells[-1].outputs
    own, terminal = pty.openpty()
    done, _ = run_cell(workshop, tmp_path, BAR, stderr=terminal)
    os.close(terminal)
    told = os.read(own, 100_000).decode()
    # A dying kernel may abort in libzmq (zeromq/libzmq#4644), after all is done.
    told = re.sub(r"Assertion failed: pfd\.revents & POLLIN .*\r\n", "", told)
    assert done.returncode == 0 and told.count("\n") == 0 and told.count("\r\x1b[K   cell: ") >= 10
    assert "   cell: 40/40" in told


def test_an_error_of_a_library_ends_with_what_to_read_and_no_empty_line(workshop, tmp_path):
    done, _ = run_cell(workshop, tmp_path, "{}['absent']")
    lines = done.stderr.strip("\n").split("\n")
    assert lines[-2] == "KeyError: 'absent'" and lines[-1].startswith("cell.ipynb failed; read how")


CLOSED = """stream = get_ipython().kernel.control_stream
stream.on_send(lambda *sent: [stream.socket.close(), stream.socket.send(b"more")])"""


def test_a_kernel_that_ends_among_closed_sockets_says_nothing(workshop, tmp_path):
    done, _ = run_cell(workshop, tmp_path, CLOSED)
    assert done.returncode == 0 and not done.stderr


def test_a_run_notes_how_much_memory_its_kernel_had_and_its_copy_does_not(workshop, tmp_path):
    size = 200 * 2**20
    done, target = run_cell(workshop, tmp_path, f"kept = b'x' * {size}\nlen(kept)")
    assert done.returncode == 0, done.stderr
    note = json.loads((tmp_path / ".outcomes" / f"{target.stem}.json").read_text())
    assert 200 < note["peak_mib"] < 1000  # an empty kernel has less than 100 MiB
    assert "peak" not in target.read_text()


def run_cell(workshop, folder, body, stderr=subprocess.PIPE):
    """Run a notebook of one cell as a study's are; give the finished process and the executed copy."""
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    )
    parameters = nbformat.v4.new_code_cell("pause: int = 60  # seconds")
    parameters.metadata["tags"] = ["parameters"]
    notebook.cells = [parameters, nbformat.v4.new_code_cell(body)]
    source, target = folder / "cell.ipynb", folder / "02_extract_features.ipynb"
    nbformat.write(notebook, source)
    words = ["run", str(source), str(target), "{}"]
    return run_command(workshop, *words, stderr=stderr), target


def test_notebooks_that_start_at_the_same_moment_do_not_meet(workshop, tmp_path):
    source, runs = tmp_path / "who.ipynb", []
    who = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    )
    parameters = nbformat.v4.new_code_cell("me: int = 0  # number")
    parameters.metadata["tags"] = ["parameters"]
    who.cells = [parameters, nbformat.v4.new_code_cell("print('I am', me)")]
    nbformat.write(who, source)
    for me in range(3):
        command = [sys.executable, "-m", "dtreward.cli", "run", str(source)]
        command += [str(tmp_path / f"{me}.ipynb"), json.dumps({"me": me})]
        runs.append(subprocess.Popen(command, cwd=workshop, stdout=subprocess.DEVNULL))
    assert [run.wait() for run in runs] == [0, 0, 0]
    for me in range(3):
        assert f"I am {me}" in (tmp_path / f"{me}.ipynb").read_text()


def test_a_terminated_run_leaves_no_output_and_can_be_run_again(workshop, tmp_path):
    target = tmp_path / "01_load_pairs.ipynb"
    command = [
        sys.executable,
        "-m",
        "dtreward.cli",
        "run",
        "notebooks/01_load_pairs.ipynb",
        str(target),
    ]
    command.append(
        json.dumps(
            {
                "study": "killed",
                "data_dir": str(tmp_path),
                "figures_dir": str(tmp_path),
                "limit": 50,
            }
        )
    )
    started = subprocess.Popen(
        command, cwd=workshop, start_new_session=True, stderr=subprocess.DEVNULL
    )
    time.sleep(2)
    os.killpg(started.pid, signal.SIGKILL)
    assert started.wait() != 0 and not target.exists()
    assert subprocess.run(command, check=False, cwd=workshop, capture_output=True).returncode == 0
    assert target.exists()


def test_two_runs_of_one_notebook_at_once_are_refused_by_the_process_that_holds_it(
    workshop, tmp_path
):
    target, lock = tmp_path / "01_load_pairs.ipynb", tmp_path / ".01_load_pairs.running"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("4711")
        file.flush()
        done = run_command(workshop, "run", "notebooks/01_load_pairs.ipynb", str(target), "{}")
    assert done.returncode != 0 and "process 4711 runs it already" in done.stderr


@pytest.fixture(scope="module")
def own(workshop, shared_data):
    """Human ratings of dialogue that nobody here wrote: five other attributes, six systems a prompt."""
    source = shared_data / "topical_chat_ratings.parquet"
    done = snakemake(workshop, "study=own", f"source={source}", "order_by=overall")
    assert done.returncode == 0, done.stderr[-3000:]
    return workshop / "data" / "topical_chat_ratings"


def test_real_ratings_with_other_attributes_give_a_tree_baselines_and_intervals(own):
    record = json.loads((own / "04_fit_preference_tree.json").read_text())["numbers"]
    attributes = {"understandability", "naturalness", "coherence", "engagingness", "groundedness"}
    assert set(record["trees"]["ratings"]["attributes"]) == attributes
    models = {key.split(", ", 1)[1] for key in record["quality"]}
    assert models >= {
        "constant",
        "longest response",
        "one threshold",
        "logistic regression",
        "gradient boosting",
        "optimal tree",
        "tree",
    }
    for values in record["quality"].values():
        accuracy = values["accuracy"]
        assert 0 <= accuracy["low"] <= accuracy["estimate"] <= accuracy["high"] <= 1
        assert accuracy["high"] - accuracy["low"] > 0.01  # a dozen test prompts can't be surer
    tree = record["quality"]["ratings, tree"]["accuracy"]
    assert tree["low"] > record["floor"]  # positive control: overall follows its parts


def test_few_test_prompts_are_cross_validated_and_few_validation_prompts_cannot_tell(own):
    record = json.loads((own / "05_ablate_depth_and_leaves.json").read_text())
    outcome = {claim["sentence"].split(";")[0]: claim["held"] for claim in record["claims"]}
    assert outcome["Expected the chosen tree on ratings to beat its floor"] is True
    assert outcome["Expected depth 3 on ratings"] is None
    tested = record["numbers"]["test"]["ratings"]
    assert tested["prompts"] == 60 and len(tested["depths tested"]) == 5


def test_real_pairs_are_split_by_prompt_and_ties_are_counted(own, shared_data):
    ratings = pd.read_parquet(shared_data / "topical_chat_ratings.parquet")
    # Two systems gave one text: it is one response, with the mean of its ratings.
    ratings = ratings.groupby(["prompt", "response"], as_index=False)["overall"].mean()
    frame = pd.read_parquet(own / "pairs.parquet")
    assert frame.groupby("prompt_id")["split"].nunique().max() == 1
    ties = decided = 0
    for _, overall in ratings.groupby("prompt")["overall"]:
        upper = np.triu(np.ones((len(overall), len(overall)), bool), 1)
        gap = overall.to_numpy()[:, None] - overall.to_numpy()
        ties, decided = ties + int((gap[upper] == 0).sum()), decided + int((gap[upper] != 0).sum())
    assert frame["preference"].isna().sum() == ties
    assert frame["preference"].notna().sum() == decided
