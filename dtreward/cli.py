"""The command `dtreward`: compare responses, score tables, check models; run a study's notebooks.

The commands for models work in any folder. Those for studies run in the repository's folder, and
`make` calls them. Each command imports what it needs when it runs, so that the help and a wrong name
cost nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="dtreward",
    help="Reward models that say why: compare responses, score tables, check models.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(words: list[str] | None = None) -> None:
    """Run a command line; an error is one line, and the exit status 1, or 2 for wrong words."""
    words = sys.argv[1:] if words is None else words
    try:
        status = app(args=words or ["--help"], prog_name="dtreward", standalone_mode=False)
    except typer.Abort:
        sys.exit("stopped")
    except typer.TyperException as error:
        print(f"dtreward: {_in_one_line(error.format_message())}", file=sys.stderr)
        sys.exit(2)
    except (FileNotFoundError, ImportError, Refused) as error:
        sys.exit(_in_one_line(error))
    sys.exit(status if isinstance(status, int) else 0)


class Refused(Exception):
    """A command cannot do what it is asked for; the message says why, and what to do."""


@contextmanager
def _refusals() -> Generator[None, None, None]:
    """Tell what the package refuses in one line, without a traceback."""
    try:
        yield
    except (ValueError, TypeError, OSError, MemoryError) as error:
        raise Refused(str(error)) from error


def _in_one_line(error: object) -> str:
    return " ".join(str(error).split())


def _object(text: str) -> dict[str, Any]:
    """Read a notebook's parameters, a JSON object."""
    expected = f"""expected a JSON object such as '{{"limit": 300}}', came {text!r:.80}"""
    try:
        parameters = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{expected}: {error}") from error
    if not isinstance(parameters, dict):
        raise typer.BadParameter(expected)
    return parameters


def _study(name: str) -> str:
    from dtreward.study.settings import plain_name

    try:
        return plain_name(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Model = Annotated[str, typer.Argument(help="a folder, a hub id, or a name of the leaderboard")]
Words = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="study=NAME, parameters")
]
Study = Annotated[str, typer.Argument(parser=_study, metavar="STUDY", help="a study's name")]
Revision = Annotated[
    str | None, typer.Option(help="commit, branch or tag of a model on the hub", metavar="COMMIT")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, or auto for all GPUs")]
Dtype = Annotated[str | None, typer.Option(help="of the backbone: float32, bfloat16, ...")]
TooLong = Annotated[
    str, typer.Option(help="a conversation that is too long: error, or cut_prompt_start")
]
MaxLength = Annotated[int | None, typer.Option(help="most tokens of a conversation")]
Tree = Annotated[
    str | None, typer.Option(help="decides: a tree's JSON file, or the name of a published tree")
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, for other programs")]


@app.command()
def compare(
    model: Model,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PROMPT RESPONSE_1 RESPONSE_2]",
            help="texts; @FILE stands for the text of a file, - for that of the standard input",
        ),
    ] = None,
    as_json: AsJson = False,
    device: Device = None,
    dtype: Dtype = None,
    revision: Revision = None,
    tree: Tree = None,
) -> None:
    """Say which of two responses is better, and why.

    Without texts, the standard input is read: one JSON object a line with prompt (a text or a list
    of messages), response_1 and response_2.
    """
    from dtreward.keyboard import as_line, read_pairs

    with _refusals():
        pairs = read_pairs(texts or [], sys.stdin)
        loaded = _load(model, tree, device=device, dtype=dtype, revision=revision)
        for place, pair in enumerate(pairs):
            result = loaded.compare(*pair)
            if as_json:
                print(as_line(result))
            else:
                print("\n" * (place > 0) + str(result))


@app.command()
def score(  # noqa: PLR0913
    model: Model,
    pairs: Annotated[
        str, typer.Argument(help="a table of pairs in any form that load_pairs reads")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="a .parquet file")],
    form: Annotated[str, typer.Option(help="the table's form, where its columns do not tell")] = "",
    limit: Annotated[int, typer.Option(help="pairs to score; 0 means all", min=0)] = 0,
    device: Device = None,
    dtype: Dtype = None,
    revision: Revision = None,
    tree: Tree = None,
    max_length: MaxLength = None,
    too_long: TooLong = "error",
) -> None:
    """Score every pair of a table.

    The output has rewards, scores, preference and probability a row. A run that was interrupted goes on where it stopped.
    """
    with _refusals():
        from dtreward.models.names import require_model

        require_model(model, revision)
        from dtreward.pairs.frame import load_pairs

        table = load_pairs(pairs, form=form, limit=limit, rated=False).frame
        lengths = {"max_length": max_length, "too_long": too_long}
        loaded = _load(model, tree, device=device, dtype=dtype, revision=revision, **lengths)
        from dtreward.models.scoring import score_pairs

        done = score_pairs(loaded, table, output)
    print(f"{output}: {done.rows:,} pairs, {done.kept:,} of them from an earlier run")
    if done.unread:
        print(f"   {done.unread:,} could not be read: the column `unread` says why")


@app.command()
def explore(
    model: Model,
    pairs: Annotated[
        str, typer.Argument(help="a table of pairs to step through", metavar="[PAIRS]")
    ] = "",
    port: Annotated[int, typer.Option(help="the first to try on this machine")] = 8866,
    device: Device = None,
    dtype: Dtype = None,
    revision: Revision = None,
    tree: Tree = None,
) -> None:
    """Open a page to type and compare pairs.

    It is served to this machine alone; its address is printed. PAIRS has any form that load_pairs reads.
    """
    with _refusals():
        from dtreward.explorer.page import serve

        options = {"device": device, "dtype": dtype, "revision": revision}
        serve(model, pairs=pairs, tree=tree or "", port=port, options=options)


@app.command()
def check(
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="folders, hub ids, or names")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="every model of the leaderboard")] = False,
    revision: Revision = None,
    as_json: AsJson = False,
) -> None:
    """Check models before they are downloaded.

    Says whether their files hold what is assumed of them, and what `load` will do. Of a model on the hub only small files and the headers of its weights are read. The exit status
    is 1 where `load` would refuse a model.
    """
    from dtreward.models.check import check_model, leaderboard
    from dtreward.models.findings import as_records, as_table

    with _refusals():
        names = leaderboard() if every else models or []
        if not names or (every and models):
            raise ValueError("name one or more models, or give --all for the leaderboard")
    checks = dict.fromkeys(names)
    failures = []
    for name in checks:
        try:
            found = check_model(name, revision)
        except (ValueError, OSError) as error:
            said = _in_one_line(error)
            failures.append(said if name in said else f"{name}: {said}")
            continue
        checks[name] = found
        if not as_json:
            print(f"{found}\n", flush=True)
    done = [found for found in checks.values() if found]
    if as_json:
        print(json.dumps(as_records(done), indent=2, ensure_ascii=False))
    elif len(names) > 1:
        print(as_table(checks), flush=True)
    for failure in failures:
        print(failure, file=sys.stderr)
    if failures or any(found.refused for found in done):
        raise typer.Exit(1)


def _load(name: str, tree: str | None, *, revision: str | None, **options: Any) -> Any:
    """Load a model for a command; a wrong name or tree is refused before torch is imported."""
    from dtreward.models.names import require_model

    require_model(name, revision)
    decides = _find_tree(tree) if tree else None
    from dtreward.models.loader import load

    return load(name, revision=revision, tree=decides, **options)


def _find_tree(name: str) -> Any:
    from dtreward.tree.tree import PreferenceTree

    return PreferenceTree.load(name) if Path(name).is_file() else PreferenceTree.published(name)


@app.command()
def run(
    notebook: Annotated[Path, typer.Argument(help="a notebook of the study")],
    executed: Annotated[Path, typer.Argument(help="where the executed notebook goes")],
    parameters: Annotated[dict, typer.Argument(parser=_object, metavar="JSON", help="an object")],
    left_out: Annotated[list[str] | None, typer.Argument(help="notebooks not to read")] = None,
    stamp: Annotated[
        Path | None, typer.Option(help="the file that says that it has finished")
    ] = None,
) -> None:
    """Run one notebook of a study."""
    _require_repository()
    from dtreward.study.run import run_aloud

    run_aloud(notebook, executed, parameters, stamp=stamp, left_out=tuple(left_out or ()))


@app.command()
def preflight(words: Words = None) -> None:
    """Say what a study needs, and what is wrong with it."""
    _require_repository()
    given = words or []
    _announce(given)
    from dtreward.study.door import check_door

    plan = check_door(given)
    print(f"   its results go to {plan.folder}/")


def _announce(words: list[str]) -> None:
    """Say at once what will run; a study that can't be found is told with what else is wrong."""
    from dtreward.study.own import find_study
    from dtreward.study.settings import parse_words, read_study

    with suppress(FileNotFoundError, ValueError):
        name = parse_words(words).get("study", "demo")
        file = find_study(name)
        count = len(read_study(file)["notebooks"])
        parameters = f"with the parameters of {file}, those of the command line over them"
        print(f"   '{name}' has {count} notebooks, {parameters};", flush=True)


@app.command()
def try_judges(words: Words = None) -> None:
    """Ask a study's judges about one pair first."""
    _require_repository()
    from dtreward.study import trial

    trial.try_judges(words or [])


@app.command()
def outcome(
    words: Words = None,
    began: Annotated[float, typer.Option(help="when the run began, seconds since 1970")] = 0.0,
) -> None:
    """Say what became of each notebook of a study."""
    _require_repository()
    from dtreward.study.outcome_table import show_outcomes
    from dtreward.study.plan import lock_study, plan_study
    from dtreward.study.settings import parse_words
    from dtreward.study.study_runs import note_run

    given = parse_words(words or [])
    try:
        plan = plan_study(given)
        lock_study(plan).close()
    except (RuntimeError, ValueError):  # it was refused, or another run of it goes on: that is told
        return
    since = began or time.time()
    note_run(plan, since, given)
    print(show_outcomes(plan, since))


@app.command()
def lab(words: Words = None) -> None:
    """Open JupyterLab, with the parameters of a study."""
    _require_repository()
    from dtreward.study.lab import open_lab

    try:
        open_lab(words or [])
    except ValueError as error:
        sys.exit(str(error))


@app.command()
def report(
    study: Study,
    texts: Annotated[
        bool, typer.Option("--texts", help="show the texts of the pairs, for this machine alone")
    ] = False,
) -> None:
    """Make the site of a study."""
    _require_repository()
    from dtreward.study.site import make_report

    print(f"   open {make_report(study, texts=texts)}")


@app.command()
def paper(study: Study) -> None:
    """Compile a short paper of a study with LaTeX."""
    _require_repository()
    from dtreward.study.typeset import make_paper

    with _refusals():
        print(f"   open {make_paper(study)}")


@app.command()
def docs() -> None:
    """Make the demo study's site with guides and reference."""
    _require_repository()
    from dtreward.study.site import make_docs

    print(f"   open {make_docs()}")


@app.command()
def publish(study: Study) -> None:
    """Copy a study's results to be committed."""
    _require_repository()
    from dtreward.study.publish import publish as publish_study

    publish_study(study)


def _require_repository() -> None:
    from dtreward.study.settings import require_repository  # its extra may be missing

    require_repository()


if __name__ == "__main__":
    main()
