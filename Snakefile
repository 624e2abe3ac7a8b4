# The study as rules, one a notebook. `make study` is the front door.
#   snakemake --cores all --config study=demo limit=500
# What runs, with which parameters and files, is decided in dtreward/study/plan.py from
# notebooks/studies/NAME.yaml, the command line and dtreward/study/graph.yaml. A rule runs again when
# its notebook, its inputs, its parameters or the package have changed. Snakemake deletes the outputs
# of a rule before it runs; so a rule's only output is a stamp, which says that its notebook has
# finished. The notebook's files stay as they are until it has.
import shlex
import sys

from pathlib import Path

from dtreward.study import warm
from dtreward.study.plan import begin_study, end_study, plan_study, reopen_unfinished
from dtreward.study.schedule import write_schedule

try:
    PLAN = plan_study(config)
except (FileNotFoundError, ValueError) as error:
    sys.exit(str(error))
PLAN.drop_outdated_stamps()
RUN = shlex.join([sys.executable, "-P", warm.__file__, "-m", "dtreward.cli", "run"])
WARM = []  # the process that has imported the libraries
LOCKS = []  # open files, as long as this process lives


onstart:
    try:
        LOCKS.append(begin_study(PLAN))
    except RuntimeError as error:
        sys.exit(str(error))
    write_schedule(PLAN, config)
    paths = [Path("notebooks", f"{name}.ipynb") for name in PLAN.notebooks]
    WARM.append(warm.start(["dtreward.study.run", "ipykernel.kernelapp", *warm.imported_by(paths)]))


onsuccess:
    warm.stop(WARM[0])
    end_study(PLAN)
    reopen_unfinished(PLAN)


onerror:
    warm.stop(WARM[0])
    reopen_unfinished(PLAN)


rule all:
    input:
        [PLAN.stamp(name) for name in PLAN.notebooks],


for notebook in PLAN.notebooks:

    rule:
        name:
            notebook[3:]
        input:
            PLAN.inputs(notebook),
            notebook=ancient(f"notebooks/{notebook}.ipynb"),
        output:
            PLAN.stamp(notebook),
        params:
            executed=PLAN.executed(notebook),
            json=PLAN.parameters_as_json(notebook),
            left_out=PLAN.hidden_from(notebook),
        resources:
            gpu=int(PLAN.needs_gpu(notebook)),
        shell:
            RUN + " --stamp {output:q} {input.notebook:q} {params.executed:q} {params.json:q}"
            " {params.left_out:q}"
