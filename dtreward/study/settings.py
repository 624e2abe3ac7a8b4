"""Read a study's YAML, and split its parameters among its notebooks."""

import ast
import contextlib
import difflib
import json
import math
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

NOTEBOOKS = Path("notebooks")  # seen from the repository, where every command runs
STUDIES = NOTEBOOKS / "studies"
TYPES = {"int": "a whole number", "float": "a number", "str": "a text", "list": "a list"}
# Of parameters of these names in any notebook; the least value of the others is 0.
LEAST = {
    "accuracy_margin": 0.0001,
    "background": 2,
    "bootstraps": 2,
    "concurrency": 1,
    "dots": 1,
    "strength_folds": 2,
    "jobs": -1,
    "layer": -1,
    "loss_margin": 0.0001,
    "max_depth": 1,
    "min_leaf": 1,
    "optimal_depth": 1,
    "pairs": 4,
    "resamples": 2,
    "shuffles": 1,
    "thresholds": 1,
    "words": 1,
}
MOST = {"min_consistency": 1, "seed": 2**32 - 1, "test_share": 1, "validation_share": 1}
LEAST_IN = {"depths": 1, "leaf_sizes": 1, "leaves": 2, "prunings": 0, "softening": 0}  # in lists
CHOICES = {  # of texts that are one of a few words
    "attention": ("", "flash_attn", "fa3_fwd", "varlen_attn", "flex", "plain"),
    "backend": ("loky", "threading", "ray"),
    "bos": ("", "one", "none"),
    "criterion": ("log_loss", "gini"),
    "dtype": ("", "float64", "float32", "bfloat16", "float16"),
    "orders": ("as_given", "both"),
    "readers": ("within", "mean"),
    "sort_by": ("Chat", "Chat Hard", "Safety", "Reasoning", "overall", "model"),
    "too_long": ("error", "cut_prompt_start"),
}
CHOICES_IN = {  # of each text in a list
    "rivals": (
        *("constant", "longest response", "one attribute", "one threshold"),
        *("logistic regression", "additive model", "monotone tree", "optimal tree"),
        *("gradient boosting", "monotone boosting", "tree, averaged"),
    ),
}
NOT_EMPTY = ("depths", "leaf_sizes", "softening")  # lists in which one or more must stand
DATA_DIR = "../data"  # seen from the notebooks: where each study has a folder
BY_HAND = "by_hand"  # of that folder: where notebooks write that are run by hand


class Declared(NamedTuple):
    """How a notebook declares a parameter: the name of its type, and its value unless one is given."""

    type: str
    default: Any


def require_repository():
    """Raise FileNotFoundError where the working directory is not the repository."""
    if not STUDIES.is_dir():
        raise FileNotFoundError(
            f"expected the repository as the working directory, but {Path.cwd()} has no "
            f"{STUDIES}/; change to the repository's folder and run the command again"
        )


def plain_name(study):
    """Give a study's name back.

    Raises:
        ValueError: if the name could lead out of the study's folder.

    Example:
        >>> plain_name("paper-llama-8b")
        'paper-llama-8b'
    """
    if not re.fullmatch(r"[A-Za-z0-9_][\w.-]*", str(study)):
        raise ValueError(
            f"expected a study's name of letters, digits, - and _, came {str(study)!r:.80}"
        )
    return str(study)


def study_folder(study, data_dir=DATA_DIR):
    """Give the folder of a study's results, seen from here.

    Args:
        data_dir: the parameter of that name, seen from `notebooks/`.

    Example:
        >>> study_folder("demo").as_posix()
        'data/demo'
    """
    return Path(os.path.normpath(NOTEBOOKS / data_dir / study))


def seen_from_here(value):
    """Give a path that a parameter names as it is seen from here; whole, where it lies elsewhere.

    A hub id, or another word, stays as it is.

    Example:
        >>> seen_from_here("../data/mine.csv"), seen_from_here("owner/model")
        ('data/mine.csv', 'owner/model')
    """
    path = os.path.normpath(NOTEBOOKS / value)
    is_path = str(value).startswith((".", "/")) or os.path.exists(path)
    if not is_path:
        return str(value)
    return os.path.abspath(path) if path.startswith("..") else path


def read_study(path):
    """Read a study's YAML.

    Raises:
        ValueError: if it is more than plain values, each written out once; if it lacks a list of
            notebooks or its parameters; if it names a notebook that does not exist or another study.
    """
    study = _plain_yaml(path)
    for key, wanted in {"notebooks": list, "parameters": dict}.items():
        if not isinstance(study, dict) or not isinstance(study.get(key), wanted):
            message = f"{path}: expected a {wanted.__name__} of {key}"
            raise ValueError(f"{message}; see notebooks/studies/demo.yaml")  # noqa: TRY004
    for name in study["notebooks"]:
        if not re.fullmatch(r"\d\d_\w+", str(name)) or not (NOTEBOOKS / f"{name}.ipynb").is_file():
            raise ValueError(
                f"{path}: expected names of notebooks in {NOTEBOOKS}/, came {name!r:.80}"
            )
    if plain_name(study["parameters"].get("study")) != path.stem:
        raise ValueError(
            f"{path}: expected `study: {path.stem}` among its parameters, as its file is named"
        )
    return study


def _plain_yaml(path):
    text = path.read_text(encoding="utf-8")
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("found an alias (*name); write its value out")  # noqa: TRY004
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"{path}: expected plain YAML; {type(error).__name__}: {error}") from error


def legal_parameters(notebook):
    """Name the parameters of a notebook, as its `parameters` cell declares them."""
    return set(_declared(notebook))


def _declared(notebook):
    """Give what the `parameters` cell of a notebook says of each parameter: {name: Declared}."""
    return _read_declared(Path(notebook), Path(notebook).stat().st_mtime_ns)


@cache
def _read_declared(notebook, _changed):
    """Read the cell itself: importing papermill, which could too, takes longer than all else here."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    tagged = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    source = "".join(next(tagged, {"source": ""})["source"])
    try:
        statements = ast.parse(source).body
        return dict(_declaration(each) for each in statements if isinstance(each, ast.AnnAssign))
    except (SyntaxError, ValueError) as error:
        message = f"{notebook}: expected lines such as `limit: int = 0` in the cell of parameters"
        raise ValueError(f"{message}; {error}") from error


def _declaration(statement):
    default = ast.literal_eval(statement.value)
    return statement.target.id, Declared(ast.unparse(statement.annotation), default)


def default_parameters(name):
    """Give the parameters of a notebook with the values that its `parameters` cell gives them.

    Args:
        name: of a notebook in `notebooks/`.
    """
    declared = _declared(NOTEBOOKS / f"{name}.ipynb")
    return {key: value.default for key, value in declared.items()}


def study_parameters(study, command_line, folder=NOTEBOOKS):
    """Split a study's parameters among its notebooks: {notebook: {name: value}}.

    A shared parameter goes to each notebook that declares it. A notebook's own value wins over a
    shared one, and `command_line` wins over both.

    Raises:
        ValueError: for a parameter that no notebook of the study declares, a notebook's own
            parameter that it does not declare, or a value of another type than declared.
    """
    legal = {name: legal_parameters(folder / f"{name}.ipynb") for name in study["notebooks"]}
    shared = study.get("parameters", {}) | command_line
    refuse_unknown(shared, set().union(*legal.values()), "the study's notebooks")
    parameters = {}
    for name, names in legal.items():
        own = study.get(name) or {}
        if not isinstance(own, dict):
            message = f"{name}: expected its parameters as name: value"
            raise ValueError(f"{message}, came {own!r:.80}")  # noqa: TRY004
        refuse_unknown(own, names, name)
        parameters[name] = {key: value for key, value in shared.items() if key in names}
        parameters[name].update(own)
        parameters[name].update({key: command_line[key] for key in command_line if key in names})
        check_types(parameters[name], folder / f"{name}.ipynb")
    blocks = [key for key in study if key[:2].isdigit()]
    refuse_unknown(blocks, set(legal), "this study", what="notebook")
    return parameters


def refuse_unknown(names, legal, owner, what="parameter"):
    """Raise a ValueError for names that are not legal; it suggests the nearest legal ones."""
    unknown = sorted(set(names) - set(legal))
    if not unknown:
        return
    near = []
    for name in unknown:
        near.extend(difflib.get_close_matches(str(name), legal, 1))
    meant = f"; did you mean {', '.join(near)}?" if near else ""
    raise ValueError(
        f"no {what} {', '.join(unknown)} in {owner}{meant}; "
        f"the legal ones are {', '.join(sorted(legal))}"
    )


def check_types(parameters, notebook):
    """Check that values are of the type that the notebook declares, and neither too small nor large.

    Raises:
        ValueError: names the parameter, what was expected and what came.
    """
    for name, declared in _declared(notebook).items():
        if name not in parameters:
            continue
        value = parameters[name]
        wanted = declared.type
        legal = ("float", "int") if wanted == "float" else (wanted,)
        if type(value).__name__ not in legal:
            meaning = TYPES.get(wanted, wanted)
            raise ValueError(f"{notebook.stem}: expected {name} as {meaning}, came {value!r:.80}")
        if wanted in ("int", "float"):
            _check_range(notebook.stem, name, value, LEAST.get(name, 0))
        _check_entries(notebook.stem, name, value)
        if name in CHOICES:
            _check_choice(notebook.stem, name, value, CHOICES[name])


def _check_entries(notebook, name, value):
    """Raise a ValueError for a list that must not be empty, or of which an entry is not legal."""
    if name in NOT_EMPTY and not value:
        raise ValueError(f"{notebook}: expected one or more in the list {name}, came none")
    for entry in value if name in LEAST_IN else ():
        _check_range(notebook, f"each of {name}", entry, LEAST_IN[name])
    for entry in value if name in CHOICES_IN else ():
        _check_choice(notebook, f"each of {name}", entry, CHOICES_IN[name])


def _check_choice(notebook, name, value, choices):
    """Raise a ValueError for a value that is none of a few words; it suggests the nearest one."""
    if value in choices:
        return
    near = difflib.get_close_matches(str(value), choices, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    legal = ", ".join(map(repr, choices))
    raise ValueError(f"{notebook}: expected {name} as one of {legal}, came {value!r:.80}{hint}")


def _check_range(notebook, name, value, least):
    """Raise a ValueError for a value that is no number, too small or too large."""
    most = MOST.get(name, math.inf)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name == "jobs" and value == 0:
        raise ValueError(f"{notebook}: expected jobs of 1 or more, or -1 for one a core, came 0")
    if not is_number or not least <= value <= most:
        legal = f"from {least} to {most}" if name in MOST else f"of {least} or more"
        raise ValueError(f"{notebook}: expected {name} {legal}, came {value!r:.80}")


def parse_words(words):
    """Read the words of a command line, name=value, as Snakemake does; exit if one is none.

    Example:
        >>> parse_words(["study=demo", "limit=500", "attributes=[a, 1]"])
        {'study': 'demo', 'limit': 500, 'attributes': ['a', '1']}
    """
    values = {}
    for word in words:
        if "=" not in word:
            sys.exit(f"expected name=value, came {word!r}; for example SET='limit=500 seed=1'")
        name, text = word.split("=", 1)
        values[name] = _parse_value(text)
    return values


def _parse_value(text):
    for parse in (int, float):
        with contextlib.suppress(ValueError):
            return parse(text)
    if text in ("True", "False"):
        return text == "True"
    try:
        return yaml.load(text, Loader=yaml.BaseLoader) if text else None
    except yaml.YAMLError:
        return text
