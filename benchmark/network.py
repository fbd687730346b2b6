"""The U-Nets alone, as `separate` runs them: one single-threaded stream per core over one shared model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .peers.serving import serve, timed
from .turns import Subject, Worker

if TYPE_CHECKING:
    import numpy as np

    from stembeam.model.configuration import ModelConfig

ENGINES = {'tensorflow': 'TensorFlow', 'openvino': 'OpenVINO'}  # by the package that it needs


def prepare(config: Mapping[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A worker: `config` names engine, model and the most streams; a task says how many, and how many chunks each."""
    import numpy as np

    from stembeam.model.arithmetic import chunk_flop
    from stembeam.model.store import resolve_model

    files = resolve_model(config['model'])
    model = files.config
    build = _openvino if config['engine'] == 'openvino' else _tensorflow
    network = build(model, files.read_weights(), config['streams'])
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


def _tensorflow(config: ModelConfig, weights: Mapping[str, np.ndarray], streams: int) -> Callable[..., Any]:
    from stembeam.model.backend import compile_function, configure_threads
    from stembeam.model.folded_unet import build_folded_unet

    configure_threads(streams)
    return compile_function(build_folded_unet(config, weights), lambda network, magnitudes: network(magnitudes))


def _openvino(config: ModelConfig, weights: Mapping[str, np.ndarray], streams: int) -> Callable[..., Any]:
    from stembeam.model.openvino_unet import OpenVinoNetworks

    return OpenVinoNetworks(config, weights, config.instruments, False, 1, streams)


def network_subjects(
    model: Path, cores: int, rounds: int, chunks: int, logs: Path, workers: list[Worker]
) -> list[Subject]:
    """One stream, and one per core, of every engine that is installed; the workers are added to `workers`."""
    subjects = []
    for engine, name in ENGINES.items():
        if find_spec(engine) is None:
            continue
        config = {'engine': engine, 'model': str(model), 'streams': cores}
        worker = Worker('network', config, logs / f'network-{engine}.log')
        workers.append(worker)
        for streams in sorted({1, cores}):
            told = f'four U-Nets, {name}, {streams} stream' + 's' * (streams > 1)
            asking = partial(worker.measure, {'streams': streams, 'chunks': chunks})
            subjects.append(Subject('network', told, asking, rounds))
    return subjects


if __name__ == '__main__':
    serve(prepare)
