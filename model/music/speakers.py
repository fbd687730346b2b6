"""Who speaks: the voices of espeak-ng, flite and festival, what they say, and how their programs are called.

Needs the Debian packages `espeak-ng`, `flite` and `festival` with the voices named in `FESTIVAL_PACKAGES`. Voices of
flite and festival are made from recordings of real speakers; espeak-ng's are computed, but there are many.
"""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

from ..errors import UsageError
from .midi import require_program

LYRICS = {  # words by language
    'en': (
        'river calling morning shadow never again summer rain over mountain silver window tonight heart '
        'walking away dream burning fire light hold me closer every day I wonder where you are going home '
        'forever young love and freedom dancing under neon sky baby come back to me now we run through empty '
        'streets singing hallelujah oh yeah no more tears falling down like leaves in autumn wind blue ocean '
        'deep moon rising golden road leads nowhere tell my mother say goodbye slowly time will heal these '
        'broken wings fly high above clouds give us something to believe in always remember September whisper '
        'softly good old friend take care what happened yesterday hey listen people get ready lonely island '
        'sweet child'
    ),
    'it': (
        'amore mio la notte scende piano sul mare lontano cuore canta sempre con me nel vento della sera una '
        'stella cade domani tornerai luna bianca sogno ancora la tua voce chiama nel silenzio vola via bella '
        'estate'
    ),
    'fi': (
        'talvi ilta laulaa hiljaa meren yli kuu loistaa minun rakas tuuli vie unelmat kauas kotiin tulen aina '
        'vain sinun luokse aamu nousee valo palaa surun laulu soi metsissa tanssi kanssani kaunis maailma'
    ),
    'cs': (
        'laska moje noc pada tise na mesto daleko srdce volaj domu vitr nese pisen starou kde jsi ted voda '
        'tece pod mostem hvezda sviti rano prijde zase sami dva zpivej mi dlouho ticho nebe modre slunce'
    ),
    'ca': (
        'amor meu la nit cau sobre el mar lluny cor canta sempre amb mi al vent de la tarda una estrella cau '
        'dema tornaras lluna blanca somni encara la teva veu crida en silenci vola bonic estiu'
    ),
    'ru': (
        'река зовёт утро тень никогда больше летний дождь над горой окно сегодня сердце уходит далеко любовь '
        'моя ночь поёт ветер домой дорога звезда горит где ты теперь помню тихо море небо весна'
    ),
    'hi': ('नदी सुबह छाया फिर कभी नहीं गर्मी की बारिश पहाड़ के ऊपर आज रात दिल मेरा प्यार गाता है हवा घर चाँद सपना आँखें तुम'),
}
FESTIVAL_PACKAGES = {
    'cmu_us_slt_arctic_hts': 'festvox-us-slt-hts',
    'ked_diphone': 'festvox-kdlpc16k',
    'lp_diphone': 'festvox-italp16k',
    'pc_diphone': 'festvox-itapc16k',
    'suo_fi_lj_diphone': 'festvox-suopuhe-lj',
    'hy_fi_mv_diphone': 'festvox-suopuhe-mv',
    'czech_dita': 'festvox-czech-dita',
    'czech_krb': 'festvox-czech-krb',
    'czech_machac': 'festvox-czech-machac',
    'czech_ph': 'festvox-czech-ph',
    'upc_ca_ona_hts': 'festvox-ca-ona-hts',
    'msu_ru_nsh_clunits': 'festvox-ru',
    'hindi_NSK_diphone': 'festvox-hi-nsk festival-hi',
}
LANGUAGES = (
    *('en-us', 'en-gb', 'en-gb-scotland', 'de', 'fr-fr', 'es', 'it', 'pt-br', 'sv', 'pl', 'nl', 'tr', 'id', 'sw', 'ro'),
)
MALE_VARIANTS = (
    *('m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8', 'klatt', 'klatt2', 'klatt3', 'adam', 'Andy', 'john', 'max'),
)
FEMALE_VARIANTS = ('f1', 'f2', 'f3', 'f4', 'f5', 'anika', 'linda', 'steph', 'belinda', 'aunty')


@dataclasses.dataclass(frozen=True)
class Voice:
    """A speaker: which program speaks, under which name, whether its range is a woman's, which words it knows."""

    program: str  # espeak-ng, flite or festival
    name: str
    high: bool
    language: str = 'en'

    @property
    def package(self) -> str:
        """The Debian packages that it needs."""
        return f'festival {FESTIVAL_PACKAGES[self.name]}' if self.program == 'festival' else self.program


NATURAL_VOICES = (
    Voice('flite', 'awb', False),
    Voice('flite', 'rms', False),
    Voice('flite', 'kal16', False),
    Voice('flite', 'slt', True),
    Voice('festival', 'cmu_us_slt_arctic_hts', True),
    Voice('festival', 'ked_diphone', False),
    Voice('festival', 'lp_diphone', True, 'it'),
    Voice('festival', 'pc_diphone', False, 'it'),
    Voice('festival', 'suo_fi_lj_diphone', True, 'fi'),
    Voice('festival', 'hy_fi_mv_diphone', False, 'fi'),
    Voice('festival', 'czech_dita', True, 'cs'),
    Voice('festival', 'czech_krb', True, 'cs'),
    Voice('festival', 'czech_machac', False, 'cs'),
    Voice('festival', 'czech_ph', False, 'cs'),
    Voice('festival', 'upc_ca_ona_hts', True, 'ca'),
    Voice('festival', 'msu_ru_nsh_clunits', False, 'ru'),
    Voice('festival', 'hindi_NSK_diphone', False, 'hi'),
)


def computed_voices() -> tuple[Voice, ...]:
    """Every language of espeak-ng in use here in every variant."""
    return tuple(
        Voice('espeak-ng', f'{language}+{variant}', high)
        for variants, high in ((MALE_VARIANTS, False), (FEMALE_VARIANTS, True))
        for language in LANGUAGES
        for variant in variants
    )


def draw_words(rng: np.random.Generator, count: int, language: str = 'en') -> str:
    """Random words with commas."""
    words = [str(word) for word in rng.choice(LYRICS[language].split(), count)]
    return ' '.join(word + (',' if i % 6 == 5 else '') for i, word in enumerate(words)) + '.'


def speak(voice: Voice, text: str, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Speech of one voice: (samples,) float64 and its sample rate. Raises UsageError where it cannot speak."""
    program = require_program('text2wave' if voice.program == 'festival' else voice.program, voice.package)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'speech.wav'
        spoken = None
        if voice.program == 'espeak-ng':
            speed, pitch = str(int(rng.integers(110, 190))), str(int(rng.integers(30, 80)))
            command = [program, '-v', voice.name, '-s', speed, '-p', pitch, '-w', str(path), text]
        elif voice.program == 'flite':
            command = [program, '-voice', voice.name, '-t', text, '-o', str(path)]
        else:
            command, spoken = [program, '-eval', f'(voice_{voice.name})', '-o', str(path)], text
        done = subprocess.run(command, input=spoken, capture_output=True, text=True, check=False)
        if done.returncode or not path.is_file():
            raise UsageError(
                f'{voice.program}: {voice.name} failed ({done.stderr.strip()[-200:]}); apt install {voice.package}'
            )
        audio, rate = soundfile.read(path, dtype='float64', always_2d=True)
    if len(audio) < rate:
        raise UsageError(f'{voice.program}: {voice.name} said nothing; apt install {voice.package}')
    return audio[:, 0], rate
