"""The bank of training music: takes of single stems on disk, rendered song by song.

    python -m stembeam.model.training.render_bank --out BANK --hours 2 [--held-out-hours 0.2] [--workers 4] [--seed 1]

writes BANK/<split>/<stem>/<song>.wav, 16-bit stereo, one take per stem and song, all takes of a song sharing tempo,
key and chords. Split `train` and split `held-out` share no soundfont, no drum kit, no loop and no voice (see
`HELD_OUT`), so that a score on the second says something about sounds never trained on. A song depends on the seed
and its number alone; songs that are there already are kept, so a killed run goes on where it was, and a longer bank
begins with the shorter one.

Needs the packages that `midi`, `kits` and `voices` name; a missing one stops the run with one line.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from ..errors import UsageError
from . import effects, kits, midi, score, synths, voices

logger = logging.getLogger(__name__)

STEMS = ('vocals', 'drums', 'bass', 'other')
SPLITS = ('train', 'held-out')
SAMPLE_RATE = 44100
TAKE_SECONDS = 30.0
BASS_PROGRAMS = range(32, 40)
# General MIDI programs of "other": everything with a pitch that is no bass, no voice, no sound effect.
OTHER_PROGRAMS = {
    'keys': (0, 1, 2, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23),
    'guitars': (24, 25, 26, 27, 28, 29, 30, 105, 104),
    'strings': (40, 41, 42, 44, 45, 46, 48, 49, 50, 51, 110),
    'winds': (56, 57, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 71, 72, 73, 74, 75, 79),
    'synths': (80, 81, 82, 83, 84, 86, 87, 88, 89, 90, 92, 93, 95),
    'bells': (8, 9, 10, 11, 12, 13, 14, 15, 107, 108),
}
DISTORTED_GUITARS = (29, 30)
DRUM_PROGRAMS = (0, 8, 16, 24, 25, 32, 40)
LOOPS = (
    'loop_amen',
    'loop_amen_full',
    'loop_breakbeat',
    'loop_industrial',
    'loop_mehackit1',
    'loop_perc1',
    'loop_perc2',
    'loop_safari',
    'loop_tabla',
)


@dataclasses.dataclass(frozen=True)
class Sources:
    """The sounds that one split may use."""

    soundfonts: tuple[str, ...]
    kits: tuple[str, ...]
    loops: tuple[str, ...]
    voices: tuple[voices.Voice, ...]
    synths: bool


HELD_OUT = Sources(
    soundfonts=('TimGM6mb.sf2',),
    kits=('The Black Pearl 1.0', 'rumpf_kit_z01_h2'),
    loops=('loop_breakbeat', 'loop_perc2'),
    voices=(
        voices.Voice('flite', 'rms', False),
        voices.Voice('espeak-ng', 'en-us+f4', True),
        voices.Voice('espeak-ng', 'fr-fr+f4', True),
        voices.Voice('espeak-ng', 'en-gb+m5', False),
    ),
    synths=False,
)


def training_sources() -> Sources:
    """Everything that is installed and not held out."""
    held_variants = {voice.name.split('+')[-1] for voice in HELD_OUT.voices}
    spoken = [
        voices.Voice('espeak-ng', f'{language}+{variant}', female)
        for variants, female in ((voices.MALE_VARIANTS, False), (voices.FEMALE_VARIANTS, True))
        for language in voices.LANGUAGES
        for variant in variants
        if variant not in held_variants
    ]
    return Sources(
        soundfonts=('FluidR3_GM.sf2', 'MuseScore_General_Full.sf3'),
        kits=tuple(name for name in kits.hydrogen_kits() if name not in HELD_OUT.kits),
        loops=tuple(name for name in LOOPS if name not in HELD_OUT.loops),
        voices=(*(voice for voice in voices.NATURAL_VOICES if voice not in HELD_OUT.voices), *spoken),
        synths=True,
    )


def _one(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def render_drums(song: score.Song, sources: Sources, rng: np.random.Generator) -> np.ndarray:
    """A drum take: a recorded kit, a soundfont's kit, or a loop, sometimes a loop over a kit."""
    manner = rng.choice(['kit', 'samples', 'soundfont', 'loop', 'both'], p=[0.48, 0.14, 0.2, 0.1, 0.08])
    hits = score.drum_part(song, rng)
    seconds = song.seconds
    if manner == 'samples' and not sources.synths:
        manner = 'kit'
    audio = np.zeros((round(seconds * SAMPLE_RATE), 2), np.float32)
    if manner in ('kit', 'both'):
        kit = kits.hydrogen_kit(_one(rng, sources.kits), SAMPLE_RATE)
        audio += effects.normalise(kits.play_kit(hits, kit, seconds, SAMPLE_RATE, rng), -20)
    if manner == 'samples':
        audio += kits.play_kit(hits, kits.sonic_pi_kit(rng, SAMPLE_RATE), seconds, SAMPLE_RATE, rng)
    if manner == 'soundfont':
        part = midi.Part(midi.DRUM_CHANNEL, int(rng.choice(DRUM_PROGRAMS)), kits.gm_notes(hits, rng))
        font = midi.find_soundfont(_one(rng, sources.soundfonts))
        audio += midi.play([part], font, seconds, SAMPLE_RATE, reverb=rng.random() < 0.3)
    if manner in ('loop', 'both'):
        loop = kits.play_loop(kits.sonic_pi_samples(_one(rng, sources.loops))[0], song, SAMPLE_RATE, rng)
        audio += effects.normalise(loop, -20 if manner == 'loop' else -27)
    return effects.finish(audio, SAMPLE_RATE, rng, room=0.5, centred=False)


def render_bass(song: score.Song, sources: Sources, rng: np.random.Generator) -> np.ndarray:
    """A bass take, from a soundfont or synthesised."""
    notes = score.bass_part(song, rng)
    if sources.synths and rng.random() < 0.35:
        audio = synths.play_synth(notes, synths.draw_timbre(rng, bass=True), song.seconds, SAMPLE_RATE)
    else:
        part = midi.Part(0, int(rng.choice(BASS_PROGRAMS)), notes)
        font = midi.find_soundfont(_one(rng, sources.soundfonts))
        audio = midi.play([part], font, song.seconds, SAMPLE_RATE, reverb=False)
    return effects.finish(audio, SAMPLE_RATE, rng, room=0.12, centred=True)


def _other_layer(song: score.Song, sources: Sources, rng: np.random.Generator) -> np.ndarray:
    family = str(rng.choice(list(OTHER_PROGRAMS), p=[0.28, 0.28, 0.14, 0.14, 0.1, 0.06]))
    program = int(rng.choice(OTHER_PROGRAMS[family]))
    distorted = program in DISTORTED_GUITARS
    if distorted or rng.random() < (0.3 if family == 'winds' else 0.65):
        notes = score.chord_part(song, rng, int(rng.choice([2, 3] if distorted else [3, 4, 4, 5])), power=distorted)
    else:
        low = int(rng.integers(48, 72))
        notes = score.melody_part(song, rng, low, low + int(rng.integers(13, 22)), float(rng.uniform(0.2, 1)))
    if sources.synths and family == 'synths' and rng.random() < 0.6:
        audio = synths.play_synth(notes, synths.draw_timbre(rng, bass=False), song.seconds, SAMPLE_RATE)
    else:
        font = midi.find_soundfont(_one(rng, sources.soundfonts))
        audio = midi.play([midi.Part(0, program, notes)], font, song.seconds, SAMPLE_RATE, reverb=rng.random() < 0.3)
    return effects.finish(audio, SAMPLE_RATE, rng, room=0.5, centred=False)


def render_other(song: score.Song, sources: Sources, rng: np.random.Generator) -> np.ndarray:
    """An accompaniment take: one to four instruments."""
    layers = int(rng.choice([1, 2, 3, 4], p=[0.3, 0.35, 0.25, 0.1]))
    parts = [_other_layer(song, sources, rng) * 10 ** (rng.normal(0, 4) / 20) for _ in range(layers)]
    return effects.normalise(np.stack(parts).sum(axis=0), -20.0)


def _vocal_range(voice: voices.Voice, rng: np.random.Generator) -> tuple[int, int]:
    low = int(rng.integers(53, 63) if voice.female else rng.integers(43, 56))
    return low, low + int(rng.integers(13, 18))


def render_vocals(song: score.Song, sources: Sources, rng: np.random.Generator) -> np.ndarray:
    """A vocal take: a lead voice, often doubled or with harmonies, now and then spoken."""
    natural = [voice for voice in sources.voices if voice.program != 'espeak-ng']
    pool = natural if natural and rng.random() < 0.5 else list(sources.voices)
    voice = pool[int(rng.integers(len(pool)))]
    audio, rate = voices.speak(voice, voices.draw_words(rng, 30), rng)
    if rng.random() < 0.07:
        samples = round(song.seconds * SAMPLE_RATE)
        spoken = voices.brighten(voices.soxr.resample(audio, rate, SAMPLE_RATE), SAMPLE_RATE, rate, rng).astype(
            np.float32
        )
        taken = np.tile(spoken, -(-samples // len(spoken)))[:samples]
        return effects.finish(np.repeat(taken[:, np.newaxis], 2, axis=1), SAMPLE_RATE, rng, room=0.5, centred=True)
    speech = voices.analyse(audio, rate)
    melody = score.melody_part(song, rng, *_vocal_range(voice, rng), density=float(rng.uniform(0.1, 0.9)))
    throat = float(np.clip(rng.normal(1.0, 0.08), 0.8, 1.25))
    intervals = [[0], [0, 0], [0, 4], [0, 3, 7], [0, -12], [0, 0, 0, 12]]
    takes: list[np.ndarray] = []
    for interval in intervals[int(rng.choice(len(intervals), p=[0.55, 0.17, 0.1, 0.06, 0.06, 0.06]))]:
        notes = [
            note._replace(pitch=note.pitch + interval, start=note.start + abs(rng.normal(0, 0.012))) for note in melody
        ]
        dry = voices.sing(speech, notes, song.seconds, SAMPLE_RATE, throat * float(rng.normal(1, 0.02)), rng)
        side = 0.0 if not takes else float(rng.uniform(-0.8, 0.8))
        takes.append(effects.pan(effects.normalise(dry, -20 if not takes else -24), side, 1.0))
    return effects.finish(np.stack(takes).sum(axis=0), SAMPLE_RATE, rng, room=0.7, centred=True)


RENDERERS: dict[str, Callable[[score.Song, Sources, np.random.Generator], np.ndarray]] = {
    'vocals': render_vocals,
    'drums': render_drums,
    'bass': render_bass,
    'other': render_other,
}


def render_song(folder: Path, split: str, number: int, seed: int) -> list[Path]:
    """Render the takes of one song that are not there yet; every file appears whole or not at all."""
    sources = HELD_OUT if split == 'held-out' else training_sources()
    root = np.random.SeedSequence([seed, SPLITS.index(split), number])
    plan, *parts = (np.random.default_rng(s) for s in root.spawn(1 + len(STEMS)))
    song = score.compose(plan, TAKE_SECONDS)
    written = []
    for stem, rng in zip(STEMS, parts, strict=True):
        path = folder / split / stem / f'{number:05d}.wav'
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f'.{path.name}.{os.getpid()}')
        audio = RENDERERS[stem](song, sources, rng)
        soundfile.write(temporary, audio, SAMPLE_RATE, subtype='PCM_16', format='WAV')
        temporary.replace(path)
        written.append(path)
    return written


def render_bank(folder: Path, hours: float, held_out_hours: float, workers: int, seed: int) -> int:
    """Render both splits with several processes; the number of takes written."""
    jobs = [
        (folder, split, number, seed)
        for split, amount in (('held-out', held_out_hours), ('train', hours))
        for number in range(round(amount * 3600 / TAKE_SECONDS))
    ]
    takes = 0
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        for done, written in enumerate(pool.map(render_song, *zip(*jobs, strict=True)), start=1):
            takes += len(written)
            if done % 20 == 0 or done == len(jobs):
                logger.info('rendered %d of %d songs', done, len(jobs))
    return takes


def main(arguments: list[str] | None = None) -> int:
    """Command line of the renderer; exit status 0, or 2 with one line where something is missing."""
    parser = argparse.ArgumentParser(
        prog='python -m stembeam.model.training.render_bank', description=__doc__.split('\n')[0]
    )
    parser.add_argument('--out', type=Path, required=True, help='folder of the bank')
    parser.add_argument('--hours', type=float, default=2.0, help='hours per stem to train on')
    parser.add_argument('--held-out-hours', type=float, default=0.2, help='hours per stem of held-out sounds')
    parser.add_argument('--workers', type=int, default=os.cpu_count(), help='processes')
    parser.add_argument('--seed', type=int, default=1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format='%(asctime)s %(message)s')
    try:
        takes = render_bank(options.out, options.hours, options.held_out_hours, options.workers, options.seed)
    except UsageError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{options.out}: {takes} takes written')
    return 0


if __name__ == '__main__':
    sys.exit(main())
