"""From what the user names - files, folders, globs, URLs, text lists, tables - to the tracks of the run.

Stands on addresses.py (text), folders.py (what is there) and tables_in.py (rows of listing files).  The one idea:
nothing is opened but folders and listings, so an input that is missing or broken costs one row of the failure table
later, while a mistake in the listing itself stops the run here, with one line.

Track ids: a file found in a folder, or by a glob, is named by its path relative to that folder (for a glob: its longest
folder without magic), without extension; a file or row by its `track_id`, else its base name without extension.  Where
ids that were not given collide, parent folders are put in front of them until they are distinct.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, BinaryIO

import fsspec

from ..model.errors import UsageError
from ..model.remote import missing_package
from .addresses import (
    AUDIO_EXTENSIONS,
    TABLES,
    TEXT_LISTS,
    child_of,
    extension_of,
    folder_of,
    name_parts,
    shown,
    split_url,
    to_uri,
)
from .folders import FOLDER, expand_glob, has_magic, kind_of, list_folder, reaching
from .records import Track
from .sources import open_lines
from .tables_in import read_rows
from .trust import check_entry, host_of

LISTINGS = TEXT_LISTS | TABLES
STANDARD_INPUT = '-'
RESOURCE_FORK = '._*'  # what macOS keeps beside the real file on foreign disks; looks like audio by its extension
NO_EXTENSION = '(none)'


@dataclasses.dataclass
class Listing:
    """The tracks of a run, in the order of the inputs, and what was left aside."""

    tracks: list[Track]
    ignored: Counter[str]  # files in folders that are not audio, by extension; see also the constants above
    # Web servers that were named here; None if nothing was named elsewhere, so that web addresses may lead anywhere.
    trusted_hosts: frozenset[str] | None = None


def read_listing(inputs: Sequence[str], exclude: Sequence[str] = (), allow_local: bool = False) -> Listing:
    """Everything that the inputs name, each track once, with distinct track ids.

    Args:
      inputs: files, folders (with all folders below), glob patterns (also '**'), URLs of any fsspec file system (the
        same three kinds), '-' for a text list on standard input, text lists (.txt, .lst, .m3u, .m3u8) and tables with a
        `uri` column (.csv, .tsv, .jsonl, .ndjson, .parquet).  What exists by its very name is never a glob.
      exclude: folders, paths or URLs, that folders and globs do not enter: the output folder.
      allow_local: a listing behind a URL may name local files and private hosts, too; see trust.py.

    Raises:
      UsageError: nothing to do, an input that is missing, a broken listing, a row that a listing from elsewhere may not
        have, or tracks that cannot be told apart.
    """
    if not inputs:
        raise UsageError('no input; name audio files, folders, a glob pattern, a list or a table')
    collected = _Collected([to_uri(folder) for folder in exclude], allow_local)
    for text in inputs:
        collected.add_input(text)
    collected.make_ids_distinct()
    return Listing(collected.tracks, collected.ignored, collected.trusted_hosts())


class _Collected:
    """Tracks while they are collected; `_depths`: how many parts of its path name a track, 0 where the id was given."""

    def __init__(self, exclude: Sequence[str], allow_local: bool) -> None:
        self.tracks: list[Track] = []
        self.ignored: Counter[str] = Counter()
        self._depths = array('I')
        self._exclude = exclude
        self._allow_local = allow_local
        self._is_guarded = False
        self._hosts: set[str] = set()
        self._first_of: dict[str, int] = {}  # uri to index
        self._further_of: dict[str, list[int]] = {}  # for the few that are listed under several given ids

    def add_input(self, text: str) -> None:
        """Adds everything that one input names."""
        if not text:
            raise UsageError('an input is empty; name a file, folder, list or table')
        if text == STANDARD_INPUT:
            self._add_rows('standard input', None, '.txt', sys.stdin.buffer)
            return
        uri = to_uri(text)
        check_file_system(uri)
        self._trust(uri)
        kind = _kind_of_input(uri)
        extension = extension_of(uri)
        if kind == 'folder':
            self._add_files(
                f'the folder {shown(text)}', uri, list_folder(uri, self._exclude), AUDIO_EXTENSIONS, Counter()
            )
        elif kind is None and has_magic(text):
            self._add_glob(text if split_url(text) is None else uri)
        elif kind is None and text.endswith('/'):
            raise UsageError(f'the folder {shown(text)} does not exist; check the path')
        elif extension in LISTINGS:
            self._add_listing(uri)
        elif kind is None and extension not in AUDIO_EXTENSIONS:
            raise UsageError(f'{shown(text)} does not exist; check the path')
        else:
            self._add(uri)

    def trusted_hosts(self) -> frozenset[str] | None:
        """See Listing."""
        return frozenset(self._hosts) if self._is_guarded else None

    def make_ids_distinct(self) -> None:
        """Puts parent folders in front of colliding default ids; UsageError where that does not help."""
        while clashing := _repeated(track.track_id for track in self.tracks):
            moved = False
            for index, track in enumerate(self.tracks):
                if track.track_id in clashing and self._depths[index] > 0:
                    parts = name_parts(track.uri)
                    if self._depths[index] < len(parts):
                        self._depths[index] += 1
                        self.tracks[index] = track._replace(track_id='/'.join(parts[-self._depths[index] :]))
                        moved = True
            if not moved:
                raise self._clash(clashing)

    def _clash(self, clashing: set[str]) -> UsageError:
        track_id = next(track.track_id for track in self.tracks if track.track_id in clashing)
        one, other = [index for index, track in enumerate(self.tracks) if track.track_id == track_id][:2]
        by_id = self._depths[one] == 0 or self._depths[other] == 0
        what = f'the track_id {shown(track_id)}' if by_id else f'the name {shown(track_id.rpartition("/")[2])}'
        return UsageError(
            f'{shown(self.tracks[one].uri)} and {shown(self.tracks[other].uri)} have {what} in common; '
            'tell them apart in the track_id column of a table, or list only one'
        )

    def _add_glob(self, pattern: str) -> None:
        ignored: Counter[str] = Counter()
        root, relatives = expand_glob(pattern, ignored, self._exclude)
        spelled_out = extension_of(pattern)  # '*.txt' takes what '*' would leave aside
        if spelled_out not in LISTINGS:
            wanted = AUDIO_EXTENSIONS | {spelled_out}
            self._add_files(f'the pattern {shown(pattern)}', root, relatives, wanted, ignored)
            return
        found = sorted(relatives)
        for relative in found:
            self._add_listing(child_of(root, relative))
        if not found:
            raise UsageError(f'nothing matches {shown(pattern)}; check the pattern')

    def _add_files(
        self, what: str, root: str, relatives: Iterable[str], extensions: AbstractSet[str], ignored: Counter[str]
    ) -> None:
        """Adds the files of a folder or glob that have one of these extensions, and counts the others."""
        taken = []
        for relative in relatives:
            name = relative.rpartition('/')[2]
            extension = os.path.splitext(name)[1].lower()
            if name.startswith('._'):
                ignored[RESOURCE_FORK] += 1
            elif extension and extension in extensions:
                taken.append(relative)
            else:
                ignored[extension or NO_EXTENSION] += 1
        if not taken:
            found = ', '.join(f'{count} {shown(kind)}' for kind, count in ignored.most_common(5)) or 'nothing'
            others = f' and {len(ignored) - 5} other kinds' if len(ignored) > 5 else ''
            cure = (
                'use "**" to go into folders' if FOLDER in ignored else 'check the path, or name the files themselves'
            )
            raise UsageError(f'no audio in {what} (found {found}{others}); {cure}')
        self.ignored.update(ignored)
        taken.sort()
        for relative in taken:
            self._add(child_of(root, relative), depth=relative.count('/') + 1)

    def _add_listing(self, uri: str) -> None:
        elsewhere = uri if split_url(uri) is not None and not self._allow_local else None
        self._is_guarded |= elsewhere is not None
        with reaching(uri), open_lines(uri) as file:
            self._add_rows(shown(uri), folder_of(uri), extension_of(uri), file, elsewhere)

    def _trust(self, uri: str) -> None:
        host = host_of(uri)
        if host is not None:
            self._hosts.add(host)

    def _add_rows(
        self, name: str, base: str | None, extension: str, file: BinaryIO, elsewhere: str | None = None
    ) -> None:
        """Adds the tracks of a listing; relative paths in it belong to the folder `base`.

        `elsewhere`: the URL of a listing whose rows are not to be trusted.
        """
        row = None
        for row in read_rows(name, extension, file):
            try:
                uri = to_uri(row.uri, base)
                if elsewhere is not None:
                    check_entry(uri, elsewhere)
                else:
                    self._trust(uri)
                check_file_system(uri)
                self._add(uri, 1, row.track_id, row.metadata)
            except UsageError as error:
                raise UsageError(f'{name}, {row.where}: {error}') from error
        if row is None:
            raise UsageError(f'{name} lists no tracks; add at least one')

    def _add(
        self, uri: str, depth: int = 1, track_id: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Adds one track, or joins it with what is known of the same URI under the same, or a default, id."""
        known = self._first_of.get(uri)
        same = [] if known is None else [known, *self._further_of.get(uri, ())]
        for index in same:
            track = self.tracks[index]
            if track_id is None or (self._depths[index] == 0 and track.track_id == track_id):
                self.tracks[index] = track._replace(metadata=_joined(track, metadata or {}))
                return
            if self._depths[index] > 0:
                self.tracks[index] = Track(track_id, uri, _joined(track, metadata or {}))
                self._depths[index] = 0
                return
        if known is None:
            self._first_of[uri] = len(self.tracks)
        else:
            self._further_of.setdefault(uri, []).append(len(self.tracks))
        name = '/'.join(name_parts(uri)[-depth:]) if track_id is None else track_id
        self.tracks.append(Track(name, uri, metadata or {}))
        self._depths.append(depth if track_id is None else 0)


def check_file_system(uri: str) -> None:
    """UsageError if no installed package reads a URL of this kind; asks no network."""
    url = split_url(uri)
    if url is not None:
        links = [*url.before.split('::')[:-1], url.scheme, *url.after.split('::')[1:]]
        schemes = tuple(link.partition('://')[0] for link in links if '://' in link or link.isalnum())
        try:
            for scheme in schemes:
                _file_system(scheme)
        except ImportError as error:
            raise UsageError(f'cannot read {shown(uri)}: {shown(missing_package(uri, error))}') from error
        except ValueError as error:
            raise UsageError(f'cannot read {shown(uri)}: {shown(error)}') from error


@functools.lru_cache
def _file_system(scheme: str) -> None:
    fsspec.get_filesystem_class(scheme)


def _kind_of_input(uri: str) -> str | None:
    """kind_of, but a URL with the extension of a file is believed: a thousand of them need no thousand requests."""
    if split_url(uri) is not None and not has_magic(uri) and extension_of(uri) in AUDIO_EXTENSIONS | LISTINGS:
        return 'file'
    return kind_of(uri)


def _repeated(names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    repeated: set[str] = set()
    for name in names:
        (repeated if name in seen else seen).add(name)
    return repeated


def _joined(track: Track, metadata: dict[str, Any]) -> dict[str, Any]:
    """The metadata of a track that is listed twice; one of the two may say nothing, but they may not disagree."""
    if track.metadata and metadata and track.metadata != metadata:
        raise UsageError(f'{shown(track.uri)} is listed twice with different columns; keep one row')
    return track.metadata or metadata
