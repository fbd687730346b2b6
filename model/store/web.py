"""Files over HTTP with `requests`, which knows proxies, redirects and certificates.

The one idea: a request asks for what is missing only, and every answer that is not exactly that starts the file again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from .attempts import Broken, Patience, Refused, cause
from .display import Display
from .sinks import Sink, take

BLOCK = 1 << 16  # bytes read at a time: what a kill can lose
PASSING = (408, 425, 429)  # statuses, besides those from 500 up, that another attempt may mend
PARTIAL, UNSATISFIABLE = 206, 416


def http_piece(url: str, sink: Sink, most: int, patience: Patience, display: Display) -> None:
    """One request, for what is missing."""
    have = sink.size()
    with http_get(url, patience, {'Range': f'bytes={have}-'} if have else {}) as response:
        status = response.status_code
        if status == UNSATISFIABLE and have:
            sink.restart()
            raise Broken('what was fetched before does not fit the file there')
        check_status(response)
        length = response.headers.get('Content-Length', '')
        total = int(length) if length.isdigit() else None
        if status == PARTIAL:
            begin, _, whole = response.headers.get('Content-Range', '').removeprefix('bytes ').partition('/')
            if begin.partition('-')[0] != str(have):
                sink.restart()
                raise Broken('the answer begins at another place than was asked for')
            total = int(whole) if whole.isdigit() else None
        elif have:
            sink.restart()  # a host that does not know ranges begins again
        for data in _http_blocks(response):
            take(sink, data, total, most, display)
    if total is not None and sink.size() < total:
        raise Broken(f'the connection was closed after {sink.size() / 1e6:.1f} of {total / 1e6:.1f} MB')


def _http_blocks(response: Any) -> Iterator[bytes]:
    """The bytes as they were sent: `requests` itself would unpack a .gz that a host declares as an encoding."""
    import urllib3

    try:
        while data := response.raw.read(BLOCK, decode_content=False):
            yield data
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Broken(f'the connection broke ({cause(error)})') from error


@contextlib.contextmanager
def http_get(url: str, patience: Patience, headers: dict[str, str]) -> Iterator[Any]:
    """The response to a GET, its body unread. Raises Broken, Refused."""
    import requests

    try:
        response = requests.get(
            url,
            headers={'Accept-Encoding': 'identity', 'User-Agent': 'stembeam', **headers},
            stream=True,
            timeout=(patience.connect, patience.read),
        )
    except requests.exceptions.SSLError as error:
        raise Refused(f'no trusted connection ({cause(error)}): REQUESTS_CA_BUNDLE names certificates') from error
    except requests.exceptions.ReadTimeout as error:
        raise Broken(f'no answer within {patience.read:.0f} s') from error
    except requests.exceptions.ConnectionError as error:
        raise Broken(f'no connection ({cause(error)})', answered=not _is_unreachable(error)) from error
    except (requests.exceptions.RequestException, ValueError) as error:
        raise Refused(cause(error)) from error
    with response:
        yield response


def check_status(response: Any) -> None:
    """Raise Broken or Refused unless a response is a file."""
    status = response.status_code
    if status in (200, PARTIAL):
        return
    reason = f'HTTP {status} {response.reason or ""}'.rstrip()
    if status in PASSING or status >= 500:
        wanted = response.headers.get('Retry-After', '')
        raise Broken(reason, pause=float(wanted) if wanted.isdigit() else 0.0)
    raise Refused(reason, missing=status in (404, 410))


def _is_unreachable(error: BaseException) -> bool:
    """Whether not even a connection came about: no name, no route, nobody listening, or a proxy that refuses."""
    import requests
    import urllib3

    reason = getattr(error.args[0] if error.args else None, 'reason', None)
    unreachable = urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError
    return isinstance(error, requests.exceptions.ProxyError) or isinstance(reason, unreachable)
