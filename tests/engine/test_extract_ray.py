"""A Ray cluster makes the same shards as one process, whatever dies meanwhile."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import fsspec
import psutil
import pytest
import torch
from extraction import ARCHITECTURES, contents, extract, load_backbone, many, stamps
from processes import start
from replicas import make_replica

from dtreward.engine.features import read_features
from dtreward.files import Store

ray = pytest.importorskip("ray")
pytest.importorskip("ray.data")
# One a shard, 0.4 s each: there is work left when something dies.
LONG = [(f"Say it {n} times.", "It. " * 960) for n in range(16)]


@pytest.fixture(scope="module", autouse=True)
def address(root):
    """Of a cluster of two nodes with one CPU each, on this machine, that this process has joined."""
    from ray.cluster_utils import Cluster

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(root))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        node = {"num_cpus": 1, "object_store_memory": 100_000_000}
        cluster = Cluster(initialize_head=True, head_node_args=node)
        cluster.add_node(**node)
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster.address
        ray.shutdown()
        cluster.shutdown()
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("backbones")
    return {name: make_replica(folder / name, name) for name in ARCHITECTURES}


@pytest.fixture(scope="module")
def backbone(folders):
    return load_backbone(folders["llama"])


@pytest.fixture(scope="module")
def local(backbone, tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("local")
    extract(backbone, folder, LONG, shard_size=1)
    assert len(contents(folder)) == len(LONG) + 1
    return contents(folder)


def extract_on_cluster(backbone, folder) -> None:
    extract(backbone, folder, LONG, shard_size=1, engine="ray")


def actors() -> set[psutil.Process]:
    """The actors' processes on this machine, all below this one."""
    found = psutil.Process().children(recursive=True)
    return {each for each in found if "MapWorker" in "".join(each.cmdline())}


def test_the_cluster_has_two_nodes():
    assert sum(node["Alive"] for node in ray.nodes()) == 2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shards_and_manifest_are_those_of_the_local_engine_to_the_byte(
    folders, architecture, tmp_path
):
    backbone = load_backbone(folders[architecture])
    extract(backbone, tmp_path / "local", many(), shard_size=3)
    extract(backbone, tmp_path / "ray", many(), shard_size=3, engine="ray")
    assert contents(tmp_path / "ray") == contents(tmp_path / "local")


def test_actors_killed_in_the_middle_lose_nothing(backbone, local, tmp_path, monkeypatch):
    """All of them, by SIGKILL, when two shards are written: the rest needs new ones."""
    killed, seen, write = set(), set(), Store.write

    def deadly(store, name, data):
        write(store, name, data)
        seen.update(actors())
        if len(list(tmp_path.glob("0*.safetensors"))) == 2:
            killed.update(actors())
            for each in killed:
                os.kill(each.pid, signal.SIGKILL)

    monkeypatch.setattr(Store, "write", deadly)
    extract_on_cluster(backbone, tmp_path)
    assert killed and seen - killed
    assert contents(tmp_path) == local


def extract_in_driver(model: Path, folder: Path, address: str) -> None:
    torch.set_num_threads(1)
    ray.init(address=address, log_to_driver=False)
    extract_on_cluster(load_backbone(model), folder)


def test_a_killed_driver_resumes_and_keeps_what_is_finished(
    folders, backbone, local, address, tmp_path
):
    process = start(extract_in_driver, folders["llama"], tmp_path, address)
    deadline = time.monotonic() + 100
    while len(list(tmp_path.glob("0*.safetensors"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    made = [path.name for path in tmp_path.glob("0*.safetensors")]
    assert 3 <= len(made) < len(LONG)
    before = stamps(tmp_path, made)
    extract_on_cluster(backbone, tmp_path)
    assert stamps(tmp_path, made) == before and contents(tmp_path) == local


def test_the_cluster_resumes_at_a_url_what_one_process_began(backbone, local, tmp_path):
    url = f"memory://{tmp_path}/features"
    files, root = fsspec.url_to_fs(url)
    for name in ("manifest.json", "00000.safetensors", "00002.safetensors"):
        files.pipe_file(f"{root}/{name}", local[name])
    extract_on_cluster(backbone, url)
    assert {name: files.cat_file(f"{root}/{name}") for name in local} == local
    assert len(files.ls(root)) == len(local)
    assert read_features(url, LONG).shape == (len(LONG), backbone.hidden_size)


def test_an_actor_that_loads_another_backbone_is_an_error_that_names_the_field(backbone, tmp_path):
    other = replace(backbone, identity=backbone.identity | {"weights": "other"})
    with pytest.raises(Exception, match=r"weights 'other', here '[0-9a-f]{64}'"):
        extract_on_cluster(other, tmp_path)
    assert not list(tmp_path.glob("0*.safetensors"))


def test_a_backbone_that_load_did_not_make_is_refused(backbone, tmp_path):
    with pytest.raises(ValueError, match="needs a model of load"):
        extract_on_cluster(replace(backbone, again=None), tmp_path)


def test_a_device_that_the_cluster_lacks_is_an_error_and_not_a_wait(
    backbone, tmp_path, monkeypatch
):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"GPU": 4.0})
    with pytest.raises(RuntimeError, match="no free CPU"):
        extract_on_cluster(backbone, tmp_path)
