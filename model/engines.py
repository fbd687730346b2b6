"""What computes a model's chunks: signal path and functions of the Wiener filter, by Keras on TensorFlow or JAX.

Two signal paths. On the host: transforms and masks by SciPy and NumPy around the network (host_signal.py), the faster
one on CPUs. On the device: all in one compiled graph (device_path.py), so that nothing but samples goes to a GPU and
comes back. Which one runs depends on whether there is a GPU, and the log says so; both make the same stems but for
rounding.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from .batch_size import GPU_BATCH_SIZE
from .chunks import ChunkGrid
from .configuration import ModelConfig
from .host_signal import HostSignal
from .method import Method

logger = logging.getLogger(__name__)

Networks = Callable[[np.ndarray], Sequence[np.ndarray]]  # magnitudes (batch, T, F, channels) to the same per stem


class SignalPath(Protocol):
    """The way of chunks from samples to stems, without a Wiener filter."""

    def separate(self, waves: Sequence[np.ndarray], stems: Sequence[np.ndarray]) -> np.ndarray | None:
        """Add what chunks contribute to the method's outputs.

        Args:
          waves: float32 (span, channels), at most as many as go through the network together.
          stems: for each float32 (outputs, span, channels), every output contiguous: what chunks before have
            contributed, that is zeros from sample `grid.tail` on.

        Returns:
          float32 (outputs + 1, chunks, chunk_rows.rows_per_chunk(grid), NUM_SPECTRAL): spectral rows for the features
          of the outputs, as they will be written, and of the mixture, see chunk_rows.py; None: they are not computed.
        """


class WienerFunctions(NamedTuple):
    """Compiled functions from arrays to arrays; inputs and outputs as those of signal_path.py."""

    analyse: Callable[..., Any]  # wiener_analysis
    separate: Callable[..., Any]  # wiener_separation
    reanalyse: Callable[..., Any]  # wiener_reanalysis
    synthesise: Callable[..., Any]  # wiener_synthesis


class Engine(NamedTuple):
    """A loaded model."""

    batch_size: int  # chunks that go through the network together
    path: SignalPath
    wiener: WienerFunctions | None  # None: the method has no Wiener filter


class HostPath:
    """Transforms and masks on the CPU around the networks, which see magnitudes alone."""

    def __init__(self, networks: Networks, config: ModelConfig, method: Method, batch_size: int) -> None:
        """`networks` are those of `method.networks`, and take batches of `batch_size`."""
        self._networks = networks
        self._signal = HostSignal(config, method)
        self._shape = batch_size, config.frames, config.bins, config.channels
        self._tail = ChunkGrid.of(config, method.overlap).tail

    def estimates(self, waves: Sequence[np.ndarray]) -> tuple[Sequence[np.ndarray], list[np.ndarray]]:
        """What the networks make of chunks, per stem (batch_size, T, F, channels); and the chunks' spectra."""
        # Always a full batch: another shape could be computed in another order, and segments must not change stems.
        magnitudes = (np.empty if len(waves) == self._shape[0] else np.zeros)(self._shape, np.float32)
        spectra = [self._signal.analyse(wave, magnitudes[row]) for row, wave in enumerate(waves)]
        return self._networks(magnitudes), spectra

    def separate(self, waves: Sequence[np.ndarray], stems: Sequence[np.ndarray]) -> None:
        """See `SignalPath`."""
        estimates, spectra = self.estimates(waves)
        for row, (spectrum, target) in enumerate(zip(spectra, stems, strict=True)):
            # A chunk's own sum first: additions in the same order, wherever a segment begins.
            before = target[:, : self._tail].copy()
            target[:, : self._tail] = 0
            self._signal.add_stems(spectrum, [estimate[row] for estimate in estimates], target)
            target[:, : self._tail] += before


def full_batch(waves: Sequence[np.ndarray], batch_size: int) -> np.ndarray:
    """Chunks as one array, float32 (batch_size, span, channels), with zeros where there are too few."""
    if len(waves) == batch_size == 1:
        return waves[0][np.newaxis]
    batch = np.zeros((batch_size, *waves[0].shape), np.float32)
    for row, wave in enumerate(waves):
        batch[row] = wave
    return batch


def load_engine(
    config: ModelConfig,
    weights: Mapping[str, np.ndarray],
    method: Method,
    batch_size: int | None = None,
    streams: int | None = None,
    for_16_bits: bool = False,
    with_rows: bool = False,
) -> Engine:
    """Build the networks of a method and fill them; sizes the thread pools of what computes them.

    Args:
      batch_size: None: 1 on CPUs, GPU_BATCH_SIZE on GPUs.
      streams: threads that will call, each on a core of its own; None: one, with all cores.
      for_16_bits: the stems will be written with 16 bits at the model's rate: a GPU may round them to these steps, so
        that half as much has to leave it. Files and features are the same. Not under the Wiener filter.
      with_rows: there will be features of the stems, as they will be written, and of the mixture, at the model's rate:
        a GPU may compute a part of them, see chunk_rows.py. Not under the Wiener filter.
    """
    from . import signal_path
    from .backend import compile_function, configure_threads, find_gpu, forbid_tf32
    from .folded_unet import build_folded_unet

    if streams is not None:
        configure_threads(streams)
    gpu = find_gpu()
    size = batch_size or (GPU_BATCH_SIZE if gpu else 1)
    network = build_folded_unet(config, weights, method.networks(config), shares=method.masks == 'direct')
    if gpu:
        from .device_path import DevicePath

        forbid_tf32()
        logger.info('transforms, networks and masks run on %s, %d chunks at a time', gpu, size)
        path: SignalPath = DevicePath(network, config, method, size, for_16_bits, with_rows)
    else:
        logger.info('no GPU: networks run on the CPU, %d chunks at a time, transforms and masks beside them', size)
        shape = size, config.frames, config.bins, config.channels
        path = HostPath(compile_function(network, _as_list, shapes=[shape]), config, method, size)
    if not method.mwf_iterations:
        return Engine(size, path, None)
    options: Any = {'config': config, 'method': method}
    wiener = WienerFunctions(
        compile_function(network, functools.partial(signal_path.wiener_analysis, **options)),
        compile_function(network, functools.partial(signal_path.wiener_separation, **options)),
        *_wiener_without_networks(config, method),
    )
    return Engine(size, path, wiener)


def _as_list(network: Any, magnitude: Any) -> list[Any]:
    found = network(magnitude)
    return list(found) if isinstance(found, list | tuple) else [found]  # Keras takes a single output out of its list


def _wiener_without_networks(config: ModelConfig, method: Method) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`reanalyse` and `synthesise`, which take magnitudes."""
    from . import signal_path
    from .backend import compile_function

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        bound = functools.partial(function, config=config, method=method)
        return compile_function(None, lambda _network, *inputs: bound(*inputs))

    return compiled(signal_path.wiener_reanalysis), compiled(signal_path.wiener_synthesis)
