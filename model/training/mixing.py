"""Random mixtures of the takes of a bank, as waveforms and as the magnitudes that the network is trained on.

The one idea to know: stems of different songs are mixed more often than stems of one song, and every stem is
missing now and then, so that the network learns what a stem sounds like and not what usually goes with it, and
learns silence. A draw depends on its random generator alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.fft
import soundfile
import soxr

from ..configuration import ModelConfig
from ..errors import UsageError
from ..spectral import hann
from .effects import active_level

QUIET = 10 ** (-60 / 20)  # below this level a chunk of a take counts as silence and is not scaled up


@dataclasses.dataclass(frozen=True)
class MixingRules:
    """Chances and ranges of a draw."""

    same_song: float = 0.3  # all stems from one song at one place
    absent: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {'vocals': 0.25, 'drums': 0.2, 'bass': 0.2, 'other': 0.15}
    )
    second_take: float = 0.2  # of "other", whose name stands for many instruments at once
    gain_db: float = 4.0  # standard deviation of each stem's level around `level_db`
    level_db: Mapping[str, float] = dataclasses.field(
        default_factory=lambda: {'vocals': 0.0, 'drums': 0.0, 'bass': -1.0, 'other': -1.0}
    )
    swap: float = 0.5  # left and right exchanged
    respeed: float = 0.4  # played faster or slower, pitch with it
    speed_range: tuple[float, float] = (0.84, 1.19)
    mixture_db: tuple[float, float] = (-17.0, 5.0)  # mean and standard deviation of the mixture's level


class Batch(NamedTuple):
    """What one step trains on: magnitudes, float32 (chunks, T, F, channels), of the mixture and of every stem."""

    mixture: np.ndarray
    stems: list[np.ndarray]


class Bank:
    """The takes of one split of a bank on disk (see `render_bank`); nothing is kept in memory."""

    def __init__(self, folder: Path, split: str, stems: Sequence[str], sample_rate: int) -> None:
        """List the takes. Raises UsageError where a stem has none, or another sample rate than the model."""
        self.stems = tuple(stems)
        self.sample_rate = sample_rate
        self.takes = {stem: sorted((folder / split / stem).glob('*.wav')) for stem in stems}
        for stem, takes in self.takes.items():
            if not takes:
                raise UsageError(f'{folder / split / stem}: no takes (*.wav); render a bank there with render_bank')
        found = soundfile.info(self.takes[self.stems[0]][0]).samplerate
        if found != sample_rate:
            raise UsageError(f'{folder}: takes have {found} Hz, the model {sample_rate} Hz; render the bank again')
        names = [{take.name for take in takes} for takes in self.takes.values()]
        self.songs = sorted(set.intersection(*names))
        self.folder = folder / split

    def read(self, path: Path, place: float, samples: int) -> np.ndarray:
        """`samples` of a take from a place (0 first .. 1 last possible), (samples, 2), repeated if too short."""
        with soundfile.SoundFile(path) as file:
            file.seek(int(place * max(file.frames - samples, 0)))
            audio = file.read(samples, dtype='float32', always_2d=True)
        return np.resize(audio, (samples, audio.shape[1])) if len(audio) < samples else audio


def _draw_take(bank: Bank, stem: str, samples: int, rules: MixingRules, rng: np.random.Generator) -> np.ndarray:
    takes = bank.takes[stem]
    path, place = takes[int(rng.integers(len(takes)))], rng.random()
    if rng.random() >= rules.respeed:
        return bank.read(path, place, samples)
    speed = float(rng.uniform(*rules.speed_range))
    audio = bank.read(path, place, int(samples * speed) + 2)
    changed = soxr.resample(audio, bank.sample_rate * speed, bank.sample_rate, quality='LQ')
    return np.resize(changed, (samples, changed.shape[1]))


def draw_stems(bank: Bank, samples: int, rules: MixingRules, rng: np.random.Generator) -> np.ndarray:
    """One random mixture as its stems: float32 (stems, samples, 2); their sum is the mixture."""
    together = bool(bank.songs) and rng.random() < rules.same_song
    song, place = (bank.songs[int(rng.integers(len(bank.songs)))], rng.random()) if together else ('', 0.0)
    drawn = np.zeros((len(bank.stems), samples, 2), np.float32)
    for stem, out in zip(bank.stems, drawn, strict=True):
        if rng.random() < rules.absent.get(stem, 0.0):
            continue
        if together:
            audio = bank.read(bank.folder / stem / song, place, samples)
        else:
            audio = _draw_take(bank, stem, samples, rules, rng)
            if stem == 'other' and rng.random() < rules.second_take:
                audio = audio + _draw_take(bank, stem, samples, rules, rng)
        if rng.random() < rules.swap:
            audio = audio[:, ::-1]
        level = active_level(audio)
        gain = 10 ** (rng.normal(rules.level_db.get(stem, 0.0), rules.gain_db) / 20)
        out[:] = audio * (gain / level if level > QUIET else gain)
    level = active_level(drawn.sum(axis=0))
    wanted = 10 ** (min(rng.normal(*rules.mixture_db), -6.0) / 20)
    return drawn * np.float32(wanted / level if level > QUIET else 1.0)


def spectra(waves: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Short-time spectra as `spectral.stft` has them, without a graph, of the bins that the network sees.

    Args:
      waves: float32 (..., samples, channels), samples = (frames - 1) * frame_step + frame_length.

    Returns:
      complex64 (..., frames, F, channels).
    """
    sides = np.ascontiguousarray(np.swapaxes(waves, -1, -2))
    framed = np.lib.stride_tricks.sliding_window_view(sides, config.frame_length, axis=-1)[..., :: config.frame_step, :]
    transformed = scipy.fft.rfft(framed * hann(config.frame_length), axis=-1)[..., : config.bins]
    return np.moveaxis(transformed, -3, -1)


def chunk_samples(config: ModelConfig) -> int:
    """Samples that one chunk of the model reads."""
    return (config.frames - 1) * config.frame_step + config.frame_length


def draw_batch(bank: Bank, config: ModelConfig, chunks: int, rules: MixingRules, seed: Sequence[int]) -> Batch:
    """Random chunks as magnitudes, of all the bank's stems mixed and of each of the model's; a seed decides them."""
    wanted = [bank.stems.index(name) for name in config.instruments]
    shape = (len(wanted), chunks, config.frames, config.bins, config.channels)
    mixture, stems = np.empty(shape[1:], np.float32), np.empty(shape, np.float32)
    for chunk in range(chunks):
        rng = np.random.default_rng([*seed, chunk])
        waves = draw_stems(bank, chunk_samples(config), rules, rng)
        parts = spectra(waves[..., : config.channels], config)
        mixture[chunk] = np.abs(parts.sum(axis=0))
        stems[:, chunk] = np.abs(parts[wanted])
    return Batch(mixture, list(stems))
