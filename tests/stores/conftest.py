"""Object stores on loopback: moto for S3, gcp-storage-emulator for Google's, each behind a proxy that can break things.

The stores are processes or threads of the test session; every test has buckets of its own.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import pytest

from stembeam.model import remote
from stembeam.model.remote import Retries, StoreOptions, install_options

from .faulty_proxy import Proxy, start_proxy
from .servers import GS_SERVER, S3_SERVER, start_server, stop_server

os.environ.setdefault('GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT', 'false')  # asks another service, which emulators lack


class Store(NamedTuple):
    """A bucket behind a proxy."""

    protocol: str
    root: str  # 's3://bucket'
    proxy: Proxy
    options: dict[str, dict[str, Any]]  # for --storage-options

    def write_options(self, path: Path, **more: Any) -> str:
        path.write_text(json.dumps({name: {**values, **more} for name, values in self.options.items()}))
        return str(path)

    def fs(self) -> Any:
        """The file system itself, past the proxy's counting only in name."""
        return remote.open_filesystem(self.root)[0]

    def put(self, path: str, content: bytes) -> str:
        self.fs().pipe_file(f'{self.root}/{path}', content)
        return f'{self.root}/{path}'

    def find(self) -> dict[str, int]:
        """Every file below the root with its size."""
        prefix = len(self.root.partition('://')[2]) + 1
        found = self.fs().find(self.root, detail=True)
        return {path[prefix:]: about['size'] for path, about in found.items()}

    def get(self, path: str) -> bytes:
        return self.fs().cat_file(f'{self.root}/{path}')


@pytest.fixture(scope='session')
def s3_url() -> Iterator[str]:
    pytest.importorskip('moto')
    pytest.importorskip('s3fs')
    process, url = start_server(S3_SERVER)
    yield url
    stop_server(process)


@pytest.fixture(scope='session')
def gs_url() -> Iterator[str]:
    pytest.importorskip('gcp_storage_emulator')
    pytest.importorskip('gcsfs')
    process, url = start_server(GS_SERVER)
    yield url
    stop_server(process)


@pytest.fixture
def clean_configuration(clean_configuration: None) -> Iterator[None]:
    """And the connections that were made with it."""
    yield
    for name in ('s3', 'gs'):
        try:
            fsspec.get_filesystem_class(name).clear_instance_cache()
        except ImportError:
            continue


HASTE = Retries(attempts=5, seconds=60, pause=0.02, longest=0.1)


def _make_store(protocol: str, target: str) -> Iterator[Store]:
    proxy, server = start_proxy(target)
    bucket = f'b-{uuid.uuid4().hex[:12]}'
    if protocol == 's3':
        options = {'endpoint_url': proxy.url, 'key': 'k', 'secret': 'very secret'}
    else:
        options = {'endpoint_url': proxy.url, 'token': 'anon', 'project': 'test'}
    store = Store(protocol, f'{protocol}://{bucket}', proxy, {protocol: options})
    install_options(StoreOptions(store.options, HASTE))
    store.fs().mkdir(bucket)
    proxy.seen.clear()
    yield store
    server.shutdown()
    server.server_close()


@pytest.fixture
def s3(s3_url: str, clean_configuration: None) -> Iterator[Store]:
    yield from _make_store('s3', s3_url)


@pytest.fixture
def gs(gs_url: str, clean_configuration: None) -> Iterator[Store]:
    yield from _make_store('gs', gs_url)


@pytest.fixture(params=['s3', 'gs'])
def store(request: pytest.FixtureRequest) -> Store:
    """Each of the two."""
    return request.getfixturevalue(request.param)
