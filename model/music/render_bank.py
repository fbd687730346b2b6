"""The generated data set: songs in the layout of MUSDB18-HQ, rendered one by one from a seed.

    BANK/<split>/<song>/{mixture,vocals,drums,bass,other}.wav   16-bit stereo; the stems add up to the mixture exactly
    BANK/<split>/<song>/song.json                               tempo, what sounds in which stem, levels
    BANK/dataset.json                                           seed, hours, sounds of each split, versions of packages

A song depends on the seed, its split and its number alone (and on the versions of the sound packages); it appears
whole or not at all, and songs that are there already are kept. So a killed run goes on where it was, any number of
workers gives the same songs, and a longer bank begins with the shorter one. What splits share and what not is in
`sounds`; some train songs lack a stem (it is silent), test songs have all four.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from ..errors import UsageError
from . import effects, grooves, score
from .sounds import HELD_OUT, describe, package_versions, require_sounds, training_sources
from .stems import RENDERERS, SAMPLE_RATE, Take

STEMS = ('vocals', 'drums', 'bass', 'other')
SPLITS = ('train', 'test')
DATASET_FILE = 'dataset.json'
RECIPE = 2  # counts the changes of the generator that change songs
LEVEL_DB = {'vocals': 1.5, 'drums': 0.0, 'bass': -1.0, 'other': -1.0}
LEVEL_SPREAD_DB = 2.5
ABSENT = {'vocals': 0.03, 'drums': 0.06, 'bass': 0.05, 'other': 0.03}  # chances, in train songs
PAUSES = 0.2  # chance that a stem rests for some bars
MIXTURE_DB = (-15.0, 3.0)  # mean and standard deviation of the mixtures' levels
LOUDEST_DB = -9.0
CEILING = 0.98


@dataclasses.dataclass(frozen=True)
class BankPlan:
    """What a bank is: how many songs, how long, from which seed."""

    train_songs: int = 360
    test_songs: int = 25
    seconds: float = 30.0
    seed: int = 1

    def jobs(self) -> Iterator[tuple[str, int]]:
        """Split and number of every song; test songs, being few, first."""
        yield from (('test', number) for number in range(self.test_songs))
        yield from (('train', number) for number in range(self.train_songs))


def _rest(audio: np.ndarray, song: score.Song, rng: np.random.Generator) -> np.ndarray:
    """The audio with silence for a random stretch of bars, mostly at the beginning, as parts come in and drop out."""
    first = 0 if rng.random() < 0.5 else int(rng.integers(song.bars))
    begin, end = song.time(first, 0), song.time(first + int(rng.integers(1, max(song.bars // 2, 2))), 0)
    times = np.arange(len(audio)) / SAMPLE_RATE
    outside = np.clip(np.maximum(begin - times, times - end) / 0.02, 0, 1)
    return (audio * outside[:, np.newaxis]).astype(np.float32)


def mix(stems: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stems at the levels of a finished record.

    The mixture is sometimes compressed, brought to a random level and limited; its gain, which may change from sample
    to sample, is applied to every stem, so that they still add up.

    Args:
      stems: (stems, samples, 2) float32, balanced.

    Returns:
      (stems, samples, 2) int16, whose sum fits into 16 bits.
    """
    mixture = stems.sum(axis=0)
    gain = np.ones(len(mixture), np.float32)
    if rng.random() < 0.5:
        ratio, threshold = rng.uniform(1.3, 3), rng.uniform(-6, 2)
        gain = effects.compressor_gain(mixture, SAMPLE_RATE, ratio, threshold, rng.uniform(0.005, 0.03), 0.2)
    level = effects.active_level(mixture * gain[:, np.newaxis])
    wanted = 10 ** (min(rng.normal(*MIXTURE_DB), LOUDEST_DB) / 20)
    gain = gain * np.float32(wanted / max(level, 1e-6))
    # A stem may be louder than the mixture, where another one cancels it.
    peaks = np.abs(np.concatenate([mixture[np.newaxis], stems])).max(axis=(0, 2)) * gain
    gain = gain * effects.limiter_gain(peaks, SAMPLE_RATE, CEILING)
    return np.rint(stems * gain[:, np.newaxis] * 32767).astype(np.int16)


def render_song(split: str, number: int, plan: BankPlan) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The stems of one song, int16 (samples, 2), and what there is to know about it."""
    sources = HELD_OUT if split == 'test' else training_sources()
    root = np.random.SeedSequence([plan.seed, SPLITS.index(split), number])
    composing, mixing, *parts = (np.random.default_rng(s) for s in root.spawn(2 + len(STEMS)))
    song = score.compose(composing, plan.seconds, list(grooves.GROOVES))
    absent = [split == 'train' and mixing.random() < ABSENT[stem] for stem in STEMS]
    if sum(absent) > 2:
        absent = [False] * len(STEMS)
    stems, described = [], {}
    for stem, rng, missing in zip(STEMS, parts, absent, strict=True):
        silence = np.zeros((round(plan.seconds * SAMPLE_RATE), 2), np.float32)
        take = Take(silence, []) if missing else RENDERERS[stem](song, sources, rng)
        level_db = float(mixing.normal(LEVEL_DB[stem], LEVEL_SPREAD_DB))
        resting = mixing.random() < PAUSES
        audio = _rest(take.audio, song, mixing) if resting else take.audio
        stems.append(audio * np.float32(10 ** (level_db / 20)))
        described[stem] = {'sounds': take.sounds, 'level_db': round(level_db, 2)}
    about = {'tempo': round(song.tempo, 2), 'key': song.key, 'groove': song.groove, 'stems': described}
    return dict(zip(STEMS, mix(np.stack(stems), mixing), strict=True)), about


def write_song(bank: Path, split: str, number: int, plan: BankPlan) -> bool:
    """Render a song into its folder, which appears whole; False where it is there already."""
    folder = bank / split / f'song-{number:05d}'
    if folder.exists():
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    for stale in folder.parent.glob(f'.{folder.name}.*'):
        shutil.rmtree(stale, ignore_errors=True)
    stems, about = render_song(split, number, plan)
    temporary = folder.with_name(f'.{folder.name}.{os.getpid()}')
    temporary.mkdir()
    mixture = np.sum(list(stems.values()), axis=0, dtype=np.int32).astype(np.int16)
    for name, audio in {'mixture': mixture, **stems}.items():
        soundfile.write(temporary / f'{name}.wav', audio, SAMPLE_RATE, subtype='PCM_16')
    (temporary / 'song.json').write_text(json.dumps(about, indent=1) + '\n', encoding='utf-8')
    temporary.rename(folder)
    return True


def _claim(bank: Path, plan: BankPlan) -> None:
    """Raises UsageError where the folder holds songs of another plan, which these would be mixed up with."""
    path = bank / DATASET_FILE
    if not path.exists():
        if any((bank / split).exists() for split in SPLITS):
            raise UsageError(f'{bank}: has songs but no {DATASET_FILE}: generate into another folder')
        return
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        theirs = (found['recipe'], found['seed'], found['seconds_per_song'])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f'{path}: not the description of a generated data set ({error!r}): delete it') from error
    if theirs != (RECIPE, plan.seed, plan.seconds):
        made = 'recipe {}, seed {}, {:g} seconds per song'.format(*theirs)
        raise UsageError(f'{path}: made with {made}: ask for the same, or generate into another folder')


def write_dataset(bank: Path, plan: BankPlan) -> None:
    """Write the description of the whole bank; it counts the songs that are there."""
    songs = {split: len(list((bank / split).glob('song-*'))) for split in SPLITS}
    about = {
        'recipe': RECIPE,
        'seed': plan.seed,
        'seconds_per_song': plan.seconds,
        'sample_rate': SAMPLE_RATE,
        'stems': STEMS,
        'songs': songs,
        'hours': {split: round(count * plan.seconds / 3600, 3) for split, count in songs.items()},
        'sounds': {'train': describe(training_sources()), 'test': describe(HELD_OUT)},
        'packages': package_versions(),
    }
    temporary = bank / f'.{DATASET_FILE}.{os.getpid()}'
    temporary.write_text(json.dumps(about, indent=1) + '\n', encoding='utf-8')
    temporary.replace(bank / DATASET_FILE)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def generate_bank(bank: Path, plan: BankPlan, workers: int, tell: Callable[[str], None] = lambda line: None) -> int:
    """Render what is missing of a bank with several processes; how many songs that was. `tell` gets progress lines.

    Raises:
      UsageError: a sound package is missing, or the folder holds songs of another plan.
    """
    require_sounds()
    _claim(bank, plan)
    bank.mkdir(parents=True, exist_ok=True)
    write_dataset(bank, plan)
    jobs, started, written = list(plan.jobs()), time.monotonic(), 0
    context = multiprocessing.get_context('spawn')
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_end_with_parent)
    try:
        futures = [pool.submit(write_song, bank, split, number, plan) for split, number in jobs]
        for done, future in enumerate(concurrent.futures.as_completed(futures), start=1):
            written += future.result()
            if done % 20 == 0 or done == len(jobs):
                tell(f'{done} of {len(jobs)} songs after {time.monotonic() - started:.0f} s')
    finally:
        pool.shutdown(cancel_futures=True)
    write_dataset(bank, plan)
    return written
