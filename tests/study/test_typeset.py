r"""The short paper: it compiles where LaTeX is, and is checked as LaTeX would where it is not.

What a study may lack stands in the second argument of \known, \drawn or \treeon; all else must be
in the macros that notebook 99 writes of every study.
"""

import json
import re
import shutil

import pytest
import yaml
from conftest import ROOT

from dtreward.cli import main
from dtreward.study.publish import publish
from dtreward.study.typeset import compile_paper, gather_paper, make_paper

OF_LATEX = """
documentclass usepackage newcommand renewcommand def setlength setcounter input pdftrailerid
begin end section emph texttt textsuperscript textbackslash textasciitilde textasciicircum ldots
textperiodcentered leq geq kappa caption label ref cite bibitem centering footnotesize Large
raggedright includegraphics linewidth textheight width IfFileExists ifcsname endcsname csname else fi ifx
ifdim resizebox toprule midrule bottomrule endfirsthead endhead endfoot endlastfoot multicolumn
string parindent parskip textfloatsep floatsep intextsep topfraction bottomfraction textfraction
floatpagefraction makeatletter makeatother expandafter the numexpr relax UTFviii@undefined@err
UTFviii@hexcodepoint decode@UTFviii numberofsign
"""
# By which macro a text may be guarded, and the macros that the same notebook writes with it.
TOGETHER = {
    r"Floor": r"Floor",
    r"AccuracyOn#1Tree": r"(AccuracyOn|SplitsOn|SplitsNeededOn)#1(Tree)?",
    r"Judges": r"Judges|JudgesKept|NearestJudge|NearestKappa",
    r"ProbeCorrelationHelpfulness": r"ProbeCorrelationHelpfulness",
    r"Findings": r"Findings",
}
OF_EVERY_STUDY = ("World", "Pairs", "Prompts", "Claims", "LeftOut")
NUMBER_WORDS = re.compile(r"\b(two|three|four|five|six|seven|eight|nine|ten|dozen|hundred)\b")
needs_latex = pytest.mark.skipif(
    not shutil.which("pdflatex"), reason="LaTeX is not installed: apt-get install texlive"
)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A repository whose demo study has not run: what is committed of it."""
    root = tmp_path_factory.mktemp("demo")
    for name in ("examples", "figures", "notebooks"):
        (root / name).symlink_to(ROOT / name)
    return root


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A repository with a run study that has no judge, no reward model and an unusual name."""
    root = tmp_path_factory.mktemp("small")
    (root / "examples").symlink_to(ROOT / "examples")
    made, committed = root / "data" / "small" / "paper", ROOT / "figures" / "demo" / "paper"
    made.mkdir(parents=True)
    index = json.loads((committed / "index.json").read_text())
    kept = {name: index["drawn"].pop(name) for name in ("02_rating_distribution", "table_claims")}
    for entry in kept.values():
        for name in entry["files"]:
            shutil.copy(committed / name, made)
    lacks = dict.fromkeys(index["drawn"], "no record of 有用 & _")
    found = [{"notebook": "04_fit_preference_tree", "sentence": "Trees ask for 有用 in 90 %."}]
    small = {"drawn": kept, "left_out": index["left_out"] | lacks, "findings": found}
    (made / "index.json").write_text(json.dumps(small))
    text = (committed / "macros.tex").read_text().replace("{demo world}", "{small}")
    kinds = "World|Pairs|Prompts|Claims|CaptionRatingDistribution|CaptionTableClaims"
    lines = re.findall(rf"(?m)^\\newcommand{{\\(?:{kinds}).*\n", text)
    text = "".join(lines).replace("Share of", "有用: share of")
    (made / "macros.tex").write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def source():
    return without_comments((ROOT / "examples" / "paper" / "paper.tex").read_text())


@pytest.fixture(scope="module")
def body(source):
    """The paper between its preamble and its references."""
    return source.split(r"\begin{document}")[1].split(r"\begin{thebibliography}")[0]


@pytest.fixture(scope="module")
def definitions(source):
    r"""The text of the paper's own commands, such as \figureof."""
    return source.split(r"\begin{document}")[0].split(r"\input{study.tex}")[1]


def without_comments(text):
    return re.sub(r"(?<!\\)%.*", "", text)


def argument(text, start):
    """Give the argument in braces that begins at a place of a text, and where it ends."""
    depth = 0
    for place in range(start, len(text)):
        is_escaped = text[place - 1] == "\\"
        depth += (text[place] == "{" and not is_escaped) - (text[place] == "}" and not is_escaped)
        if not depth:
            return text[start + 1 : place], place + 1
    raise AssertionError(f"a brace is not closed: {text[start : start + 60]!r}")


def guards(text):
    r"""Split a text into what is guarded, [(\known or \drawn, name, text)], and the rest."""
    found, rest, place = [], "", 0
    for match in re.finditer(r"\\(known|drawn)(?=\{)", text):
        if match.start() < place:  # inside another
            continue
        name, end = argument(text, match.end())
        guarded, end = argument(text, end)
        found.append((match[1], name, guarded))
        found += guards(guarded)[0]
        rest += text[place : match.start()]
        place = end
    return found, rest + text[place:]


def commands(text):
    return set(re.findall(r"\\([A-Za-z@]+)", text))


def macros_of(folder):
    text = (folder / "macros.tex").read_text() + (folder / "study.tex").read_text()
    return set(re.findall(r"(?m)^\\newcommand\{\\(\w+)\}", text))


@pytest.mark.parametrize("name", ["demo", "small"])
def test_every_file_that_latex_reads_balances_its_braces_and_environments(name, request):
    folder = gather_paper(name, request.getfixturevalue(name))
    files = sorted(folder.glob("*.tex"))
    assert {"paper.tex", "macros.tex", "study.tex"} <= {path.name for path in files}
    for path in files:
        text = without_comments(path.read_text(encoding="utf-8"))
        bare = re.sub(r"\\[\\{}]", "", text)
        assert bare.count("{") == bare.count("}"), path.name
        opened = []
        for kind, environment in re.findall(r"\\(begin|end)\{([a-z*]+)\}", text):
            if kind == "begin":
                opened.append(environment)
            else:
                assert opened and opened.pop() == environment, f"{path.name}: {environment}"
        assert not opened, path.name
        conditions = len(re.findall(r"\\(?:ifx|ifcsname|ifdim)\b", text))
        assert conditions == len(re.findall(r"\\fi\b", text)), path.name


@pytest.mark.parametrize("name", ["demo", "small"])
def test_every_command_is_of_latex_or_of_the_study(name, request, source):
    folder = gather_paper(name, request.getfixturevalue(name))
    own = set(re.findall(r"\\newcommand\{\\(\w+)\}", source))
    known = set(OF_LATEX.split()) | own | macros_of(folder)
    rest = guards(source)[1] if name == "small" else source.replace(r"{\Findings}", "")
    assert commands(rest) - known == set()
    for path in folder.glob("*.tex"):
        if path.name != "paper.tex":
            assert commands(path.read_text()) - known == set(), path.name


def test_what_a_study_may_lack_is_guarded_by_what_comes_with_it(body, definitions):
    guarded, rest = guards(definitions + body)
    of_study = {name for name in commands(rest) if name[0].isupper()} - set(OF_LATEX.split())
    assert {
        name for name in of_study if not name.startswith((*OF_EVERY_STUDY, "LeftOut", "UTF"))
    } == set()
    for kind, name, text in guarded:
        if kind == "known":
            uses = set(re.findall(r"\\(?:csname )?([A-Z][\w#]+)", guards(text)[1]))
            assert {used for used in uses if not re.fullmatch(TOGETHER[name], used)} == set(), name


def test_every_name_that_a_guard_asks_for_is_one_that_notebook_99_writes(demo, body):
    folder = gather_paper("demo", demo)
    captions = yaml.safe_load((ROOT / "dtreward" / "study" / "captions.yaml").read_text())
    files = {f"{name}.{'tex' if name.startswith('table') else 'pdf'}" for name in captions}
    names = macros_of(folder) | {"Findings"}
    for kind, name, _ in guards(body)[0]:
        assert name in (names if kind == "known" else files)
    figures = re.findall(r"\\figureof\{(\w+)\}\{(\w+)\}", body)
    assert len(figures) >= 5
    for file, name in figures:
        assert f"{file}.pdf" in files and (folder / f"{file}.pdf").exists()
        assert f"Caption{name}" in names
    for file in re.findall(r"\\tableof\{(\w+)\}", body):
        assert f"{file}.tex" in files and (folder / f"{file}.tex").exists()
    trees = re.findall(r"\\treeon\{(\w+)\}", body)
    assert {"Ratings", "PredictedRewards"} <= set(trees)
    assert {f"AccuracyOn{name}Tree" for name in ("Ratings", "PredictedRewards")} <= names


def test_every_reference_has_a_label(demo, body):
    folder = gather_paper("demo", demo)
    labels = {f"fig:{name}" for _, name in re.findall(r"\\figureof\{(\w+)\}\{(\w+)\}", body)}
    for path in folder.glob("table_*.tex"):
        labels |= set(re.findall(r"\\label\{([\w:]+)\}", path.read_text()))
    references = re.findall(r"\\ref\{([\w:]+)\}", body)
    assert len(references) >= 5 and set(references) <= labels


def test_no_number_is_typed_by_hand(body):
    text = re.sub(r"\\(figureof|tableof|drawn|IfFileExists)\{[\w.]+\}", "", body)
    assert not re.findall(r"\d", text)
    assert not NUMBER_WORDS.findall(text)


def test_the_paper_of_the_demo_study_says_that_its_world_is_invented(demo, body, definitions):
    macros = (gather_paper("demo", demo) / "macros.tex").read_text()
    (world,) = re.findall(r"\\newcommand\{\\World\}\{(.*)\}", macros)
    assert rf"\newcommand{{\demoworld}}{{{world}}}" in definitions and world == "demo world"
    title, warning = body.split(r"\ifx\World\demoworld")
    assert r"\World}" in title and "Nothing here is a" in warning.split(r"\fi")[0]


def test_what_a_study_lacks_is_named_in_its_paper(small):
    text = (gather_paper("small", small) / "study.tex").read_text(encoding="utf-8")
    assert r"26\_biases\_by\_subset (the pairs are of one set)" in text
    assert text.count("no record") == 1 and r"table\_ranks (no record of 有用 \& \_)" in text
    assert r"\newcommand{\Findings}{Trees ask for 有用 in 90 \%.}" in text


def test_a_study_without_figures_is_told_to_run_and_leaves_nothing(demo):
    name = "paper-gemma-27b"
    with pytest.raises(FileNotFoundError, match=rf"data/{name}/paper/: .* make study STUDY={name}"):
        gather_paper(name, demo)
    with pytest.raises(ValueError, match="there is no study 'dema'; did you mean demo"):
        gather_paper("dema", demo)
    assert not (demo / "data" / name).exists() and not (demo / "data" / "dema").exists()


def test_without_latex_one_line_says_what_to_install(demo, monkeypatch):
    monkeypatch.chdir(demo)
    monkeypatch.setenv("PATH", str(demo))
    with pytest.raises(SystemExit) as ended:
        main(["paper", "demo"])
    told = str(ended.value)
    assert "LaTeX is not installed" in told and "apt-get install texlive" in told
    assert "\n" not in told and (demo / "data/demo/paper/build/paper.tex").exists()


def test_what_latex_makes_is_not_published(small, monkeypatch):
    gather_paper("small", small)
    made = small / "data" / "small"
    (made / "01_load_pairs.ipynb").write_text("{}")
    shutil.copy(made / "paper" / "table_claims.md", made / "pairs.txt")
    monkeypatch.setattr("dtreward.study.publish._refuse_texts", lambda *words: None)
    publish("small", root=small)
    committed = {path.name for path in (small / "figures" / "small" / "paper").iterdir()}
    assert "macros.tex" in committed and "build" not in committed


def log_of(pdf):
    """LaTeX's log with its broken lines joined."""
    return pdf.with_suffix(".log").read_text(errors="replace").replace("\n", "")


@needs_latex
def test_the_paper_of_the_demo_study_has_three_pages_and_the_same_bytes_each_time(demo):
    pdf = make_paper("demo", demo)
    log = log_of(pdf)
    assert "Output written on paper.pdf (3 pages" in log
    for fault in ("undefined", "Overfull", "Missing character", "Rerun", "multiply"):
        assert fault not in log.replace("rerunfilecheck", ""), fault
    first = pdf.read_bytes()
    assert compile_paper(pdf.parent).read_bytes() == first


@needs_latex
def test_the_paper_of_a_study_that_lacks_most_compiles(small):
    log = log_of(make_paper("small", small))
    assert "02_rating_distribution.pdf" in log and "Overfull" not in log
    assert not re.search(r"Reference `[^']*' on page|Citation .* undefined", log)


@needs_latex
def test_an_error_of_latex_is_told_in_one_line(small):
    folder = gather_paper("small", small)
    with (folder / "macros.tex").open("a") as file:
        file.write("\\newcommand{\\Broken}{\\Nowhere}\\Broken\n")
    with pytest.raises(ChildProcessError, match=r"! Undefined control sequence\. l\.\d+ .*log$"):
        compile_paper(folder)
