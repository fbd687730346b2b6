"""What gives access to inputs and stores lands nowhere: in no file of OUT, on no stream, in no log, in no dry run."""

from __future__ import annotations

import base64
import http.server
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import fsspec
import pyarrow.parquet as pq
import pytest
import soundfile

from stembeam.model.remote import StoreOptions, install_options
from stembeam.pipeline.cli import main
from stembeam.pipeline.exit_status import BAD_USAGE, OK, RUN_FAILED, WITH_FAILURES

from ..conftest import noise

USER, PASSWORD, SIGNATURE, TOKEN = 'me', 'hunter2-in-the-url', 'f00dcafe', 'one-more-token'
KEY, SECRET, HEADER = 'AKIA-the-key', 'very/secret+value', 'Bearer of-great-news'
SECRETS = (PASSWORD, SIGNATURE, TOKEN, KEY, SECRET, HEADER)
OPTIONS = {
    's3': {'key': KEY, 'secret': SECRET, 'token': TOKEN, 'endpoint_url': 'http://127.0.0.1:9'},
    'http': {'client_kwargs': {'headers': {'X-Auth': HEADER}}},
}


def wav(seconds: float) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, noise(seconds), 44100, subtype='PCM_16', format='WAV')
    return content.getvalue()


FILES = {
    '/a.wav': wav(1.0),
    '/long.wav': wav(6.0),
    '/broken.wav': b'RIFF' + bytes(1000),
    '/list.csv': f'uri,year\nb.wav?X-Amz-Signature={SIGNATURE},1990\nmissing.wav?token={TOKEN},1991\n'.encode(),
    '/b.wav': wav(1.5),
}


class _Guarded(http.server.BaseHTTPRequestHandler):
    """Gives files to those who know the secrets, and says them again when it refuses."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition('?')
        known = base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()
        is_known = self.headers.get('Authorization') == f'Basic {known}' or SIGNATURE in query or TOKEN in query
        if not is_known or self.headers.get('X-Auth') != HEADER:
            self._answer(403, f'{self.path} {self.headers}'.encode())
        elif path == '/busy.wav':
            self._answer(503, f'{self.path} {self.headers}'.encode())
        else:
            self._answer(200 if path in FILES else 404, FILES.get(path, b''))

    do_HEAD = do_GET

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status, self.headers.get('X-Auth'))  # drivers quote the reason
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        if self.command == 'GET':
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


class Site(NamedTuple):
    """The server, and options with which it is reached."""

    url: str
    options: str

    def signed(self, path: str) -> str:
        return f'{self.url}/{path}?X-Amz-Credential={KEY}&X-Amz-Signature={SIGNATURE}'

    def private(self, path: str) -> str:
        return self.url.replace('://', f'://{USER}:{PASSWORD}@') + f'/{path}'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    before = {name: dict(values) for name, values in fsspec.config.conf.items()}
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), _Guarded)
    threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()
    (tmp_path / 'options.json').write_text(json.dumps(OPTIONS))
    yield Site(f'http://127.0.0.1:{server.server_port}', str(tmp_path / 'options.json'))
    server.shutdown()
    server.server_close()
    fsspec.config.conf.clear()
    fsspec.config.conf.update(before)
    install_options(StoreOptions())


def leaks(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text]


def texts_of(folder: Path) -> dict[str, str]:
    """Every file below a folder as text, tables row by row and with what they say of themselves."""
    found = {}
    for path in folder.rglob('*'):
        if path.suffix == '.parquet':
            table = pq.read_table(path)
            found[str(path)] = f'{table.to_pylist()} {table.schema.metadata} {[f.metadata for f in table.schema]}'
        elif path.is_file():
            found[str(path)] = path.read_bytes().decode('latin-1')
    return found


def words(site: Site, out: Path, model: Path, *more: str) -> list[str]:
    inputs = [site.private('list.csv'), site.signed('a.wav'), site.private('long.wav'), site.private('broken.wav')]
    options = ['--storage-options', site.options, '--storage-attempts', '2', '--chunks-per-segment', '2']
    return ['separate', *inputs, '-o', str(out), '--model', str(model), '--workers', '2', *options, *more]


@pytest.mark.parametrize('form', ['text', 'json'])
def test_a_run_leaves_no_secret(site: Site, tmp_path: Path, tiny_model: Path, form: str):
    """As a command of its own, so that nothing that it prints is missed, whoever prints it."""
    busy = [site.signed('busy.wav')] if form == 'text' else []
    command = words(site, tmp_path / 'out', tiny_model, '--log-level', 'debug', '--log-format', form, *busy)
    ours = tmp_path / 'temporary'
    ours.mkdir()
    ended = subprocess.run(
        [sys.executable, '-m', 'stembeam.pipeline.cli', *command],
        env={**os.environ, 'TMPDIR': str(ours)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == WITH_FAILURES, ended.stderr
    assert leaks(ended.stdout + ended.stderr) == []
    texts = texts_of(tmp_path / 'out')
    assert {path: found for path, text in texts.items() if (found := leaks(text))} == {}
    assert texts_of(ours) == {}
    run = json.loads((tmp_path / 'out/run.json').read_text())
    assert (run['done'], run['failed'], run['store_retries']) == (3, 2 + len(busy), len(busy))
    rows = [row for path in (tmp_path / 'out').glob('manifest-*') for row in pq.read_table(path).to_pylist()]
    hidden = {row['track_id']: row['uri'].replace(site.url.partition('://')[2], 'host') for row in rows}
    assert hidden == {
        'a': 'http://host/a.wav?X-Amz-Credential=***&X-Amz-Signature=***',
        'b': 'http://***@host/b.wav?X-Amz-Signature=***',
        'long': 'http://***@host/long.wav',
    }
    failed = [json.loads(line) for path in (tmp_path / 'out').glob('failures-*') for line in path.open()]
    assert sorted(row['track_id'] for row in failed) == sorted(['broken', 'missing', *(['busy'] if busy else [])])
    assert all('***' in row['uri'] and '***' in row['reason'] for row in failed)


def test_what_is_said_without_a_run_tells_no_secret(
    site: Site, tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]
):
    out = tmp_path / 'out'
    assert main(words(site, out, tiny_model, '--dry-run')) == OK
    assert main(words(site, out, tiny_model, site.private('nowhere/'))) == BAD_USAGE
    told = [site.private('models/tiny'), '--model-store', str(tmp_path / 'store')]
    assert main([*words(site, out, tiny_model), '--model', *told]) in (BAD_USAGE, RUN_FAILED)
    assert main(['models', 'show', site.signed('models/tiny'), '--store', str(tmp_path / 'store')]) != OK
    assert main(['prepare', site.private('set.csv'), '-o', str(out), '--storage-options', site.options]) == BAD_USAGE
    assert main(['train', '--config', str(tiny_model / 'config.json'), '--shards', site.private('shards')]) != OK
    assert main(['status', site.private('out'), '--storage-options', site.options]) != OK
    there = words(site, out, tiny_model)
    there[there.index(str(out))] = f's3://bucket/{KEY}'
    assert main(there) == BAD_USAGE
    captured = capfd.readouterr()
    assert '***' in captured.out
    assert captured.err.count('***') >= 4
    assert leaks(captured.out + captured.err) == []
    assert texts_of(out) == {}
