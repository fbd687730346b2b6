"""A proxy on loopback in front of a store, which passes requests on, answers some of them itself, and counts them.

Faults are a list of rules; the first that fits a request is used up by it. Everything is HTTP/1.1 over plain sockets,
so that a connection can be reset, or stall, in the middle of an answer.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Fault:
    """What goes wrong with requests that fit."""

    kind: str  # an HTTP status as text, 'reset', 'cut' (half of the answer, then a reset), 'stall'
    path: str = ''  # regular expression, searched in method, blank and path with query
    times: int = 1  # requests; -1: all
    after: int = 0  # requests that fit and go well before
    done: int = 0


@dataclass
class Proxy:
    """Where it is, and what it has seen."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # 'GET /bucket/key?query'
    stall_seconds: float = 5.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def break_next(self, kind: str, path: str = '', times: int = 1, after: int = 0) -> Fault:
        fault = Fault(kind, path, times, after)
        self.faults.append(fault)
        return fault

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, request) is not None for request in self.seen)

    def fault_of(self, request: str) -> str | None:
        with self.lock:
            self.seen.append(request)
            for fault in self.faults:
                if (fault.times < 0 or fault.done < fault.times) and re.search(fault.path, request):
                    if fault.after:
                        fault.after -= 1
                        continue
                    fault.done += 1
                    return fault.kind
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: str) -> None:
        super().__init__(('127.0.0.1', 0), _Handler)
        self.target = target.removeprefix('http://')
        self.proxy = Proxy(f'http://127.0.0.1:{self.server_port}')

    def handle_error(self, request, client_address):
        """Clients go away: that is what is tested."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True

    def log_message(self, *arguments):
        pass

    def _serve(self):
        length = int(self.headers.get('Content-Length') or 0)
        body = self.rfile.read(length) if length else self._chunked_body()
        kind = self.server.proxy.fault_of(f'{self.command} {self.path}')
        if kind == 'reset':
            self._reset()
        elif kind == 'stall':
            time.sleep(self.server.proxy.stall_seconds)
            self._reset()
        elif kind is not None and kind.isdigit():
            self._answer(int(kind), {'Content-Type': 'text/plain'}, b'injected')
        else:
            self._pass_on(body, is_cut=kind == 'cut')

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = _serve

    def _chunked_body(self):
        if 'chunked' not in self.headers.get('Transfer-Encoding', ''):
            return b''
        parts = []
        while size := int(self.rfile.readline().split(b';')[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b''.join(parts)

    def _pass_on(self, body, is_cut):
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != 'transfer-encoding'}
        if body:
            headers['Content-Length'] = str(len(body))
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        kept = {n: v for n, v in answer.getheaders() if n.lower() not in ('transfer-encoding', 'connection')}
        connection.close()
        if is_cut:
            self.send_response_only(answer.status)
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self._reset()
        else:
            self._answer(answer.status, kept, content)

    def _answer(self, status, headers, content):
        self.send_response_only(status)
        is_head = self.command == 'HEAD'
        for name, value in headers.items():
            if name.lower() != 'content-length' or is_head:
                self.send_header(name, value)
        if not is_head:
            self.send_header('Content-Length', str(len(content)))
        elif 'content-length' not in {name.lower() for name in headers}:
            self.send_header('Content-Length', '0')
        self.end_headers()
        if not is_head:
            self.wfile.write(content)

    def _reset(self):
        self.close_connection = True
        # Lingering for no time at all: what is sent is a reset, not an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.connection.close()


def start_proxy(target: str) -> tuple[Proxy, _Server]:
    server = _Server(target)
    threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()
    return server.proxy, server
