"""The command `dtreward`: run a notebook, check what a study needs, make its site, publish it.

dtreward run NOTEBOOK EXECUTED PARAMETERS
dtreward preflight study=NAME [parameter=value ...]
dtreward outcome --began SECONDS study=NAME [parameter=value ...]
dtreward lab [study=NAME parameter=value ...]
dtreward report STUDY
dtreward publish STUDY

Each command runs in the repository's folder. `make` calls them.
"""

import argparse
import json
import sys
import time
from pathlib import Path


def main(words=None):
    """Run the command of the command line; an error is one line, and the exit status 1."""
    arguments = _parser().parse_args(words)
    try:
        from dtreward.study.settings import require_repository  # its extra may be missing

        require_repository()
        arguments.command(arguments)
    except (FileNotFoundError, ImportError) as error:
        sys.exit(str(error))


def _parser():
    parser = argparse.ArgumentParser(prog="dtreward", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="command")
    run = commands.add_parser("run", help="run one notebook of a study")
    run.add_argument("notebook", type=Path)
    run.add_argument("executed", type=Path, help="where the executed notebook goes")
    run.add_argument("parameters", type=_object, help="a JSON object")
    run.add_argument("--stamp", type=Path, help="the file that says that it has finished")
    run.add_argument("--leave-out", nargs="*", default=(), help="notebooks not to read")
    run.set_defaults(command=_run)
    preflight = commands.add_parser(
        "preflight", help="say what a study needs, and what is wrong with it"
    )
    preflight.add_argument("words", nargs="*", metavar="name=value", help="study=NAME, parameters")
    preflight.set_defaults(command=_preflight)
    outcome = commands.add_parser("outcome", help="say what became of each notebook of a study")
    outcome.add_argument("words", nargs="*", metavar="name=value", help="study=NAME, parameters")
    outcome.add_argument(
        "--began", type=float, default=time.time(), help="when the run began, seconds since 1970"
    )
    outcome.set_defaults(command=_outcome)
    lab = commands.add_parser("lab", help="open JupyterLab, with the parameters of a study")
    lab.add_argument("words", nargs="*", metavar="name=value", help="study=NAME, parameters")
    lab.set_defaults(command=_lab)
    report = commands.add_parser("report", help="make the site of a study")
    report.add_argument("study", type=_study)
    report.add_argument(
        "--texts", action="store_true", help="show the texts of the pairs, for this machine alone"
    )
    report.set_defaults(command=_report)
    docs = commands.add_parser("docs", help="make the demo study's site with guides and reference")
    docs.set_defaults(command=_docs)
    publish = commands.add_parser("publish", help="copy a study's results to be committed")
    publish.add_argument("study", type=_study)
    publish.set_defaults(command=_publish)
    return parser


def _object(text):
    """Read a notebook's parameters, a JSON object."""
    try:
        parameters = json.loads(text)
    except ValueError as error:
        message = (
            f"""expected a JSON object such as '{{"limit": 300}}', came {text!r:.80}: {error}"""
        )
        raise argparse.ArgumentTypeError(message) from error
    if not isinstance(parameters, dict):
        message = f"""expected a JSON object such as '{{"limit": 300}}', came {text!r:.80}"""
        raise argparse.ArgumentTypeError(message)
    return parameters


def _study(name):
    from dtreward.study.settings import plain_name

    try:
        return plain_name(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _run(arguments):
    from dtreward.study.run import run_aloud

    options = {"stamp": arguments.stamp, "left_out": arguments.leave_out}
    run_aloud(arguments.notebook, arguments.executed, arguments.parameters, **options)


def _preflight(arguments):
    from dtreward.study.door import check_door
    from dtreward.study.own import find_study
    from dtreward.study.preflight import parse_words

    plan = check_door(arguments.words)
    file = find_study(parse_words(arguments.words).get("study", "demo"))
    print(f"   '{plan.study}' has the parameters of {file}, those of the command line over them;")
    print(f"   its results go to {plan.folder}/")


def _outcome(arguments):
    from dtreward.study.outcome_table import show_outcomes
    from dtreward.study.plan import lock_study, plan_study
    from dtreward.study.preflight import parse_words

    try:
        plan = plan_study(parse_words(arguments.words))
        lock_study(plan).close()
    except (RuntimeError, ValueError):  # it was refused, or another run of it goes on: that is told
        return
    print(show_outcomes(plan, arguments.began))


def _lab(arguments):
    from dtreward.study.lab import open_lab

    try:
        open_lab(arguments.words)
    except ValueError as error:
        sys.exit(str(error))


def _report(arguments):
    from dtreward.study.site import make_report

    print(f"   open {make_report(arguments.study, texts=arguments.texts)}")


def _docs(arguments):
    from dtreward.study.site import make_docs

    print(f"   open {make_docs()}")


def _publish(arguments):
    from dtreward.study.publish import publish

    publish(arguments.study)


if __name__ == "__main__":
    main()
