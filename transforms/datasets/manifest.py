"""Spleeter's manifest of a data set: a CSV table with the columns `mix_path`, `<stem>_path` for each stem, `duration`.

Stands on csv. The one idea to know: paths belong to a data folder, by default the one of the manifest, and the name of
a track is the path of its mixture below it.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence

from ...model.errors import UsageError
from ..addresses import folder_of, name_parts, shown, split_url, to_uri
from ..folders import reaching
from ..sources import open_lines
from ..trust import check_entry
from .tracks import DatasetTrack, StemSource

MIX_COLUMN, PATH = 'mix_path', '_path'


def read_manifest(uri: str, data: str | None, subsets: Sequence[str], allow_local: bool = False) -> list[DatasetTrack]:
    """The tracks of a manifest, in its order. An empty cell means that the track has no such stem.

    Args:
      uri: of the manifest, absolute path or fsspec URL.
      data: folder to which relative paths belong; None for the manifest's own.
      subsets: names of folders that divide a data set, where a relative path begins with one.
      allow_local: a manifest behind a URL may name local files and private hosts, too; see trust.py. What it names
        below `data` it may name anyway.

    Raises:
      UsageError: a manifest that is no table, lacks a column or a path, or names what it may not; names row and column.
    """
    name = shown(uri)
    with reaching(uri), open_lines(uri) as file:
        content = file.read()
    try:
        reader = csv.DictReader(io.StringIO(content.decode('utf-8-sig'), newline=''), strict=True)
        columns = [column.strip() for column in reader.fieldnames or ()]
        reader.fieldnames = columns
        _check_columns(name, columns)
        rows = list(reader)
    except UnicodeDecodeError as error:
        raise UsageError(f'{name}: not UTF-8 text; save the manifest as UTF-8') from error
    except csv.Error as error:
        raise UsageError(f'{name}: {error}; check its quotation marks') from error
    if not rows:
        raise UsageError(f'{name} lists no tracks; add at least one row')
    base = folder_of(uri) if data is None else to_uri(data)
    tracks = [_track(f'{name}, row {number}', row, columns, base) for number, row in enumerate(rows, 1)]
    if split_url(uri) is not None and not allow_local:
        for number, track in enumerate(tracks, 1):
            _check_places(f'{name}, row {number}', track, uri, None if data is None else base)
    return _named(tracks, [row[MIX_COLUMN].strip() for row in rows], subsets)


def _check_columns(name: str, columns: Sequence[str]) -> None:
    there = ', '.join(map(shown, columns)) or 'none'
    if MIX_COLUMN not in columns:
        raise UsageError(f'{name} has no column {MIX_COLUMN} (its columns: {there}); name it in the first line')
    if not any(column.endswith(PATH) for column in columns if column != MIX_COLUMN):
        raise UsageError(f'{name} has no column for a stem (its columns: {there}); add one such as vocals{PATH}')
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise UsageError(f'{name}: the column {shown(twice)} is there twice; rename one of the two')


def _track(where: str, row: dict[str, str], columns: Sequence[str], base: str) -> DatasetTrack:
    """The track of one row, without its name."""
    if None in row or None in row.values():
        raise UsageError(f'{where}: not as many values as columns ({len(columns)}); quote paths that hold a comma')
    if not row[MIX_COLUMN].strip():
        raise UsageError(f'{where}: {MIX_COLUMN} is empty; fill it in or remove the row')
    paths = {column: row[column].strip() for column in columns if column.endswith(PATH) and row[column].strip()}
    sources = {column: StemSource(to_uri(path, base)) for column, path in paths.items()}
    mixture = sources.pop(MIX_COLUMN)
    stems = {column.removesuffix(PATH).lower(): source for column, source in sources.items()}
    return DatasetTrack('', '', mixture, stems, {column: row[column] for column in columns if column not in paths})


def _check_places(where: str, track: DatasetTrack, manifest: str, data: str | None) -> None:
    """UsageError if the track of a manifest from elsewhere leads where only this machine or network gets to."""
    for source in filter(None, (track.mixture, *track.stems.values())):
        if data is None or not source.uri.startswith(f'{data.rstrip("/")}/'):
            try:
                check_entry(source.uri, manifest)
            except UsageError as error:
                raise UsageError(f'{where}: {error}') from error


def _named(tracks: Sequence[DatasetTrack], paths: Sequence[str], subsets: Sequence[str]) -> list[DatasetTrack]:
    """Tracks with name and subset by the paths of their mixtures; what all absolute paths begin with is left out."""
    is_relative = [split_url(path) is None and not path.startswith('/') for path in paths]
    parts = [name_parts(os.path.normpath(p) if r else p) for p, r in zip(paths, is_relative, strict=True)]
    # A file that is called mixture is named by its folder.
    parts = [part[:-1] if part[-1].lower() in ('mixture', 'mix') and len(part) > 1 else part for part in parts]
    absolute = [part for part, relative in zip(parts, is_relative, strict=True) if not relative]
    common = _common_parts([part[:-1] for part in absolute])
    named = []
    for track, part, relative in zip(tracks, parts, is_relative, strict=True):
        subset = part[0] if relative and len(part) > 1 and part[0] in subsets else ''
        below = part[1:] if subset else part if relative else part[common:]
        named.append(track._replace(name='/'.join(below), subset=subset))
    return named


def _common_parts(paths: Sequence[Sequence[str]]) -> int:
    """How many parts all paths have in common at their beginning."""
    same = [len(set(column)) == 1 for column in zip(*paths)]  # noqa: B905  # as far as the shortest goes
    return same.index(False) if False in same else len(same)
