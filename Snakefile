# The study as rules, one a notebook. `make study` is the front door.
#   snakemake --cores all --config study=demo limit=500
# What runs, with which parameters and files, is decided in dtreward/study/plan.py from
# notebooks/studies/NAME.yaml, the command line and dtreward/study/graph.yaml. A rule runs again when
# its notebook, its inputs, its parameters or the package have changed.
import json
import shlex
import sys

from dtreward.study.plan import (
    lock_study,
    package_digest,
    plan_study,
    reopen_unfinished,
    set_aside,
    text_digest,
)

try:
    PLAN = plan_study(config)
except (FileNotFoundError, ValueError) as error:
    sys.exit(str(error))
PACKAGE = package_digest()
FOLDERS = PLAN.folders()
LOCKS = []  # open files, as long as this process lives


onstart:
    try:
        LOCKS.append(lock_study(PLAN))
    except RuntimeError as error:
        sys.exit(str(error))
    set_aside(PLAN)


onsuccess:
    reopen_unfinished(PLAN)


onerror:
    reopen_unfinished(PLAN)


def outputs(name):
    return [directory(path) if path in FOLDERS else path for path in PLAN.outputs(name)]


rule all:
    input:
        [PLAN.executed(name) for name in PLAN.notebooks],
        [path for name in PLAN.notebooks for path in PLAN.outputs(name)],


for notebook in PLAN.notebooks:

    rule:
        name:
            notebook[3:]
        input:
            PLAN.inputs(notebook),
            notebook=ancient(f"notebooks/{notebook}.ipynb"),
        output:
            outputs(notebook),
            executed=PLAN.executed(notebook),
        params:
            json=json.dumps(PLAN.parameters[notebook], sort_keys=True),
            package=PACKAGE,
            text=text_digest(notebook),
        resources:
            gpu=int(PLAN.needs_gpu(notebook)),
        shell:
            shlex.quote(sys.executable) + " -m dtreward.cli run {input.notebook:q} {output.executed:q} {params.json:q}"
