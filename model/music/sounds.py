"""Which sounds the train songs use and which the test songs: they share no soundfont, no kit, no loop and no voice.

So a score on the test songs says something about sounds never trained on. Also: the Debian packages that all of it
comes from, their versions, and one line that names what is missing.
"""

from __future__ import annotations

import dataclasses
import functools
import shutil
import subprocess
from typing import Any

from ..errors import UsageError
from . import kits, midi, speakers, voices

LOOPS = (
    *('loop_amen', 'loop_amen_full', 'loop_breakbeat', 'loop_industrial', 'loop_mehackit1'),
    *('loop_perc1', 'loop_perc2', 'loop_safari', 'loop_tabla'),
)
TEXTURES = (
    *('ambi_dark_woosh', 'ambi_drone', 'ambi_glass_hum', 'ambi_glass_rub', 'ambi_haunted_hum', 'ambi_lunar_land'),
    *('ambi_piano', 'ambi_sauna', 'ambi_soft_buzz', 'ambi_swoosh'),
)
PACKAGES = (
    *('fluidsynth', 'fluid-soundfont-gm', 'musescore-general-soundfont', 'timgm6mb-soundfont'),
    *('hydrogen-drumkits', 'sonic-pi-samples', 'espeak-ng', 'flite', 'festival'),
    *(package for packages in speakers.FESTIVAL_PACKAGES.values() for package in packages.split()),
)
PROGRAMS = {'fluidsynth': 'fluidsynth', 'espeak-ng': 'espeak-ng', 'flite': 'flite', 'text2wave': 'festival'}


@dataclasses.dataclass(frozen=True)
class Sources:
    """The sounds that one split may use."""

    soundfonts: tuple[str, ...]
    kits: tuple[str, ...]
    loops: tuple[str, ...]
    voices: tuple[speakers.Voice, ...]
    textures: tuple[str, ...]
    computed: bool  # whether synthesisers, computed strings and kits of single strokes may play


HELD_OUT = Sources(
    soundfonts=('TimGM6mb.sf2',),
    kits=('The Black Pearl 1.0', 'rumpf_kit_z01_h2'),
    loops=('loop_breakbeat', 'loop_perc2'),
    voices=(
        speakers.Voice('flite', 'rms', False),
        speakers.Voice('festival', 'czech_dita', True, 'cs'),
        speakers.Voice('espeak-ng', 'en-us+f4', True),
        speakers.Voice('espeak-ng', 'fr-fr+f4', True),
        speakers.Voice('espeak-ng', 'en-gb+m5', False),
    ),
    textures=('ambi_dark_woosh', 'ambi_lunar_land'),
    computed=False,
)


@functools.cache
def training_sources() -> Sources:
    """Everything that is installed and not held out; of espeak-ng no variant that a held-out voice has."""
    held_variants = {voice.name.split('+')[-1] for voice in HELD_OUT.voices}
    spoken = (voice for voice in speakers.computed_voices() if voice.name.split('+')[-1] not in held_variants)
    return Sources(
        soundfonts=('FluidR3_GM.sf2', 'MuseScore_General_Full.sf3'),
        kits=tuple(name for name in kits.hydrogen_kits() if name not in HELD_OUT.kits),
        loops=tuple(name for name in LOOPS if name not in HELD_OUT.loops),
        voices=(*(voice for voice in speakers.NATURAL_VOICES if voice not in HELD_OUT.voices), *spoken),
        textures=tuple(name for name in TEXTURES if name not in HELD_OUT.textures),
        computed=True,
    )


def describe(sources: Sources) -> dict[str, Any]:
    """A split's sounds by name, as plain data."""
    return {**dataclasses.asdict(sources), 'voices': [f'{voice.program} {voice.name}' for voice in sources.voices]}


def package_versions() -> dict[str, str]:
    """Versions of the packages that the sounds come from; 'not known' where the system has no Debian packages."""
    if shutil.which('dpkg-query') is None:
        return dict.fromkeys(PACKAGES, 'not known')
    command = ['dpkg-query', '--show', '--showformat', '${Package} ${db:Status-Status} ${Version}\n', *PACKAGES]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    found = {name: version for name, status, version in map(str.split, lines) if status == 'installed'}
    return {name: found.get(name, 'not known') for name in PACKAGES}


def require_sounds() -> None:
    """Raises UsageError, one line with all that is missing, before hours are spent on a part of the songs."""
    voices.load_world()
    missing = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if shutil.which('dpkg-query'):
        missing |= {name for name, version in package_versions().items() if version == 'not known'}
    if missing:
        raise UsageError(f'packages missing, needed to render training music: apt install {" ".join(sorted(missing))}')
    for name in (*training_sources().soundfonts, *HELD_OUT.soundfonts):
        midi.find_soundfont(name)
    for name in (*LOOPS, *TEXTURES):
        kits.sonic_pi_samples(name)
