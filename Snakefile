# The study as a graph: one rule a notebook. `make study` is the front door.
#   snakemake --cores all --config study=demo limit=500
# A study is notebooks/studies/NAME.yaml: which notebooks it runs and their parameters. What is given
# with --config wins over it. A rule runs again when its notebook, its inputs, its parameters or the
# package have changed.
import hashlib
import json
import os
import sys
from pathlib import Path

import yaml

sys.path.insert(0, "notebooks")
from run import study_parameters

if not (STUDY := Path(f"notebooks/studies/{config.get('study', 'demo')}.yaml")).exists():
    known = ", ".join(sorted(path.stem for path in STUDY.parent.glob("*.yaml")))
    sys.exit(f"there is no study '{STUDY.stem}'; those in {STUDY.parent}/ are {known}")
study = yaml.safe_load(STUDY.read_text())


def local(name):
    """The path from here of a file or folder that a parameter names, or None for a hub id or a word."""
    path = Path(os.path.normpath(Path("notebooks", name))) if name else None
    return path if path and path.exists() else None


given = {key: value for key, value in config.items() if key != "study"}
for name in ("source", "model"):  # on the command line paths start here, in notebooks one folder down
    if given.get(name) and Path(given[name]).exists():
        given[name] = os.path.relpath(given[name], "notebooks")
try:
    PARAMETERS = study_parameters(study, given)
except ValueError as error:
    sys.exit(str(error))

shared = study["parameters"] | given
DATA = os.path.normpath(os.path.join("notebooks", shared.get("data_dir", "../data"), shared["study"]))
PACKAGE = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path("dtreward").glob("*.py")))).hexdigest()
SOURCE = [str(path)] if (path := local(shared.get("source"))) and path.is_file() else []
MODEL = [str(path / "model.safetensors")] if (path := local(shared.get("model"))) else []
WITH_MODEL = "03_fit_attribute_probe" in study["notebooks"]
RUN = f"{sys.executable} notebooks/run.py run {{input.notebook}} {{output.executed}} {{params.json:q}}"


def parameters(name):
    return json.dumps(PARAMETERS.get(name, {}), sort_keys=True)


rule all:
    input:
        [f"{DATA}/{name}.ipynb" for name in study["notebooks"]],


rule load_pairs:
    input:
        notebook="notebooks/01_load_pairs.ipynb",
        source=SOURCE,
    output:
        executed=f"{DATA}/01_load_pairs.ipynb",
        pairs=f"{DATA}/pairs.parquet",
    params:
        json=parameters("01_load_pairs"),
        package=PACKAGE,
    shell:
        RUN


rule extract_features:
    input:
        notebook="notebooks/02_extract_features.ipynb",
        pairs=f"{DATA}/pairs.parquet",
        model=MODEL,
    output:
        executed=f"{DATA}/02_extract_features.ipynb",
        # The shards are no output: they must survive a failed run, to be resumed.
        record=f"{DATA}/02_extract_features.json",
    params:
        json=parameters("02_extract_features"),
        package=PACKAGE,
    shell:
        RUN


rule fit_attribute_probe:
    input:
        notebook="notebooks/03_fit_attribute_probe.ipynb",
        pairs=f"{DATA}/pairs.parquet",
        features=f"{DATA}/02_extract_features.json",
    output:
        executed=f"{DATA}/03_fit_attribute_probe.ipynb",
        probe=f"{DATA}/probe.safetensors",
    params:
        json=parameters("03_fit_attribute_probe"),
        package=PACKAGE,
    shell:
        RUN


rule fit_preference_tree:
    input:
        notebook="notebooks/04_fit_preference_tree.ipynb",
        pairs=f"{DATA}/pairs.parquet",
        probe=f"{DATA}/probe.safetensors" if WITH_MODEL else [],
    output:
        executed=f"{DATA}/04_fit_preference_tree.ipynb",
        tree=f"{DATA}/tree.json",
        checkpoint=[directory(f"{DATA}/checkpoint")] if WITH_MODEL else [],
    params:
        json=parameters("04_fit_preference_tree"),
        package=PACKAGE,
    shell:
        RUN


rule compare_two_responses:
    input:
        notebook="notebooks/00_compare_two_responses.ipynb",
        checkpoint=f"{DATA}/checkpoint" if WITH_MODEL else [],
    output:
        executed=f"{DATA}/00_compare_two_responses.ipynb",
    params:
        json=parameters("00_compare_two_responses"),
        package=PACKAGE,
    shell:
        RUN
