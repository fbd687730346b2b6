"""The checks of `stembeam doctor`: whether everything is here, in versions and in a state that a run can work with.

Each check is a function that gives a Section, and none needs a network. Whatever goes wrong in it becomes a problem.
Devices are in doctor_devices.py.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable

import numpy as np

from ..model.errors import StembeamError
from .doctor_devices import DEVICES, check_devices
from .findings import Section

VERSIONS, CODECS, MODELS, SELF_TEST = 'versions', 'codecs', 'models', 'self test'

PACKAGE = 'stembeam'
SHOWN = ('apache-beam', 'tensorflow', 'keras', 'numpy', 'scipy', 'soundfile', 'av', 'soxr', 'pyarrow', 'fsspec')
FOR_DEVELOPERS = ('test', 'lint', 'stores')  # extras that nobody needs to run
# Package -> one that does instead of it.
STANDS_IN = {'tensorflow': 'tensorflow-cpu'}

MOST_NAMED = 2  # of what an extra lacks
REINSTALL = 'install stembeam again in a new environment'

TONE_HZ, TONE_SECONDS = 440.0, 0.25
# How far the loudness of a tone may be off after an encoder: lossless ones are exact to a step of 16 bits.
LEVEL_ERROR = 0.05

LEAST_FREE_BYTES = 1_000_000_000  # the largest published model is downloaded (160 MB) and unpacked (240 MB)

SELF_TEST_MODEL = 'mini'
# Stems of a model with mask_extension "average" add up to the mixture, but for float32 rounding in the transforms.
MOST_RESIDUAL = 1e-4


def checks(quick: bool) -> dict[str, Callable[[], Section]]:
    """The checks by name, in the order in which they are shown; `quick` leaves out all that needs TensorFlow."""
    found: dict[str, Callable[[], Section]] = {
        VERSIONS: check_versions,
        DEVICES: lambda: check_devices(quick),
        CODECS: check_codecs,
        MODELS: check_models,
    }
    return found if quick else {**found, SELF_TEST: check_separation}


def examine(quick: bool) -> list[Section]:
    """All checks, one after the other; one that breaks down is a problem, too."""
    sections = []
    for name, check in checks(quick).items():
        try:
            sections.append(check())
        except Exception as error:  # the machine may be broken in ways that nobody has thought of
            sections.append(Section(name))
            told = f'{type(error).__name__}: {" ".join(str(error).split())}'
            sections[-1].add_problem(f'the check of {name} broke down', told, REINSTALL)
    return sections


def installed_version(package: str) -> str | None:
    """The version of a package, or of the one that stands in for it; None if there is neither."""
    return _version(package) or _version(STANDS_IN.get(package, package))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_versions() -> Section:
    """Versions of Python, of what we need and of the C libraries below, and which extras are complete."""
    section = Section(VERSIONS, {'python': f'{platform.python_version()} on {platform.platform(terse=True)}'})
    section.facts[PACKAGE] = installed_version(PACKAGE)
    section.facts |= {name: installed_version(name) for name in SHOWN}
    if _version(STANDS_IN['tensorflow']) and not _version('tensorflow'):
        section.facts['tensorflow'] += f' ({STANDS_IN["tensorflow"]}: no GPUs)'
    section.facts |= _native_versions(section)
    missing = _unmet_requirements()
    for need in missing.pop('', []):
        section.add_problem(need, f'package {PACKAGE}', f"pip install '{need.partition(' is ')[0]}'")
    section.facts['extras'] = {
        extra: 'complete' if not needs else f'lacks {_listed([need.partition(" is ")[0] for need in needs])}'
        for extra, needs in missing.items()
    }
    return section


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ' and '.join(names if more <= 0 else [*names[:MOST_NAMED], f'{more} more'])


def _native_versions(section: Section) -> dict[str, str]:
    """The C libraries in the wheels that read and write audio."""
    found = {}
    try:
        import soundfile

        found['libsndfile'] = soundfile.__libsndfile_version__
        import av

        found['FFmpeg'] = av.ffmpeg_version_info
        import soxr

        found['libsoxr'] = soxr.__libsoxr_version__
    except (ImportError, OSError) as error:
        section.add_problem('an audio library cannot be loaded', str(error), REINSTALL)
    return found


def _unmet_requirements() -> dict[str, list[str]]:
    """Extra ('' for what is always needed) -> requirements that are not met, and why."""
    extras = importlib.metadata.metadata(PACKAGE).get_all('Provides-Extra') or []
    return {extra: _unmet(PACKAGE, extra) for extra in ['', *extras] if extra not in FOR_DEVELOPERS}


def _unmet(package: str, extra: str) -> list[str]:
    """What a package needs for one of its extras and does not have, as 'numpy>=2 is not installed'."""
    from packaging.requirements import Requirement

    unmet = []
    for requirement in map(Requirement, importlib.metadata.distribution(package).requires or []):
        marker = requirement.marker
        if marker is not None and not marker.evaluate({'extra': extra}):
            continue
        if extra and (marker is None or marker.evaluate({'extra': ''})):
            continue  # needed without the extra, too
        version = installed_version(requirement.name)
        wanted = f'{requirement.name}{requirement.specifier}'
        if version is None:
            unmet.append(f'{wanted} is not installed')
        elif not requirement.specifier.contains(version, prereleases=True):
            unmet.append(f'{wanted} is not met by version {version}')
        else:
            unmet += [need for name in sorted(requirement.extras) for need in _unmet(requirement.name, name)]
    return unmet


def check_codecs() -> Section:
    """Every format that stems can be written in: a short tone is really encoded, and decoded again."""
    from ..transforms.formats import FORMATS

    section = Section(CODECS)
    works = []
    with tempfile.TemporaryDirectory(prefix='stembeam-doctor-') as folder:
        for name in FORMATS:
            trouble = _trouble_of_codec(name, folder)
            if trouble is None:
                works.append(name)
            else:
                section.add_problem(
                    f'format {name} does not work', trouble, 'install soundfile and av again, from their wheels'
                )
    section.facts['written and read back'] = works
    return section


def _trouble_of_codec(name: str, folder: str) -> str | None:
    """What is wrong with a format; None if a tone comes back from it."""
    from ..transforms.decoding import decode_blocks
    from ..transforms.encoding import FORMATS, StemWriter, check_format, output_rate, quantise
    from ..transforms.probing import probe

    stem_format = FORMATS[name]
    rate = output_rate(name, 44100, None)
    times = np.arange(round(TONE_SECONDS * rate)) / rate
    tone = np.repeat(np.sin(2 * np.pi * TONE_HZ * times)[:, np.newaxis] / 2, 2, axis=1).astype(np.float32)
    path = os.path.join(folder, f'{name}.{stem_format.codec}')
    try:
        with StemWriter(path, stem_format, rate, 2, check_format(name, None, rate)) as writer:
            writer.write(quantise(tone, stem_format))
        read = np.concatenate(list(decode_blocks(path, probe(path), rate)))[: len(tone)]
    except Exception as error:  # whatever the libraries raise is what is wrong
        return f'{type(error).__name__}: {error}'
    if len(read) < len(tone):
        return f'{len(tone)} samples were written, {len(read)} came back'
    written, heard = (float(np.sqrt(np.mean(np.square(x)))) for x in (tone, read))
    if abs(heard / written - 1) > LEVEL_ERROR:
        return f'a tone of level {written:.3f} came back with {heard:.3f}'
    return None


def check_models() -> Section:
    """The model store: where it is, what is in it, and whether a model could be fetched into it."""
    from ..model.store import bundled_models
    from ..model.store.places import STORE_VARIABLE, Store
    from ..model.store.published import ARCHIVES

    store = Store.at()
    section = Section(MODELS, {'in the package': bundled_models(), 'store': store.root})
    keys = [*(archive.name for archive in ARCHIVES), *store.remote_keys()]
    section.facts['fetched'] = [key for key in keys if store.record(key) is not None]
    for key in keys:
        if os.path.isdir(store.folder(key)) and store.record(key) is None:
            section.add_problem('a model is not whole', store.folder(key), f'stembeam models fetch {key}')
    there = store.root
    while not os.path.exists(there):
        there = os.path.dirname(there)
    section.facts['writable'] = os.access(there, os.W_OK | os.X_OK) and os.path.isdir(there)
    if not section.facts['writable']:
        cure = f'name a folder of yours with {STORE_VARIABLE} or --model-store, or use the bundled model'
        section.add_problem('no model can be fetched, the store cannot be written', store.root, cure)
    places = {'store': there, 'temporary files': tempfile.gettempdir()}
    free = {name: shutil.disk_usage(place).free for name, place in places.items()}
    section.facts['free disk'] = {name: f'{size / 1e9:.1f} GB' for name, size in free.items()}
    for name, size in free.items():
        if size < LEAST_FREE_BYTES:
            section.add_problem(f'only {size / 1e9:.2f} GB of disk are free', places[name], 'make room')
    return section


def check_separation() -> Section:
    """A second of generated audio, separated by the bundled model: the stems must add up to it."""
    section = Section(SELF_TEST, {'model': SELF_TEST_MODEL})
    try:
        began = time.perf_counter()
        from ..model.backend import keras
        from ..model.separator import Separator

        separator = Separator.load(SELF_TEST_MODEL)
        loaded = time.perf_counter()
        mixture = _test_signal(separator.sample_rate)
        stems = separator.separate(mixture, separator.sample_rate)
        done = time.perf_counter()
    except (StembeamError, ImportError, RuntimeError, ValueError, OSError, MemoryError) as error:
        told = ' '.join(str(error).split()) or type(error).__name__
        section.add_problem('the bundled model cannot be used', told, REINSTALL)
        return section
    residual = float(np.abs(mixture - np.sum(list(stems.values()), axis=0)).max() / np.abs(mixture).max())
    section.facts |= {
        'engine': f'keras on {keras.backend.backend()}',
        'stems': list(stems),
        'loading': f'{loaded - began:.2f} s',
        'separating 1 s': f'{done - loaded:.2f} s, the first time',
        'residual': f'{residual:.1e} of the peak (mixture minus the sum of the stems)',
    }
    if not residual <= MOST_RESIDUAL:
        cure = 'install the packages in the versions that stembeam asks for; unset flags of XLA and oneDNN'
        section.add_problem(
            'separation gives wrong samples',
            f'residual {residual:.1e} of the peak, at most {MOST_RESIDUAL:.0e} is rounding',
            cure,
        )
    return section


def _test_signal(sample_rate: int) -> np.ndarray:
    """One second of a falling chord with clicks, float32 (samples, 2)."""
    times = np.arange(sample_rate) / sample_rate
    chord = sum(np.sin(2 * np.pi * frequency * times * (1 - 0.1 * times)) for frequency in (110.0, 277.2, 659.3))
    clicks = np.exp(-200 * (times % 0.25)) * np.random.default_rng(0).standard_normal(sample_rate)
    return (0.1 * np.stack([chord + clicks, chord - clicks], axis=1)).astype(np.float32)
