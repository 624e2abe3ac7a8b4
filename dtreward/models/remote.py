"""A model on the hub as a folder without its weights: small files, and what safetensors' headers say.

A folder that this module makes holds the files that `load` reads first, byte for byte, and beside
them weight files that are as long as the real ones but hold zeros behind their headers. A file
system stores no zeros that nobody wrote, so that a model of 140 GB takes less than a megabyte.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, get_session, hf_hub_url
from huggingface_hub.hf_api import ModelInfo
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff

# What `load` reads beside weights and the tokenizer's vocabulary.
SMALL_FILES = (
    "config.json",
    "*_config.json",
    "*.index.json",
    "decision_tree.json",
    "decision_tree.pkl",
    "chat_template.*",
    "special_tokens_map.json",
    "added_tokens.json",
    "README.md",  # the model's card may name its trainer
)
TOKENIZER = "tokenizer.json"
LARGEST_SMALL_FILE = 2**23  # bytes; a published index of 600 tensors has 66 KB
LARGEST_HEADER = 100_000_000  # bytes, as in safetensors' own reader
LARGEST_FILE = 2**46  # bytes
FIRST_OF_TOKENIZER = 2**17  # bytes; Llama 3's added tokens, which come first, take 45 KB
# The hub's own client reads the first 100 KB of each file: 3 MB for a model in 30 files.
BYTES_PER_TENSOR = 160  # of a header
FIRST_OF_WEIGHTS = 2**14  # bytes, where no index says how many tensors a file has
VOCABULARY = re.compile(r'(?<!\\)"vocab"\s*:\s*\{')
CONNECTIONS = 8
TIMEOUT = 30  # seconds without an answer


@dataclass(frozen=True)
class Outline:
    """A model's folder without its weights.

    Attributes:
        folder: where the files are.
        commit: of the hub; "" for a folder that was there before.
        licence: as the model's card says; "" where it says none.
        sizes: bytes of each weight file.
        requests: how many requests were sent, redirects included.
        received: bytes of content that came.
        whole_vocabulary: whether the tokenizer's vocabulary was read.
    """

    folder: Path
    commit: str
    licence: str
    sizes: dict[str, int]
    requests: int = 0
    received: int = 0
    whole_vocabulary: bool = True


class Traffic:
    """Counts what the hub's client receives."""

    def __init__(self) -> None:
        self._responses: list[Any] = []

    def note(self, response: Any) -> None:
        """Note one response; its content may come later."""
        self._responses.append(response)

    @property
    def requests(self) -> int:
        """How many requests were answered, redirects included."""
        return len(self._responses)

    @property
    def received(self) -> int:
        """How many bytes of content came, as they were sent."""
        return sum(response.num_bytes_downloaded for response in self._responses)


@contextmanager
def counted_traffic() -> Iterator[Traffic]:
    """Count what the hub's client receives meanwhile, whichever of its functions asks.

    Example:
        >>> with counted_traffic() as traffic:
        ...     pass
        >>> traffic.requests, traffic.received
        (0, 0)
    """
    session = get_session()
    traffic = Traffic()
    before = session.event_hooks
    session.event_hooks = before | {"response": [*before["response"], traffic.note]}
    try:
        yield traffic
    finally:
        session.event_hooks = before


def fetch_outline(repo: str, revision: str | None, folder: Path) -> Outline:
    """Fetch what a repository's small files and weight headers say into an empty folder.

    Args:
        repo: hub id.
        revision: commit, branch or tag; None for the newest commit.
        folder: where the outline goes.

    Raises:
        ValueError: if a file is not what it should be; the message names it.
        OSError, HfHubHTTPError: if the hub does not give the repository.
    """
    with counted_traffic() as traffic:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT)
        sizes = _root_files(info)
        remote = _Repository(repo, info.sha or "")
        small = [name for name in sizes if any(fnmatch(name, one) for one in SMALL_FILES)]
        for name in small:
            (folder / name).write_bytes(_whole(remote, name, sizes[name], LARGEST_SMALL_FILE))
        whole = True
        if TOKENIZER in sizes:
            text, whole = _tokenizer(remote, sizes[TOKENIZER])
            (folder / TOKENIZER).write_bytes(text)
        weights = _write_weights(remote, folder, sizes)
    return Outline(
        folder,
        remote.commit,
        licence_of(info.card_data.to_dict() if info.card_data else {}),
        weights,
        traffic.requests,
        traffic.received,
        whole,
    )


def licence_of(card: dict[str, Any]) -> str:
    """Read the licence off the data of a model's card; "" where it says none.

    Example:
        >>> licence_of({"license": "other", "license_name": "skywork-community-license"})
        'skywork-community-license'
        >>> licence_of({"license": "mit"}), licence_of({})
        ('mit', '')
    """
    licence = str(card.get("license") or "")
    name = str(card.get("license_name") or "")
    return name if name and licence in ("", "other") else licence


def small_vocabulary(start: str) -> str | None:
    """Complete the start of a tokenizer.json with a vocabulary of its added tokens and letters.

    Chat templates, BOS and control tokens are then those of the whole file; other texts are cut
    into other tokens. None where the start does not reach the vocabulary of a BPE tokenizer.

    Example:
        >>> start = '{"added_tokens": [{"id": 7, "content": "<s>"}], "model": {"type": "BPE", "vocab": {"a'
        >>> json.loads(small_vocabulary(start))["model"]["vocab"]["<s>"]
        7
        >>> small_vocabulary('{"added_tokens": [') is None
        True
    """
    place = VOCABULARY.search(start)
    if place is None:
        return None
    try:
        content = json.loads(f'{start[: place.start()]}"vocab": {{}}}}}}')
        added = {token["content"]: token["id"] for token in content["added_tokens"]}
        is_bpe = content["model"]["type"] == "BPE"
    except (ValueError, KeyError, TypeError):
        return None
    if not is_bpe:
        return None
    vocabulary = dict(added)
    # Printable letters, and those by which byte-level tokenizers write space and newline.
    letters = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ", "▁", "\n"]
    pieces = [content["model"].get("unk_token"), *letters]
    following = 1 + max(added.values(), default=-1)
    for piece in pieces:
        if piece is not None and piece not in vocabulary:
            vocabulary[piece] = following
            following += 1
    content["model"] |= {"vocab": vocabulary, "merges": []}
    return json.dumps(content, ensure_ascii=False)


@dataclass(frozen=True)
class _Repository:
    """A repository at one commit."""

    name: str
    commit: str

    def address(self, file: str) -> str:
        return hf_hub_url(self.name, file, revision=self.commit)


def _root_files(info: ModelInfo) -> dict[str, int]:
    """List the files beside config.json, with their sizes in bytes."""
    files = {}
    for sibling in info.siblings or []:
        if "/" in sibling.rfilename or sibling.size is None:
            continue
        if not 0 <= sibling.size <= LARGEST_FILE:
            raise ValueError(f"{info.id}: {sibling.rfilename} has {sibling.size:,} bytes")
        files[sibling.rfilename] = sibling.size
    return files


def _whole(remote: _Repository, name: str, size: int, most: int) -> bytes:
    """Fetch a small file."""
    if size > most:
        raise ValueError(
            f"{remote.name}: {name} has {size:,} bytes, expected at most {most:,}; look at it "
            "before you load the model"
        )
    return _part(remote, name, 0, size) if size else b""


def _part(remote: _Repository, name: str, first: int, end: int) -> bytes:
    """Fetch the bytes of a file from `first` up to `end`, exclusive."""
    headers = build_hf_headers()
    headers |= {"Range": f"bytes={first}-{end - 1}", "Accept-Encoding": "identity"}
    content = bytearray()
    address = remote.address(name)
    options = {"headers": headers, "timeout": TIMEOUT, "follow_redirects": True}
    with http_stream_backoff("GET", address, max_retries=2, **options) as response:
        if response.status_code >= 400:
            response.read()
        hf_raise_for_status(response)
        if first and response.status_code != 206:
            raise ValueError(
                f"{remote.name}: the server sends {name} whole and not in parts; download the "
                "model, and check its folder"
            )
        for piece in response.iter_bytes():
            content += piece
            if len(content) >= end - first:  # a server without ranges would send gigabytes
                break
    return bytes(content[: end - first])


def _tokenizer(remote: _Repository, size: int) -> tuple[bytes, bool]:
    """Fetch tokenizer.json, or, of a large one, what stands before its vocabulary.

    Returns:
        the file's content, and whether it is the file's own.
    """
    content = b""
    while len(content) < min(size, LARGEST_SMALL_FILE):
        end = min(size, max(FIRST_OF_TOKENIZER, 3 * len(content)))
        part = _part(remote, TOKENIZER, len(content), end)
        if not part:
            break
        content += part
        if len(content) == size:
            return content, True
        completed = small_vocabulary(content.decode(errors="ignore"))
        if completed is not None:
            return completed.encode(), False
    return content + _part(remote, TOKENIZER, len(content), size), True


def _write_weights(remote: _Repository, folder: Path, sizes: dict[str, int]) -> dict[str, int]:
    """Write the headers of all weight files, and zeros for the rest; give the files' sizes."""
    tensors = _tensors_in(folder)
    weights = {name: size for name, size in sizes.items() if name.endswith(".safetensors")}
    pickles = {name: size for name, size in sizes.items() if name.endswith(".bin")}
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        tasks = [
            pool.submit(_header, remote, name, size, tensors.get(name, 0))
            for name, size in weights.items()
        ]
        headers = [task.result() for task in tasks]
    for (name, size), header in zip(weights.items(), headers, strict=True):
        _write_sparse(folder / name, header, size)
    for name, size in pickles.items():
        _write_sparse(folder / name, b"", size)
    return weights or pickles


def _write_sparse(path: Path, start: bytes, size: int) -> None:
    """Write a file that begins so and goes on with zeros, which take no room."""
    with path.open("wb") as file:
        file.write(start)
        try:
            file.truncate(size)
        except OSError as error:
            raise ValueError(
                f"{path.name} of {size:,} bytes cannot be outlined on this disk ({error}); set "
                "TMPDIR to a folder of another one"
            ) from None


def _tensors_in(folder: Path) -> dict[str, int]:
    """Count the tensors of each file that an index names."""
    counts: dict[str, int] = {}
    for path in folder.glob("*.index.json"):
        try:
            files = json.loads(path.read_bytes())["weight_map"].values()
        except (ValueError, KeyError, TypeError, AttributeError):
            continue  # `load` says what is wrong with it
        for name in files:
            counts[str(name)] = counts.get(str(name), 0) + 1
    return counts


def _header(remote: _Repository, name: str, size: int, tensors: int) -> bytes:
    """Fetch a safetensors file's header with the eight bytes before it that give its length."""
    first = min(size, max(FIRST_OF_WEIGHTS if not tensors else 0, BYTES_PER_TENSOR * tensors + 512))
    start = _part(remote, name, 0, first) if first else b""
    length = int.from_bytes(start[:8], "little")
    end = 8 + length
    if len(start) < 8 or end > size or length > LARGEST_HEADER:
        return start  # `load` says what is wrong with it
    if end > len(start):
        start += _part(remote, name, len(start), end)
    return start[:end]
