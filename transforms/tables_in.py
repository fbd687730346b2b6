"""Rows of a listing file: text lists, and CSV, TSV, JSON Lines and Parquet tables with a `uri` column.

Stands on csv, json and pyarrow.  The one idea: every format becomes a stream of `Row`, and whatever is wrong is one
UsageError that names the file, the line or row, and the cure; nothing is guessed, skipped or repaired.  Columns of a
CSV table are numbers where all their values are.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import math
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ..model.errors import UsageError
from .addresses import shown

_BOM = b'\xef\xbb\xbf'
_PARQUET_BATCH = 4096  # rows in memory at a time


class Row(NamedTuple):
    """One entry of a listing."""

    where: str  # 'line 3', 'row 3': for messages
    uri: str  # as written: path, relative path or URL; never empty
    track_id: str | None
    metadata: dict[str, Any]  # further columns; values are what JSON can hold, None for missing


def read_rows(name: str, extension: str, file: BinaryIO) -> Iterator[Row]:
    """The rows of a listing.

    Args:
      name: of the listing, for messages.
      extension: which format it has: one of addresses.TEXT_LISTS or addresses.TABLES.
      file: binary; for '.parquet' seekable.

    Raises:
      UsageError: broken or undecodable content, no `uri` column, a column twice, a row without uri, a wrong type.
    """
    if extension == '.parquet':
        return _parquet_rows(name, file)
    lines = _decoded(name, file)
    if extension in ('.csv', '.tsv'):
        return _csv_rows(name, lines, ',' if extension == '.csv' else '\t')
    if extension in ('.jsonl', '.ndjson'):
        return _json_rows(name, lines)
    return _text_rows(lines, comments=extension in ('.m3u', '.m3u8'))


def _decoded(name: str, file: BinaryIO) -> Iterator[str]:
    """Lines with their ends, cut at line feeds only: file names may hold every other kind of line break."""
    for number, line in enumerate(file, 1):
        try:
            yield (line.removeprefix(_BOM) if number == 1 else line).decode('utf-8')
        except UnicodeDecodeError as error:
            raise UsageError(f'{name}, line {number}: not UTF-8 text; save the listing as UTF-8') from error


def _text_rows(lines: Iterable[str], comments: bool) -> Iterator[Row]:
    for number, line in enumerate(lines, 1):
        entry = line.removesuffix('\n').removesuffix('\r')
        if entry.strip() and not (comments and entry.startswith('#')):
            yield Row(f'line {number}', entry, None, {})


def _csv_rows(name: str, lines: Iterable[str], delimiter: str) -> Iterator[Row]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next((cells for cells in reader if cells), None)
        if header is None:
            raise UsageError(f'{name} is empty; its first line must name the columns, one of them uri')
        # pandas writes its index under an empty name.
        columns = [cell.strip() or f'column_{index}' for index, cell in enumerate(header, 1)]
        _check_columns(name, columns)
        rows = []
        for number, cells in enumerate(filter(None, reader), 1):
            where = f'row {number} (line {reader.line_num})'
            if len(cells) > len(columns):
                raise UsageError(f'{name}, {where}: {len(cells)} values for {len(columns)} columns; quote the values')
            values = dict.fromkeys(columns) | {
                column: cell or None for column, cell in zip(columns, cells, strict=False)
            }
            rows.append(_row(name, where, values))
    except csv.Error as error:
        raise UsageError(f'{name}, line {reader.line_num}: {error}; check the quotation marks') from error
    for column in rows[0].metadata if rows else ():
        numbers = [_number(row.metadata[column]) for row in rows]
        if all(row.metadata[column] is None or found is not None for row, found in zip(rows, numbers, strict=True)):
            for row, found in zip(rows, numbers, strict=True):
                row.metadata[column] = found
    yield from rows


def _number(cell: str | None) -> int | float | None:
    """A cell as a number, if that number is written just so and nothing is lost: '007', '1.50' and '1e3' stay text."""
    for kind in (int, float):
        try:
            value = kind(cell or '')
        except ValueError:
            continue
        if str(value) == cell and abs(value) < 2**63:
            return value
    return None


def _json_rows(name: str, lines: Iterable[str]) -> Iterator[Row]:
    decoder = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_json_constant, parse_float=_json_float)
    for number, line in enumerate(lines, 1):
        where = f'line {number}'
        if not line.strip():
            continue
        try:
            values = decoder.decode(line.strip())
        except (ValueError, RecursionError) as error:
            reason = f'{error.msg}, column {error.colno}' if isinstance(error, json.JSONDecodeError) else shown(error)
            raise UsageError(
                f'{name}, {where}: not valid JSON ({reason}); write one object per line with the key "uri"'
            ) from error
        if not isinstance(values, dict):
            raise UsageError(f'{name}, {where}: not a JSON object; write one object per line with the key "uri"')
        if 'uri' not in values:
            raise UsageError(f'{name}, {where}: no "uri" among the keys ({_names(values)}); add it')
        yield _row(name, where, values)


def _parquet_rows(name: str, file: BinaryIO) -> Iterator[Row]:
    try:
        table = pq.ParquetFile(file)
        columns = table.schema_arrow.names
        _check_columns(name, columns)
        _check_no_bytes(name, table.schema)
        number = 0
        for batch in table.iter_batches(_PARQUET_BATCH):
            for cells in zip(*(_cells(column) for column in batch.columns), strict=True):
                number += 1
                where = f'row {number}'
                values = {
                    column: _json_value(name, where, column, cell) for column, cell in zip(columns, cells, strict=True)
                }
                yield _row(name, where, values)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f'{name} cannot be read as Parquet ({shown(error)}); write it again') from error


def _row(name: str, where: str, values: dict[str, Any]) -> Row:
    uri, track_id = values.pop('uri'), values.pop('track_id', None)
    if uri is None or (isinstance(uri, str) and not uri.strip()):
        raise UsageError(f'{name}, {where}: the uri is empty; fill it in or remove the row')
    if not isinstance(uri, str):
        raise UsageError(f'{name}, {where}: the uri is {shown(repr(uri))}, not text; write a path or URL')
    if isinstance(track_id, bool) or not isinstance(track_id, (str, int, type(None))):
        raise UsageError(
            f'{name}, {where}: the track_id is {shown(repr(track_id))}; it must be text, a whole number or missing'
        )
    return Row(where, uri, None if track_id in (None, '') else str(track_id), values)


def _check_columns(name: str, columns: Sequence[str]) -> None:
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise UsageError(f'{name}: the column {shown(twice)} is there twice; rename one of the two')
    if 'uri' not in columns:
        raise UsageError(f'{name} has no column uri (its columns: {_names(columns)}); rename the one with the paths')


def _check_no_bytes(name: str, schema: pq.ParquetSchema) -> None:
    """Binary columns (audio kept inside the table) are refused before they are read: they may be huge."""
    for index in range(len(schema)):
        leaf = schema.column(index)
        if leaf.physical_type.endswith('BYTE_ARRAY') and leaf.logical_type.type == 'NONE':
            raise UsageError(f'{name}: the column {shown(leaf.path)} holds bytes; write the table without it')


def _names(names: Iterable[str]) -> str:
    return ', '.join(map(shown, names)) or 'none'


def _cells(column: pa.Array) -> list[Any]:
    """Values of one column of a batch; nanoseconds, which Python's datetime cannot hold, are cut to microseconds."""
    if pa.types.is_timestamp(column.type) and column.type.unit == 'ns':
        column = column.cast(pa.timestamp('us', column.type.tz), safe=False)
    cells: list[Any] = column.to_pylist()
    return cells


def _json_value(name: str, where: str, column: str, value: Any) -> Any:
    """A Parquet value as JSON can hold it: dates as ISO 8601 text, durations in seconds, NaN as None."""
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, decimal.Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, (int, float)) and not math.isinf(value):
        return None if math.isnan(value) else value
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_json_value(name, where, column, item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(name, where, column, item) for key, item in value.items()}
    raise UsageError(
        f'{name}, {where}: {shown(column)} is {shown(repr(value))}, which JSON cannot hold; change or remove it'
    )


def _json_constant(text: str) -> None:
    if text != 'NaN':
        raise ValueError(f'{text} is no JSON number')


def _json_float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f'{text} is beyond what a number can hold')
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f'the key {next(name for name in names if names.count(name) > 1)} is there twice')
    return values
