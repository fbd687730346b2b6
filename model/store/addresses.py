"""Addresses of models and mirrors, as text: what is a URL, what is a local path, and how to show one.

Stands on the standard library alone. The one idea: whatever has a scheme is a URL of fsspec (http and https: of
`requests`), everything else is a local path and is never parsed.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit, urlunsplit

# scheme (with what is chained before it), path, and the archive that a chain goes on with ('::s3://bucket/x.zip').
_URL = re.compile(
    r'((?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*)://(.*?)((?:::.*)?)\Z',
    re.DOTALL,
)


def is_url(text: str) -> bool:
    """Whether an address has a scheme; `file:` has one too (see `local_path`)."""
    return _URL.match(text) is not None


def is_web(text: str) -> bool:
    """Whether an address is one for HTTP."""
    return text.lower().startswith(('http://', 'https://'))


def local_path(text: str) -> str | None:
    """The absolute local path that an address stands for, or None for an address elsewhere.

    >>> local_path('file:///models/my%20own'), local_path('s3://bucket/models')
    ('/models/my own', None)
    """
    for scheme in ('file://', 'local://'):
        if text.startswith(scheme):
            path = text.removeprefix(scheme).removeprefix('localhost')
            return os.path.abspath(path if os.path.lexists(path) else unquote(path))
    return None if is_url(text) else os.path.abspath(os.path.expanduser(text))


def child(folder: str, relative: str) -> str:
    """The address of a path (with '/', '.' and '..') from a folder, a local path or a URL.

    >>> child('https://host/models?key=1', '4stems.tar.gz'), child('s3://bucket/a/b', '../c')
    ('https://host/models/4stems.tar.gz?key=1', 's3://bucket/a/c')
    """
    url = _URL.match(folder)
    if url is None:
        return os.path.normpath(os.path.join(folder, relative))
    scheme, path, chain = url.groups()
    path, mark, query = path.partition('?') if is_web(folder) else (path, '', '')
    parts = path.rstrip('/').split('/') if path.rstrip('/') or path.startswith('/') else []
    for part in relative.split('/'):
        if part == '..':
            del parts[max(1, len(parts) - 1) :]  # never the bucket or host
        elif part not in ('', '.'):
            parts.append(part)
    return f'{scheme}://{"/".join(parts)}{mark}{query}{chain}'


def parent(address: str) -> str:
    """The address of the folder that holds an address."""
    return child(address, '..')


def base_name(address: str) -> str:
    """The last part of an address's path."""
    url = _URL.match(address)
    path = address if url is None else url[2]
    return (path.partition('?')[0] if is_web(address) else path).rstrip('/').rpartition('/')[2]


def shown(address: str) -> str:
    """An address as it may stand in a message: without passwords and the keys of signed URLs."""
    if not is_web(address):
        return address
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition('@')[2], parts.path, '', ''))
