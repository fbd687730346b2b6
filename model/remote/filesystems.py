"""Opening the fsspec file system of a URL, with the drivers' own ways of trying again turned off.

The one idea: s3fs tries five times what botocore has tried five times, and gcsfs six times; on top of retrying.py one
request to a store in trouble would become hundreds. A driver that cannot be silenced still works, only longer.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from .options import guarded_hosts

# Protocol -> the extra of this package that brings its driver.
EXTRAS = {'gs': 'gcp', 'gcs': 'gcp', 's3': 's3', 's3a': 's3'}
_S3, _GS, _WEB = ('s3', 's3a'), ('gs', 'gcs'), ('http', 'https')
CONNECT_SECONDS, READ_SECONDS = 20, 60  # until a connection stands, and without a byte


def protocols_of(url: str) -> list[str]:
    """The protocols of a URL and of what is chained to it, as it names them.

    >>> protocols_of('zip://a.wav::s3://bucket/x.zip')
    ['zip', 's3']
    """
    links = (re.match(r'([A-Za-z][A-Za-z0-9+.-]*)(?:://|\Z)', link) for link in url.split('::'))
    return [link[1] for link in links if link is not None]


def open_filesystem(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
      ImportError: its driver is not installed; the text names the package (see `missing_package`).
      ValueError: an unknown protocol.
    """
    import fsspec

    try:
        protocols = protocols_of(url)
        # Behind an archive or a cache nobody but the driver itself can try again.
        arguments = {protocol: _arguments(protocol, is_alone=len(protocols) == 1) for protocol in protocols}
        fs, path = fsspec.core.url_to_fs(url, **{name: values for name, values in arguments.items() if values})
    except ImportError as error:
        raise ImportError(missing_package(url, error)) from error
    _silence(fs)
    return fs, path


def missing_package(url: str, error: ImportError) -> str:
    """What to install for a URL, in one line."""
    extra = next((EXTRAS[name] for name in protocols_of(url) if name in EXTRAS), None)
    what = 'it needs a package that is not installed: '
    return f"{what}pip install 'stembeam[{extra}]'" if extra else f'{what}{error}'


def _arguments(protocol: str, is_alone: bool) -> dict[str, Any]:
    """What we add to the configured arguments of a file system."""
    if protocol not in (*_S3, *_GS, *_WEB):
        return {}
    import fsspec

    configured: dict[str, Any] = {}
    for name in next(names for names in (_S3, _GS, _WEB) if protocol in names):
        configured.update(fsspec.config.conf.get(name, {}))
    if protocol in _WEB:
        return _web_arguments(configured)
    # Directories are not remembered: others write there too, and a million entries are a gigabyte.
    arguments: dict[str, Any] = {} if 'use_listings_cache' in configured else {'use_listings_cache': False}
    if protocol in _S3:
        botocore = copy.deepcopy(configured.get('config_kwargs', {}))
        botocore.setdefault('connect_timeout', CONNECT_SECONDS)
        botocore.setdefault('read_timeout', READ_SECONDS)
        if is_alone:
            botocore.setdefault('retries', {'total_max_attempts': 1})
        arguments['config_kwargs'] = botocore
    elif 'requests_timeout' not in configured:
        import aiohttp

        arguments['requests_timeout'] = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS
        )
    return arguments


def _web_arguments(configured: dict[str, Any]) -> dict[str, Any]:
    hosts = guarded_hosts()
    if hosts is None or 'get_client' in configured:
        return {}
    from .webguard import GuardedClient

    return {'get_client': GuardedClient(hosts)}


def _silence(fs: Any) -> None:
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    if protocol in _S3:
        fs.retries = 1
    elif protocol in _GS and not hasattr(vars(fs).get('_request'), '_is_silent'):
        _silence_gcsfs(fs)


def _silence_gcsfs(fs: Any) -> None:
    """gcsfs has its number of tries in a decorator of the method through which all requests go."""
    undecorated = getattr(type(fs)._request, '__wrapped__', None)
    if undecorated is not None:

        async def request(*arguments: Any, **options: Any) -> Any:
            return await undecorated(fs, *arguments, **options)

        request._is_silent = True  # type: ignore[attr-defined]
        fs._request = request
