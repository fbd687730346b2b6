"""What a run costs where: measured stage costs, machines with their speed, and prices, as data in configs/.

A profile is a kind of machine and how many of them; stage costs come from the benchmark; prices are inputs with a date.
Every file may be replaced by the user's own, and every unknown or missing key in one is an error that names the file.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import os
import types
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ..model.errors import UsageError

T = TypeVar('T')


@dataclasses.dataclass(frozen=True)
class StageCosts:
    """CPU time of the stages on one core of the machine that was measured, per second of stereo audio."""

    date: str
    machine: str
    command: str  # that measures again
    core_gflops: float  # best float32 matrix product of one core
    network_share: float  # of that, which the networks reach
    worker_efficiency: float  # speed of n workers over n times the speed of one
    start_seconds: float  # of a process: imports, loading the model
    decode_ms: float
    transforms_ms: float  # STFT, masks and inverse STFT of four stems
    features_ms: float  # of one signal
    features_gpu_ms: float  # of one signal, where a GPU computes the spectral part
    encode_ms: dict[str, float]  # format -> of one stem
    stem_bytes: dict[str, float]  # format -> of one stem
    feature_bytes: float  # of one signal
    input_bytes: float


@dataclasses.dataclass(frozen=True)
class Gpu:
    """An accelerator."""

    name: str
    tflops: float  # float32 without tensor cores, of the data sheet
    share: float  # of that, which the networks are taken to reach
    measured: bool  # whether `share` is measured


@dataclasses.dataclass(frozen=True)
class Profile:
    """A kind of machine, and how many of them work."""

    title: str
    machines: int
    cores: int  # physical ones: half the virtual CPUs of a cloud
    virtual_cpus: int
    memory_gb: float
    disk_gb: float
    core_gflops: float | None  # float32 matrix product of one core; None: as on the machine that was measured
    gpu: Gpu | None
    megabytes_per_second: float  # from and to the storage, of one machine
    start_minutes: float  # until a machine works, model loaded
    paid: bool
    evidence: str  # what of this is measured, in a sentence


@dataclasses.dataclass(frozen=True)
class Prices:
    """Prices in dollars."""

    date: str
    source: str
    virtual_cpu_hour: float
    memory_gb_hour: float
    disk_gb_hour: float
    gpu_hour: dict[str, float]
    storage_gb_month: float


def load_costs(path: str | None = None) -> StageCosts:
    """The measured stage costs. Raises UsageError."""
    return _load(path, 'costs/measured.json', StageCosts)


def load_prices(path: str | None = None) -> Prices:
    """Prices, ours or those of the user's file. Raises UsageError."""
    return _load(path, 'costs/prices.json', Prices)


def profile_names() -> list[str]:
    """The profiles that come with the package, from small to large."""
    return ['laptop', 'cpu-cluster', 't4', 'l4', 'h100']


def load_profile(name: str) -> Profile:
    """A profile by name, or from a JSON file of the user's. Raises UsageError."""
    if name in profile_names():
        return _load(None, f'profiles/{name}.json', Profile)
    if not os.path.exists(name):
        raise UsageError(f'profile {name!r} is unknown: use one of {", ".join(profile_names())}, or a JSON file')
    return _load(name, '', Profile)


def _load(path: str | None, bundled: str, kind: type[T]) -> T:
    where = path or f'configs/{bundled}'
    try:
        if path is None:
            text = importlib.resources.files('stembeam.configs').joinpath(bundled).read_text(encoding='utf-8')
        else:
            with open(path, encoding='utf-8') as file:
                text = file.read()
        content = json.loads(text)
    except OSError as error:
        raise UsageError(f'{where} cannot be read ({error.strerror}): check the path') from error
    except ValueError as error:
        raise UsageError(f'{where} is not JSON ({error}): correct it') from error
    return _record(content, kind, where)


def _record(content: Any, kind: type[T], where: str) -> T:
    """A dataclass from a JSON object with just its fields, of their types."""
    if not isinstance(content, dict):
        raise UsageError(f'{where}: is not a JSON object: see configs/profiles for examples')
    hints = get_type_hints(kind)
    if wrong := set(hints) ^ set(content):
        name = min(wrong)
        said = 'is missing: add it' if name in hints else 'is unknown: remove it'
        raise UsageError(f'{where}: the key {name!r} {said}')
    return kind(**{name: _value(content[name], hint, f'{where}: {name}') for name, hint in hints.items()})


def _value(value: Any, hint: Any, where: str) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        if value is None:
            return None
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _record(value, hint, where)
    if get_origin(hint) is dict and isinstance(value, dict):
        return {str(name): _value(item, get_args(hint)[1], f'{where}.{name}') for name, item in value.items()}
    fits = {
        float: isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float('inf'),
        int: isinstance(value, int) and not isinstance(value, bool) and value > 0,
    }
    if not fits.get(hint, isinstance(hint, type) and isinstance(value, hint)):
        wanted = {float: 'a number of 0 or more', int: 'a whole number of 1 or more', bool: 'true or false'}
        raise UsageError(f'{where} is {value!r}: give {wanted.get(hint, "text")}')
    return float(value) if hint is float else value
