"""What a GPU does, in a process of its own, so that it has the GPU's memory to itself and gives it back.

Matrix products and the U-Nets run on data that are made on the device and summed up there: neither waits for transfers.
The signal path is fed and emptied as in a run.  Without a GPU all of it runs on the CPU, which tells that it works.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from .peers.serving import serve, timed

PRODUCTS = 16  # matrix products in one call


@contextlib.contextmanager
def precision(tf32: bool) -> Iterator[None]:
    """Products of float32 by tensor cores, which round their inputs to 11 bits (TF32) where there are any; or exact."""
    from stembeam.model.backend import keras

    if keras.backend.backend() == 'jax':
        import jax

        with jax.default_matmul_precision('tensorfloat32' if tf32 else 'float32'):
            yield
        return
    import tensorflow as tf

    former = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(tf32)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(former)


def multiply(_: object, seed: Any, size: int) -> Any:
    """A sum over a chain of matrix products, which cannot be known before `seed` is."""
    from stembeam.model.backend import keras

    ops = keras.ops
    square = ops.reshape(ops.sin(ops.arange(size * size, dtype='float32') * seed), (size, size))
    product = square
    for _ in range(PRODUCTS):
        product = ops.matmul(product, square) * np.float32((2 / size) ** 0.5)
    return ops.sum(product)


def estimate(network: Any, seed: Any, shape: tuple[int, ...]) -> Any:
    """Sums of what the networks make of magnitudes of that shape."""
    from stembeam.model.backend import keras

    ops = keras.ops
    ramp = ops.reshape(ops.arange(int(np.prod(shape)), dtype='float32'), shape)
    return [ops.sum(stem) for stem in _listed(network(ops.abs(ops.sin(ramp * seed))))]


def _listed(found: Any) -> list[Any]:
    return list(found) if isinstance(found, list | tuple) else [found]


class _Device:
    """Everything compiled and called once."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        from stembeam.model.arithmetic import chunk_flop
        from stembeam.model.backend import compile_function, find_gpu
        from stembeam.model.chunks import ChunkGrid
        from stembeam.model.device_path import DevicePath
        from stembeam.model.folded_unet import build_folded_unet
        from stembeam.model.method import Method
        from stembeam.model.store import resolve_model

        files = resolve_model(config['model'])
        model, method, self.batch = files.config, Method(), config['batch']
        network = build_folded_unet(model, files.read_weights())
        shape = self.batch, model.frames, model.bins, model.channels
        grid = ChunkGrid.of(model)
        self.name = find_gpu() or 'CPU'
        self.seconds = self.batch * grid.hop / model.sample_rate  # of audio in a batch
        self.flop = {'product': 2 * PRODUCTS * config['size'] ** 3, 'networks': self.batch * chunk_flop(model)}
        self.work: dict[tuple[str, bool], Callable[[], Any]] = {}
        rng = np.random.default_rng(0)
        waves = [0.1 * rng.standard_normal((grid.span, model.channels)).astype(np.float32) for _ in range(self.batch)]
        targets = np.zeros((self.batch, len(method.outputs(model)), grid.span, model.channels), np.float32)
        for tf32 in (True, False):
            product = compile_function(None, partial(multiply, size=config['size']))
            networks = compile_function(network, partial(estimate, shape=shape))
            self.work['product', tf32] = partial(product, np.float32(0.7))
            self.work['networks', tf32] = partial(networks, np.float32(0.7))
            for part, with_rows in (('path', False), ('path and features', True)):
                path = DevicePath(network, model, method, self.batch, for_16_bits=True, with_rows=with_rows)
                self.work[part, tf32] = partial(self._separate, path, waves, targets)
        self.stems = {}
        for (part, tf32), work in self.work.items():
            with precision(tf32):
                found = work()
            if part == 'path':
                self.stems[tf32] = found

    @staticmethod
    def _separate(path: Any, waves: list[np.ndarray], targets: np.ndarray) -> np.ndarray:
        stems = np.zeros_like(targets)  # of every thread its own
        path.separate(waves, list(stems))
        return stems

    def measure(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """`part`, `tf32`, `streams` and `seconds` of a task; without a part, what this device is."""
        if 'part' not in task:
            return {'device': self.name, 'difference': float(np.abs(self.stems[True] - self.stems[False]).max())}
        part, streams = task['part'], task['streams']
        work = self.work[part, task['tf32']]

        def repeat() -> int:
            began, times = time.perf_counter(), 0
            while times == 0 or time.perf_counter() - began < task['seconds']:
                work()
                times += 1
            return times

        with precision(task['tf32']):
            took = timed(repeat, streams)
        times = sum(took['results'])
        found = {'rate': times * self.flop[part] / took['wall'] / 1e9} if part in self.flop else {}
        if part != 'product':
            found['speed'] = times * self.seconds / took['wall']
        return found


if __name__ == '__main__':
    serve(lambda config: _Device(config).measure)
