"""A release host to be tested against: a local HTTP server that misbehaves as it is told, and archives for it."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from stembeam.model.store.attempts import Patience
from stembeam.model.store.published import Archive

DATA = Path(__file__).parents[2] / 'data' / 'parity'
CHECKPOINT = DATA / 'tiny_2stems'
CONFIG = DATA / 'tiny_2stems.json'
NAME = 'tiny'
QUICK = Patience(pause=0.01, connect=5, read=5)


class Answer(NamedTuple):
    """How to answer one request."""

    status: int = 200  # 0: the connection is closed without an answer
    headers: tuple[tuple[str, str], ...] = ()
    cut: int | None = None  # bytes of the body after which the connection ends
    hang: bool = False  # after `cut` bytes nothing more comes, and the connection stays
    ranges: bool = True


class Asked(NamedTuple):
    """A request as the host saw it."""

    path: str
    range: str | None
    sent: int  # bytes of the file


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        return  # clients that were killed


class Host:
    """Files to be had, answers to be given (one for each request; then as a good host does), and what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: list[Answer] = []
        self.answers_for: dict[str, list[Answer]] = {}  # path -> the same, for its requests
        self.asked: list[Asked] = []
        self.go_on = threading.Event()
        self.hung = threading.Event()
        self._lock = threading.Lock()
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *_: object) -> None:
                return

            def do_GET(self) -> None:
                host._answer(self)

        self.server = _Server(('127.0.0.1', 0), Handler)
        self.server.daemon_threads = True
        self.url = f'http://127.0.0.1:{self.server.server_address[1]}'

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        with self._lock:
            script = self.answers_for.get(request.path) or self.answers
            answer = script.pop(0) if script else Answer()
        content = self.files.get(request.path.partition('?')[0])
        if content is None and answer.status == 200:
            answer = answer._replace(status=404)
        wanted = request.headers.get('Range')
        if answer.status == 0:
            self.asked.append(Asked(request.path, wanted, 0))
            request.close_connection = True
            return
        if answer.status != 200 or content is None:
            self.asked.append(Asked(request.path, wanted, 0))
            self._reply(request, answer.status, answer.headers, b'no')
            return
        first, status, headers = 0, 200, list(answer.headers)
        if wanted and answer.ranges:
            first, status = int(wanted.removeprefix('bytes=').removesuffix('-')), 206
            headers.append(('Content-Range', f'bytes {first}-{len(content) - 1}/{len(content)}'))
            if first >= len(content):
                self.asked.append(Asked(request.path, wanted, 0))
                self._reply(request, 416, (), b'no')
                return
        body = content[first:]
        sent = body if answer.cut is None else body[: answer.cut]
        self.asked.append(Asked(request.path, wanted, len(sent)))
        self._reply(request, status, tuple(headers), sent, len(body))
        if answer.hang:
            request.wfile.flush()
            self.hung.set()
            self.go_on.wait(60)
        if answer.cut is not None:
            request.close_connection = True
            with contextlib.suppress(OSError):
                request.connection.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _reply(
        request: BaseHTTPRequestHandler,
        status: int,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
        length: int | None = None,
    ) -> None:
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        request.send_header('Content-Length', str(len(body) if length is None else length))
        request.end_headers()
        with contextlib.suppress(OSError):  # the client may have gone
            request.wfile.write(body)

    @property
    def sent(self) -> int:
        """Bytes of files that left the host."""
        return sum(asked.sent for asked in self.asked)


@contextlib.contextmanager
def running_host() -> Iterator[Host]:
    host = Host()
    thread = threading.Thread(target=host.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield host
    finally:
        host.go_on.set()
        host.server.shutdown()
        host.server.server_close()
        thread.join()


def make_tar(*members: tuple[tarfile.TarInfo, bytes], compress: int = 1) -> bytes:
    """A .tar.gz of members as they are, however wrong."""
    file = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=file, mode='wb', compresslevel=compress, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode='w') as tar,
    ):
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def plain(name: str, content: bytes = b'content') -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def checkpoint_members(folder: Path = CHECKPOINT) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [plain(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]


def archive_of(content: bytes, name: str = NAME, config: Path = CONFIG) -> Archive:
    """The entry of the table of models for an archive."""
    return Archive(name, hashlib.sha256(content).hexdigest(), str(config))
