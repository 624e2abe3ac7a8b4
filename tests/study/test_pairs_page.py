"""The page of pairs: right pairs at each node and disagreement, no text unasked, no way out."""

import json
import re
import shutil
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from browser import offline_tab

from dtreward.files import write_json
from dtreward.judges.verdict import judged_frame
from dtreward.pairs.frame import attributes_of, differences, response_index, responses
from dtreward.study import listing
from dtreward.study.listing import PEOPLE, list_pairs
from dtreward.study.pairs_page import pairs_page
from dtreward.tree.tree import PreferenceTree

__all__ = ["offline_tab"]  # a fixture
EVIL = "</script><b>&quot;<!--<script>"
WORDS = [f"secret{number}" for number in range(200)]  # of texts, and of nothing else
STATES = ["A", "B", "refused", "missing"]


def make_pairs(count, attributes=("clarity", "depth"), seed=0):
    """Make pairs as notebook 01 writes them, two pairs a prompt; every fifth has no preference."""
    rng = np.random.default_rng(seed)
    text = [" ".join(rng.choice(WORDS, 7)) + f" {EVIL} end{row}" for row in range(3 * count)]
    columns = {
        "prompt_id": np.arange(count) // 2,
        "prompt": [f"Why {text[row // 2]}" for row in range(count)],
        "response_1": text[count : 2 * count],
        "response_2": text[2 * count :],
    }
    for name in attributes:
        columns[f"{name}_1"] = rng.integers(0, 5, count).astype(float)
        columns[f"{name}_2"] = rng.integers(0, 5, count).astype(float)
    second = pd.Series(columns[f"{attributes[0]}_2"] > columns[f"{attributes[0]}_1"])
    columns["preference"] = second.astype("Int8").mask(second.index % 5 == 4)
    columns["split"] = np.where(columns["prompt_id"] % 3 == 0, "test", "train")
    frame = pd.DataFrame(columns)
    return frame


def fit(frame, values, preference):
    attributes = list(attributes_of(frame))
    return PreferenceTree.fit(values, preference, attributes=attributes, min_leaf=2)


def write_study(folder, frame, judges=("J-1", "J-2"), with_rewards=True):
    """Write what notebooks 01, 03, 04, 06 and 07 leave, as far as the page reads it."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(1)
    attributes = list(attributes_of(frame))
    frame.to_parquet(folder / "pairs.parquet")
    inputs = {"ratings": differences(frame, attributes)}
    if with_rewards:
        rated = responses(frame, attributes)
        noise = rng.normal(0, 0.3, (len(rated), len(attributes)))
        rewards = rated[["prompt_id", "split", *attributes]].copy()
        rewards[attributes] += noise
        rewards.to_parquet(folder / "rewards.parquet")
        index = response_index(frame, rated)
        values = rewards[attributes].to_numpy()
        inputs["predicted rewards"] = values[index[:, 1]] - values[index[:, 0]]
    known = frame["preference"].notna().to_numpy()
    preference = frame["preference"][known].to_numpy(int)
    trees = {name: fit(frame, values[known], preference) for name, values in inputs.items()}
    record = {"numbers": {"trees": {name: tree.to_dict() for name, tree in trees.items()}}}
    write_json(folder / "04_fit_preference_tree.json", record)
    if judges:
        write_judges(folder, frame, judges, rng)
    return folder


def write_judges(folder, frame, judges, rng):
    asked = np.arange(0, len(frame), 2)
    states = [
        pd.DataFrame(
            {
                "judge": judge,
                "family": "",
                "pair": asked,
                "given": rng.choice(STATES, len(asked), p=[0.45, 0.45, 0.05, 0.05]),
                "swapped": rng.choice(STATES, len(asked), p=[0.45, 0.45, 0.05, 0.05]),
            }
        )
        for judge in judges
    ]
    judged = judged_frame(pd.concat(states, ignore_index=True), frame)
    judged.to_parquet(folder / "judges.parquet")
    values = differences(frame, list(attributes_of(frame)))
    trees = {}
    for judge, own in judged.dropna(subset="preference").groupby("judge"):
        trees[judge] = fit(frame, values[own["pair"]], own["preference"].to_numpy(int)).to_dict()
    write_json(folder / "judge_trees.json", trees)


@pytest.fixture(scope="module")
def frame():
    return make_pairs(120)


@pytest.fixture(scope="module")
def made(frame, tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("made") / "own", frame)


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the study, to be damaged."""
    return shutil.copytree(made, tmp_path / "own")


def embedded(html):
    """Give the data of a page, as a browser finds them."""

    class Reader(HTMLParser):
        inside = False
        text = ""

        def handle_starttag(self, tag, attributes):
            self.inside = dict(attributes).get("id") == "pairs-data"

        def handle_data(self, data):
            if self.inside:
                self.text += data

        def handle_endtag(self, tag):
            self.inside = False

    reader = Reader()
    reader.feed(html)
    return json.loads(reader.text)


def test_the_pairs_of_a_node_are_those_that_pass_it(made, frame):
    page = list_pairs(made)
    documents = json.loads((made / "04_fit_preference_tree.json").read_text())["numbers"]["trees"]
    documents |= json.loads((made / "judge_trees.json").read_text())
    names = ["on ratings", "on predicted rewards", "of J-1", "of J-2"]
    assert [tree.name for tree in page.trees] == names and page.problems == []
    rewards = list(zip(*page.differences["predicted rewards"], strict=True))
    ratings = list(zip(*page.differences["ratings"], strict=True))
    for listed, document in zip(page.trees, documents.values(), strict=True):
        tree = PreferenceTree.from_dict(document)
        shown = rewards if "rewards" in listed.name else ratings
        for leaf, values in zip(listed.leaf, shown, strict=True):
            passed = {step.node for step in tree.path(np.array(values, float))}
            around = {n for n, node in enumerate(listed.nodes) if n <= leaf <= node.last}
            # The rounding of the page moves none of these pairs over a threshold.
            assert around == passed | {leaf}


def test_a_tree_wavers_where_its_preference_does_not_flip(made, frame):
    page = list_pairs(made)
    documents = json.loads((made / "04_fit_preference_tree.json").read_text())["numbers"]["trees"]
    tree = PreferenceTree.from_dict(documents["ratings"])
    values = differences(frame, list(attributes_of(frame)))
    consistent = [code == "0" for code in page.trees[0].wavers]
    assert np.mean(consistent) == tree.swap_consistency(values)
    assert 0 < sum(consistent) < len(frame)


def test_codes_say_what_judges_and_people_answered(made, frame):
    page = list_pairs(made)
    judged = pd.read_parquet(made / "judges.parquet").set_index(["judge", "pair"])
    people, *judges = page.judges
    assert people.name == PEOPLE
    expected = ["-" if pd.isna(value) else str(value) for value in frame["preference"]]
    assert list(people.codes) == expected
    seen = set()
    for judge in judges:
        for pair, code in enumerate(judge.codes):
            if (judge.name, pair) not in judged.index:
                assert code == "-"
                continue
            row = judged.loc[judge.name, pair]
            position = {"A": "f", "B": "s"}.get(row["given"])
            others = {"inconsistent": position, "decided": str(row["preference"])}
            assert code == others.get(row["outcome"], "n")
            seen.add(code)
    assert seen == set("01fsn")


def test_a_judge_of_unknown_positions_is_inconsistent_all_the_same(copy):
    judged = pd.read_parquet(copy / "judges.parquet")
    judged.assign(given=None, swapped=None).to_parquet(copy / "judges.parquet")
    codes = "".join(judge.codes for judge in list_pairs(copy).judges[1:])
    assert codes.count("i") == (judged["outcome"] == "inconsistent").sum() > 0
    assert "f" not in codes and "s" not in codes


def test_without_texts_no_word_of_them_is_in_the_page(made, frame):
    html = pairs_page(made).html
    texts = " ".join(frame[["prompt", "response_1", "response_2"]].to_numpy().ravel())
    said = {word for word in re.findall(r"\w+", texts) if re.search(r"\d", word)}
    assert len(said) > 300
    assert not [word for word in said if word in html]
    assert embedded(html)["texts"] is None
    shown = pairs_page(made, texts=True).html
    assert all(word in shown for word in said)  # the search finds them where they are


def test_texts_come_back_whole_and_long_ones_are_cut(copy, frame):
    long = "x" * (listing.LONGEST_TEXT + 1234)
    changed = frame.copy()
    changed.loc[3, "response_2"] = long
    changed.to_parquet(copy / "pairs.parquet")
    texts = embedded(pairs_page(copy, texts=True).html)["texts"]
    assert texts[0] == frame.loc[0, ["prompt", "response_1", "response_2"]].tolist()
    assert texts[3][2] == "x" * listing.LONGEST_TEXT + " … (1,234 more characters)"


def test_no_name_or_text_ends_the_script_or_becomes_an_element(tmp_path):
    frame = make_pairs(60, attributes=(EVIL, "b"))
    made = write_study(tmp_path / "evil", frame, judges=(EVIL, f"Q{EVIL}"))
    html = pairs_page(made, texts=True).html
    assert html.count("</script>") == html.count("<script") == 2
    assert "<b>" not in html and "<!--" not in html
    data = embedded(html)
    assert data["attributes"] == [EVIL, "b"]
    assert [judge["name"] for judge in data["judges"]] == [PEOPLE, EVIL, f"Q{EVIL}"]
    assert EVIL in data["texts"][0][0]


def test_problems_are_escaped(tmp_path):
    made = write_study(tmp_path / "evil", make_pairs(60), judges=())
    tree = PreferenceTree.single_split(EVIL, 0.5)
    write_json(made / "judge_trees.json", {EVIL: tree.to_dict()})
    html = pairs_page(made).html
    assert "The tree of &lt;/script&gt;&lt;b&gt;" in html and "<b>" not in html


def test_a_study_without_judges_rewards_or_trees_has_a_page(tmp_path, frame):
    made = write_study(tmp_path / "few", frame, judges=(), with_rewards=False)
    page = list_pairs(made)
    assert [tree.name for tree in page.trees] == ["on ratings"]
    assert list(page.differences) == ["ratings"] and len(page.judges) == 1
    (made / "04_fit_preference_tree.json").unlink()
    page = list_pairs(made)
    assert page.trees == [] and page.problems == [] and len(page.pair) == len(frame)


def test_pairs_without_attributes_have_a_page(tmp_path):
    names = ["prompt_id", "prompt", "response_1", "response_2", "preference", "split"]
    make_pairs(10)[names].to_parquet(tmp_path / "pairs.parquet")
    assert len(embedded(pairs_page(tmp_path).html)["pair"]) == 10


@pytest.mark.parametrize(
    "name", ["rewards.parquet", "judges.parquet", "judge_trees.json", "04_fit_preference_tree.json"]
)
def test_a_damaged_file_is_named_and_the_rest_is_listed(copy, name, frame):
    table = copy / "odd.parquet"
    pd.DataFrame({"pair": [0.5], "prompt_id": ["x"]}).to_parquet(table)
    damages = [b"PAR1 no more", b'{"numbers": {"trees": [1]}}', b"[" * 100_000, table.read_bytes()]
    for damage in damages:
        (copy / name).write_bytes(damage)
        page = list_pairs(copy)
        assert any(problem.startswith(f"{name} is left out") for problem in page.problems)
        assert len(page.pair) == len(frame)


def test_files_of_other_pairs_are_named(copy):
    other = make_pairs(80, seed=5)
    other["prompt_id"] = np.arange(80)
    other.to_parquet(copy / "pairs.parquet")
    problems = " ".join(list_pairs(copy).problems)
    assert "rewards.parquet is left out" in problems
    assert "judges.parquet is left out" in problems
    assert "The tree on predicted rewards is left out" in problems


def test_without_readable_pairs_the_page_says_so(tmp_path):
    assert "pairs.parquet is missing" in pairs_page(tmp_path).html
    for damage in (b"nothing", b""):
        (tmp_path / "pairs.parquet").write_bytes(damage)
        assert "pairs.parquet is no table of pairs" in pairs_page(tmp_path).html
    for table in (
        pd.DataFrame({"a": [1]}),
        make_pairs(10).assign(prompt=None),
        make_pairs(10).assign(response_1=3),
        make_pairs(10).assign(prompt_id=np.nan),
        make_pairs(10).assign(clarity_1="good"),
        make_pairs(10).assign(preference=0.5),
    ):
        table.to_parquet(tmp_path / "pairs.parquet")
        assert "pairs.parquet is no table of pairs" in pairs_page(tmp_path).html


def test_many_pairs_stay_small_and_judged_ones_come_first(tmp_path):
    frame = make_pairs(6_000, attributes=tuple("abcde"))
    made = write_study(tmp_path / "many", frame, judges=[f"J-{n}" for n in range(20)])
    html = pairs_page(made).html
    data = embedded(html)
    assert len(data["pair"]) == listing.MOST_PAIRS and data["of"] == 6_000
    assert set(range(0, 6_000, 2)) <= set(data["pair"])  # judges were asked about even rows
    assert "lists 5,000 of the study's 6,000 pairs" in unescape(html)
    assert len(html) < 3_000_000
    texts = embedded(pairs_page(made, texts=True).html)["texts"]
    assert sum(len(part) for row in texts if row for part in row) <= listing.MOST_TEXT


def test_many_attributes_leave_room_for_fewer_pairs(tmp_path):
    names = tuple(f"attribute_{number}" for number in range(60))
    made = write_study(tmp_path / "wide", make_pairs(5_000, attributes=names), judges=())
    html = pairs_page(made).html
    assert 3_000 < len(embedded(html)["pair"]) < 5_000
    assert len(html) < 3_000_000


def test_the_same_study_gives_the_same_bytes(made, copy):
    assert pairs_page(made, texts=True) == pairs_page(copy, texts=True)


def test_the_page_can_stand_in_markdown_and_loads_its_assets_alone(made):
    page = pairs_page(made, static="../_static")
    assert "\n\n" not in page.html and "```" not in page.html
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page.html)
    assert loaded == ["../_static/pairs.css", "../_static/pairs.js"]
    assert {path.name for path in page.assets} == {"pairs.css", "pairs.js"}
    script = next(path for path in page.assets if path.suffix == ".js").read_text()
    for way_in in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way_in not in script


# What a browser shows.


def write_site(folder, made, **options):
    """Write the page as a file that a browser opens."""
    page = pairs_page(made, **options)
    (folder / "_static").mkdir(parents=True)
    for path in page.assets:
        shutil.copy(path, folder / "_static")
    head = "<meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
    text = f"<!doctype html><html lang='en'>{head}<title>Pairs</title>{page.html}</html>"
    (folder / "pairs.html").write_text(text, encoding="utf-8")
    return folder / "pairs.html"


def visit(offline_tab, path, width=1280):
    offline_tab.send("Page.enable")
    offline_tab.send("Runtime.enable")
    offline_tab.send("Network.enable")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    offline_tab.send("Emulation.setDeviceMetricsOverride", **size)
    offline_tab.events.clear()
    offline_tab.send("Page.navigate", url=path.as_uri())
    offline_tab.wait(path.name, f"location.href + document.readyState == '{path.as_uri()}complete'")


def choose(offline_tab, **values):
    """Choose in the page's lists, by the words that they show."""
    for name, words in values.items():
        found = offline_tab.evaluate(
            f"""(() => {{
            const select = document.getElementById("pairs-{name}");
            const wanted = {json.dumps(words)};
            const found = [...select.options].find(o => o.textContent.trim().startsWith(wanted));
            if (!found || select.disabled) return false;
            select.value = found.value;
            select.dispatchEvent(new Event("change", {{bubbles: true}}));
            return true; }})()"""
        )
        assert found, f"{words} cannot be chosen as {name}"


def count(offline_tab):
    return int(text(offline_tab, "count").split()[0].replace(",", ""))


def text(offline_tab, name):
    return offline_tab.evaluate(f"document.getElementById('pairs-{name}').textContent")


@pytest.fixture(scope="module")
def site(made, tmp_path_factory):
    return write_site(tmp_path_factory.mktemp("site") / "own", made)


def test_in_a_browser_nodes_and_splits_filter_the_list(offline_tab, site, made, frame):
    visit(offline_tab, site)
    assert count(offline_tab) == len(frame)
    tree = list_pairs(made).trees[1]
    choose(offline_tab, tree="tree on predicted rewards")
    assert count(offline_tab) == len(frame)  # all come to the root
    for number, node in enumerate(tree.nodes):
        kind = "leaf" if node.last == number else "split"
        choose(offline_tab, node=f"{kind} {number}: {node.label}")
        assert count(offline_tab) == sum(number <= leaf <= node.last for leaf in tree.leaf)
        assert text(offline_tab, "node-words") == node.words
    choose(offline_tab, tree="(no tree)", split="test")
    assert count(offline_tab) == (frame["split"] == "test").sum()


def test_in_a_browser_disagreements_filter_the_list(offline_tab, site, made, frame):
    judged = pd.read_parquet(made / "judges.parquet")
    votes = judged.pivot(index="pair", columns="judge", values="preference").astype("Float64")
    votes["Human"] = frame["preference"].astype("Float64")
    visit(offline_tab, site)
    for first, second in (("J-1", "Human"), ("J-1", "J-2"), ("Human", "J-2")):
        both = votes[[first, second]].dropna()
        choose(offline_tab, relation="prefers another")
        choose(offline_tab, first=first, second=second)
        assert count(offline_tab) == (both[first] != both[second]).sum() > 0
        choose(offline_tab, relation="prefers the same")
        assert count(offline_tab) == (both[first] == both[second]).sum() > 0
    choose(offline_tab, relation="changes its answer", first="J-2")
    wavering = judged.query("judge == 'J-2' and outcome == 'inconsistent'")
    assert count(offline_tab) == len(wavering) > 0
    choose(offline_tab, first="tree on ratings")
    assert count(offline_tab) == list_pairs(made).trees[0].wavers.count("1") > 0
    choose(offline_tab, first="Any judge")
    assert count(offline_tab) == judged.query("outcome == 'inconsistent'")["pair"].nunique()
    choose(offline_tab, relation="prefers another", second="Human")
    other = votes[["J-1", "J-2"]].ne(votes["Human"], axis=0).fillna(False).any(axis=1)
    assert count(offline_tab) == other.sum() > 0
    choose(offline_tab, relation="changes its answer", first="Human")
    assert count(offline_tab) == 0 and "one order alone" in text(offline_tab, "relation-words")


def test_in_a_browser_a_tree_can_disagree_with_people(offline_tab, site, made, frame):
    page = list_pairs(made)
    tree = page.trees[0]
    second = ["1" if tree.nodes[leaf].second > 0.5 else "0" for leaf in tree.leaf]
    wrong = sum(a != b for a, b in zip(second, page.judges[0].codes, strict=True) if b != "-")
    visit(offline_tab, site)
    choose(offline_tab, relation="prefers another")
    choose(offline_tab, first="tree on ratings", second="Human")
    assert count(offline_tab) == wrong


def test_in_a_browser_more_are_shown_on_demand_and_reset_shows_all(offline_tab, site, frame):
    visit(offline_tab, site)
    rows = "document.querySelectorAll('#pairs-list > li').length"
    assert offline_tab.evaluate(rows) == 20
    while not offline_tab.evaluate("document.getElementById('pairs-more').hidden"):
        offline_tab.click("document.getElementById('pairs-more')")
    assert offline_tab.evaluate(rows) == len(frame)
    choose(offline_tab, split="test", tree="tree on ratings")
    assert offline_tab.evaluate(rows) == 20
    offline_tab.click("document.querySelector('#pairs-form button[type=reset]')")
    offline_tab.wait(
        "reset", f"document.getElementById('pairs-count').textContent.startsWith('{len(frame)} ')"
    )
    assert text(offline_tab, "node-words") == ""


def test_in_a_browser_a_row_says_what_is_known_of_the_pair(offline_tab, site, made, frame):
    visit(offline_tab, site)
    row = offline_tab.evaluate("document.querySelector('#pairs-list > li').innerText")
    words = [len(frame.loc[0, f"response_{side}"].split()) for side in (1, 2)]
    assert f"Pair 0 · prompt 0 · test · {words[0]} and {words[1]} words" in row
    page = list_pairs(made)
    tree = page.trees[0]
    second = tree.nodes[tree.leaf[0]].second
    assert f"on ratings {100 * max(second, 1 - second):.1f}\xa0%" in row
    rating = page.differences["ratings"][0][0]
    assert re.search(rf"clarity\t{rating:+}\t".replace("-", "−"), row.replace("+0", "0"))
    assert "secret" not in row


@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_hostile_names_stay_text_and_fit_the_window(offline_tab, tmp_path, width):
    names = (EVIL, "a_name_without_end_" * 6)
    judges = (EVIL, "J" * 90)
    made = write_study(tmp_path / "evil", make_pairs(60, attributes=names), judges=judges)
    path = write_site(tmp_path / "site", made, texts=True)
    visit(offline_tab, path, width)
    choose(offline_tab, tree="tree of </script>", relation="changes its answer")
    offline_tab.screenshot(f"pairs_{width}")
    assert "</script><b>" in text(offline_tab, "list")
    assert offline_tab.evaluate("document.querySelectorAll('b').length") == 0
    assert offline_tab.evaluate("document.scripts.length") == 2
    assert offline_tab.evaluate("document.documentElement.scrollWidth") <= width
    asked = [
        event["params"]["request"]["url"]
        for event in offline_tab.events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert len(asked) >= 3 and all(url.startswith("file:") for url in asked)
    errors = [event for event in offline_tab.events if event["method"] == "Runtime.exceptionThrown"]
    assert not errors


def test_in_a_browser_a_study_of_people_alone_has_no_filter_that_cannot_work(
    offline_tab, tmp_path, frame
):
    made = write_study(tmp_path / "few", frame, judges=(), with_rewards=False)
    (made / "04_fit_preference_tree.json").unlink()
    visit(offline_tab, write_site(tmp_path / "site", made))
    seen = "['nodes', 'disagreement'].map(n => document.getElementById('pairs-' + n).checkVisibility())"
    assert offline_tab.evaluate(seen) == [False, False]
    assert count(offline_tab) == len(frame)
    choose(offline_tab, split="train")
    assert count(offline_tab) == (frame["split"] == "train").sum()


def test_in_a_browser_colours_are_those_of_the_theme(offline_tab, site):
    visit(offline_tab, site)
    theme = {"surface": "rgb(1, 2, 3)", "text-base": "rgb(250, 251, 252)", "border": "rgb(9, 8, 7)"}
    for name, colour in theme.items():
        style = "document.documentElement.style"
        offline_tab.evaluate(f"{style}.setProperty('--pst-color-{name}', '{colour}')")
    for element in ("#pairs-list > li", "#pairs-tree", "#pairs-more"):
        found = "(s => [s.backgroundColor, s.color, s.borderTopColor])(getComputedStyle(ELEMENT))"
        asked = found.replace("ELEMENT", f"document.querySelector('{element}')")
        assert offline_tab.evaluate(asked) == list(theme.values())
