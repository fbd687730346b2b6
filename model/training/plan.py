"""What a training run will do, found out and checked before TensorFlow is loaded."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..configuration import ModelConfig, load_config
from ..errors import UsageError
from ..store import ModelFiles, resolve_model
from .freezing import check_freeze
from .lending import check_lender, lent_stems
from .settings import OURS, Settings, settings_from_config
from .shards import TRAIN, VALIDATION, ShardIndex, check_shards, read_index
from .tables import VALIDATION_CHUNK, Table, read_table


class Tables(NamedTuple):
    """The tables of a small data set."""

    train: Table
    validation: Table | None


class Plan(NamedTuple):
    """A checked run."""

    config: ModelConfig
    settings: Settings
    data: ShardIndex | Tables
    folder: str  # of the model
    lenders: tuple[ModelFiles, ...]
    freeze: tuple[str, ...]
    distribution: str

    @property
    def has_validation(self) -> bool:
        """Whether there is anything to validate on."""
        if isinstance(self.data, Tables):
            return self.data.validation is not None
        return self.data.records(VALIDATION) > 0

    def describe_data(self) -> dict[str, Any]:
        """What the run trains on, for the record."""
        if isinstance(self.data, Tables):
            tables = {TRAIN: self.data.train, VALIDATION: self.data.validation}
            return {
                name: {
                    'table': os.path.basename(table.path),
                    'digest': table.digest,
                    'songs': len(table.songs),
                    'chunks': len(table.chunks),
                    'hours': round(sum(song.duration for song in table.songs) / 3600, 4),
                }
                for name, table in tables.items()
                if table is not None
            }
        index = self.data
        return {
            'shards': os.path.basename(os.path.normpath(index.folder)),
            'digest': index.digest,
            'stems': list(index.stems),
            **{
                subset: {'chunks': index.records(subset), 'hours': round(index.hours(subset), 4)}
                for subset in (TRAIN, VALIDATION)
            },
        }

    def describe(self) -> dict[str, Any]:
        """What a run that goes on in the same folder must repeat."""
        document = dataclasses.replace(self.config, training={}).to_json()
        return {
            **document,
            **self.settings.to_json(),
            'data': self.describe_data(),
            'init-from': [lender.fingerprint for lender in self.lenders],
            'freeze': sorted(self.freeze),
        }


def plan_run(
    config_path: str,
    *,
    shards: str | None = None,
    data: str | None = None,
    output: str | None = None,
    init_from: Sequence[str] = (),
    freeze: Sequence[str] = (),
    distribution: str = 'none',
) -> Plan:
    """Read and check everything that a run needs.

    Args:
      config_path: Spleeter's JSON file with our `training`.
      shards: folder or URL that `stembeam prepare` wrote; or
      data: folder that the paths in the configuration's tables are relative to.
      output: folder of the model; the configuration's model_dir if None.
      init_from: models that lend their weights to the stems of the same name.
      freeze: parts that do not change.
      distribution: 'none' or 'data-parallel'.

    Raises:
      UsageError: whatever is wrong, in one line.
    """
    config = load_config(config_path)
    try:
        settings = settings_from_config(config)
        _check_stems(config, settings)
    except ValueError as error:
        raise UsageError(f'configuration {config_path}: {error}') from error
    folder = output or config.model_dir
    if folder is None:
        raise UsageError(f'configuration {config_path}: neither model_dir nor -o: say where the model goes')
    if (shards is None) == (data is None):
        raise UsageError(
            'data: give either --shards FOLDER (made by stembeam prepare) or --data FOLDER with train_csv in the '
            'configuration'
        )
    found: ShardIndex | Tables
    if shards is not None:
        found = read_index(shards)
        check_shards(found, config, settings.frames(config))
    else:
        found = _read_tables(config_path, data or '', config, settings)
    lenders = tuple(resolve_model(model) for model in init_from)
    _check_lenders(config, lenders, freeze)
    return Plan(config, settings, found, folder, lenders, tuple(freeze), distribution)


def _check_stems(config: ModelConfig, settings: Settings) -> None:
    """Raise ValueError if settings do not fit the model's stems; data may have more stems than the model."""
    recipe = settings.training
    if recipe.masks == 'ratio' and len(config.instruments) == 1:
        raise ValueError(f'{OURS}.masks is ratio: a single stem would get all of the mixture: leave it out')
    for key, value in (('gain_db', recipe.gain_db), ('stem_dropout', recipe.stem_dropout)):
        if isinstance(value, dict) and not set(value) & set(config.instruments):
            raise ValueError(f'{OURS}.{key} names {", ".join(value)}: the stems are {", ".join(config.instruments)}')


def _check_lenders(config: ModelConfig, lenders: Sequence[ModelFiles], freeze: Sequence[str]) -> None:
    for lender in lenders:
        check_lender(config, lender)
    lent = lent_stems(config, lenders)
    if lenders and not lent:
        raise UsageError(
            f'--init-from {lenders[0].name}: no stem in common (it has {", ".join(lenders[0].config.instruments)}): '
            'leave it out'
        )
    check_freeze(freeze, config, lent)


def _read_tables(config_path: str, data: str, config: ModelConfig, settings: Settings) -> Tables:
    if settings.train_csv is None:
        raise UsageError(f'configuration {config_path}: train_csv is missing: name the table of songs, or use --shards')
    frames = settings.frames(config)
    train = read_table(
        _find(settings.train_csv, config_path),
        data,
        config,
        settings.chunk_duration,
        settings.n_chunks_per_song,
        frames,
    )
    if settings.validation_csv is None:
        return Tables(train, None)
    seconds = max(min(VALIDATION_CHUNK, settings.chunk_duration), _seconds(config, frames))
    return Tables(train, read_table(_find(settings.validation_csv, config_path), data, config, seconds, 1, frames))


def _seconds(config: ModelConfig, frames: int) -> float:
    """Seconds that so many frames read, and a little more than that."""
    return (frames * config.frame_step + config.frame_length) / config.sample_rate


def _find(path: str, config_path: str) -> str:
    """A table relative to the working folder, as in Spleeter, or else to the configuration file."""
    if os.path.exists(path):
        return path
    beside = os.path.join(os.path.dirname(config_path), path)
    if os.path.exists(beside):
        return beside
    raise UsageError(f'table {path}: neither in the working folder nor beside {config_path}: check the configuration')
