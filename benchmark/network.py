"""The U-Nets alone, as `separate` runs them: one single-threaded stream per core over one shared model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .peers.serving import serve, timed
from .turns import Subject, Worker


def prepare(config: Mapping[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A worker: `config` names model and the most streams; a task says how many, and how many chunks each."""
    import numpy as np

    from stembeam.model.arithmetic import chunk_flop
    from stembeam.model.backend import compile_function, configure_threads
    from stembeam.model.folded_unet import build_folded_unet
    from stembeam.model.store import resolve_model

    files = resolve_model(config['model'])
    model = files.config
    configure_threads(config['streams'])
    folded = build_folded_unet(model, files.read_weights())
    network = compile_function(folded, lambda unet, magnitudes: unet(magnitudes))
    chunk = np.random.default_rng(0).exponential(size=(1, model.frames, model.bins, model.channels)).astype(np.float32)
    seconds = model.frames * model.frame_step / model.sample_rate

    def run(chunks: int) -> None:
        for _ in range(chunks):
            network(chunk)

    timed(lambda: run(2), config['streams'])

    def measure(task: dict[str, Any]) -> dict[str, Any]:
        chunks = task['chunks'] * task['streams']
        took = timed(lambda: run(task['chunks']), task['streams'])
        return {
            'rate': chunks * chunk_flop(model) / took['wall'] / 1e9,
            'speed': chunks * seconds / took['wall'],
            'cpu': took['cpu'] / (chunks * seconds) * 1e3,
        }

    return measure


def network_subjects(
    model: Path, cores: int, rounds: int, chunks: int, logs: Path, workers: list[Worker]
) -> list[Subject]:
    """One stream, and one per core; the worker is added to `workers`."""
    worker = Worker('network', {'model': str(model), 'streams': cores}, logs / 'network.log')
    workers.append(worker)
    subjects = []
    for streams in sorted({1, cores}):
        told = f'four U-Nets, TensorFlow, {streams} stream' + 's' * (streams > 1)
        asking = partial(worker.measure, {'streams': streams, 'chunks': chunks})
        subjects.append(Subject('network', told, asking, rounds))
    return subjects


if __name__ == '__main__':
    serve(prepare)
