"""The index of a folder of training shards: what is in it, read and checked without TensorFlow.

It is made by `stembeam prepare` (or from a table, see `table_cache`): `index.json` and TFRecord files, one record
per chunk. A record is a tf.train.Example: `track` (bytes), `start`, `samples`, `channels` (int64), for every stem
`audio/<stem>` (bytes: int16, little-endian, (samples, channels)) and `gain/<stem>` (float: value = int16 / 32767 *
gain), and perhaps the same for `mixture`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..configuration import ModelConfig
from ..errors import UsageError
from .remote_shards import is_remote, read_remote

INDEX = 'index.json'
TRAIN, VALIDATION = 'train', 'validation'
FORMAT_VERSION = 1
MIXTURE = 'mixture'
FULL_SCALE = 32767  # of the 16-bit samples


class Shard(NamedTuple):
    """One file of records."""

    url: str
    records: int


class ShardIndex(NamedTuple):
    """A folder of shards as its index describes it."""

    folder: str
    stems: tuple[str, ...]
    has_mixture: bool  # whether records hold the mixture; it is the sum of the stems otherwise
    sample_rate: int  # Hz
    channels: int
    chunk_samples: int  # of a whole chunk; the last one of a track may be shorter
    shards: Mapping[str, tuple[Shard, ...]]  # subset -> files
    digest: str  # SHA-256 of the index, which names the checksums of all files

    def records(self, subset: str) -> int:
        """Chunks of a subset."""
        return sum(shard.records for shard in self.shards.get(subset, ()))

    def hours(self, subset: str) -> float:
        """Hours of audio of a subset, whole chunks assumed."""
        return self.records(subset) * self.chunk_samples / self.sample_rate / 3600


def read_index(folder: str) -> ShardIndex:
    """Read the index of a folder or URL.

    Raises:
      UsageError: no index, or one that is not understood.
    """
    url = f'{folder.rstrip("/")}/{INDEX}'
    try:
        if is_remote(url):
            content = read_remote(url)
        else:
            with open(url, 'rb') as file:
                content = file.read()
    except FileNotFoundError as error:
        raise UsageError(f'shards {folder}: no {INDEX} there: make shards with stembeam prepare') from error
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f'shards {folder}: {INDEX} cannot be read ({error}): check path and access') from error
    try:
        document = json.loads(content)
        if document['format_version'] != FORMAT_VERSION:
            raise UsageError(
                f'shards {folder}: format {document["format_version"]}, this version reads {FORMAT_VERSION}: make them '
                'again with stembeam prepare'
            )
        return ShardIndex(
            folder,
            tuple(document['stems']),
            bool(document['with_mixture']),
            int(document['sample_rate']),
            int(document['channels']),
            int(document['chunk_samples']),
            {subset: _shards(folder, files) for subset, files in document['shards'].items()},
            hashlib.sha256(content).hexdigest(),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f'shards {folder}: {INDEX} is not an index of shards ({error!r}): make them again with stembeam prepare'
        ) from error


def _shards(folder: str, files: list[dict[str, Any]]) -> tuple[Shard, ...]:
    return tuple(Shard(f'{folder.rstrip("/")}/{file["file"]}', int(file['records'])) for file in files)


def check_shards(index: ShardIndex, config: ModelConfig, frames: int) -> None:
    """Raise UsageError, in one line, unless a model can be trained on chunks of `frames` from these shards."""
    again = 'make shards for this model with stembeam prepare'
    if index.records(TRAIN) == 0:
        raise UsageError(f'shards {index.folder}: no records to train on: {again}')
    if index.sample_rate != config.sample_rate:
        raise UsageError(
            f'shards {index.folder} have {index.sample_rate} Hz, the configuration says sample_rate '
            f'{config.sample_rate}: {again}'
        )
    if index.channels != config.channels:
        raise UsageError(
            f'shards {index.folder} have {index.channels} channels, the configuration says n_channels '
            f'{config.channels}: {again}'
        )
    missing = [stem for stem in config.instruments if stem not in index.stems]
    if missing:
        raise UsageError(
            f'shards {index.folder} lack the stem {", ".join(missing)} of instrument_list (they have '
            f'{", ".join(index.stems)}): {again}'
        )
    check_length(f'shards {index.folder}', index.chunk_samples, config, frames)
    for shard in (shard for shards in index.shards.values() for shard in shards):
        if not is_remote(shard.url) and not os.path.isfile(shard.url):
            raise UsageError(f'shards {index.folder}: {shard.url} is missing: copy the whole folder again')


def span_of(config: ModelConfig, frames: int) -> int:
    """Samples that a chunk of so many frames reads."""
    return (frames - 1) * config.frame_step + config.frame_length


def check_length(what: str, samples: int, config: ModelConfig, frames: int) -> None:
    """Raise UsageError if chunks of `samples` are shorter than the frames trained on."""
    if samples < span_of(config, frames):
        raise UsageError(
            f'{what}: chunks of {samples} samples are shorter than T = {frames} frames ({span_of(config, frames)} '
            'samples): use longer chunks, or a smaller T or training.train_frames'
        )
