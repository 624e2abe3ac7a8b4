"""The hub's protocol from folders on this machine: what its client asks for, answered as the hub does.

Small files come at once; weights and tokenizers by a redirect to another address, which sends parts
of a file where a part is asked for.
"""

import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from hub_cache import commit_of

LARGE = (".safetensors", ".bin", "tokenizer.json")  # which the hub keeps apart from git


@dataclass
class HubServer:
    """A hub with folders as repositories.

    Args:
        folders: by hub id.
        gated: hub ids that want a token.
        parts: False to send files whole, whatever part is asked for.
    """

    folders: dict[str, Path]
    gated: set[str] = field(default_factory=set)
    parts: bool = True
    address: str = ""
    asked: list = field(default_factory=list)  # (method, path, range)

    def sent(self, name):
        """The ranges of a file that were asked for at its second address."""
        return [part for _, path, part in self.asked if path.startswith("/cdn/") and name in path]


def card_data(folder):
    """The data at the head of a model's card."""
    card = folder / "README.md"
    found = card.exists() and re.match(r"---\n(.*?)\n---\n", card.read_text(), re.DOTALL)
    return yaml.safe_load(found[1]) if found else {}


def handler(hub):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            path = self.path.split("?")[0]
            hub.asked.append((self.command, path, self.headers.get("Range")))
            api = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/auth-check|/revision/(.+))?", path)
            file = re.fullmatch(r"/(cdn/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
            repo = api[1] if api else file[2] if file else ""
            if repo not in hub.folders:
                return self.fail(404 if "Authorization" in self.headers else 401, "RepoNotFound")
            commit = commit_of(repo)
            if (api[2] if api else file[3]) not in (None, "main", commit):
                return self.fail(404, "RevisionNotFound")
            if api:
                return self.answer(200, json.dumps(self.describe(repo, commit)).encode())
            if repo in hub.gated and "Authorization" not in self.headers and not file[1]:
                return self.fail(401, "GatedRepo")
            place = hub.folders[repo] / file[4]
            if not place.is_file():
                return self.fail(404, "EntryNotFound")
            if place.name.endswith(LARGE) and not file[1]:
                return self.answer(302, b"", {"Location": f"/cdn{self.path}"})
            self.send_part(place)

        def describe(self, repo, commit):
            folder = hub.folders[repo]
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            siblings = [
                {"rfilename": str(path.relative_to(folder)), "size": path.stat().st_size}
                for path in files
            ]
            told = {"id": repo, "sha": commit, "siblings": siblings, "private": False}
            return told | {"cardData": card_data(folder), "gated": repo in hub.gated}

        def send_part(self, place):
            size, wanted = (
                place.stat().st_size,
                re.match(r"bytes=(\d+)-(\d+)$", self.headers["Range"]),
            )
            first, last = (
                (int(wanted[1]), min(int(wanted[2]), size - 1)) if wanted else (0, size - 1)
            )
            if not hub.parts:
                first, last = 0, size - 1
            told = {"Content-Range": f"bytes {first}-{last}/{size}"} if hub.parts else {}
            with place.open("rb") as file:
                file.seek(first)
                self.answer(206 if hub.parts else 200, file.read(last - first + 1), told)

        def fail(self, status, code):
            self.answer(status, json.dumps({"error": code}).encode(), {"X-Error-Code": code})

        def answer(self, status, data, headers=()):
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    return Handler


@contextmanager
def serve(folders, **options):
    """Run a hub with these folders; yields it, with its address."""
    hub = HubServer(folders, **options)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler(hub)) as server:
        server.handle_error = lambda *_: None  # a client that has read enough hangs up
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield hub
        finally:
            server.shutdown()
