"""Every stage of a track's way by itself, in milliseconds per second of audio.

Each stage runs in as many threads as there are cores, all doing the same on data of their own: so its wall time is that
of a run in which all cores do nothing else, and holds what they cost each other in memory and interpreter. CPU time is
that of all threads. All is warm: files in the page cache, graphs compiled.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .material import SAMPLE_RATE, Material
from .peers.serving import serve, timed
from .turns import Subject, Worker

MASKS = 'masks, four stems'
BOTH = 'masks and inverse STFT, four stems'
INVERSE = 'inverse STFT, four stems'  # BOTH, less MASKS
FEATURES = 'features, one signal'
FEATURES_AFTER_GPU = 'features, one signal, spectra on a GPU'  # what is left to the host there
STAGES = (
    'decode FLAC',
    'decode WAV',
    'decode MP3',
    'STFT',
    'U-Nets',
    MASKS,
    INVERSE,
    'signal path as a whole',
    FEATURES,
    FEATURES_AFTER_GPU,
    'encode FLAC, one stem',
    'encode WAV, one stem',
)
# How often each happens for a track with features and FLAC stems.
TIMES = {
    'decode FLAC': 1,
    'signal path as a whole': 1,
    FEATURES: 5,
    'encode FLAC, one stem': 4,
}
STEM_SECONDS = 30

Stage = Callable[[], float]  # does the stage's work once; returns seconds of audio


def decoding(path: str) -> Stage:
    """Read a whole file."""
    from stembeam.transforms.decoding import decode_blocks
    from stembeam.transforms.probing import probe

    info = probe(path)
    return lambda: sum(len(block) for block in decode_blocks(path, info, SAMPLE_RATE)) / SAMPLE_RATE


def encoding(samples: np.ndarray, name: str) -> Stage:
    """Write one stem."""
    from stembeam.transforms.encoding import FORMATS, StemWriter, quantise

    form = FORMATS[name]

    def encode() -> float:
        with tempfile.TemporaryDirectory() as folder, StemWriter(f'{folder}/stem', form, SAMPLE_RATE, 2) as writer:
            for first in range(0, len(samples), 1 << 16):
                writer.write(quantise(samples[first : first + (1 << 16)], form))
        return len(samples) / SAMPLE_RATE

    return encode


def features(samples: np.ndarray, after_gpu: bool = False) -> Stage:
    """All features of one stem; or what the host has to do if a GPU has computed the spectra, but for seams and doubts
    (1 frame in 25 of this material).
    """
    from stembeam.model.features import FeatureExtractor
    from stembeam.model.features.columns import HOP_LENGTH
    from stembeam.model.features.frames import spectral_rows
    from stembeam.model.features.spectra import frames_of

    known = None
    if after_gpu:
        whole = samples[: len(samples) // HOP_LENGTH * HOP_LENGTH].mean(axis=1, dtype=np.float32)
        known = spectral_rows(frames_of(whole), SAMPLE_RATE)  # shifted by a frame, which costs the same
        known[::25] = np.nan

    def extract() -> float:
        extractor = FeatureExtractor(SAMPLE_RATE, 2, known)
        for first in range(0, len(samples), 1 << 16):
            extractor.add(samples[first : first + (1 << 16)])
        extractor.finish()
        return len(samples) / SAMPLE_RATE

    return extract


def signal_path(folder: str, samples: np.ndarray, streams: int) -> dict[str, Stage]:
    """The stages inside the model on one chunk, and all of them together on a few."""
    from stembeam.model.backend import compile_function
    from stembeam.model.chunk_separator import ChunkSeparator
    from stembeam.model.folded_unet import build_folded_unet
    from stembeam.model.host_signal import HostSignal
    from stembeam.model.method import Method
    from stembeam.model.store import resolve_model

    files = resolve_model(folder)
    config, weights = files.config, files.read_weights()
    separator = ChunkSeparator(config, weights, streams=streams)
    network = compile_function(build_folded_unet(config, weights), lambda network, magnitudes: network(magnitudes))

    class MasksAlone(HostSignal):
        """Masks the spectra, and leaves out what turns them into samples."""

        def _add_frames(self, *_: object) -> None:
            pass

    if not hasattr(HostSignal, '_add_frames'):
        raise RuntimeError('HostSignal has no method _add_frames: masks alone are measured by leaving it out')
    signal, masking = HostSignal(config, Method()), MasksAlone(config, Method())
    wave = np.ascontiguousarray(samples[: separator.grid.span])
    seconds = config.frames * config.frame_step / config.sample_rate
    magnitude = np.zeros((config.frames, config.bins, config.channels), np.float32)
    spectra = signal.analyse(wave, magnitude)
    estimates = [stem[0] for stem in network(magnitude[np.newaxis])]
    chunks = (len(samples) - separator.grid.tail) // separator.grid.hop
    run = samples[: separator.grid.samples_of(chunks)]

    def add_stems(path: HostSignal) -> float:
        path.add_stems(spectra, estimates, np.zeros((len(estimates), *wave.shape), np.float32))
        return seconds

    def analyse() -> float:
        signal.analyse(wave, np.empty_like(magnitude))
        return seconds

    def estimate() -> float:
        network(magnitude[np.newaxis])
        return seconds

    def separate() -> float:
        separator.separate_runs([run])
        return chunks * seconds

    return {
        'STFT': analyse,
        'U-Nets': estimate,
        MASKS: lambda: add_stems(masking),
        BOTH: lambda: add_stems(signal),
        'signal path as a whole': separate,
    }


def prepare(config: Mapping[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A worker: a task names a stage and says how often it is done in each stream."""
    import soundfile

    samples = soundfile.read(config['wav'], dtype='float32', frames=STEM_SECONDS * SAMPLE_RATE)[0]
    samples = np.resize(samples, (STEM_SECONDS * SAMPLE_RATE, 2))  # a shorter track is repeated
    stages = {
        'decode FLAC': decoding(config['flac']),
        'decode WAV': decoding(config['wav']),
        'decode MP3': decoding(config['mp3']),
        FEATURES: features(samples),
        FEATURES_AFTER_GPU: features(samples, after_gpu=True),
        'encode FLAC, one stem': encoding(samples, 'flac'),
        'encode WAV, one stem': encoding(samples, 'wav'),
        **signal_path(config['model'], samples, config['streams']),
    }
    # Once for warmth, once to know how often it takes to fill half a second.
    repeats = {}
    for name, stage in stages.items():
        stage()
        repeats[name] = max(1, round(config['seconds'] / timed(stage)['wall']))

    def measure(task: dict[str, Any]) -> dict[str, Any]:
        if task['stage'] == INVERSE:
            return difference(stages[BOTH], stages[MASKS], repeats[BOTH], config['streams'])
        stage, times = stages[task['stage']], repeats[task['stage']]
        took = timed(lambda: sum(stage() for _ in range(times)), config['streams'])
        audio = sum(took['results'])
        return {'cpu': 1e3 * took['cpu'] / audio, 'wall': 1e3 * took['wall'] / audio}

    return measure


def difference(stage: Stage, part: Stage, times: int, streams: int) -> dict[str, float]:
    """What a stage takes more than a part of it, both in turns; functions of one thread each."""

    def in_turns() -> np.ndarray:
        spent = np.zeros(3)  # CPU and wall seconds, seconds of audio
        for _ in range(times):
            clocks = []
            for function in (stage, part):
                clocks.append((time.thread_time(), time.perf_counter()))
                audio = function()
            clocks.append((time.thread_time(), time.perf_counter()))
            whole, some = np.diff(clocks, axis=0)
            spent += [*(whole - some), audio]
        return spent

    cpu, wall, audio = np.sum(timed(in_turns, streams)['results'], axis=0)
    return {'cpu': 1e3 * cpu / audio, 'wall': 1e3 * wall / streams / audio}


def stage_subjects(
    material: Material, cores: int, rounds: int, seconds: float, logs: Path, workers: list[Worker]
) -> list[Subject]:
    """All stages, each for about so many seconds a turn; the worker is added to `workers`."""
    config = {
        'flac': os.fspath(material.tracks[0]),
        'wav': os.fspath(material.wav),
        'mp3': os.fspath(material.mp3),
        'model': os.fspath(material.model('4stems')),
        'streams': cores,
        'seconds': seconds,
    }
    worker = Worker('stages', config, logs / 'stages.log')
    workers.append(worker)
    return [Subject('stages', name, lambda name=name: worker.measure({'stage': name}), rounds) for name in STAGES]  # type: ignore[misc]


if __name__ == '__main__':
    serve(prepare)
