"""What a training run is asked to do: Spleeter's training keys, and ours in one object under the key `training`.

Every key is declared once, with its type, default and meaning; the command line prints the declarations
(`stembeam train --keys`). Nothing heavy is imported: a wrong configuration stops before TensorFlow is loaded.
"""

# ruff: noqa: RUF009 (_key is dataclasses.field, and all of its defaults are immutable)
from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ..configuration import NETWORK_STRIDE, ModelConfig

LOSSES = ('L1_mask', 'weighted_L1_mask')
OPTIMIZERS = ('Adam', 'Adadelta', 'SGD')
MASKS = ('direct', 'ratio')
TARGETS = ('magnitude', 'in_phase')
SCHEDULES = ('constant', 'cosine')
PRECISIONS = ('float32', 'mixed_bfloat16', 'mixed_float16')
STORED_AS = ('float32', 'float16')
MODEL_KEYS = (
    *('mix_name', 'instrument_list', 'sample_rate', 'frame_length', 'frame_step', 'T', 'F', 'n_channels'),
    *('separation_exponent', 'mask_extension', 'model', 'model_dir'),
)
OURS = 'training'  # the key that holds our own settings

Range = tuple[float, float]


class Reader(NamedTuple):
    """How a value is read: `read` raises ValueError unless it is `kind`."""

    kind: str
    read: Callable[[Any], Any]


def _require(holds: bool) -> None:
    if not holds:
        raise ValueError


def _number(value: Any) -> float:
    _require(isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))
    return float(value)


def _whole(low: int) -> Reader:
    def read(value: Any) -> int:
        number = _number(value)
        _require(number == int(number) and number >= low)
        return int(number)

    return Reader(f'a whole number from {low} up', read)


def _real(kind: str, holds: Callable[[float], bool]) -> Reader:
    def read(value: Any) -> float:
        number = _number(value)
        _require(holds(number))
        return number

    return Reader(kind, read)


def _choice(options: tuple[str, ...]) -> Reader:
    def read(value: Any) -> str:
        _require(value in options)
        return value

    return Reader(f'one of {", ".join(options)}', read)


def _optional(reader: Reader) -> Reader:
    return Reader(f'{reader.kind}, or null', lambda value: None if value is None else reader.read(value))


def _read_range(value: Any) -> Range:
    _require(isinstance(value, list | tuple) and len(value) == 2)
    low, high = _number(value[0]), _number(value[1])
    _require(low <= high)
    return low, high


def _flag(value: Any) -> bool:
    _require(isinstance(value, bool))
    return value


def _read_text(value: Any) -> str:
    _require(isinstance(value, str) and bool(value))
    return value


def _read_factors(value: Any) -> Range:
    low, high = _read_range(value)
    _require(low >= 0.5 and high <= 2.0)
    return low, high


def _by_stem(reader: Reader) -> Reader:
    def read(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {_read_text(stem): reader.read(item) for stem, item in value.items()}
        return reader.read(value)

    return Reader(f'{reader.kind}, or an object of such by stem', read)


TEXT = Reader('a path', _read_text)
SHARE = _real('a number from 0 to 1', lambda number: 0 <= number <= 1)
POSITIVE = _real('a positive number', lambda number: number > 0)
NOT_NEGATIVE = _real('a number from 0 up', lambda number: number >= 0)
RANGE = Reader('a pair [lowest, highest]', _read_range)
FACTORS = Reader('a pair [lowest, highest] between 0.5 and 2', _read_factors)


def _key(default: Any, reader: Reader, meaning: str) -> Any:
    return dataclasses.field(default=default, metadata={'reader': reader, 'meaning': meaning})


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Our own settings, the keys of the object `training`; the defaults train as Spleeter does."""

    schedule: str = _key('constant', _choice(SCHEDULES), 'course of the learning rate; cosine falls to final_rate')
    warmup_steps: int = _key(0, _whole(0), 'steps over which the learning rate rises from 0 at the start')
    final_rate: float = _key(0.01, SHARE, 'share of the learning rate that the cosine ends at')
    clipnorm: float | None = _key(None, _optional(POSITIVE), "largest norm of a variable's gradient (Keras' clipnorm)")
    early_stopping: int | None = _key(
        None, _optional(_whole(1)), 'stop after this many evaluations in a row without a new best validation loss'
    )
    validation_steps: int | None = _key(
        None, _optional(_whole(1)), 'steps between evaluations (null: save_checkpoints_steps)'
    )
    precision: str = _key(
        'float32', _choice(PRECISIONS), "of the layers' arithmetic; weights, transforms and losses stay float32"
    )
    deterministic: bool = _key(
        False, Reader('true or false', lambda value: _flag(value)),
        'only operations with one possible result, also where they are slower (matters on GPUs)',
    )  # fmt: skip
    train_frames: int | None = _key(
        None,
        _optional(Reader(f'a multiple of {NETWORK_STRIDE}', lambda value: _multiple_of_stride(value))),
        'STFT frames of the chunks trained and validated on (null: T); shorter ones are more varied for the same work',
    )
    dropout: float = _key(0.5, SHARE, "of the decoder's first three layers, while training")
    masks: str = _key(
        'direct',
        _choice(MASKS),
        "direct: the loss is that of each network's own estimate (Spleeter's); ratio: that of the mixture after ratio "
        'masks of all stems, which is what separation writes',
    )
    targets: str = _key(
        'magnitude',
        _choice(TARGETS),
        "magnitude: of the stem (Spleeter's); in_phase: the part of it that is in phase with the mixture, which is the "
        'most that a mask can bring out',
    )
    log_weight: float = _key(
        0.0,
        NOT_NEGATIVE,
        'weight of the mean squared difference of log(1 + magnitude), added to the loss. L1 alone wants the median, '
        'which is silence for a stem that sounds in fewer than half of its bins, and there the sigmoid has no slope to '
        'leave by; this term wants the mean. 4 is good for vocals',
    )
    input_scale: float = _key(
        1.0,
        POSITIVE,
        'factor on the first kernels of fresh networks: magnitudes run into the hundreds, 0.05 starts calmer',
    )
    norm_gain: float = _key(
        1.0,
        POSITIVE,
        'gamma of fresh batch norms: at 1 all but the loudest bins stay where ELU is a straight line; 4 is better',
    )
    settled: float = _key(
        0.0,
        SHARE,
        'share of the steps, at the end, in which batch norms stand still with statistics estimated anew, so that the '
        'network learns with the very numbers that separation uses (statistics of small batches are far from them)',
    )
    settle_batches: int = _key(40, _whole(1), 'batches over which those statistics are estimated')
    gain_db: Any = _key((0.0, 0.0), _by_stem(RANGE), 'random gain of every stem, in dB, drawn evenly from the range')
    mixture_gain_db: Range = _key((0.0, 0.0), RANGE, 'random gain of the mixture with all its stems, in dB')
    channel_swap: float = _key(0.0, SHARE, 'chance, for every stem, that left and right are exchanged')
    stem_dropout: Any = _key(0.0, _by_stem(SHARE), 'chance, for every stem, that it is silent')
    remix: float = _key(0.0, SHARE, 'share of the chunks whose stems come from different chunks, so of different songs')
    remix_window: int = _key(32, _whole(2), 'chunks among which stems are exchanged; they are held in memory')
    time_stretch: Range = _key(
        (1.0, 1.0), FACTORS, "random stretch of the magnitudes in time, by Spleeter's interpolation (it names 0.9, 1.1)"
    )
    pitch_shift: float = _key(
        0.0, _real('a number from 0 to 12', lambda number: 0 <= number <= 12),
        "largest random shift of the magnitudes in pitch, in semitones up or down, by Spleeter's interpolation (it "
        'names 1)',
    )  # fmt: skip
    shuffle_memory: int = _key(512, _whole(1), 'MiB of shards held in memory to be shuffled')
    weights: str = _key('float32', _choice(STORED_AS), 'how kernels and biases are stored in the model folder')


def _multiple_of_stride(value: Any) -> int:
    number = _number(value)
    _require(number > 0 and number % NETWORK_STRIDE == 0)
    return int(number)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Spleeter's training keys with Spleeter's meaning, and our `training`."""

    train_csv: str | None = _key(
        None, _optional(TEXT), 'songs to train on: a table with mix_path, <stem>_path ..., duration (used with --data)'
    )
    validation_csv: str | None = _key(None, _optional(TEXT), 'songs to validate on, in the same form')
    learning_rate: float = _key(1e-4, POSITIVE, 'of Adam and SGD (Adadelta keeps 0.001, as in Spleeter)')
    batch_size: int = _key(8, _whole(1), 'chunks of one step, over all devices')
    train_max_steps: int = _key(0, _whole(1), 'steps of the run (needed)')
    training_cache: str | None = _key(
        None, _optional(TEXT), 'folder where the chunks of train_csv are kept as shards after they were read once'
    )
    validation_cache: str | None = _key(None, _optional(TEXT), 'the same for validation_csv')
    chunk_duration: float = _key(20.0, POSITIVE, 'seconds of the chunks read from songs of train_csv')
    n_chunks_per_song: int = _key(2, _whole(1), 'chunks of a song of train_csv, evenly spread over it')
    random_seed: int = _key(
        0,
        _whole(0),
        'decides the order of the data and every random change (fresh weights have their own seed, as in Spleeter)',
    )
    save_checkpoints_steps: int = _key(1000, _whole(1), 'steps between states that a killed run goes on from')
    save_summary_steps: int = _key(100, _whole(1), 'steps between lines of log.jsonl and points of TensorBoard')
    throttle_secs: float = _key(0.0, NOT_NEGATIVE, 'least seconds between two evaluations')
    loss_type: str = _key(
        'L1_mask',
        _choice(LOSSES),
        "mean |estimate - target| of the magnitudes, or that times the chunk's mean target; summed over stems",
    )
    optimizer: str = _key('Adam', _choice(OPTIMIZERS), 'how gradients become steps')
    training: Recipe = dataclasses.field(default_factory=Recipe)

    @property
    def validation_every(self) -> int:
        """Steps between evaluations."""
        return self.training.validation_steps or self.save_checkpoints_steps

    @property
    def settles_at(self) -> int:
        """The first step with standing batch norms; beyond the last step if they never stand."""
        if self.training.settled == 0:
            return self.train_max_steps + 1
        return max(1, round(self.train_max_steps * (1 - self.training.settled)))

    def frames(self, config: ModelConfig) -> int:
        """STFT frames of the chunks trained on."""
        return self.training.train_frames or config.frames

    def to_json(self) -> dict[str, Any]:
        """All keys with their values."""
        return dataclasses.asdict(self)


def _keys(kind: type) -> Iterator[dataclasses.Field[Any]]:
    return (field for field in dataclasses.fields(kind) if 'reader' in field.metadata)


def _read(kind: type, document: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    values = {}
    for field in _keys(kind):
        if field.name in document:
            reader: Reader = field.metadata['reader']
            try:
                values[field.name] = reader.read(document[field.name])
            except (TypeError, ValueError, OverflowError) as error:
                raise ValueError(
                    f'{prefix}{field.name} is {document[field.name]!r}: it must be {reader.kind}'
                ) from error
    return values


def _refuse_unknown(document: Mapping[str, Any], known: list[str], prefix: str = '') -> None:
    for key in document:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, cutoff=0.0)[0]
            raise ValueError(f'{prefix}{key} is not a known key: did you mean {prefix}{near}?')


def settings_from_config(config: ModelConfig) -> Settings:
    """The training settings of a configuration, whose `training` holds all keys that are not the model's.

    Raises:
      ValueError: an unknown key, with the nearest known one; a value of the wrong kind; train_max_steps missing; stems
        that the model does not have.
    """
    document = config.training
    _refuse_unknown(document, [*(field.name for field in _keys(Settings)), OURS, *MODEL_KEYS])
    ours = document.get(OURS, {})
    if not isinstance(ours, Mapping):
        raise ValueError(f'{OURS} is {ours!r}: it must be an object of our own settings')
    _refuse_unknown(ours, [field.name for field in _keys(Recipe)], f'{OURS}.')
    recipe = Recipe(**_read(Recipe, ours, f'{OURS}.'))
    settings = Settings(**_read(Settings, document), training=recipe)
    if 'train_max_steps' not in document:
        raise ValueError('train_max_steps is missing: say how many steps to train')
    return settings


def describe_keys() -> str:
    """Every key with its default, what it must be and what it means, for people."""
    lines = []
    for title, kind in (("Spleeter's keys", Settings), (f'Keys of the object "{OURS}"', Recipe)):
        lines += [f'{title}:', '']
        for field in _keys(kind):
            default = 'needed' if field.name == 'train_max_steps' else f'default {_shown(field.default)}'
            lines.append(f'  {field.name} ({default}; {field.metadata["reader"].kind})')
            lines.append(f'      {field.metadata["meaning"]}')
        lines.append('')
    return '\n'.join(lines)


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: 'null', True: 'true', False: 'false'}[value]
    return str(list(value)) if isinstance(value, tuple) else str(value)
