"""The study of a table of one's own has a folder of its own, and never replaces another silently."""

import pytest
import yaml
from conftest import ROOT

from dtreward.study.own import choose_name, find_study, name_of_source, own_file
from dtreward.study.plan import begin_study, end_study, plan_study


@pytest.fixture(autouse=True)
def repository(tmp_path, monkeypatch):
    """A folder that a plan takes for the repository, without what studies have made."""
    for name in ("notebooks", "dtreward"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "data").mkdir()
    for name in ("letters.csv", "other.csv"):
        (tmp_path / name).write_text("prompt\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(source="letters.csv", **others):
    return {"study": "own", "source": source} | others


def finish_first(plan):
    """Leave what a study leaves whose first notebook has finished."""
    begin_study(plan).close()
    (plan.folder / "01_load_pairs.json").write_text("{}")


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("letters.csv", "letters"),
        ("../x/My letters (2).v1.jsonl.gz", "My-letters-2-v1"),
        ("folder/of_parquet/", "of_parquet"),
        ("nvidia/HelpSteer2", "HelpSteer2"),
        ("_.csv", "own-_"),
        ("оценки.tsv", "own-оценки"),
        ("....csv", "own-table"),
    ],
)
def test_the_name_of_a_study_is_its_sources_made_plain(source, name):
    assert name_of_source(source) == choose_name("", source) == name


def test_each_table_has_a_folder_of_its_own_and_a_name_is_taken_as_given():
    first, other = plan_study(words()), plan_study(words("other.csv"))
    named = plan_study(words(name="spring"))
    folders = [plan.folder.as_posix() for plan in (first, other, named)]
    assert folders == ["data/letters", "data/other", "data/spring"]
    assert named.study == named.parameters["01_load_pairs"]["study"] == "spring"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "demo"}, "taken by a study of the project; .* NAME=demo-2"),
        ({"name": "Own"}, "taken by a study of the project"),
        ({"name": "measured"}, "taken by a study of the project"),
        ({"name": "../x"}, "expected a study's name"),
        ({"study": "demo", "source": "demo", "name": "x"}, "'demo' has its name already"),
    ],
)
def test_a_name_that_cannot_be_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        plan_study(words(**given) if "study" not in given else given)


def test_a_folder_of_another_source_is_refused_and_of_the_same_goes_on(repository):
    finish_first(plan_study(words()))
    assert plan_study(words(str(repository / "letters.csv"))).study == "letters"
    assert plan_study(words(max_depth=2)).study == "letters"
    with pytest.raises(ValueError, match=r"holds the study of \S*letters.csv, not of \S*other.csv"):
        plan_study(words("other.csv", name="letters"))
    with pytest.raises(ValueError, match="holds the study of"):
        plan_study({"study": "letters", "source": "other.csv"})


def test_a_name_whose_first_notebook_never_finished_may_take_another_source():
    begin_study(plan_study(words())).close()
    assert plan_study(words("other.csv", name="letters")).study == "letters"


def test_files_that_no_study_made_are_not_written_over(repository):
    (repository / "data" / "pairs").mkdir()
    (repository / "data" / "pairs" / "pairs.parquet").touch()
    with pytest.raises(ValueError, match="is not the folder of a study 'pairs'"):
        plan_study(words("data/pairs/pairs.parquet"))


def test_words_of_a_run_that_does_not_end_well_do_not_replace_those_of_one_that_did():
    finish_first(plan_study(words()))
    plan = plan_study(words(max_depth=2))
    begin_study(plan).close()
    assert "max_depth" not in yaml.safe_load(own_file("letters").read_text())["parameters"]
    end_study(plan)
    assert yaml.safe_load(own_file("letters").read_text())["parameters"]["max_depth"] == 2


def test_a_study_of_a_table_is_found_by_its_name_with_the_words_it_was_made_with(repository):
    given = {"model": "data/somewhere/checkpoint", "order_by": "overall"}
    plan = plan_study(words(**given))
    begin_study(plan).close()
    assert find_study("letters") == own_file("letters")
    again = plan_study({"study": "letters"})
    assert (again.notebooks, again.parameters) == (plan.notebooks, plan.parameters)
    assert yaml.safe_load(own_file("letters").read_text())["parameters"]["order_by"] == "overall"
    with_judges = plan_study({"study": "letters", "judges_source": "endpoints"})
    assert "06_collect_judge_preferences" in with_judges.notebooks  # which the first run left out
    with pytest.raises(ValueError, match=r"did you mean letters\?.*of your own tables letters"):
        plan_study({"study": "leters"})
