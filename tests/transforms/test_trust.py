"""What a listing from elsewhere may name, and that nothing it names leads out of that."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stembeam.model.errors import TrackError, UsageError
from stembeam.model.remote import StoreOptions, install_options, is_private_host
from stembeam.transforms.listing import read_listing
from stembeam.transforms.sources import local_copy
from stembeam.transforms.trust import check_entry

LISTING = 's3://bucket/lists/songs.txt'


@pytest.mark.parametrize(
    'uri',
    [
        's3://other/song.wav',
        'gs://bucket/a/song.wav',
        'https://example.org/song.wav?token=1',
        'http://user:secret@example.org:8080/song.wav',
        'zip://song.wav::s3://other/songs.zip',
        'simplecache::https://example.org/song.wav',
        'http://93.184.216.34/song.wav',
    ],
)
def test_what_it_may_name(uri: str):
    check_entry(uri, LISTING)


@pytest.mark.parametrize(
    'uri',
    [
        '/etc/passwd',
        'file:///etc/passwd',
        'local:///etc/passwd',
        'song.wav',
        'simplecache::/etc/passwd',
        'simplecache::file:///etc/passwd',
        'zip://song.wav::/music/songs.zip',
        'zip://song.wav::file:///music/songs.zip',
        's3://bucket/a::b.wav',
        's3://bucket/a::file',
        'memory://song.wav',
        'sftp://example.org/song.wav',
        'dir::file:///etc',
        'reference://::s3://bucket/refs.json',
        'http://169.254.169.254/latest/meta-data/iam/security-credentials/',
        'http://metadata.google.internal/computeMetadata/v1/',
        'http://METADATA.google.internal./x',
        'http://metadata/x',
        'http://localhost/x',
        'https://localhost:8443/x',
        'http://127.0.0.1:9000/x',
        'http://127.1/x',
        'http://2130706433/x',
        'http://0x7f.0.0.1/x',
        'http://0177.0.0.1/x',
        'http://[::1]/x',
        'http://[::ffff:169.254.169.254]/x',
        'http://[fe80::1%25eth0]/x',
        'http://[64:ff9b::a9fe:a9fe]/x',
        'http://10.0.0.8/x',
        'http://192.168.1.1/x',
        'http://100.64.0.1/x',
        'http://0.0.0.0/x',
        'http://example.org@127.0.0.1/x',
        'http://127.0.0.1#@example.org/x',
        'http://example.org\\@127.0.0.1/x',
        'http://①②⑦.⓪.⓪.①/x',
        'http:///x',
        'http://[broken/x',
        'simplecache::http://127.0.0.1/x',
        'http://nas/x',
    ],
)
def test_what_it_may_not_name(uri: str):
    with pytest.raises(UsageError, match='--allow-local-inputs') as error:
        check_entry(uri, LISTING)
    assert '\n' not in str(error.value)


def test_its_own_server_may_be_private():
    check_entry('http://localhost:8000/a.wav', 'http://localhost:8000/list.txt')
    for other in ('http://localhost:6379/a.wav', 'https://localhost:8000/a.wav', 'http://evil@localhost:8000/a.wav'):
        with pytest.raises(UsageError):
            check_entry(other, 'http://localhost:8000/list.txt')


@given(st.ip_addresses())
def test_addresses_are_judged_the_same_in_a_url(address):
    text = f'[{address}]' if address.version == 6 else str(address)
    if not address.is_global:
        with pytest.raises(UsageError):
            check_entry(f'http://{text}/x.wav', LISTING)


@given(st.text())
def test_whatever_a_row_holds_the_answer_is_yes_or_one_line(text: str):
    try:
        check_entry(text, LISTING)
    except UsageError as error:
        said = str(error)
    else:
        said = ''
    assert '\n' not in said
    assert said or '://' in text


def test_the_row_is_named():
    memory = fsspec.filesystem('memory')
    memory.pipe('/lists/l.txt', b'a.mp3\nhttps://example.org/b.mp3\nfile:///etc/passwd\n')
    with pytest.raises(UsageError, match=r'memory://lists/l.txt, line 3: /etc/passwd is a file of the machine'):
        read_listing(['memory://lists/l.txt'])
    tracks = read_listing(['memory://lists/l.txt'], allow_local=True).tracks
    assert [track.uri for track in tracks][2] == '/etc/passwd'


def test_a_local_listing_is_trusted(tmp_path: Path):
    (tmp_path / 'l.txt').write_text('/music/a.mp3\nhttp://localhost/b.mp3\n')
    listing = read_listing([str(tmp_path / 'l.txt')])
    assert len(listing.tracks) == 2
    assert listing.trusted_hosts is None  # nothing was read from elsewhere


class _Redirecting(http.server.BaseHTTPRequestHandler):
    """/song.wav is there; /away leads to it by the address in numbers."""

    def do_GET(self) -> None:
        port = self.server.server_port  # type: ignore[attr-defined]
        if self.path == '/away':
            self.send_response(302)
            self.send_header('Location', f'http://127.0.0.1:{port}/song.wav')
            self.send_header('Content-Length', '0')
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header('Content-Length', '5')
            self.end_headers()
            if self.command == 'GET':
                self.wfile.write(b'music')

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[int]:
    """A port on which a web server listens that belongs to this machine."""
    found = http.server.ThreadingHTTPServer(('127.0.0.1', 0), _Redirecting)
    threading.Thread(target=found.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()
    yield found.server_port
    found.shutdown()
    found.server_close()
    install_options(StoreOptions())


def read(url: str) -> bytes:
    with local_copy(url) as path:
        return Path(path).read_bytes()


def test_names_and_links_that_lead_here_are_caught_when_the_connection_is_made(server: int, monkeypatch):
    resolve = socket.getaddrinfo

    def all_names_are_here(host, *arguments, **options):
        return resolve('127.0.0.1' if host in ('music.example', b'music.example') else host, *arguments, **options)

    monkeypatch.setattr(socket, 'getaddrinfo', all_names_are_here)
    assert not is_private_host('music.example')
    url = f'http://music.example:{server}'
    install_options(StoreOptions(guarded_hosts=frozenset()))
    with pytest.raises(TrackError, match=r'music\.example in a private network'):
        read(f'{url}/song.wav')
    install_options(StoreOptions(guarded_hosts=frozenset({'music.example'})))
    assert read(f'{url}/song.wav') == b'music'
    with pytest.raises(TrackError, match=r'127\.0\.0\.1 in a private network'):
        read(f'{url}/away')
    install_options(StoreOptions())
    assert read(f'{url}/away') == b'music'
