"""Find out which bench a name or file is, and read it."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from huggingface_hub import snapshot_download

from dtreward.benches.bench import Bench
from dtreward.benches.judgebench import JudgeBench, read_judgebench
from dtreward.benches.rewardbench import REVISION, REWARDBENCH, RewardBench, load_rewardbench
from dtreward.benches.rewardbench2 import RewardBench2, read_rewardbench2
from dtreward.benches.rmbench import RMBench, read_rmbench
from dtreward.pairs.readers import read_table

BENCHES = {one.name: one for one in (RewardBench, RewardBench2, RMBench, JudgeBench)}
READERS = {
    RewardBench2.name: read_rewardbench2,
    RMBench.name: read_rmbench,
    JudgeBench.name: read_judgebench,
}
REVISIONS = {  # the commit that was looked at, or its first digits where the others are not known
    REWARDBENCH: REVISION,
    RewardBench2.repository: "7ff0885",
    RMBench.repository: "",
    JudgeBench.repository: "57dd5e0b9817d07f05ec8f45a91b2ce1e310e308",
}
WHOLE = 40  # digits of a commit
JUDGEBENCH_SPLITS = ("gpt", "claude")  # who wrote the responses; published tables are of "gpt"


def load_bench(source: str, revision: str = "", limit: int = 0, seed: int = 0) -> Bench:
    """Read a bench: RewardBench, RewardBench 2, RM-Bench or JudgeBench.

    What a file or folder holds is told by its columns.

    Args:
        source: a name ("RewardBench 2", also as "rewardbench-2"), an id on the hub
            ("allenai/reward-bench-2"), or a file or folder of such rows (Parquet, JSON, JSONL; of
            RM-Bench also the folder with a file for each domain). "JudgeBench:claude" is
            JudgeBench's other split.
        revision: commit on the hub; "" means the pinned one, or the newest where none is known.
        limit: problems to draw from each subset (of RewardBench: pairs); 0 means all.
        seed: decides which are drawn.

    Raises:
        ValueError: for a name, file or columns of no bench, naming what was expected.
    """
    place, _, split = source.partition(":")
    split = split or JUDGEBENCH_SPLITS[0]
    name = bench_name(place)
    if name == RewardBench.name:
        return RewardBench(
            load_rewardbench(REWARDBENCH, revision, limit, seed), revision or REVISION
        )
    folder = Path(place if name else source)
    if name:
        folder = _download(BENCHES[name].repository, revision)
        revision = folder.name
    table = _read(folder, split)
    name = name or _name_by_columns(table, source)
    if name == RewardBench.name:
        return RewardBench(load_rewardbench(source, revision, limit, seed))
    items = READERS[name](table, source, limit, seed)
    return BENCHES[name](items, revision)


def load_benches(
    sources: Iterable[str], revisions: Mapping[str, str], *, limit: int = 0, seed: int = 0
) -> dict[str, Bench]:
    """Read several benches, by their name, and their source where two have one name.

    Args:
        sources: as for `load_bench`.
        revisions: commits by id on the hub; others are taken at the pinned one.
    """
    benches: dict[str, Bench] = {}
    for source in sources:
        name = bench_name(source.partition(":")[0])
        repository = BENCHES[name].repository if name else ""
        bench = load_bench(source, revisions.get(repository, ""), limit, seed)
        title = f"{bench.name} ({source})" if bench.name in benches else bench.name
        benches[title] = bench
    return benches


def bench_name(source: str) -> str:
    """Give the bench that a name or id on the hub means; "" for what may be a file.

    >>> bench_name("rewardbench-2"), bench_name("THU-KEG/RM-Bench"), bench_name("own.parquet")
    ('RewardBench 2', 'RM-Bench', '')
    """
    for name, bench in BENCHES.items():
        if source == bench.repository or _plain(source) == _plain(name):
            return name
    return ""


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _download(repository: str, revision: str) -> Path:
    """Fetch a data set from the hub, at the pinned commit where it is known.

    Raises:
        ValueError: if only the commit's first digits are known, and the newest is another one.
    """
    pinned = REVISIONS[repository]
    asked = revision or (pinned if len(pinned) == WHOLE else "main")
    folder = Path(snapshot_download(repository, repo_type="dataset", revision=asked))
    if not revision and pinned and not folder.name.startswith(pinned):
        raise ValueError(
            f"{repository} is at {folder.name}, expected {pinned}; name the commit you want"
        )
    return folder


def _read(path: Path, split: str) -> pd.DataFrame:
    """Read the rows of a file, or of the files of a folder that belong together."""
    if not path.exists():
        raise ValueError(
            f"{path} is no bench: expected {', '.join(BENCHES)}, or a file or folder with its rows"
        )
    if not path.is_dir():
        return read_table(path)
    files = sorted(
        file for file in path.rglob("*") if file.suffix in (".parquet", ".json", ".jsonl")
    )
    whole = [file for file in files if file.name == "total_dataset.json"]
    by_domain = [file for file in files if file.stem.endswith("_filtered")]
    of_split = [file for file in files if split in file.name]
    if whole:
        return read_table(whole[0])
    if by_domain:
        domains = {file.stem.removesuffix("_filtered"): read_table(file) for file in by_domain}
        tables = [table.assign(domain=domain) for domain, table in domains.items()]
        return pd.concat(tables, ignore_index=True)
    chosen = of_split or [file for file in files if not file.name.startswith("raw-")]
    if not chosen:
        names = ", ".join(f"{name} ({bench.repository})" for name, bench in BENCHES.items())
        raise ValueError(f"{path} holds no bench; expected the files of one of {names}")
    return pd.concat([read_table(file) for file in chosen], ignore_index=True)


def _name_by_columns(table: pd.DataFrame, source: str) -> str:
    columns = set(table)
    if {"response_A", "response_B", "label"} <= columns:
        return JudgeBench.name
    if not {"prompt", "chosen", "rejected"} <= columns:
        raise ValueError(
            f"{source}: expected prompt, chosen and rejected (RewardBench and its successors, "
            f"RM-Bench), or response_A, response_B and label (JudgeBench); found {list(table)}"
        )
    if not len(table) or isinstance(table["chosen"].iloc[0], str):
        return RewardBench.name
    if not columns & {"domain", "subset"}:
        raise ValueError(
            f"{source}: expected a column subset (RewardBench 2) or domain (RM-Bench); found "
            f"{list(table)}"
        )
    return RMBench.name if "domain" in columns else RewardBench2.name
