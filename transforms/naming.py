"""Where a stem goes in the output folder: track ids as relative paths, and the pattern that places the stems.

Stands on the standard library and numpy.  The one idea: the path of a track is an injective encoding of its id, so two
tracks can meet in one file only through the pattern, and for the usual patterns not even there.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..model.errors import UsageError
from .addresses import shown
from .records import Track

DEFAULT_PATTERN = '{track}/{instrument}.{codec}'


class Layout(NamedTuple):
    """Where stems go in the output folder."""

    folder: str  # with '/' at its end, or '' for the output folder itself
    pattern: str  # of stem files below the folder, unless the user gives one


LAYOUTS = {
    'stembeam': Layout('stems/', DEFAULT_PATTERN),
    'spleeter': Layout('', '{filename}/{instrument}.{codec}'),  # Spleeter's own default
}
FIELDS = ('track', 'instrument', 'codec', 'filename', 'foldername')

MAX_NAME_BYTES = 200  # file systems take 255: there is room for suffixes and temporary names
_DIGEST = 10  # hex digits of the SHA-256 of a name that was cut
# Separators, control characters, lone surrogates, and a '%' that would read as an escape.
_UNSAFE = re.compile(r'[/\x00-\x1f\x7f-\x9f\\\ud800-\udfff]|%(?=[0-9A-Fa-f]{2})')
_PART_OF_ESCAPE = re.compile('%[0-9A-F]?$')
_LOOKS_CUT = re.compile(rf'~[0-9a-f]{{{_DIGEST}}}$')


def track_path(track_id: str) -> str:
    """The relative path, '/' as separator, that stands for a track in the output folder.

    Distinct ids have distinct paths.  Every part is kept as it is where file systems and object stores can hold it;
    what they cannot hold is percent-encoded, and names beyond MAX_NAME_BYTES end in '~' and a digest instead.

    >>> track_path('live/100% [1/2]\\n')
    'live/100% [1/2]%0A'
    """
    return '/'.join(map(_name, track_id.split('/')))


def stem_path(pattern: str, track_id: str, instrument: str, codec: str) -> str:
    """Where the stem of a track goes, relative to the folder of the stems.

    Args:
      pattern: one that check_pattern accepts.  {track} is track_path(track_id), {filename} its last part and
        {foldername} the part before that, '' if there is none (Spleeter's `--filename-format`).
      instrument: the stem.
      codec: extension of its file, without the dot.
    """
    track = track_path(track_id)
    folder, _, filename = track.rpartition('/')
    path = pattern.format(
        track=track,
        filename=filename,
        foldername=folder.rpartition('/')[2],
        instrument=_name(instrument),
        codec=codec,
    )
    return _tidy(path)


def check_pattern(pattern: str) -> None:
    """UsageError if `pattern` has unknown fields, no {instrument}, broken braces, or leaves the output folder."""
    cure = f'use for example {DEFAULT_PATTERN}'
    shown_pattern = f'the filename format {shown(pattern)}'
    try:
        pieces = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise UsageError(f'{shown_pattern}: {error}; {cure}, and double a brace that is part of the name') from error
    fields = [field for _, field, _, _ in pieces if field is not None]
    for _, field, spec, conversion in pieces:
        if field is not None and (field not in FIELDS or spec or conversion):
            known = ', '.join(f'{{{name}}}' for name in FIELDS)
            raise UsageError(f'{shown_pattern} has the unknown field {{{shown(field)}}}; the fields are {known}')
    if 'instrument' not in fields:
        raise UsageError(f'{shown_pattern} has no {{instrument}}, so all stems would be one file; {cure}')
    if pattern.startswith('/'):
        raise UsageError(f'{shown_pattern} is absolute; stems go into the output folder: {cure}')
    if any(_UNSAFE.search(re.sub('[%/]', '', text)) for text, *_ in pieces):
        raise UsageError(f'{shown_pattern} has a backslash or a control character; separate folders with "/"')
    filled = pattern.format(**dict.fromkeys(FIELDS, 'x') | {'foldername': ''})
    if '..' in filled.split('/'):
        raise UsageError(f'{shown_pattern} leaves the output folder with ".."; {cure}')
    if filled.rpartition('/')[2] in ('', '.'):
        raise UsageError(f'{shown_pattern} ends without a file name; {cure}')


def check_distinct(tracks: Sequence[Track], pattern: str, instruments: Sequence[str], codec: str) -> None:
    """UsageError if two stems would have the same path; names both inputs.

    Args:
      tracks: of the run.
      pattern: one that check_pattern accepts.
      instruments: distinct names of the stems.
      codec: extension of their files.

    Memory: eight bytes for each path, or for each track where the pattern cannot mix tracks up.
    """

    def track_paths() -> Iterator[tuple[str, str]]:
        return ((track_path(track.track_id), track.uri) for track in tracks)

    def stem_paths() -> Iterator[tuple[str, str]]:
        pairs = itertools.product(tracks, instruments)
        return ((stem_path(pattern, track.track_id, name, codec), track.uri) for track, name in pairs)

    clash = _first_clash(track_paths if _keeps_tracks_apart(pattern, instruments, codec) else stem_paths)
    if clash is not None:
        path, one, other = clash
        raise UsageError(
            f'{shown(one)} and {shown(other)} would both write {shown(path)}; '
            'use {track} in the filename format, or tell them apart in the track_id column of a table'
        )


def _name(name: str) -> str:
    """One part of a path, injectively: '%20' stands for the empty name, since a space itself is never encoded."""
    if name in ('', '.', '..'):
        return {'': '%20', '.': '%2E', '..': '%2E%2E'}[name]
    encoded = _UNSAFE.sub(_escaped, name)
    data = encoded.encode()
    # A short name that looks like one that was cut gets a digest of its own, or it could be taken for that one.
    if len(data) <= MAX_NAME_BYTES and not (len(data) > MAX_NAME_BYTES - 40 and _LOOKS_CUT.search(encoded)):
        return encoded
    digest = hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:_DIGEST]
    head = data[: MAX_NAME_BYTES - _DIGEST - 1].decode(errors='ignore')  # drops the rest of a character
    return f'{_PART_OF_ESCAPE.sub("", head)}~{digest}'


def _escaped(match: re.Match[str]) -> str:
    # Lone surrogates become three bytes that are no UTF-8, so nothing else has their encoding.
    return ''.join(f'%{byte:02X}' for byte in match[0].encode('utf-8', 'surrogatepass'))


def _tidy(path: str) -> str:
    return '/'.join(part for part in path.split('/') if part not in ('', '.'))


def _keeps_tracks_apart(pattern: str, instruments: Sequence[str], codec: str) -> bool:
    """Whether different tracks have different stem paths whatever their names: sufficient, not necessary.

    With a fixed prefix and suffix around {track}, the path of one instrument gives the track back.  Paths of two
    instruments differ if neither suffix ends in the other, or neither prefix begins with the other.
    """
    fields = [field for _, field, _, _ in string.Formatter().parse(pattern) if field is not None]
    if 'track' not in fields or not set(fields) <= {'track', 'instrument', 'codec'}:
        return False
    mark = '\0'  # in no path
    paths = [_tidy(pattern.format(track=mark, instrument=_name(name), codec=codec)) for name in instruments]
    ends = [(path.partition(mark)[0], path.rpartition(mark)[2]) for path in paths]
    return all(
        not (a.startswith(b) or b.startswith(a)) or not (y.endswith(z) or z.endswith(y))
        for (a, y), (b, z) in itertools.combinations(ends, 2)
    )


def _first_clash(named: Callable[[], Iterable[tuple[str, str]]]) -> tuple[str, str, str] | None:
    """The first path that comes twice, with both of its URIs: found by hashes, confirmed by the paths themselves."""
    hashes = np.fromiter((hash(path) for path, _ in named()), np.int64)
    hashes.sort()
    repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    if not repeated:
        return None
    uris: dict[str, str] = {}
    for path, uri in named():
        if hash(path) in repeated:
            if path in uris:
                return path, uris[path], uri
            uris[path] = uri
    return None
