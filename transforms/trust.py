"""What a listing from elsewhere may name: files of object stores and public web servers, nothing of this network.

Stands on addresses.py and model/remote/hosts.py. The one idea: whoever writes a listing that is read from a URL is not
the one who runs it, so its rows lead neither to files of the machines that read them nor to addresses that only these
can reach (server-side request forgery). Links and names behind which such an address hides are caught again when the
connection is made: see model/remote/webguard.py.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..model.errors import UsageError
from ..model.remote import is_private_host
from .addresses import Url, shown, split_url

# Stores that everybody reaches by the same name.
STORES = frozenset(
    {'s3', 's3a', 'gs', 'gcs', 'abfs', 'abfss', 'az', 'adl', 'oci', 'oss', 'tos', 'hf', 'dropbox', 'gdrive', 'box'}
)
WEB = frozenset({'http', 'https'})
# What may stand in front of such an address: archives and caches.
WRAPPERS = frozenset({'zip', 'tar', 'libarchive', 'simplecache', 'filecache', 'blockcache'})
CURE = 'take the row out, or trust the listing with --allow-local-inputs'

_PLAIN = re.compile(r'[^\s\\@#?\x00-\x1f\x7f]+')  # a server, as every program reads it


def host_of(uri: str) -> str | None:
    """The host of a web address, in lower case; None for anything else."""
    for link in uri.split('::'):
        url = split_url(link)
        if url is not None and url.is_web:
            try:
                return urlsplit(str(url)).hostname or ''
            except ValueError:  # broken brackets
                return ''
    return None


def check_entry(uri: str, listing: str) -> None:
    """Whether a listing from elsewhere may name this.

    Args:
      uri: the track, as it will be opened.
      listing: the URL that the listing was read from; its own server or bucket may be named whatever it is.

    Raises:
      UsageError: it leads, or might lead, to a file or an address that only the machines of the run can reach.
    """
    links = uri.split('::')
    if split_url(uri) is None or split_url(links[-1]) is None:
        raise UsageError(f'{shown(uri)} is a file of the machine that reads it; {CURE}')
    if _place(uri) == _place(listing):
        return
    for number, link in enumerate(links, 1):
        url = split_url(link)
        scheme = link.lower() if url is None else url.scheme.lower()
        if scheme not in (STORES | WEB if number == len(links) else STORES | WEB | WRAPPERS):
            raise UsageError(f'{shown(uri)}: a listing from elsewhere names no addresses of {shown(scheme)}; {CURE}')
        if url is not None and url.is_web:
            _check_web(url, uri)


def _check_web(url: Url, uri: str) -> None:
    host = host_of(str(url))
    server = url.clean_path.partition('/')[0].rpartition('@')[2]
    if _PLAIN.fullmatch(server) is None or not host or is_private_host(host):
        raise UsageError(f'{shown(uri)} leads to {shown(host or "no host")} in a private network; {CURE}')


def _place(uri: str) -> tuple[str, str] | None:
    """Scheme and server, or bucket, of a URL without a chain; a user's name in it makes it another place."""
    url = split_url(uri)
    if url is None or url.before or url.after:
        return None
    place = url.path.partition('/')[0]
    return (url.scheme.lower(), place.lower()) if _PLAIN.fullmatch(place) else None
