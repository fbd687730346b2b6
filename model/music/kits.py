"""Drums from recorded strokes: Hydrogen's kits, Sonic Pi's samples and loops, played on the hits of a score.

Needs the Debian packages `hydrogen-drumkits` and `sonic-pi-samples`. A kit is a mapping from roles to strokes,
softest first; a stroke is float32 (samples, 2). A kit without some role plays the nearest role that it has.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import soundfile
import soxr

from ..errors import UsageError
from .score import Hit, Note, Song

HYDROGEN_FOLDER = Path('/usr/share/hydrogen/data/drumkits')
SONIC_PI_FOLDER = Path('/usr/share/sonic-pi/samples')
STROKE_SECONDS = 3.0  # cymbals ring longer; nobody hears it under the next bar
# Role -> how a kit's instrument is called, first match wins; what matches nothing is percussion.
ROLES = {
    'kick': r'kick|bass ?drum|cajon thump|dununba1 head hit|djembe\d bass',
    'snare': r'snare|cajon slap|djembe\d slap|sn_',
    'open hat': r'open h|hat.*op|ohh|hat swish|open hi',
    'hat': r'hat|hh|maraca|shaker|cymbal_closed|cymbal_pedal',
    'ride': r'ride|bell|cymbal_open',
    'crash': r'crash|splash|china|cymbal',
    'low tom': r'tom.*(low|floor|lo_)|(low|floor) tom|tom2|djembe3 tone|bongo lo|conga 2|dununba',
    'high tom': r'tom.*hi|high tom|tom1|tomhi|djembe1 tone|bongo hi|conga 1',
    'mid tom': r'tom|djembe\d tone|sangban|drum \d',
    'perc': r'',
}
NEAREST = {
    'open hat': 'hat',
    'hat': 'ride',
    'ride': 'crash',
    'crash': 'perc',
    'low tom': 'mid tom',
    'high tom': 'mid tom',
    'mid tom': 'snare',
    'snare': 'perc',
    'perc': 'hat',
    'kick': 'low tom',
}
GM_DRUMS = {
    'kick': (36, 35),
    'snare': (38, 40, 37),
    'hat': (42, 44),
    'open hat': (46,),
    'ride': (51, 59, 53),
    'crash': (49, 57, 55),
    'low tom': (41, 43),
    'mid tom': (45, 47),
    'high tom': (48, 50),
    'perc': (54, 39, 56, 69, 70, 75, 62, 64),
}
WEIGHTS = {'kick': 1.0, 'snare': 0.9, 'crash': 0.6, 'ride': 0.4, 'hat': 0.4, 'open hat': 0.45}  # 0.7 of the others

Kit = Mapping[str, Sequence[Sequence[np.ndarray]]]


def role_of(name: str) -> str:
    """The role of a kit's instrument by its name."""
    return next(role for role, pattern in ROLES.items() if re.search(pattern, name.lower()))


def read_stereo(path: Path, sample_rate: int, seconds: float | None = None) -> np.ndarray:
    """An audio file at a sample rate, float32 (samples, 2), mono repeated, cut after `seconds`."""
    with soundfile.SoundFile(path) as file:
        frames = -1 if seconds is None else int(seconds * file.samplerate)
        audio, rate = file.read(frames, dtype='float32', always_2d=True), file.samplerate
    audio = audio[:, :2] if audio.shape[1] > 1 else np.repeat(audio, 2, axis=1)
    return soxr.resample(audio, rate, sample_rate) if rate != sample_rate else audio


def hydrogen_kits() -> list[str]:
    """Names of the installed Hydrogen kits, in order."""
    names = sorted(path.parent.name for path in HYDROGEN_FOLDER.glob('*/drumkit.xml'))
    if not names:
        raise UsageError(f'{HYDROGEN_FOLDER}: no drum kits found; apt install hydrogen-drumkits')
    return names


@functools.lru_cache(maxsize=4)
def hydrogen_kit(name: str, sample_rate: int) -> Kit:
    """A Hydrogen kit by its folder's name."""
    folder = HYDROGEN_FOLDER / name
    kit: dict[str, list[list[np.ndarray]]] = {}
    for instrument in ElementTree.parse(folder / 'drumkit.xml').getroot().iter():
        if not instrument.tag.endswith('instrument'):
            continue
        texts = [(child.tag.rsplit('}')[-1], child.text or '') for child in instrument.iter()]
        title = next((text for tag, text in texts if tag == 'name'), '')
        files = [folder / text for tag, text in texts if tag == 'filename' and 'empty' not in text]
        strokes = [read_stereo(path, sample_rate, STROKE_SECONDS) for path in files if path.is_file()]
        strokes = sorted((s for s in strokes if len(s)), key=lambda s: float(np.max(np.abs(s))))
        if strokes:
            kit.setdefault(role_of(title), []).append(strokes)
    return kit


def sonic_pi_samples(pattern: str) -> list[Path]:
    """Sonic Pi's samples whose file names match a glob pattern, in order."""
    paths = sorted(SONIC_PI_FOLDER.glob(f'{pattern}.flac'))
    if not paths:
        raise UsageError(f'{SONIC_PI_FOLDER}/{pattern}.flac: no samples found; apt install sonic-pi-samples')
    return paths


def sonic_pi_kit(rng: np.random.Generator, sample_rate: int) -> Kit:
    """A kit drawn from Sonic Pi's single strokes, half of the time all acoustic."""
    acoustic = rng.random() < 0.4
    patterns = {
        'kick': 'drum_*kick' if acoustic else 'bd_*',
        'snare': 'drum_snare_*' if acoustic else str(rng.choice(['sn_*', 'elec_*snare', 'drum_snare_*'])),
        'hat': 'drum_cymbal_closed' if acoustic else str(rng.choice(['drum_cymbal_closed', 'elec_t*', 'elec_cymbal'])),
        'open hat': 'drum_cymbal_open',
        'ride': str(rng.choice(['drum_cymbal_soft', 'drum_cymbal_pedal'])),
        'crash': 'drum_splash_*' if rng.random() < 0.5 else 'drum_cymbal_hard',
        'low tom': 'drum_tom_lo_*',
        'mid tom': 'drum_tom_mid_*',
        'high tom': 'drum_tom_hi_*',
        'perc': str(rng.choice(['perc_*', 'tabla_*', 'elec_*', 'glitch_perc*', 'drum_cowbell'])),
    }
    kit = {}
    for role, pattern in patterns.items():
        paths = sonic_pi_samples(pattern)
        path = paths[int(rng.integers(len(paths)))]
        kit[role] = [[read_stereo(path, sample_rate, STROKE_SECONDS)]]
    return kit


def _nearest_role(kit: Kit, role: str) -> str:
    seen = [role]
    while seen[-1] not in kit and NEAREST[seen[-1]] not in seen:
        seen.append(NEAREST[seen[-1]])
    return seen[-1] if seen[-1] in kit else next(iter(kit))


def play_kit(
    hits: Sequence[Hit], kit: Kit, seconds: float, sample_rate: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Hits played on a kit; one instrument, place, tuning and gain per role and take.

    Returns:
      All of it, and its snare alone for effects of its own: both (samples, 2) float32.
    """
    audio, snare = (np.zeros((round(seconds * sample_rate), 2), np.float32) for _ in range(2))
    tuning = float(np.clip(rng.normal(1.0, 0.08), 0.75, 1.3))
    chosen: dict[str, tuple[list[np.ndarray], np.ndarray]] = {}
    for hit in hits:
        if hit.role not in chosen:
            choices = kit[_nearest_role(kit, hit.role)]
            recorded = choices[int(rng.integers(len(choices)))]
            strokes = [soxr.resample(stroke, sample_rate, sample_rate * tuning) for stroke in recorded]
            place = 0.0 if hit.role in ('kick', 'snare') else rng.uniform(-0.5, 0.5)
            sides = np.sqrt([1 - place, 1 + place]) * 10 ** (rng.normal(0, 2.5) / 20)
            loudest = max(float(np.max(np.abs(s), initial=1e-6)) for s in strokes)
            chosen[hit.role] = strokes, (sides / loudest).astype(np.float32)
        strokes, gain = chosen[hit.role]
        stroke = strokes[min(int(hit.velocity / 128 * len(strokes)), len(strokes) - 1)]
        loud = (hit.velocity / 127) ** (1.6 if len(strokes) == 1 else 0.6) * WEIGHTS.get(hit.role, 0.7)
        start = round(hit.start * sample_rate)
        struck = stroke[: len(audio) - start] * (gain * np.float32(loud))
        audio[start : start + len(struck)] += struck
        if hit.role == 'snare':
            snare[start : start + len(struck)] += struck
    return audio, snare


def gm_notes(hits: Sequence[Hit], rng: np.random.Generator) -> list[Note]:
    """The same hits as notes for the drum channel of a General MIDI soundfont."""
    keys = {role: int(rng.choice(options)) for role, options in GM_DRUMS.items()}
    return [Note(hit.start, 0.2, keys[hit.role], hit.velocity) for hit in hits]


def play_loop(path: Path, song: Song, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """A recorded loop repeated for the length of a song, its speed changed so that a power of two of beats fits."""
    loop = read_stereo(path, sample_rate)
    beat = 60.0 / song.tempo
    beats = 2.0 ** round(np.log2(len(loop) / sample_rate / beat))
    target = beats * beat * sample_rate * float(rng.choice([1.0, 2.0, 0.5], p=[0.9, 0.05, 0.05]))
    stretched = soxr.resample(loop, len(loop), target)
    samples = round(song.seconds * sample_rate)
    return np.tile(stretched, (-(-samples // len(stretched)), 1))[:samples]
