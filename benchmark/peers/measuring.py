"""The peers as subjects: the same tracks, cores and run as stembeam, FLAC in and FLAC out."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..material import ARRAYS, EXCERPT_SECONDS, Material
from ..process import check_stems, figures, run_command
from ..turns import MeasuringError, Subject, Worker
from .environments import ENVIRONMENTS, Installed, install

EACH = 3  # tracks that a command is started for one by one
FEW = 2  # tracks for peers that are kept open; the slowest get an excerpt of one
TIMEOUT = 3600.0  # seconds for all that one subject does in a round

# What each row is compared with; and what is to be known of it.
COMMAND_ALL = 'spleeter command, all tracks at once'
COMMAND_EACH = 'spleeter command, once per track'
NOTES = {
    COMMAND_ALL: 'from start to exit',
    COMMAND_EACH: 'from start to exit',
    'spleeter, Separator object': 'kept open: without start and model load',
    'spleeter, session kept open': 'kept open: without start and model load',
    'sherpa-onnx, two stems': 'kept open: without start and model load; it has two stems only',
    'open-unmix': 'umxhq, random weights, kept open; the first minute of one track',
    'HTDemucs': 'random weights, kept open; the first minute of one track',
}


class Peers(NamedTuple):
    """What there is to measure, and what could not be installed."""

    subjects: list[Subject]
    versions: dict[str, dict[str, str]]  # by environment
    failures: dict[str, str]  # by subject: why there are no figures


class Setting(NamedTuple):
    """What peers are measured with."""

    material: Material
    track_seconds: float
    cores: int
    environments: Path
    scratch: Path
    logs: Path


def peers(setting: Setting, tell: Callable[[str], None]) -> Peers:
    """Install all peers, as far as they can be."""
    found = Peers([], {}, {})
    for name, make in (('spleeter', _spleeter), ('sherpa-onnx', _sherpa), ('torch', _torch)):
        try:
            installed = install(ENVIRONMENTS[name], setting.environments, tell)
        except MeasuringError as error:
            tell(f'{name}: {error}')
            found.failures.update(dict.fromkeys(_named(name), str(error)))
            continue
        found.versions[name] = installed.versions
        found.subjects.extend(make(setting, installed))
    return found


def _named(environment: str) -> list[str]:
    """The subjects that an environment is for."""
    prefixes = {'spleeter': ('spleeter',), 'sherpa-onnx': ('sherpa',), 'torch': ('open-unmix', 'HTDemucs')}
    return [name for name in NOTES if name.startswith(prefixes[environment])]


def _spleeter(setting: Setting, installed: Installed) -> list[Subject]:
    command = [str(Path(installed.python).with_name('spleeter')), 'separate', '-c', 'flac']
    command += ['-p', str(setting.material.spleeter_model('4stems')), '-o', str(setting.scratch)]
    environment = installed.environment()

    def separate(tracks: Sequence[Path]) -> dict[str, float]:
        with _empty(setting.scratch):
            run = run_command([*command, *map(str, tracks)], setting.logs / 'spleeter.log', TIMEOUT, environment)
            check_stems(setting.scratch, 4 * len(tracks))
        return figures(run, setting.track_seconds * len(tracks))

    def each() -> dict[str, list[float]]:
        runs = [separate([track]) for track in setting.material.tracks[:EACH]]
        return {quantity: [run[quantity] for run in runs] for quantity in runs[0]}

    config = {'model': str(setting.material.spleeter_model('4stems'))}
    subjects = [
        Subject('peers', COMMAND_ALL, lambda: separate(setting.material.tracks), 1),
        Subject('peers', COMMAND_EACH, each, 1),
    ]
    for name, way in (('spleeter, Separator object', 'object'), ('spleeter, session kept open', 'session')):
        asked = {**config, 'way': way}
        subjects.append(_kept_open(name, 'peers.spleeter_worker', asked, setting, installed))
    return subjects


def _sherpa(setting: Setting, installed: Installed) -> list[Subject]:
    config = {'weights': str(setting.material.model('2stems') / ARRAYS)}
    return [_kept_open('sherpa-onnx, two stems', 'peers.sherpa_worker', config, setting, installed, stems=2)]


def _torch(setting: Setting, installed: Installed) -> list[Subject]:
    module = 'peers.torch_worker'
    return [
        _kept_open(name, module, {'model': name}, setting, installed, excerpt=True)
        for name in ('open-unmix', 'HTDemucs')
    ]


def _kept_open(
    name: str,
    module: str,
    config: Mapping[str, Any],
    setting: Setting,
    installed: Installed,
    stems: int = 4,
    excerpt: bool = False,
) -> Subject:
    """A peer in a process that is started for its turn, warmed up, asked track by track, and ended."""
    log = setting.logs / f'{name.replace(" ", "-").replace(",", "")}.log'
    material, length = setting.material, setting.track_seconds
    tracks = [material.excerpt] if excerpt else material.tracks[:FEW]
    seconds = min(length, EXCERPT_SECONDS) if excerpt else length

    def measure() -> dict[str, list[float]]:
        with _empty(setting.scratch):
            own = {
                **config,
                'threads': setting.cores,
                'warm_up': str(material.warm_up),
                'output': str(setting.scratch),
            }
            with Worker(module, own, log, installed.python, installed.environment(), TIMEOUT) as worker:
                spent = worker.measure({'tracks': [str(track) for track in tracks]})['seconds']
                memory = worker.peak_memory()
            check_stems(setting.scratch, stems * (len(tracks) + 1))
        return {'speed': [seconds / took for took in spent], 'memory': [memory / 1e9]}

    return Subject('peers', name, measure, 1)


@contextlib.contextmanager
def _empty(folder: Path) -> Iterator[None]:
    """A folder that is there and empty, and gone afterwards."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
