"""Features in Parquet: the frame table of a track, and the rows of the corpus' table of tracks.

Every field carries its unit and its definition in its metadata, and each table the version of its schema.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..model.features.columns import FEATURES_VERSION, FRAME_FEATURES, TRACK_FEATURES, frame_times
from ..model.features.extractor import StemFeatures

MIXTURE = 'mixture'
LEAST_ROWS = 2048  # of a row group, but for the last one: 48 s; a short stem's own would be mostly metadata


def _field(name: str, kind: pa.DataType, unit: str, definition: str) -> pa.Field:
    return pa.field(name, kind, metadata={'unit': unit, 'definition': definition})


_TRACK = _field('track_id', pa.string(), '', 'The track, as in the manifest.')
_STEM = _field('stem', pa.string(), '', f'Name of the stem, or {MIXTURE!r} for the input.')
_VERSION = {'stembeam_features_version': str(FEATURES_VERSION)}

FRAMES_SCHEMA = pa.schema(
    [
        _TRACK,
        _STEM,
        _field('time', pa.float64(), 's', 'Centre of the frame; librosa.frames_to_time with hop_length 1024.'),
        *(_field(f.name, pa.float32(), f.unit, f.definition) for f in FRAME_FEATURES),
    ],
    metadata=_VERSION,
)
ENERGY_SHARE = 'energy_share'
TRACKS_SCHEMA = pa.schema(
    [
        _TRACK,
        _STEM,
        *(_field(f.name, pa.float64(), f.unit, f.definition) for f in TRACK_FEATURES),
        _field(ENERGY_SHARE, pa.float64(), '1', "Energy over the mixture's energy; null where the mixture is silent."),
    ],
    metadata=_VERSION,
)


class FrameTable:
    """Writes the frame table of one track, stem after stem, to one local Parquet file."""

    def __init__(self, path: str, track_id: str, sample_rate: int) -> None:
        """Opens the file; use as a context manager."""
        self._track_id = printable(track_id)
        self._sample_rate = sample_rate
        self._waiting: list[pa.Table] = []  # for a row group
        self._writer = pq.ParquetWriter(path, FRAMES_SCHEMA, compression='zstd', use_dictionary=['track_id', 'stem'])

    def __enter__(self) -> FrameTable:
        """The table itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the file."""
        try:
            self._write_group()
        finally:
            self._writer.close()

    def add(self, stem: str, features: StemFeatures) -> None:
        """Append the frames of a stem, in row groups of bounded size; those of short stems share one."""
        times = frame_times(features.num_frames, self._sample_rate)
        first = 0
        for block in features.frame_blocks():
            count = len(block)
            columns = [
                pa.array([self._track_id] * count),
                pa.array([stem] * count),
                pa.array(times[first : first + count]),
                *(pa.array(np.ascontiguousarray(column), from_pandas=True) for column in block.T),
            ]
            self._waiting.append(pa.Table.from_arrays(columns, schema=FRAMES_SCHEMA))
            if sum(map(len, self._waiting)) >= LEAST_ROWS:
                self._write_group()
            first += count

    def _write_group(self) -> None:
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            self._writer.write_table(table, row_group_size=len(table))
            self._waiting.clear()


def track_rows(features: dict[str, StemFeatures]) -> dict[str, list[float | None]]:
    """The values of TRACKS_SCHEMA after track and stem, for every stem and the mixture; undefined ones are None."""
    mixture = features[MIXTURE].energy
    rows = {}
    for stem, found in features.items():
        share = found.energy / mixture if mixture > 0 else math.nan
        rows[stem] = [*found.track_row().values(), None if math.isnan(share) else share]
    return rows


def printable(text: str) -> str:
    """Text that Parquet and JSON can hold: undecodable bytes of file names become escapes such as \\udcff."""
    return text.encode('utf-8', 'backslashreplace').decode()


def tracks_table(records: list[dict[str, Any]]) -> pa.Table:
    """The table of track features of some completion records."""
    rows = [
        (printable(record['track_id']), stem, *values)
        for record in records
        for stem, values in (record['features'] or {}).items()
    ]
    columns = list(zip(*rows, strict=True)) or [() for _ in TRACKS_SCHEMA]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, TRACKS_SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=TRACKS_SCHEMA)
