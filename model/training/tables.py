"""Spleeter's tables of songs (`mix_path,<stem>_path...,duration`) as chunks to train on, for small data sets.

Stands on soundfile and soxr. Every song gives `n_chunks_per_song` chunks of `chunk_duration` seconds, evenly spread as
Spleeter spreads them; a chunk is read from its files when it is needed.
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
from typing import NamedTuple

import numpy as np
import soundfile

from ..configuration import ModelConfig
from ..errors import RunError, UsageError
from ..resampling import match_channels, resample, resampled_length
from .shards import FULL_SCALE, MIXTURE, check_length

MARGIN = 0.5  # seconds at both ends of a song that Spleeter leaves out
VALIDATION_CHUNK = 12.0  # seconds; Spleeter validates on the middle of every song
SUFFIX = '_path'


class Song(NamedTuple):
    """A row of a table: a file of the mixture and of every stem, of one length."""

    files: dict[str, str]
    duration: float  # seconds


class Table(NamedTuple):
    """The chunks of a table. A chunk is (song, start in samples)."""

    path: str
    songs: tuple[Song, ...]
    stems: tuple[str, ...]
    sample_rate: int
    channels: int
    chunk_samples: int
    chunks: tuple[tuple[int, int], ...]
    digest: str  # SHA-256 of the table and of how it is cut


def read_table(path: str, data: str, config: ModelConfig, seconds: float, per_song: int, frames: int) -> Table:
    """Read and check a table.

    Args:
      path: the CSV file.
      data: the folder that its paths are relative to.
      config: whose mix_name and stems must have columns; other <stem>_path columns count as stems too, as their sum
        is the mixture.
      seconds: of a chunk.
      per_song: chunks of a song; one is taken from the middle.
      frames: STFT frames that a chunk must have.

    Raises:
      UsageError: a table, column or file that is missing, a duration that is none, chunks that are too short.
    """
    songs, stems = _read_songs(path, data, config)
    samples = round(seconds * config.sample_rate)
    check_length(f'table {path}', samples, config, frames)
    chunks = tuple(
        (number, round(start * config.sample_rate))
        for number, song in enumerate(songs)
        for start in chunk_starts(song.duration, seconds, per_song)
    )
    with open(path, 'rb') as file:
        digest = hashlib.sha256(file.read())
    digest.update(repr((samples, per_song, config.sample_rate, config.channels, stems)).encode())
    return Table(path, songs, stems, config.sample_rate, config.channels, samples, chunks, digest.hexdigest())


def _read_songs(path: str, data: str, config: ModelConfig) -> tuple[tuple[Song, ...], tuple[str, ...]]:
    try:
        with open(path, encoding='utf-8', newline='') as file:
            reader = csv.DictReader(file)
            columns = tuple(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeError, csv.Error) as error:
        raise UsageError(f'table {path} cannot be read ({error}): check train_csv and validation_csv') from error
    needed = [*(f'{name}{SUFFIX}' for name in (config.mix_name, *config.instruments)), 'duration']
    for column in needed:
        if column not in columns:
            raise UsageError(f'table {path}: the column {column} is missing: it needs {",".join(needed)}')
    if not rows:
        raise UsageError(f'table {path}: no songs: give it at least one row')
    mixture = f'{config.mix_name}{SUFFIX}'
    stems = tuple(column[: -len(SUFFIX)] for column in columns if column.endswith(SUFFIX) and column != mixture)
    songs = []
    for line, row in enumerate(rows, 2):
        try:
            duration = float(row['duration'])
        except (TypeError, ValueError):
            duration = math.nan
        if not 0 < duration < math.inf:
            raise UsageError(f'table {path}, line {line}: duration is {row["duration"]!r}: give seconds')
        files = {MIXTURE: os.path.join(data, row[mixture] or '')}
        files.update({stem: os.path.join(data, row[f'{stem}{SUFFIX}'] or '') for stem in stems})
        for audio in files.values():
            if not os.path.isfile(audio):
                raise UsageError(f'table {path}, line {line}: {audio} is missing: check the table, and --data')
        songs.append(Song(files, duration))
    return tuple(songs), stems


def chunk_starts(duration: float, seconds: float, count: int) -> list[float]:
    """Where the chunks of a song begin, in seconds, as in Spleeter: evenly from margin to margin, or the middle one.

    >>> chunk_starts(61.0, 20.0, 3)
    [0.5, 20.5, 40.5]
    """
    if count == 1:
        return [max(duration / 2 - seconds / 2, 0.0)]
    room = duration - seconds - 2 * MARGIN
    return [max(k * room / (count - 1) + MARGIN, 0.0) for k in range(count)]


def read_part(path: str, start: int, samples: int, sample_rate: int, channels: int) -> np.ndarray:
    """A part of a file as float32 (samples, channels) at a rate, zeros beyond its end.

    Raises:
      RunError: a file that cannot be read.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            whole = rate == sample_rate
            first = start if whole else start * rate // sample_rate
            count = samples if whole else resampled_length(samples, sample_rate, rate)
            file.seek(min(first, file.frames))
            audio = file.read(count, dtype='float32', always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise RunError(f'{path} cannot be read ({error}): take its song out of the table') from error
    result = np.zeros((samples, channels), np.float32)
    if len(audio):
        audio = resample(match_channels(audio, channels), rate, sample_rate)[:samples]
        result[: len(audio)] = audio
    return result


def quantise(audio: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Audio as int16 of full range and the gain that gives it back: audio = int16 / 32767 * gain."""
    gain = np.float32(np.max(np.abs(audio), initial=0.0))
    if gain == 0:
        return np.zeros(audio.shape, np.int16), np.float32(0)
    return np.round(audio / gain * FULL_SCALE).astype(np.int16), gain


def load_chunk(table: Table, chunk: int, offset: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Part of a chunk: the mixture first, then the stems.

    Returns:
      int16 (1 + stems, samples, channels) and the gains, float32 (1 + stems,).
    """
    song, start = table.chunks[chunk]
    files = table.songs[song].files
    parts = [
        quantise(read_part(files[name], start + offset, samples, table.sample_rate, table.channels))
        for name in (MIXTURE, *table.stems)
    ]
    return np.stack([audio for audio, _ in parts]), np.asarray([gain for _, gain in parts], np.float32)
