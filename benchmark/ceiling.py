"""The machine's float32 matrix ceiling: the most GFLOP/s at which a library multiplies square matrices here.

Nothing that convolves can be faster on average, so it is what the networks are measured against, and by what the speeds
of different machines are made comparable. Several ways are tried and the best one counts: NumPy's and TensorFlow's, one
call per core and one call over all cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .peers.serving import serve, timed
from .turns import Subject, Worker

SIZES = (1024, 2048, 3072)
SECONDS = 0.2  # of every size, about


def best_rate(multiply: Callable[[int], Any], seconds: Mapping[int, float], streams: int) -> float:
    """GFLOP/s of `multiply(size)` in so many threads, at the best size; one call takes about `seconds[size]`."""
    best = 0.0
    for size in SIZES:
        repeats = max(1, round(SECONDS / seconds[size]))
        took = timed(partial(_repeat, multiply, size, repeats), streams)
        best = max(best, streams * repeats * 2 * size**3 / took['wall'] / 1e9)
    return best


def _repeat(multiply: Callable[[int], Any], size: int, times: int) -> None:
    for _ in range(times):
        multiply(size)


def prepare(config: Mapping[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A worker: `config` names the library and its threads in one call; a task, how many calls at a time."""
    import numpy as np

    rng = np.random.default_rng(0)
    arrays = {size: rng.standard_normal((2, size, size), np.float32) for size in SIZES}
    if config['library'] == 'tensorflow':
        from stembeam.model.backend import keras  # noqa: F401  (keeps TensorFlow's greeting out of the log)

        import tensorflow as tf  # isort: skip

        tf.config.threading.set_intra_op_parallelism_threads(config['threads'])
        tensors = {size: (tf.constant(array[0]), tf.constant(array[1])) for size, array in arrays.items()}

        def multiply(size: int) -> Any:
            return tf.matmul(*tensors[size])

    else:

        def multiply(size: int) -> Any:
            return np.matmul(*arrays[size])

    seconds = {}
    for size in SIZES:
        multiply(size)
        seconds[size] = timed(partial(multiply, size))['wall']
    return lambda task: {'rate': best_rate(multiply, seconds, task['streams'])}


def ceiling_subjects(cores: int, rounds: int, logs: Path, workers: list[Worker]) -> list[Subject]:
    """All ways; the workers that are started for them are added to `workers`."""
    subjects = []
    ways = [(1, 1, 'one core')]
    if cores > 1:
        ways += [(1, cores, 'all cores'), (cores, 1, 'all cores')]
    for library, name in (('numpy', 'NumPy'), ('tensorflow', 'TensorFlow')):
        for threads in sorted({threads for threads, _, _ in ways}):
            environment = {f'{kind}_NUM_THREADS': str(threads) for kind in ('OPENBLAS', 'OMP', 'MKL')}
            log = logs / f'ceiling-{library}-{threads}.log'
            worker = Worker('ceiling', {'library': library, 'threads': threads}, log, environment=environment)
            workers.append(worker)
            for inside, streams, used in ways:
                if inside == threads:
                    how = {1: f'{streams} call' + 's' * (streams > 1)}.get(threads, f'one call on {threads} threads')
                    subjects.append(
                        Subject('ceiling', f'{name}, {how}, {used}', _asking(worker, {'streams': streams}), rounds)
                    )
    return subjects


def _asking(worker: Worker, task: dict[str, Any]) -> Callable[[], dict[str, float]]:
    return lambda: {'rate': worker.measure(task)['rate']}


if __name__ == '__main__':
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    serve(prepare)
