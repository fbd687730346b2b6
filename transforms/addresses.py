"""Addresses of audio: local paths and URLs of fsspec file systems, as text only.

Stands on nothing but the standard library.  The one idea: a local address is an absolute path and is never parsed as a
URL (file names may hold '::', '#' or '%'), everything else is a URL, of which only the path is ever changed, so that
accounts, hosts and the archives behind a chain ('zip://a.wav::s3://bucket/x.zip') stay as the user wrote them.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import unquote

from ..model.errors import UsageError
from ..model.hiding import without_secrets

# What libsndfile or FFmpeg reads; a folder's other files are not taken.
_LOSSLESS = """
    wav wave bwf rf64 w64 aif aiff aifc au snd caf flac ape wv tta tak shn mlp thd truehd dsf dff sd2 sds sf ircam paf
    svx 8svx iff voc avr nist sph wve pvf htk xi
"""
_LOSSY = """
    mp3 mp2 mp1 mpa mpga m4a m4b m4p m4r aac adts loas latm ogg oga ogx opus spx wma ac3 eac3 ec3 dts dtshd mpc mpp mp+
    amr awb 3ga ra oma aa aa3 at3 aax vqf qcp gsm adx hca brstm g722 mka weba
"""
_VIDEO = """
    mp4 m4v mov qt 3gp 3g2 mkv webm avi divx wmv asf flv f4v f4a mpg mpeg mpe vob ts mts m2ts m2t ogv ogm rm rmvb nut
    mxf dv
"""
AUDIO_EXTENSIONS = frozenset(f'.{name}' for name in (_LOSSLESS + _LOSSY + _VIDEO).split())
TEXT_LISTS = frozenset({'.txt', '.lst', '.m3u', '.m3u8'})
TABLES = frozenset({'.csv', '.tsv', '.jsonl', '.ndjson', '.parquet'})

_URL = re.compile(r'((?:[A-Za-z][A-Za-z0-9+.-]*::)*)([A-Za-z][A-Za-z0-9+.-]*)://(.*)', re.DOTALL)
# 'Song No. 5' and 'take 1.5' have no extension, '.3gp' is one.
_EXTENSION = re.compile(r'(?<=.)\.(?=[0-9]*[A-Za-z])[A-Za-z0-9+]{1,7}\Z', re.DOTALL)


class Url(NamedTuple):
    """An fsspec URL, cut where its path is: `before + scheme://path + after`."""

    before: str  # 'simplecache::', mostly ''
    scheme: str
    path: str  # with bucket or host
    after: str  # '::s3://bucket/archive.zip', mostly ''

    def __str__(self) -> str:
        """The URL as it was written."""
        return f'{self.before}{self.scheme}://{self.path}{self.after}'

    @property
    def is_web(self) -> bool:
        """Whether '?' begins a query and '%' an escape in the path."""
        return self.scheme.lower() in ('http', 'https')

    @property
    def clean_path(self) -> str:
        """The path without the query and fragment of a web address."""
        return re.split('[?#]', self.path, maxsplit=1)[0] if self.is_web else self.path


def split_url(text: str) -> Url | None:
    """The URL that `text` is, or None for a local path.

    >>> split_url('zip://a/b.wav::s3://bucket/x.zip')
    Url(before='', scheme='zip', path='a/b.wav', after='::s3://bucket/x.zip')
    >>> split_url('/music/a::b #1.mp3') is None
    True
    """
    match = _URL.match(text)
    if match is None:
        return None
    path, chain, rest = match[3].partition('::')
    return Url(match[1], match[2], path, chain + rest)


def to_uri(text: str, base: str | None = None) -> str:
    """The address that stands for `text` in the run: an absolute local path, or a URL as it was written.

    Args:
      text: a path, a URL, or a `file://` URL (becomes a local path).
      base: folder, absolute path or URL, to which a relative path belongs; None: the working directory.

    Raises:
      UsageError: a `file://` URL that names another host.
    """
    url = split_url(text)
    if url is not None:
        is_local = url.scheme.lower() in ('file', 'local') and not url.before and not url.after
        return os.path.abspath(_path_of_file_url(url)) if is_local else text
    base_url = None if base is None else split_url(base)
    if base_url is None or text.startswith('/'):
        return os.path.abspath(os.path.join(base or '', text))
    parts = base_url.path.split('/') if base_url.path else []
    for part in text.split('/'):
        if part == '..':
            del parts[max(1, len(parts) - 1) :]  # never the bucket or host
        elif part != '.':
            parts.append(part)
    return str(base_url._replace(path='/'.join(parts)))


def folder_of(uri: str) -> str:
    """The folder, path or URL without a trailing slash, that holds `uri`."""
    url = split_url(uri)
    if url is None:
        return os.path.dirname(uri)
    return str(url._replace(path=url.clean_path.rstrip('/').rpartition('/')[0]))


def child_of(folder: str, relative: str) -> str:
    """The address of `relative`, a path with '/' as separator, in a folder that is an absolute path or a URL."""
    url = split_url(folder)
    if url is None:
        return os.path.join(folder, relative)
    path = url.path.removesuffix('/')
    return str(url._replace(path=f'{path}/{relative}' if path else relative))


def name_parts(uri: str) -> list[str]:
    """The folders and the name of a track, for track ids: the parts of the path, the last one without its extension.

    >>> name_parts('s3://bucket/live/Song [Live].mp3')
    ['bucket', 'live', 'Song [Live]']

    Raises:
      UsageError: there is no name ('/', 's3://').
    """
    url = split_url(uri)
    path = (uri if url is None else url.clean_path).rstrip('/')
    parts = path.removeprefix('/').split('/')
    if not parts[-1]:
        raise UsageError(f'{shown(uri)} names no file; name one')
    if url is not None and url.is_web:
        parts = [unquote(part) for part in parts]
    parts[-1] = _EXTENSION.sub('', parts[-1])
    return parts


def extension_of(address: str) -> str:
    """The extension in lower case with its dot, '' for none; of a web address without its query."""
    url = split_url(address)
    return os.path.splitext(address if url is None else url.clean_path)[1].lower()


def shown(text: object) -> str:
    """`text` as it can stand in a one-line message: line breaks and undecodable bytes become backslash escapes, and
    what `without_secrets` hides is hidden.
    """
    safe = without_secrets(str(text))
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode('ascii') for c in safe)


def _path_of_file_url(url: Url) -> str:
    """The local path of a `file://` URL: percent escapes are decoded unless a file has exactly that name."""
    host, slash, path = url.path.partition('/')
    if host not in ('', 'localhost'):
        raise UsageError(f'{shown(url)} names the host {shown(host)}; write file:///path or the path alone')
    return slash + path if os.path.lexists(slash + path) else unquote(slash + path, errors='surrogateescape')
