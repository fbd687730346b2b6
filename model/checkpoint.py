"""Weights from and to files: Spleeter's TensorFlow 1 checkpoints and our own `weights.npz` with the same names.

The one idea to know: a weight is named as in Spleeter's checkpoints (`conv2d_3/kernel`), in both kinds of file and as
layer/variable in the Keras network. What a configuration expects is computed without building the network, so that a
wrong file stops a run before it starts.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .configuration import ModelConfig
from .errors import UsageError

WEIGHTS_FILE = 'weights.npz'
CONVS_PER_STEM = 7  # six encoder convolutions and the head
DECONVS_PER_STEM = 6
NORMS_PER_STEM = 12  # six encoder, six decoder
ENCODER_LAYERS = 6
NORM_EPSILON = 1e-3  # of batch norms: no file says it, all of Spleeter's have it
UNUSED_ENCODER_NORM = 5  # the sixth encoder layer's norm: in the checkpoints, but nothing reads it


def layer_name(kind: str, index: int) -> str:
    """The checkpoint's name of the `index`-th layer of a kind: 'conv2d', 'conv2d_1', ..."""
    return kind if index == 0 else f'{kind}_{index}'


def expected_variables(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of every weight in a checkpoint of this configuration, in Spleeter's naming.

    One counter per kind of layer runs through the stems: stem k owns conv2d 7k..7k+6 (six encoder, one head),
    conv2d_transpose 6k..6k+5 and batch_normalization 12k..12k+11 (six encoder, six decoder).
    """
    filters = config.conv_filters
    channels = config.channels
    up = [*reversed(filters[:-1]), 1]
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(kind: str, index: int, kernel: tuple[int, ...], out: int) -> None:
        shapes[f'{layer_name(kind, index)}/kernel'] = kernel
        shapes[f'{layer_name(kind, index)}/bias'] = (out,)

    for stem in range(len(config.instruments)):
        for index, (below, out) in enumerate(zip([channels, *filters[:-1]], filters, strict=True)):
            conv('conv2d', CONVS_PER_STEM * stem + index, (5, 5, below, out), out)
        conv('conv2d', CONVS_PER_STEM * stem + 6, (4, 4, 1, channels), channels)
        below = filters[-1]
        for index, out in enumerate(up):
            conv('conv2d_transpose', DECONVS_PER_STEM * stem + index, (5, 5, out, below), out)
            below = 2 * out  # the raw encoder output of the same size is concatenated
        for index, out in enumerate([*filters, *up]):
            for part in ('gamma', 'beta', 'moving_mean', 'moving_variance'):
                shapes[f'{layer_name("batch_normalization", NORMS_PER_STEM * stem + index)}/{part}'] = (out,)
    return shapes


def is_unused(name: str) -> bool:
    """Whether a checkpoint's variable feeds nothing: accepted, checked for its shape, and ignored."""
    layer = name.split('/')[0]
    kind, _, number = layer.rpartition('_')
    index = int(number) if kind == 'batch_normalization' and number.isdigit() else 0
    return layer.startswith('batch_normalization') and index % NORMS_PER_STEM == UNUSED_ENCODER_NORM


def check_variables(config: ModelConfig, shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Raise UsageError unless a file holds exactly the weights of a configuration, naming those that are wrong."""
    expected = expected_variables(config)
    problems = []
    missing = [name for name in expected if name not in shapes]
    if missing:
        problems.append(f'missing {_some(missing)}')
    unknown = [name for name in shapes if name not in expected and not _is_training_state(name)]
    if unknown:
        problems.append(f'unknown {_some(unknown)}')
    wrong = [
        f'{name} {list(shapes[name])} instead of {list(shape)}'
        for name, shape in expected.items()
        if name in shapes and tuple(shapes[name]) != shape
    ]
    if wrong:
        problems.append(f'wrong shape: {_some(wrong)}')
    if problems:
        raise UsageError(
            f'weights {source} do not fit their configuration ({"; ".join(problems)}): '
            'use the configuration file that the model was trained with'
        )


def _some(names: list[str]) -> str:
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')


def _is_training_state(name: str) -> bool:
    """Step counters and optimiser slots, which fine-tuned checkpoints keep beside the weights."""
    slots = ('Adam', 'Adam_1', 'Momentum', 'Adadelta', 'Adadelta_1', 'ExponentialMovingAverage')
    return name in ('global_step', 'beta1_power', 'beta2_power') or name.rsplit('/', 1)[-1] in slots


def _tensorflow() -> Any:
    """TensorFlow, which reads checkpoints whatever runs under Keras."""
    from . import backend  # noqa: F401  (first: it keeps off standard error what TensorFlow says when it is imported)

    import tensorflow  # isort: skip

    return tensorflow


def is_checkpoint(folder: str) -> bool:
    """Whether a folder holds a TensorFlow 1 checkpoint as Spleeter's releases do."""
    return os.path.isfile(os.path.join(folder, 'checkpoint'))


def named_checkpoint(text: str) -> str | None:
    """What the text of a file `checkpoint` names as the newest: a path prefix, relative to the file's folder."""
    found = re.search(r'^\s*model_checkpoint_path:\s*"([^"]+)"', text, re.MULTILINE)
    return None if found is None else found[1]


def checkpoint_prefix(folder: str) -> str:
    """The path prefix of the newest checkpoint in a folder, as its `checkpoint` file names it."""
    try:
        with open(os.path.join(folder, 'checkpoint'), encoding='utf-8') as file:
            named = named_checkpoint(file.read())
    except (OSError, ValueError):  # ValueError: not text
        named = None
    # A copied folder may still name the place that it was copied from.
    for path in () if named is None else (named, os.path.basename(named)):
        prefix = os.path.join(folder, path)
        if os.path.isfile(f'{prefix}.index'):
            return prefix
    raise UsageError(
        f'checkpoint {folder}: its file `checkpoint` does not name one that is there: '
        'copy the .index and .data files of the model beside it'
    )


def read_weights(config: ModelConfig, source: str) -> dict[str, np.ndarray]:
    """All weights of a configuration from a checkpoint folder or a .npz file.

    Returns:
      name -> float32 array, those that nothing reads included.

    Raises:
      UsageError: a file that cannot be read; missing, unknown or misshaped variables, by name.
    """
    read = _read_npz if source.endswith('.npz') else _read_checkpoint
    weights = read(config, source)
    bad = [name for name, value in weights.items() if not np.isfinite(value).all()]
    if bad:
        raise UsageError(
            f'weights {source}: NaN or infinity in {_some(bad)}: the training diverged, take another checkpoint'
        )
    return weights


def _read_checkpoint(config: ModelConfig, folder: str) -> dict[str, np.ndarray]:
    tf = _tensorflow()

    prefix = checkpoint_prefix(folder)
    try:
        reader = tf.train.load_checkpoint(prefix)
        check_variables(config, reader.get_variable_to_shape_map(), folder)
        return {name: np.asarray(reader.get_tensor(name), np.float32) for name in expected_variables(config)}
    except (tf.errors.OpError, LookupError, ValueError, RuntimeError) as error:
        raise UsageError(
            f'checkpoint {folder} cannot be read ({_first_line(error)}): copy or download it again'
        ) from error


def _read_npz(config: ModelConfig, path: str) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            # What the headers promise comes first: an array of another shape may be larger than memory.
            check_variables(
                config, {name.removesuffix('.npy'): _shape(archive, name) for name in archive.namelist()}, path
            )
            return {name: _array(archive, f'{name}.npy') for name in expected_variables(config)}
    except UsageError:
        raise
    except Exception as error:  # zipfile, zlib, and numpy's way to read headers raise whatever comes up in them
        raise UsageError(f'weights {path} cannot be read ({_first_line(error)}): copy the model again') from error


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """The shape of an array in an archive, of which no more than its header is unpacked."""
    with archive.open(name) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = read(file)
    if dtype.kind not in 'fiu':
        raise ValueError(f'{name} holds {dtype}, no numbers')
    return shape


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as file:
        array = np.lib.format.read_array(file, allow_pickle=False).astype(np.float32)
        if file.read(1):  # at its end the archive's own checksum is compared
            raise ValueError(f'{name} goes on after its end')
    return array


def _first_line(error: BaseException) -> str:
    return str(error).strip().split('\n')[0]


def write_npz(path: str, weights: Mapping[str, np.ndarray]) -> None:
    """Write weights under Spleeter's names as they are, float32 or float16; the file appears whole or not at all."""
    temporary = f'{path}.{os.getpid()}.tmp'
    with open(temporary, 'wb') as file:
        np.savez_compressed(file, **weights)  # type: ignore[arg-type]
    os.replace(temporary, path)


def write_checkpoint(folder: str, weights: Mapping[str, np.ndarray], global_step: int) -> None:
    """Write weights as Spleeter's releases have them: `checkpoint`, `model.index`, `model.data-00000-of-00001`.

    Args:
      folder: is there, and empty.
      weights: by Spleeter's names, all that `expected_variables` lists.
      global_step: how many steps the weights were trained for.
    """
    tf = _tensorflow()

    tensors = {name: tf.constant(value, tf.float32) for name, value in weights.items()}
    tensors['global_step'] = tf.constant(global_step, tf.int64)
    names = sorted(tensors)
    tf.raw_ops.SaveV2(
        prefix=os.path.join(folder, 'model'),
        tensor_names=names,
        shape_and_slices=[''] * len(names),
        tensors=[tensors[name] for name in names],
    )
    # Paths relative to the folder, so that it can be moved.
    with open(os.path.join(folder, 'checkpoint'), 'w', encoding='utf-8') as file:
        file.write('model_checkpoint_path: "model"\nall_model_checkpoint_paths: "model"\n')


def model_variables(model: object) -> Iterator[tuple[str, object]]:
    """(Spleeter name, Keras variable) of every weight that the network reads."""
    for layer in model.layers:  # type: ignore[attr-defined]
        for variable in layer.weights:
            if 'seed_generator' not in variable.path:
                yield f'{layer.name}/{variable.name}', variable


def assign_weights(model: object, weights: Mapping[str, np.ndarray]) -> None:
    """Put weights, by Spleeter's names, into a network from `unet.build_unet`."""
    for name, variable in model_variables(model):
        variable.assign(weights[name])  # type: ignore[attr-defined]


def extract_weights(model: object, config: ModelConfig) -> dict[str, np.ndarray]:
    """The weights of a network by Spleeter's names; norms that nothing reads get their initial values."""
    found = {name: np.asarray(variable) for name, variable in model_variables(model)}
    for name, shape in expected_variables(config).items():
        if is_unused(name):
            found[name] = np.full(shape, 1.0 if name.endswith(('gamma', 'moving_variance')) else 0.0, np.float32)
    return found


def fingerprint_weights(source: str) -> str:
    """SHA-256 (hex) over the bytes of a weights file or checkpoint: the same weights have the same fingerprint."""
    if source.endswith('.npz'):
        files = [source]
    else:
        prefix = checkpoint_prefix(source)
        folder, base = os.path.split(prefix)
        files = sorted(
            os.path.join(folder, name)
            for name in os.listdir(folder)
            if name.startswith((f'{base}.index', f'{base}.data'))
        )
    digest = hashlib.sha256()
    for path in files:
        with open(path, 'rb') as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
