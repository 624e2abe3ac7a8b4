"""The repositories of a study on the hub: their commits, and what is still to be downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    RepositoryNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name

from dtreward.pairs.readers import read_table


@dataclass(frozen=True)
class Download:
    """A repository that a study fetches, as its YAML lists it under `needs: downloads`.

    Attributes:
        name: hub id.
        kind: "model" or "dataset".
        gb: size of the files that are fetched.
        revision: commit, or its first digits; "" for the newest.
        shows: tables whose columns are shown before the study starts, because nobody could look at
            them when it was written.
    """

    name: str
    kind: str
    gb: int | float
    revision: str
    shows: tuple[str, ...] = ()

    @property
    def cache(self) -> Path:
        """Give the folder of the hub's cache that holds it."""
        return Path(
            constants.HF_HUB_CACHE, repo_folder_name(repo_id=self.name, repo_type=self.kind)
        )

    @property
    def gb_left(self) -> float:
        """Give what is still to be fetched in GB, where a part has been fetched already."""
        if constants.HF_HUB_OFFLINE:
            return 0.0
        fetched = sum(path.stat().st_size for path in (self.cache / "blobs").glob("*"))
        return max(0.0, self.gb - fetched / 1e9)

    def describe_revision(self, recorded: str) -> str:
        """Say which commit is meant, where the hub has not been asked or gave no answer.

        Args:
            recorded: the commit that an earlier run found; "" if there was none.

        Example:
            >>> Download("a/b", "model", 15.0, "a65aa58").describe_revision("")
            'a65aa58... (pinned by the study)'
            >>> Download("a/b", "model", 15.0, "").describe_revision("")
            'newest commit (the hub has not said which)'
        """
        if len(self.revision) == 40:
            return f"{self.revision} (pinned by the study)"
        if recorded and recorded.startswith(self.revision):
            return f"{recorded} (found by an earlier run)"
        if self.revision:
            return f"{self.revision}... (pinned by the study)"
        return "newest commit (the hub has not said which)"


def read_downloads(listed: Mapping[str, Mapping[str, Any]]) -> list[Download]:
    """Read `needs: downloads` of a study: {hub id: {kind, gb, revision, shows}}.

    Example:
        >>> read_downloads({"a/b": {"kind": "model", "gb": 15.0, "revision": ""}})
        [Download(name='a/b', kind='model', gb=15.0, revision='', shows=())]
    """
    downloads = []
    for name, values in listed.items():
        shows = tuple(values.get("shows", ()))
        downloads.append(Download(name, **{**values, "shows": shows}))
    return downloads


def columns_of(download: Download, commit: str) -> dict[str, tuple[int, list[str]]]:
    """Fetch the tables that a download shows; give rows and columns of each.

    Raises:
        ValueError: if a table cannot be read.
        OSError: if it cannot be fetched.
    """
    found = {}
    for name in download.shows:
        path = hf_hub_download(download.name, name, repo_type=download.kind, revision=commit)
        table = read_table(Path(path))
        found[name] = (len(table), list(table))
    return found


def find_commits(downloads: list[Download]) -> tuple[dict[str, str], list[str]]:
    """Ask the hub, or the cache where the hub is switched off, for the commit of each download.

    Returns:
        Commits by name, and a sentence for each repository that cannot be reached. If the hub does
        not answer at all, it is asked no further.
    """
    commits = {}
    unreachable = []
    for download in downloads:
        try:
            commits[download.name] = _commit(download)
        except (HfHubHTTPError, LookupError) as error:
            unreachable.append(_reason(download.name, error))
        except (OSError, HTTPError) as error:
            unreachable.append(
                f"{constants.ENDPOINT} does not answer ({type(error).__name__}): mend the "
                "network, or set HF_HUB_OFFLINE=1 where everything has been downloaded"
            )
            break
    return commits, unreachable


def _commit(download: Download) -> str:
    """Give the whole commit that a download's revision means."""
    if constants.HF_HUB_OFFLINE:
        return _cached_commit(download)
    hub = HfApi()
    hub.auth_check(download.name, repo_type=download.kind)
    revision = download.revision
    is_shortened = 0 < len(revision) < 40
    if not is_shortened:
        return hub.repo_info(download.name, repo_type=download.kind, revision=revision or None).sha
    history = hub.list_repo_commits(download.name, repo_type=download.kind)
    matches = [one.commit_id for one in history if one.commit_id.startswith(revision)]
    if len(matches) != 1:
        raise LookupError(
            f"{len(matches)} of its commits begin with {revision}; correct it in the study's YAML"
        )
    return matches[0]


def _cached_commit(download: Download) -> str:
    if download.revision:
        snapshots = download.cache.glob(f"snapshots/{download.revision}*")
        commits = [path.name for path in snapshots]
    else:
        commits = [path.read_text() for path in download.cache.glob("refs/main")]
    if not commits:
        wanted = download.revision or "main"
        raise LookupError(
            f"it is not in {constants.HF_HUB_CACHE} at {wanted}; unset HF_HUB_OFFLINE"
        )
    return commits[0]


def _reason(name: str, error: Exception) -> str:
    """Say why a repository cannot be read, and what to do."""
    if isinstance(error, GatedRepoError):
        return (
            f"{name} is gated: accept its terms at {constants.ENDPOINT}/{name}, and give a token "
            "of that account (HF_TOKEN, or hf auth login)"
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{name} is not on {constants.ENDPOINT}, or only for those who are logged in (HF_TOKEN)"
        )
    message = " ".join(str(error.args[0]).split())
    return f"{name}: {message}"
