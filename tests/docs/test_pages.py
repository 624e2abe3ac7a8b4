"""Nothing in the pages for people is only said: each block is run, or says here why it is not."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from conftest import ROOT

from dtreward.pairs.forms import FORMS
from dtreward.pairs.frame import load_pairs
from dtreward.study.readme import OPEN_OUTCOMES, UNPUBLISHED, marked_pages, refresh, refreshed

GUIDES = tuple(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md")))
PAGES = (
    "README.md",
    *GUIDES,
    "data/README.md",
    "dtreward/published/README.md",
    "notebooks/README.md",
)
FORMS_PAGE = "docs/your-own-pairs.md"
TUTORIAL = ("docs/your-own-attributes.md", "## Ten minutes")
RESULTS = ROOT / "docs" / "demo-results.md"
NOT_RUN = {  # the first words of a block or command in a line, and what it needs
    ".venv/bin/pip install flash-attn": "a GPU and its compiler, and the network",
    "PIP_EXTRA_INDEX_URL=": "the network: installs another build of torch",
    "conda env create": "the network, and conda",
    "MODEL=Skywork/": "a GPU of 24 GB, and the network",
    "pip install ": "the network: kernels for a GPU, Ray, storage",
    "HF_HUB_OFFLINE=": "real models and data; tests/study/test_rehearsal.py sets it over replicas",
    "from dtreward.benches": "a class of your own; tests/benches evaluates one",
    ".venv/bin/python -m dtreward.benchmark": "a GPU; tests/engine/test_benchmark.py measures a tiny shape",
    "dtreward check --all": "the network; tests/models/test_check.py asks a hub on this machine",
    "dtreward explore": "serves until it is stopped; tests/explorer/test_page.py opens it",
    "dtreward try-judges": "judges that answer; tests/study/test_trial.py asks a local server",
    "python -m dtreward.benchmark": "the same, as data/README.md names it",
}
COMMAND = re.compile(r"(make|python|conda|git|pip|snakemake|[A-Z_]+=\S+|\.venv/bin/\w+)\b")


def blocks(page):
    """Each fenced block of a page: language, text, and the heading above it."""
    found, heading = [], ""
    pattern = r"^(##? [^\n]*)$|^```(\w*)\n(.*?)^```$"
    for title, language, text in re.findall(
        pattern, (ROOT / page).read_text(), re.MULTILINE | re.DOTALL
    ):
        heading = title or heading
        found += [] if title else [(language, text, heading)]
    return found


def how_it_is_checked(page, language, text, heading):
    """Name the test of a block; "" for one that no test knows."""
    first = text.strip().split("\n")[0]
    if page == FORMS_PAGE and language in ("json", "python"):
        return "test_each_form_of_the_guide_is_read"
    if page == TUTORIAL[0] and heading.startswith(TUTORIAL[1]):
        return "test_the_tutorial_does_what_it_says"
    if page == "docs/command-line.md" and language in ("console", "csv"):
        return "test_each_command_of_the_guide_prints_what_it_shows"
    if any(text.startswith(start) for start in NOT_RUN):
        return "not run"
    if language == "python":
        if first.startswith('"'):
            return "test_a_model_is_made_known"
        if page == "docs/reward-models.md":
            return "test_the_guide_to_reward_models_runs"
        return "test_the_quickstart_prints"
    if language in ("text", "yaml"):
        return {"text": "test_the_quickstart_prints", "yaml": "test_the_judges_that"}[language]
    if all(line.startswith("make ") for line in text.strip().split("\n")):
        return "test_each_make_command"
    return ""


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_listed_with_the_reason_why_not(page):
    tests = "".join(
        path.read_text() for path in sorted((ROOT / "tests" / "docs").glob("test_*.py"))
    )
    for language, text, heading in blocks(page):
        test = how_it_is_checked(page, language, text, heading)
        assert test, f"{page}: no test runs this block, and NOT_RUN gives no reason:\n{text}"
        assert test == "not run" or f"def {test}" in tests


def test_the_quickstart_is_the_only_program_that_the_readme_prints_the_result_of():
    kinds = [language for language, *_ in blocks("README.md")]
    assert kinds.count("text") == kinds.count("python") == 1


@pytest.mark.parametrize("page", PAGES)
def test_every_command_within_a_line_is_known_to_make_or_listed_with_the_reason_why_not(page):
    text = re.sub(r"^```.*?^```$", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    scripts = (
        "python -m dtreward.demo.train",
        "python -m dtreward.demo.recurrence",
        ".venv/bin/python data/letters.py",
    )
    for span in re.findall(r"`([^`]+)`", text):
        if not (COMMAND.match(span) and (" " in span or "=" in span)):
            continue
        made = re.match(r"make (\w+)", span)
        assert (
            (made and made[1] in targets)
            or re.fullmatch(r"(SET|MODEL|SOURCE|ORDER_BY|NAME)=\"?<?[\w\[\]'=, -]+>?\"?", span)
            or span in scripts
            or any(span.startswith(start) for start in NOT_RUN)
        ), f"{page}: nothing runs `{span}`"


def test_every_reason_for_not_running_is_still_needed():
    text = "".join((ROOT / page).read_text() for page in PAGES)
    assert [
        start for start in NOT_RUN if f"`{start}" not in text and f"\n{start}" not in text
    ] == []


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The project's files, as committed and changed, in a folder where runs leave no trace."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    found = subprocess.run(listed, cwd=ROOT, check=False, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("not a git checkout")
    copy = tmp_path_factory.mktemp("pages") / "project"
    for name in filter(None, found.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def shell(checkout, tmp_path_factory):
    """Run a command line as a reader does, in this environment in place of make's own."""

    def run(line, **wrapped):
        home = tmp_path_factory.mktemp("environment")
        (home / "bin").mkdir()
        for name in ("python", "snakemake", "jupyter"):
            there = (
                sys.executable if name == "python" else f"{os.path.dirname(sys.executable)}/{name}"
            )
            command = wrapped.get(name, 'exec {} "$@"').format(shlex.quote(there))
            (home / "bin" / name).write_text(f"#!/bin/sh\n{command}\n")
            (home / "bin" / name).chmod(0o755)
        # In its conda environment make installs nothing and takes its programs from there.
        told = {"CONDA_DEFAULT_ENV": "dtreward", "CONDA_PREFIX": str(home)}
        told |= {"PYTHONPATH": str(checkout), "PATH": f"{home}/bin:{os.environ['PATH']}"}
        line = line.replace(".venv/bin/", f"{home}/bin/")
        return subprocess.run(
            line,
            shell=True,
            cwd=checkout,
            env=os.environ | told,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def make_commands():
    pages = ("README.md", "docs/reproducing.md")
    texts = [text for page in pages for language, text, _ in blocks(page) if not language]
    lines = [line for text in texts for line in text.strip().split("\n")]
    return [line for line in lines if line.startswith("make ")]


@pytest.mark.parametrize("line", make_commands())
def test_each_make_command_of_the_readme_plans_what_it_says(line, shell, checkout):
    """Through the Makefile and the Snakefile; the notebooks themselves run in test_study.py."""
    own = checkout / "ratings.parquet"
    if "SOURCE=" in line:
        shell(
            'python -c \'import pandas; pandas.DataFrame({"prompt": list(range(30)) * 2, "response": '
            '[f"r{n}" for n in range(60)], "overall": [1] * 30 + [2] * 30}).astype({"prompt": str})'
            '.to_parquet("ratings.parquet")\''
        )
        assert own.exists()
    plan = {"snakemake": 'exec {} --dry-run "$@"', "jupyter": 'echo {} "$@"'}
    done = shell(line, **plan)
    if "STUDY=paper-" in line and not torch.cuda.is_available():
        assert done.returncode != 0 and "needs a GPU of" in done.stdout + done.stderr
        return
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    if "make study" in line:
        rules = re.findall(r"(?m)^(?:local)?rule (\w+):", said)
        assert "load_pairs" in rules and "fit_preference_tree" in rules, said
        assert ("extract_features" in rules) == ("SOURCE=" not in line)
    else:
        assert "make lab" in line and re.search(r"lab .*notebooks/(00\S+)", said)
        assert (checkout / re.search(r"notebooks/00\S+", said)[0]).exists()


@pytest.mark.parametrize("heading", ["## annotated-pairs", *(f"## {form.name}" for form in FORMS)])
def test_each_form_of_the_guide_is_read(heading, tmp_path, monkeypatch):
    """A row of the guide, and another like it, in a file."""
    [row, *programs] = [text for _, text, title in blocks(FORMS_PAGE) if title == heading]
    path = tmp_path / "pairs.jsonl"
    lines = [" ".join(row.split("\n")), " ".join(row.replace("91", "119").split("\n"))]
    if heading == "## responses":
        lines += [
            line.replace("No: 7", "Yes: 7").replace('"rank": 1', '"rank": 2') for line in lines
        ]
    if heading == "## usr":
        lines += [
            line.replace("No: 7", "Yes: 7").replace('"overall": 5', '"overall": 2')
            for line in lines
        ]
    if programs:
        path = tmp_path / "pairs.json"
        lines = lines[:1]
    path.write_text("\n".join(lines))
    pairs = load_pairs(path)
    assert f"## {pairs.form}" == heading
    prompts = 1 if programs else 2
    votes = 3 if heading == "## pandalm" else 1
    assert len(set(pairs.frame["prompt"])) == prompts
    assert len(pairs.frame) == votes * prompts
    for pair in pairs.frame.itertuples():
        assert (pair.response_1, pair.response_2)[pair.preference] == "No: 7 times 13."
    monkeypatch.chdir(tmp_path)
    for program in programs:
        (tmp_path / "program.py").write_text(program)
        runpy.run_path("program.py")
        again = load_pairs("primes.json").frame
        assert again["preference"].tolist() == pairs.frame["preference"].tolist()


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().split()) <= 1200


@pytest.mark.parametrize("page", marked_pages(ROOT), ids=lambda page: page.name)
def test_a_page_says_of_results_what_was_recorded(page):
    """Also before a study is published: the page then says that it is not."""
    assert refreshed(page) == page.read_text(), "run make publish"


def test_pages_with_results_are_the_readme_the_demo_and_the_real_studies():
    names = {"README.md", "demo-results.md", "real-studies.md"}
    assert {page.name for page in marked_pages(ROOT)} == names


def test_tables_of_the_results_page_are_those_that_notebook_99_wrote():
    text = RESULTS.read_text()
    assert text.count("<!-- table: ") >= 1
    assert [text.count(f"<!-- {outcome}: ") for outcome in OPEN_OUTCOMES] == [1, 1]


def test_a_changed_table_changes_the_page_once(tmp_path):
    page, table = tmp_path / "page.md", tmp_path / "t.md"
    table.write_text("| a |\n| --- |\n| 1 |\n")
    page.write_text("above\n<!-- table: t.md -->\nold\n<!-- end -->\nbelow\n")
    assert [refresh(page), refresh(page)] == [True, False]
    told = page.read_text()
    assert "old" not in told and "-->\n\n| a |\n| --- |\n| 1 |\n\n<!-- end -->\nbelow" in told
    table.write_text(
        "| notebook | claim | outcome |\n| 04 | Yes. | held |\n"
        "| 05 | No. | did not hold |\n| 05 | Perhaps. | cannot tell |"
    )
    for outcome, claim in {"did not hold": "No.", "cannot tell": "Perhaps."}.items():
        page.write_text(f"<!-- {outcome}: t.md -->\n<!-- end -->\n")
        assert refresh(page)
        assert re.findall("(?m)^- (.+)$", page.read_text()) == [claim]


OPENING = "<!-- opening: figures/toy/paper/index.json#07_biases.png -->\nold\n<!-- end -->\n"


def test_the_opening_is_of_the_demo_until_a_real_study_is_published(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(OPENING)
    assert refresh(page)
    assert "demo world" in page.read_text() and "old" not in page.read_text()
    assert "figures/demo/04_tree_predicted_rewards.png" in page.read_text()
    paper = tmp_path / "figures/toy/paper"
    paper.mkdir(parents=True)
    found = [{"notebook": "07", "sentence": "2 of 24 judges do."}, {"sentence": "Others do not."}]
    (paper / "index.json").write_text(json.dumps({"findings": found}))
    assert refresh(page)
    assert "](figures/toy/07_biases.png)" in page.read_text()
    assert "\n2 of 24 judges do. Others do not.\n" in page.read_text()
    assert "demo" not in page.read_text()
    (paper / "index.json").write_text(json.dumps({"findings": []}))  # nothing was found
    assert refresh(page) and "demo world" in page.read_text()


def test_the_readme_shows_a_real_figure_only_where_it_is_published():
    index = ROOT / "figures/llm-judges/paper/index.json"
    text = (ROOT / "README.md").read_text().split("<!-- end -->")[0]
    is_published = index.exists()
    assert ("figures/llm-judges/" in text.split("-->")[1]) == is_published
    if is_published:
        sentences = [one["sentence"] for one in json.loads(index.read_text())["findings"]]
        assert sentences and all(sentence in text for sentence in sentences)


@pytest.mark.parametrize("study", ["llm-judges", "annotators", "dialogue"])
def test_the_page_of_real_studies_credits_each_source_and_what_it_was_made_of(study):
    text = " ".join((ROOT / "docs/real-studies.md").read_text().split())
    plan = yaml.safe_load((ROOT / f"notebooks/studies/{study}.yaml").read_text())
    for name, source in plan["sources"].items():
        assert f"**{name}** ({source['licence']}): {source['credit']}" in text
        for part in source.get("made_of", []):
            assert f"- made of {part}" in text
    assert any(source.get("made_of") for source in plan["sources"].values())


def test_the_page_of_real_studies_says_what_is_not_published_or_shows_it():
    page = ROOT / "docs/real-studies.md"
    for kind, name in re.findall(r"<!-- ([a-z ]+): (\S+) -->", page.read_text()):
        shown = page.read_text().split(f"<!-- {kind}: {name} -->")[1].split("<!-- end -->")[0]
        if kind in ("findings", "table", *OPEN_OUTCOMES):
            is_there = (page.parent / name).exists()
            assert (UNPUBLISHED in shown) <= (not is_there or kind == "findings")
            assert is_there or shown.strip() == UNPUBLISHED


def test_a_recorded_run_is_told_in_minutes_cores_and_memory(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- run: runs.json#toy -->\n<!-- end -->\n")
    assert refresh(page) and "No whole run has been recorded yet." in page.read_text()
    run = {"seconds": 90.0, "memory_mib": 1536, "cores": 2, "date": "2026-11-30"}
    (tmp_path / "runs.json").write_text(json.dumps({"other": {}, "toy": run}))
    assert refresh(page)
    told = "1.5 minutes on 2 cores and at most 1.5 GiB of memory (2026-11-30)"
    assert told in page.read_text()


@pytest.mark.slow
def test_the_tutorial_does_what_it_says(shell, checkout):
    steps = [block for block in blocks(TUTORIAL[0]) if block[2].startswith(TUTORIAL[1])]
    assert [language for language, *_ in steps] == ["python", "", "python", "text"]
    (_, table, _), (_, commands, _), (_, use, _), (_, shown, _) = steps
    (checkout / "data" / "letters.py").write_text(table)
    (checkout / "use.py").write_text(use)
    for line in [".venv/bin/python data/letters.py", *commands.strip().split("\n")]:
        done = shell(line)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    made = checkout / "data" / "letters"
    for name in ("01_load_pairs", "03_fit_attribute_probe", "04_fit_preference_tree"):
        assert (made / f"{name}.ipynb").exists()
    assert (made / "05_ablate_depth_and_leaves.ipynb").exists() and list((made / "paper").iterdir())
    assert "Jane has 12 apples" not in (made / "00_compare_two_responses.ipynb").read_text()
    done = shell(".venv/bin/python use.py")
    assert done.returncode == 0, done.stderr[-3000:]
    number = re.compile(r"-?\d+\.\d+")
    assert number.sub("#", done.stdout).split() == number.sub("#", shown).split()
    printed, told = (list(map(float, number.findall(text))) for text in (done.stdout, shown))
    assert printed == pytest.approx(told, abs=0.15)  # the last digit may differ on another machine
