"""Run the notebooks as a study, and make the paper's files and the site of what they wrote.

Commands (`dtreward.cli`) and the Snakefile call this room; notebooks use `inputs` and `paper`.

- `graph`: which notebook reads and writes which file (`graph.yaml`).
- `settings`: reads a study's YAML and splits its parameters among its notebooks.
- `own`: studies of one's own tables: their names, folders and YAML.
- `plan`: which notebooks of a study run, with which parameters, inputs and outputs.
- `preflight`: what a study on a real model needs before it starts.
- `sources`: fetches a study's public files, and checks that they are the right ones.
- `door`: checks a study's files, columns, models and judges before it starts.
- `trial`: asks a study's judges about one pair, and shows their replies and costs.
- `hub`: commits of the hub's repositories, and what is still to be downloaded.
- `run`: runs one notebook through papermill.
- `warm`: runs notebooks as copies of a process that has imported their libraries already.
- `scratch`: where a running notebook writes, until its files replace the old ones.
- `outcome_table`: what became of each notebook: noted by every run, shown as a table at the end.
- `study_runs`: what one whole run of a study took.
- `schedule`: how far a run of a study is: 5 of 12, and the time left.
- `progress`: shows a running notebook's section and progress bars on the terminal.
- `stamps`: which notebooks are finished, for which parameters.
- `inputs`: refuses to start a notebook whose inputs are missing or outdated.
- `by_hand`: the folder in which notebooks write that are run by hand; the study is linked there.
- `lab`: opens JupyterLab on copies of the notebooks with a study's parameters.
- `parallel`: does a notebook's long work side by side, and keeps what is done when interrupted.
- `throughput`: what the benchmark measured, compared, drawn and turned into costs.
- `paper`: the paper's data files and tables, which notebook 99 writes.
- `reproduced`: published numbers beside those that a study has recomputed.
- `macros`: numbers for the text of the paper, as LaTeX macros.
- `typeset`: compiles the short paper of `examples/paper` with LaTeX.
- `publish`: copies results to the places where they are committed.
- `texts`: finds texts of a source in files that are to be published.
- `readme`: keeps what committed pages say of results equal to what was recorded.
- `listing`: what a page says of the pairs: numbers, leaves that they reach, verdicts.
- `pairs_page`: the page on which people read the pairs.
- `chapters`: what the site says of each notebook: state, claims, parameters.
- `cleaning`: makes executed notebooks safe to publish.
- `gallery`: figures and tables of the site, with captions and downloads.
- `pages`: pages of headings, HTML and executed cells, as Sphinx reads them.
- `site`: the site of a study, built by Sphinx.
"""
