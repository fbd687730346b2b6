"""Batches: a seed and a step decide them, whatever was read before; and they hold what the data hold."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stembeam.model.errors import RunError, UsageError
from stembeam.model.training.inputs import (
    exchange_order,
    training_batches,
    validation_batches,
    validation_places,
)
from stembeam.model.training.settings import Recipe, Settings
from stembeam.model.training.shards import check_shards, read_index, span_of
from stembeam.model.training.sources import ShardSource, Source, TableSource
from stembeam.model.training.table_cache import cached_source
from stembeam.model.training.tables import Table, chunk_starts, load_chunk, read_table

from .songs import CONFIG, RATE, write_songs

SETTINGS = Settings(batch_size=2, train_max_steps=100, random_seed=7)
SPAN = span_of(CONFIG, CONFIG.frames)
MEMORY = 1 << 20


@pytest.fixture(scope='module')
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Three songs of three chunks."""
    folder = tmp_path_factory.mktemp('songs')
    return read_table(str(write_songs(folder, count=3)), str(folder), CONFIG, 1.0, 3, CONFIG.frames)


@pytest.fixture(scope='module')
def shards(table: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as shards, as a training_cache leaves them."""
    folder = tmp_path_factory.mktemp('shards')
    cached_source(table, str(folder), MEMORY, lambda line: None)
    return folder


def shard_source(folder: Path, mixture: bool = True) -> ShardSource:
    return ShardSource(read_index(str(folder)), 'train', mixture, MEMORY)


def take(source: Source, count: int, first: int = 0, **recipe: Any) -> list[dict[str, np.ndarray]]:
    settings = dataclasses.replace(SETTINGS, training=Recipe(**recipe))
    return list(training_batches(source, CONFIG, settings, first).take(count).as_numpy_iterator())


def sound(batch: dict[str, np.ndarray]) -> np.ndarray:
    """Stems of a batch as floating point."""
    return batch['waves'] * batch['gain'][:, :, np.newaxis, np.newaxis] / 32767


VARIED = {'gain_db': (-6.0, 6.0), 'channel_swap': 0.5, 'stem_dropout': 0.3, 'remix': 0.7, 'remix_window': 5}


@pytest.mark.parametrize('kind', ['shards', 'table'])
@pytest.mark.parametrize('recipe', [{}, VARIED])
def test_a_stream_goes_on_anywhere_as_if_it_had_been_read_from_the_start(
    table: Table, shards: Path, kind: str, recipe: dict[str, Any]
) -> None:
    source: Source = TableSource(table) if kind == 'table' else shard_source(shards, not recipe)
    whole = take(source, 12, **recipe)  # 24 chunks: more than two epochs
    for first in (1, 4, 7):
        for ours, expected in zip(take(source, 3, first, **recipe), whole[first:], strict=False):
            assert ours.keys() == expected.keys()
            for key, value in ours.items():
                np.testing.assert_array_equal(value, expected[key], err_msg=key)


def chunks_of(table: Table, batches: list[dict[str, np.ndarray]]) -> list[int]:
    """Which chunk of the table every chunk of batches was cut from."""
    chunks = [load_chunk(table, chunk, 0, table.chunk_samples)[0][1] for chunk in range(len(table.chunks))]
    windows = [np.lib.stride_tricks.sliding_window_view(chunk[:, 0], 20) for chunk in chunks]
    found = []
    for wave in (wave for batch in batches for wave in batch['waves'][:, 0]):
        for number, chunk in enumerate(chunks):
            places = np.flatnonzero((windows[number] == wave[:20, 0]).all(axis=1))
            if any(np.array_equal(wave, chunk[place : place + SPAN]) for place in places):
                found.append(number)
    return found


def test_every_epoch_has_every_chunk_once_in_an_order_of_its_own(table: Table, shards: Path) -> None:
    found = chunks_of(table, take(shard_source(shards), 9))
    assert sorted(found[:9]) == sorted(found[9:]) == list(range(9))
    assert found[:9] != found[9:]
    assert found != chunks_of(table, [*training_batches(
        shard_source(shards), CONFIG, dataclasses.replace(SETTINGS, random_seed=8), 0
    ).take(9).as_numpy_iterator()])  # fmt: skip


def test_unchanged_stems_come_with_their_mixture(shards: Path) -> None:
    for batch in take(shard_source(shards), 3):
        mixture = batch['mixture'] * batch['mixture_gain'][:, np.newaxis, np.newaxis] / 32767
        np.testing.assert_allclose(sound(batch).sum(axis=1), mixture, atol=2e-4)


def test_changed_stems_come_without(shards: Path) -> None:
    assert 'mixture' not in take(shard_source(shards), 1, gain_db=(-1.0, 1.0))[0]


def test_gains_dropouts_and_swaps_are_as_frequent_as_asked_for(shards: Path) -> None:
    recipe: dict[str, Any] = {'gain_db': {'low': (6.0, 12.0)}, 'stem_dropout': {'high': 0.5}, 'channel_swap': 0.25}
    plain, changed = (take(shard_source(shards, False), 100, **chosen) for chosen in (dict[str, Any](), recipe))
    ratio = np.concatenate([b['gain'] / a['gain'] for a, b in zip(plain, changed, strict=True)])
    assert 10 ** (6 / 20) <= ratio[:, 0].min() < 2.2
    assert 3.6 < ratio[:, 0].max() <= 10 ** (12 / 20) + 1e-6
    assert set(np.unique(ratio[:, 1].round(5))) == {0.0, 1.0}
    assert 0.38 < np.mean(ratio[:, 1] == 0) < 0.62
    assert 0.18 < np.mean([batch['swap'] for batch in changed]) < 0.32


def test_stretch_and_shift_stay_in_their_ranges(shards: Path) -> None:
    batches = take(shard_source(shards), 60, time_stretch=(0.9, 1.1), pitch_shift=1.0)
    stretch, shift = (np.concatenate([batch[key] for batch in batches]) for key in ('stretch', 'shift'))
    assert 0.9 <= stretch.min() < 0.92 < 1.08 < stretch.max() <= 1.1
    semitones = 12 * np.log2(shift)
    assert -1 <= semitones.min() < -0.8
    assert 0.8 < semitones.max() <= 1


def test_exchanged_stems_are_permuted_within_the_window_and_others_stay() -> None:
    orders = [np.asarray(exchange_order(np.int64(window), 40, 3, 0.5, 1)) for window in range(20)]
    moved = np.mean([(order != np.arange(40)[:, np.newaxis]) for order in orders])
    assert 0.41 < moved < 0.54  # half, but that some of those chosen stay by chance
    for order in orders:
        for column in order.T:
            assert sorted(column) == list(range(40))
        assert not np.array_equal(order[:, 0], order[:, 1])
    np.testing.assert_array_equal(
        exchange_order(np.int64(0), 8, 2, 0.0, 1), np.repeat(np.arange(8)[:, np.newaxis], 2, 1)
    )


def test_validation_covers_every_chunk_in_order(table: Table, shards: Path) -> None:
    short = dataclasses.replace(SETTINGS, batch_size=4, training=Recipe())
    batches = list(validation_batches(shard_source(shards), CONFIG, short).as_numpy_iterator())
    assert [batch['waves'].shape[0] for batch in batches] == [4, 4, 4]  # 9 chunks, filled up
    assert not batches[-1]['gain'][1:].any()
    direct = list(validation_batches(TableSource(table), CONFIG, short).as_numpy_iterator())
    total = sum(float(np.abs(sound(batch)).sum()) for batch in batches)
    assert total == pytest.approx(sum(float(np.abs(sound(batch)).sum()) for batch in direct), rel=1e-3)


def test_long_chunks_are_validated_on_in_parts_side_by_side() -> None:
    room = 3 * 64 * 64 + 100
    places = validation_places(SPAN + room, CONFIG, 64)
    np.testing.assert_allclose([place * room for place in places], [50 + n * 64 * 64 for n in range(4)])
    assert validation_places(SPAN, CONFIG, 64) == [0.0]
    assert validation_places(SPAN + 10, CONFIG, 64) == [0.5]


def test_chunks_are_spread_over_a_song_as_spleeter_spreads_them() -> None:
    assert chunk_starts(61.0, 20.0, 3) == [0.5, 20.5, 40.5]
    assert chunk_starts(61.0, 20.0, 1) == [20.5]
    assert chunk_starts(5.0, 20.0, 2) == [0.5, 0.0]


def test_files_of_another_rate_and_mono_files_are_converted(tmp_path: Path) -> None:
    path = write_songs(tmp_path, count=1)
    tone = [np.sin(np.arange(3 * rate) / rate * 2 * np.pi * 440) for rate in (RATE, 2 * RATE)]
    soundfile.write(tmp_path / 'song0' / 'low.wav', 0.5 * tone[1], 2 * RATE, subtype='FLOAT')
    table = read_table(str(path), str(tmp_path), CONFIG, 1.0, 1, 64)
    waves, gains = load_chunk(table, 0, 100, 4000)
    found = waves[1] * gains[1] / 32767
    expected = np.repeat(0.5 * tone[0][RATE + 100 : RATE + 4100, np.newaxis], 2, axis=1)
    np.testing.assert_allclose(found[200:-200], expected[200:-200], atol=5e-3)


def test_a_file_that_breaks_stops_the_run_and_is_named(tmp_path: Path) -> None:
    path = write_songs(tmp_path, count=1)
    (tmp_path / 'song0' / 'high.wav').write_bytes(b'no audio')
    table = read_table(str(path), str(tmp_path), CONFIG, 1.0, 1, 64)
    with pytest.raises(RunError, match=r'high\.wav cannot be read'):
        load_chunk(table, 0, 0, RATE)


def test_a_cache_of_something_else_is_refused(table: Table, shards: Path) -> None:
    with pytest.raises(UsageError, match='made from another table or other chunks: delete it'):
        cached_source(table._replace(digest='other'), str(shards), MEMORY, lambda line: None)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'stems': ['low']}, 'lack the stem high of instrument_list'),
        ({'sample_rate': 44100}, 'have 44100 Hz, the configuration says sample_rate 8000'),
        ({'channels': 1}, 'have 1 channels, the configuration says n_channels 2'),
        ({'chunk_samples': 4000}, 'chunks of 4000 samples are shorter than T = 64 frames'),
        ({'shards': {'train': []}}, 'no records to train on'),
        ({'shards': {'train': [{'file': 'gone.tfrecord', 'records': 3}]}}, r'gone\.tfrecord is missing'),
        ({'format_version': 2}, 'format 2, this version reads 1'),
        ({'shards': 5}, 'not an index of shards'),
    ],
)
def test_shards_that_do_not_fit_are_refused_in_one_line(
    shards: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    for file in shards.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    document = json.loads((tmp_path / 'index.json').read_text())
    (tmp_path / 'index.json').write_text(json.dumps({**document, **changes}))
    with pytest.raises(UsageError, match=message):
        check_shards(read_index(str(tmp_path)), CONFIG, 64)


def test_a_folder_without_an_index_is_no_shards(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'no index\.json there: make shards with stembeam prepare'):
        read_index(str(tmp_path))
