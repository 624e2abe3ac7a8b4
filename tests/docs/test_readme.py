"""What the README says is what happens: its commands exist, its printed results come out."""

import contextlib
import io
import json
import re
import subprocess
from dataclasses import fields

import nbformat
import pytest
import yaml
from replicas import make_replica

from dtreward import load
from dtreward.judges.judge import ENDPOINTS, Judge
from dtreward.judges.ratings import rating_questions
from dtreward.models import catalogue


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text()


@pytest.fixture(scope="module")
def models_guide(root):
    return (root / "docs" / "reward-models.md").read_text()


def pages_for_people(root):
    return [root / "README.md", *root.glob("*/README.md"), *root.glob("docs/*.md")]


def test_the_guide_to_reward_models_runs(root, models_guide, monkeypatch, capsys):
    code = re.search(r"```python\n(from dtreward.*?)```", models_guide, re.DOTALL)[1]
    monkeypatch.chdir(root)
    exec(compile(code, "reward-models.md", "exec"), {})  # noqa: S102 (our own page)
    assert capsys.readouterr().out == "decision-tree\n"


def test_the_quickstart_prints_what_the_readme_shows(root, readme, monkeypatch):
    code, shown = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", readme, re.DOTALL).groups()
    monkeypatch.chdir(root)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "README.md", "exec"), {})  # noqa: S102 (our own README)
    same = [re.sub(r"-?\d+\.\d+", _rounded, text) for text in (printed.getvalue(), shown)]
    assert same[0].split() == same[1].split()


def test_a_model_is_made_known_by_the_row_that_the_guide_shows(models_guide, monkeypatch, tmp_path):
    row = re.search(r"```python\n(\"[^`]*CatalogueEntry\([^`]*)```", models_guide)[1]
    monkeypatch.setattr(
        catalogue, "CATALOGUE", catalogue.CATALOGUE | eval(f"{{{row}}}", vars(catalogue))
    )
    folder = make_replica(tmp_path / "My-Reward-8B", rows=2)
    assert load(folder).attributes == ("clarity", "depth")


def test_the_judges_that_the_guide_shows_are_judges(root, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not a key")
    guide = (root / "docs" / "judges.md").read_text()
    shown = yaml.safe_load(re.search(r"```yaml\n(.*?)```", guide, re.DOTALL)[1])
    judges = shown["06_collect_judge_preferences"]["judges"]
    assert [Judge(**judge).name for judge in judges] == ["GPT-4o", "Qwen-2.5-7B"]


def test_all_judges_of_the_guides_examples_are_judges_and_all_fields_are_shown(root):
    guide = (root / "docs" / "judges.md").read_text()
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", guide, re.DOTALL)]
    (general,) = blocks[1]
    assert Judge(**general).name == "My-Judge"
    assert set(general) == {field.name for field in fields(Judge)}
    (rater,) = blocks[2]["01_load_pairs"]["rated_by"]
    assert Judge(**rater).name == "GPT-4o"
    assert len(rating_questions(blocks[2]["01_load_pairs"]["rubrics"])) == 2
    assert [name for name in ENDPOINTS if f"`{name}`" not in guide] == []


def test_the_guide_names_every_reward_model_that_load_knows(models_guide):
    table = models_guide.split("## Which models")[1].split("\n## ")[0]
    assert [name for name in catalogue.CATALOGUE if name not in table] == []


def _rounded(number):
    """One digit less than printed, so that another machine's last digit may differ."""
    return f"{float(number[0]):.1f}".replace("-0.0", "0.0")


def test_every_link_and_picture_of_the_readmes_exists(root):
    for page in [*pages_for_people(root), root / "data" / "demo" / "README.md"]:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_make_target_of_the_readmes_exists(root):
    known = set(re.findall(r"(?m)^([a-z]+):", (root / "Makefile").read_text()))
    for page in pages_for_people(root):
        used = set(re.findall(r"(?m)(?:`|^|&& )make ([a-z]+)\b", page.read_text()))
        assert used <= known, page


@pytest.mark.parametrize(
    ("outcome", "heading"),
    [("did not hold", "What did not hold"), ("cannot tell", "What cannot be told")],
)
def test_open_claims_are_told_as_the_notebooks_recorded_them(root, outcome, heading):
    executed = sorted((root / "notebooks" / "executed" / "demo").glob("*.ipynb"))
    printed = "\n".join(
        "".join(output.text)
        for path in executed
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )
    printed_so = set(re.findall(rf"(?m)^{outcome}: (.*)$", printed))
    page = (root / "docs" / "demo-results.md").read_text()
    told = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    assert set(re.findall(r"(?m)^- (.*)$", told)) == printed_so


def test_executed_copies_are_of_the_notebooks_as_they_are(root):
    """Nobody edits an executed copy, and a changed notebook is published again."""
    for path in sorted((root / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        copy = nbformat.read(root / "notebooks" / "executed" / "demo" / path.name, as_version=4)
        ran = [
            cell.source
            for cell in copy.cells
            if "injected-parameters" not in cell.metadata.get("tags", [])
        ]
        assert ran == [cell.source for cell in nbformat.read(path, as_version=4).cells], path.name


def test_make_says_what_it_can_do(root):
    done = subprocess.run(["make"], check=False, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0 and "make study" in done.stdout and "make test" in done.stdout


def test_the_full_size_in_the_guide_is_what_was_measured(root):
    text = (root / "docs/reproducing.md").read_text().split("At full size")[1].split("## ")[0]
    result = json.loads((root / "data/measured/full_size_llama-3.1-8b.json").read_text())
    cost = result["costs"]["02_extract_features"]
    assert f"{result['pairs']:,} pairs" in text and result["extraction"]["bit_for_bit"]
    assert f"takes {cost['seconds']:.0f} s and {cost['gpu_gib']} GiB" in " ".join(text.split())
    for shape, gpus in (("gemma-2-27b", "one GPU"), ("llama-3.1-70b", "two")):
        told = json.loads((root / f"data/measured/large_model_{shape}.json").read_text())
        assert told["alone_same_bits"] and "H200" in told["machine"]["device"]
        assert len(told.get("memory_gib_of_each_gpu", [0])) == ["one GPU", "two"].index(gpus) + 1
        assert told["bytes"] / 2**30 < told["memory_gib"]
        assert f"{shape.rsplit('-')[-1].upper()} on {gpus}" in text


def test_the_speed_in_the_guide_is_what_was_measured(root):
    """Tokens a second, to three digits, and ratios; every number of the section's first paragraphs."""
    text = (root / "docs/speed.md").read_text()
    for name, shape in (("Llama-3.1-8B", "llama-3.1-8b"), ("Gemma-2-27B", "gemma-2-27b")):
        result = json.loads((root / "data/measured" / f"extraction_{shape}.json").read_text())
        rates = {rung["rung"]: rung["tokens_per_second"] for rung in result["rungs"]}
        (best,) = (rate for rung, rate in rates.items() if rung.endswith("pruned"))
        assert result["machine"]["device"].removeprefix("NVIDIA ") in text
        assert re.search(rf"{round(best, -2):,.0f}( tokens a second)? with {name}", text), best
        times = best / rates["padded batches of 16, sorted by length"]
        assert re.search(rf"\b{times:.1f}\b.* times the rate of padded batches", text), times
