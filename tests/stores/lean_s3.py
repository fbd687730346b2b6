"""moto's S3 behind a lean web server: connections stay open, nothing is logged, and no other service is looked for.

The same application as moto's own server (servers.S3_SERVER), for runs with so many requests that the server around it
would take most of the time. The one idea: what costs is a new connection and a new thread for each request. Prints its
port and ends with its standard input.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


class Handler(BaseHTTPRequestHandler):
    """A WSGI server for bodies and answers of known length."""

    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is one packet
    app: Any  # the WSGI application

    def log_message(self, *arguments: Any) -> None:
        """Nobody reads it."""

    def handle_expect_100(self) -> bool:
        """A client that asks whether to send its body waits for the answer."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _environ(self, body: bytes) -> dict[str, Any]:
        path, _, query = self.path.partition('?')
        host, _, port = self.headers.get('Host', 'localhost').partition(':')
        environ: dict[str, Any] = {
            'REQUEST_METHOD': self.command,
            'SCRIPT_NAME': '',
            'PATH_INFO': unquote(path, 'latin-1'),
            'RAW_URI': self.path,
            'REQUEST_URI': self.path,
            'QUERY_STRING': query,
            'SERVER_NAME': host,
            'SERVER_PORT': port or '80',
            'SERVER_PROTOCOL': self.request_version,
            'REMOTE_ADDR': str(self.client_address[0]),
            'wsgi.version': (1, 0),
            'wsgi.url_scheme': 'http',
            'wsgi.input': io.BytesIO(body),
            'wsgi.errors': sys.stderr,
            'wsgi.multithread': True,
            'wsgi.multiprocess': False,
            'wsgi.run_once': False,
            'CONTENT_LENGTH': str(len(body)),
        }
        for name, value in self.headers.items():
            key = name.upper().replace('-', '_')
            if key != 'CONTENT_LENGTH':
                environ[key if key == 'CONTENT_TYPE' else f'HTTP_{key}'] = value
        return environ

    def serve(self) -> None:
        """One request."""
        if 'chunked' in self.headers.get('Transfer-Encoding', ''):
            self.send_error(411)  # no client of ours does that
            return
        body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        told: list[Any] = []
        answer = self.app(self._environ(body), lambda status, headers, *_: told.extend((status, headers)))
        content = b''.join(answer)
        status, _, reason = told[0].partition(' ')
        self.send_response_only(int(status), reason)
        names = set()
        for name, value in told[1]:
            if name.lower() not in ('connection', 'transfer-encoding'):
                self.send_header(name, value)
                names.add(name.lower())
        if 'content-length' not in names:
            self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = serve


class Server(ThreadingHTTPServer):
    """A thread for each connection, not for each request."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """See the module."""
    from moto.moto_server.werkzeug_app import create_backend_app

    Handler.app = create_backend_app('s3')
    server = Server(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == '__main__':
    main()
