"""A notebook's new files replace the old ones when all of them are whole, and not before."""

import pytest
from processes import die_at, start

from dtreward.study.scratch import Scratch

NAME = "04_fit_preference_tree"
OLD = {
    "pairs.parquet": "of 01",
    "tree.json": "old",
    "checkpoint/model.safetensors": "old",
    "checkpoint/only_old": "old",
    "figures/04_tree.png": "old",
    "figures/04_only_old.png": "old",
    "figures/01_shares.png": "of 01",
    f"{NAME}.json": "old",
    f"{NAME}.ipynb": "old",
}
NEW = {
    "tree.json": "new",
    "checkpoint/model.safetensors": "new",
    "figures/04_tree.png": "new",
    f"{NAME}.json": "new",
}
AFTER = OLD | NEW
for gone in ("checkpoint/only_old", "figures/04_only_old.png"):
    AFTER.pop(gone)


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def read(folder):
    """Give the files of a study by name; hidden ones apart."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path.read_text() for path in paths}
    return {name: text for name, text in names.items() if not name.startswith(".")}


@pytest.fixture
def scratch(tmp_path):
    write(tmp_path / "toy", OLD)
    return Scratch(NAME, tmp_path / "toy")


def test_a_notebook_sees_what_others_made_and_not_what_it_made_itself(scratch):
    scratch.prepare()
    assert (scratch.folder / "pairs.parquet").read_text() == "of 01"
    names = {path.name for path in scratch.folder.iterdir()}
    assert names == {"pairs.parquet"}


def test_what_is_left_out_of_a_study_is_not_seen(tmp_path):
    write(tmp_path / "toy", {"rewards.parquet": "of 03", "pairs.parquet": "of 01"})
    scratch = Scratch("99_draw_paper_figures", tmp_path / "toy", ("03_fit_attribute_probe",))
    scratch.prepare()
    assert {path.name for path in scratch.folder.iterdir()} == {"pairs.parquet"}


def test_new_files_replace_the_old_ones_only_when_they_are_taken_over(scratch):
    scratch.prepare()
    write(scratch.folder, NEW)
    assert read(scratch.made) == OLD
    scratch.take_over()
    assert read(scratch.made) == AFTER and not scratch.data.exists()


def test_what_a_failed_run_left_is_deleted_and_the_old_files_stay(scratch):
    scratch.prepare()
    write(scratch.folder, NEW)
    scratch.discard()
    assert read(scratch.made) == OLD and not scratch.data.exists()


def test_figures_that_were_drawn_elsewhere_delete_none(scratch):
    scratch.prepare()
    scratch.take_over(drew_elsewhere=True)
    assert read(scratch.made) == OLD


def test_what_a_notebook_keeps_grows_in_place(tmp_path):
    """Features and answers outlive a failed run; a file of answers is made through its link."""
    for name, kept in {
        "02_extract_features": "features/0a/shard",
        "06_collect_judge_preferences": "judges.sqlite",
    }.items():
        scratch = Scratch(name, tmp_path / "toy")
        scratch.prepare()
        write(scratch.folder, {kept: "costly"})
        scratch.discard()
        assert (tmp_path / "toy" / kept).read_text() == "costly"


def _take_over(scratch, kill):
    die_at(kill)
    scratch.take_over()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("number", range(2, 7))
def test_killed_while_files_are_moved_the_next_run_moves_the_rest(scratch, number, after):
    """The first renaming is of the list of what to move: before it, nothing is moved."""
    scratch.prepare()
    write(scratch.folder, NEW)
    process = start(_take_over, scratch, ("replace", number, after))
    process.join()
    assert process.exitcode == -9
    scratch.prepare()
    assert read(scratch.made) == AFTER
