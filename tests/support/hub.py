"""A hub of models: a real HTTP server that speaks what `huggingface_hub` speaks, over folders of files."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.serving import Handler, Received, serving

LARGE = (".safetensors", ".bin", ".ckpt", ".pt", ".onnx", ".msgpack", ".model")
"""Kept in Git LFS, so that their SHA-256 is known."""


@dataclass
class FakeHub:
    url: str
    repos: dict[str, Path]
    """`owner/name`, or `owner/name@revision` for another revision than main → its files."""
    gated: set[str] = field(default_factory=set)
    """Repositories that are shown to all, and whose files are for those who log in."""
    token: str = ""
    """Opens gated ones."""
    requests: list[Received] = field(default_factory=list)

    def fetched(self, repo: str) -> list[str]:
        """Files of the repository that were downloaded."""
        marker = f"/{repo}/resolve/"
        return sorted(
            unquote(request.path.removeprefix(marker).partition("/")[2])
            for request in self.requests
            if request.path.startswith(marker) and request.body != b"HEAD"
        )


@contextlib.contextmanager
def running_hub(repos: Mapping[str, Path]) -> Iterator[FakeHub]:
    """Serves the folders as repositories until the block ends."""
    hub = FakeHub("", dict(repos))

    class Repos(_Repos):
        served = hub

    with serving(Repos) as hub.url:
        yield hub


class _Repos(Handler):
    served: FakeHub

    def do_GET(self) -> None:  # noqa: N802 - the library's name
        with contextlib.suppress(OSError):  # the client may leave early
            self._answer()

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = b"HEAD" if self.command == "HEAD" else b""
        self.served.requests.append(self.received(parts.path, body))
        words = [unquote(word) for word in parts.path.strip("/").split("/")]
        if words[:2] == ["api", "models"]:
            self._answer_api(words[2:], parse_qs(parts.query))
        elif "resolve" in words:
            at = words.index("resolve")
            self._answer_file("/".join(words[:at]), words[at + 1], "/".join(words[at + 2 :]))
        else:
            self._refuse(404, "")

    def _answer_api(self, words: list[str], query: Mapping[str, list[str]]) -> None:
        at = next((i for i, word in enumerate(words) if word in ("revision", "tree")), len(words))
        repo = "/".join(words[:at])
        revision = words[at + 1] if at + 1 < len(words) else "main"
        folder = self._folder(repo, revision)
        if folder is None:
            return
        if words[at : at + 1] == ["tree"]:
            self._json([_tree_entry(folder, file) for file in _files(folder)])
            return
        siblings = [_sibling(folder, file, with_blobs="blobs" in query) for file in _files(folder)]
        self._json(
            {
                "id": repo,
                "modelId": repo,
                "sha": _commit(folder),
                "private": False,
                "gated": "manual" if repo in self.served.gated else False,
                "tags": [],
                "downloads": 0,
                "likes": 0,
                "siblings": siblings,
            }
        )

    def _answer_file(self, repo: str, revision: str, path: str) -> None:
        folder = self._folder(repo, revision)
        if folder is None:
            return
        allowed = f"Bearer {self.served.token}"
        if repo in self.served.gated and self.headers.get("authorization") != allowed:
            self._refuse(401, "GatedRepo", commit=_commit(folder))
            return
        file = folder / path
        if not file.is_file():
            self._refuse(404, "EntryNotFound", commit=_commit(folder))
            return
        content = file.read_bytes()
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", f'"{_etag(file)}"')
        self.send_header("X-Repo-Commit", _commit(folder))
        self.send_header("Accept-Ranges", "bytes")
        self._send(content[start:], "application/octet-stream")

    def _folder(self, repo: str, revision: str) -> Path | None:
        """Refuses what there is not."""
        revisions = {
            key.partition("@")[2] or "main": folder
            for key, folder in self.served.repos.items()
            if key.partition("@")[0] == repo
        }
        if not revisions:
            self._refuse(401, "")  # what the real one tells strangers of what may be private
            return None
        for name, folder in revisions.items():
            if revision in (name, _commit(folder)):
                return folder
        self._refuse(404, "RevisionNotFound")
        return None

    def _refuse(self, status: int, code: str, *, commit: str = "") -> None:
        self.send_response(status)
        for name, value in (("X-Error-Code", code), ("X-Repo-Commit", commit)):
            if value:
                self.send_header(name, value)
        self._send(b'{"error": "refused"}', "application/json")

    def _json(self, content: Any) -> None:
        self.send_response(200)
        self._send(json.dumps(content).encode(), "application/json")

    def _send(self, body: bytes, content_type: str) -> None:
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _commit(folder: Path) -> str:
    """Changes with every file."""
    lines = "".join(f"{file.relative_to(folder)} {_etag(file)}\n" for file in _files(folder))
    return hashlib.sha1(lines.encode(), usedforsecurity=False).hexdigest()


def _etag(file: Path) -> str:
    """As git, or Git LFS, names the content."""
    content = file.read_bytes()
    if file.suffix in LARGE:
        return hashlib.sha256(content).hexdigest()
    blob = b"blob %d\0" % len(content) + content
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest()


def _sibling(folder: Path, file: Path, *, with_blobs: bool) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": file.relative_to(folder).as_posix()}
    if with_blobs:
        sibling |= {"size": file.stat().st_size, "blobId": _etag(file)[:40]}
        if file.suffix in LARGE:
            sibling["lfs"] = {"sha256": _etag(file), "size": file.stat().st_size, "pointerSize": 134}
    return sibling


def _tree_entry(folder: Path, file: Path) -> dict[str, Any]:
    size = file.stat().st_size
    entry: dict[str, Any] = {
        "type": "file",
        "oid": _etag(file)[:40],
        "size": size,
        "path": file.relative_to(folder).as_posix(),
    }
    if file.suffix in LARGE:
        entry["lfs"] = {"oid": _etag(file), "size": size, "pointerSize": 134}
    return entry
