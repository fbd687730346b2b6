"""Batches for the network by tf.data: 16-bit chunks of mixture and stems, and what shall be done to them.

The one idea: random numbers belong to the number of a chunk in the endless stream (stateless, from the seed), so a
batch depends on the seed and its step alone, and a resumed run goes on as if nothing had happened. The input pipeline
only moves samples; gains, swaps, transforms and stretches are carried out on the device, inside the training step
(`augment`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ..backend import Tensor
from ..configuration import ModelConfig
from .settings import Recipe, Settings
from .shards import span_of
from .sources import Source

Batch = Mapping[str, Tensor]
"""`waves` int16 (chunks, stems, samples, channels), `gain` float32 and `swap` float32 0 or 1, both (chunks, stems);
`mixture` int16 (chunks, samples, channels) and `mixture_gain` (chunks,), unless the mixture is the sum of the stems;
`stretch` and `shift` float32 (chunks,), factors in time and frequency."""

MIX_STREAM, SETTLE_STREAM = 1, 2  # keep the random numbers of different uses apart


def changes_stems(recipe: Recipe) -> bool:
    """Whether the mixture must be summed anew because its stems are changed one by one."""
    gains = recipe.gain_db.values() if isinstance(recipe.gain_db, Mapping) else [recipe.gain_db]
    absent = recipe.stem_dropout.values() if isinstance(recipe.stem_dropout, Mapping) else [recipe.stem_dropout]
    return (
        any(tuple(gain) != (0.0, 0.0) for gain in gains) or any(absent) or recipe.channel_swap > 0 or recipe.remix > 0
    )


def _per_stem(value: Any, stems: tuple[str, ...], default: Any) -> list[Any]:
    return [value.get(stem, default) if isinstance(value, Mapping) else value for stem in stems]


def _power(low: float, high: float, draw: Tensor, base: float, scale: float) -> Tensor:
    return base ** ((low + (high - low) * draw) / scale)


def _draw(number: Tensor, seed: int, stems: tuple[str, ...], recipe: Recipe) -> tuple[Tensor, dict[str, Tensor]]:
    """Where chunk `number` of the stream is cut (0..1), and what is done to it."""
    count = len(stems)
    draws = tf.random.stateless_uniform([4 + 3 * count], tf.stack([tf.constant(seed, tf.int64), number]))
    place, loudness, stretch, shift = (draws[i] for i in range(4))
    gains, swaps, absences = (draws[4 + i * count : 4 + (i + 1) * count] for i in range(3))
    low, high = (
        tf.constant(side, tf.float32) for side in zip(*_per_stem(recipe.gain_db, stems, (0.0, 0.0)), strict=True)
    )
    sounds = tf.cast(absences >= tf.constant(_per_stem(recipe.stem_dropout, stems, 0.0), tf.float32), tf.float32)
    faster, slower = recipe.time_stretch
    return place, {
        'gain': sounds * 10.0 ** ((low + (high - low) * gains) / 20),
        'swap': tf.cast(swaps < recipe.channel_swap, tf.float32),
        'loudness': _power(*recipe.mixture_gain_db, loudness, 10.0, 20.0),
        'stretch': faster + (slower - faster) * stretch,
        'shift': _power(-recipe.pitch_shift, recipe.pitch_shift, shift, 2.0, 12.0),
    }


def _element(source: Source, piece: Any, drawn: dict[str, Tensor], given: bool) -> dict[str, Tensor]:
    """One chunk in the form of a batch; `given`: with the source's own mixture."""
    first = 1 if source.has_mixture else 0
    loudness = drawn.pop('loudness')
    element = {**drawn, 'waves': piece.waves[first:], 'gain': piece.gains[first:] * drawn['gain'] * loudness}
    if given:
        element.update(mixture=piece.waves[0], mixture_gain=piece.gains[0] * loudness)
    return element


def exchange_order(window: Tensor, size: int, stems: int, share: float, seed: int) -> Tensor:
    """From which chunk of a window every stem is taken: int32 (size, stems).

    A share of the chunks, drawn anew for every window, exchange their stems, each stem in an order of its own.
    """
    seeds = tf.stack([tf.constant(seed, tf.int64), window])
    chosen = tf.reshape(tf.where(tf.random.stateless_uniform([size], seeds) < share), [-1])
    columns = []
    for stem in range(stems):
        keys = tf.random.stateless_uniform([size], tf.random.fold_in(seeds, stem + 1))
        partners = tf.gather(chosen, tf.argsort(tf.gather(keys, chosen)))
        everyone = tf.range(size, dtype=tf.int64)
        columns.append(tf.tensor_scatter_nd_update(everyone, chosen[:, tf.newaxis], partners))
    return tf.stack(columns, axis=1)


def _exchange(window: Tensor, batch: dict[str, Tensor], size: int, stems: int, recipe: Recipe, seed: int) -> Batch:
    order = exchange_order(window, size, stems, recipe.remix, seed)
    where = tf.stack([order, tf.broadcast_to(tf.range(stems, dtype=tf.int64), (size, stems))], axis=-1)
    return {**batch, **{key: tf.gather_nd(batch[key], where) for key in ('waves', 'gain', 'swap')}}


def training_batches(
    source: Source, config: ModelConfig, settings: Settings, first_step: int, stream: int = MIX_STREAM
) -> Any:
    """The endless dataset of batches of a run, from a step on.

    Args:
      source: of the chunks.
      config: of the model.
      settings: of the run.
      first_step: the step whose batch comes first.
      stream: MIX_STREAM, or another number for other random numbers.
    """
    recipe, size = settings.training, settings.batch_size
    samples = span_of(config, settings.frames(config))
    seed = settings.random_seed * 4 + stream
    given = source.has_mixture and not changes_stems(recipe)
    window = -(-recipe.remix_window // size) * size if recipe.remix > 0 else size
    skipped, within = divmod(first_step, window // size)

    def make(number: Tensor, handle: Tensor) -> dict[str, Tensor]:
        place, drawn = _draw(number, seed, source.stems, recipe)
        return _element(source, source.load(handle, place, samples), drawn, given)

    chunks = source.stream(skipped * window, seed).map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if recipe.remix == 0:
        return chunks.batch(size, drop_remainder=True).prefetch(2)
    windows = chunks.batch(window, drop_remainder=True, num_parallel_calls=tf.data.AUTOTUNE).enumerate(skipped)
    mixed = windows.map(
        lambda number, batch: _exchange(number, batch, window, len(source.stems), recipe, seed),
        num_parallel_calls=2,
        deterministic=True,
    )
    return mixed.rebatch(size, drop_remainder=True).skip(within).prefetch(2)


def validation_places(chunk_samples: int, config: ModelConfig, frames: int) -> list[float]:
    """Where a chunk is cut to validate on it: as many parts side by side as it has, about its middle; each 0..1."""
    room, step = chunk_samples - span_of(config, frames), frames * config.frame_step
    count = room // step + 1
    first = (room - (count - 1) * step) / 2
    return [(first + number * step) / room if room else 0.0 for number in range(count)]


def validation_batches(source: Source, config: ModelConfig, settings: Settings) -> Any:
    """Every chunk, unchanged, in order, cut at `validation_places`; the last batch is filled up with silence."""
    samples, size = span_of(config, settings.frames(config)), settings.batch_size
    neutral = Recipe()
    places = tf.constant(validation_places(source.chunk_samples, config, settings.frames(config)), tf.float32)

    def make(handle: Tensor, place: Tensor) -> dict[str, Tensor]:
        _, drawn = _draw(tf.constant(0, tf.int64), 0, source.stems, neutral)
        return _element(source, source.load(handle, place, samples), drawn, source.has_mixture)

    def fill(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        missing = size - tf.shape(batch['gain'])[0]
        return {
            key: tf.ensure_shape(
                tf.pad(value, [[0, missing]] + [[0, 0]] * (len(value.shape) - 1)), (size, *value.shape[1:])
            )
            for key, value in batch.items()
        }

    parts = source.in_order().flat_map(
        lambda handle: tf.data.Dataset.from_tensor_slices(places).map(lambda place: (handle, place))
    )
    return parts.map(make, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).batch(size).map(fill).prefetch(2)
