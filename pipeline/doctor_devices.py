"""What `stembeam doctor` says of processors, memory and GPUs, and why a GPU that is there is not used.

Stands on /proc, /sys and TensorFlow's own list. The one idea: a GPU that the machine has but TensorFlow does not see is
a problem with a reason, and the reasons are tried one after the other, from the plainest to the driver.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import logging
import os
from collections.abc import Iterator

from .findings import Section

DEVICES = 'devices'
LEAST_MEMORY_BYTES = 2_000_000_000  # TensorFlow, a model and one segment
# Control groups of version 2 and of version 1; without a limit they say 'max', or a number beyond all memory.
MEMORY_LIMITS = ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes')
CPU_LIMIT = '/sys/fs/cgroup/cpu.max'  # microseconds of a period that may be used, and the period
DRIVER = '/proc/driver/nvidia/version'
GPU_NODES = '/dev/nvidia[0-9]*'


def check_devices(quick: bool) -> Section:
    """Cores, memory and GPUs; `quick` does not ask TensorFlow which GPUs it sees."""
    section = Section(DEVICES, {'cores': _cores()})
    memory = memory_bytes()
    section.facts['memory'] = {name: f'{size / 1e9:.1f} GB' for name, size in memory.items()}
    if memory and min(memory.values()) < LEAST_MEMORY_BYTES:
        section.add_problem(
            f'only {min(memory.values()) / 1e9:.1f} GB of memory',
            f'{min(memory, key=lambda name: memory[name])}; a run needs {LEAST_MEMORY_BYTES / 1e9:.0f} GB and more',
            'end other programs, or give the container more',
        )
    nodes = sorted(glob.glob(GPU_NODES))
    section.facts['GPUs here'] = [*nodes, *_driver()]
    if not quick:
        _check_gpus(section, nodes)
    return section


def _cores() -> str:
    usable = len(os.sched_getaffinity(0))  # as runners.available_cores, which would load Beam
    cores = f'{usable} usable of {os.cpu_count()}'
    quota, _, period = _read(CPU_LIMIT).partition(' ')
    return f'{cores}, {int(quota) / int(period):.1f} by the control group' if quota.isdigit() else cores


def memory_bytes() -> dict[str, int]:
    """Where a limit comes from -> bytes that a run may use."""
    found = {}
    for line in _read('/proc/meminfo').splitlines():
        name, _, value = line.partition(':')
        if name in ('MemTotal', 'MemAvailable'):
            found[{'MemTotal': 'in all', 'MemAvailable': 'available'}[name]] = 1024 * int(value.split()[0])
    for path in MEMORY_LIMITS:
        limit = _read(path).strip()
        if limit.isdigit() and int(limit) < found.get('in all', 0):
            found['limit of the control group'] = int(limit)
    return found


def _driver() -> list[str]:
    """The first line that NVIDIA's driver says of itself, if it is loaded."""
    return _read(DRIVER).splitlines()[:1]


def _read(path: str) -> str:
    """A small file of the system; '' if it is not there for us."""
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read()
    except OSError:
        return ''


def _check_gpus(section: Section, nodes: list[str]) -> None:
    """Which GPUs the engine sees; if it sees none of those that are here, why."""
    try:
        with _native_messages() as said:
            from ..model.backend import keras

            engine = keras.backend.backend()
            seen = _tensorflow_gpus() if engine == 'tensorflow' else _jax_gpus()
    except Exception as error:  # a library that is broken may raise anything when it is imported
        told = ' '.join(str(error).split()) or type(error).__name__
        section.add_problem('Keras cannot be loaded', told, 'install stembeam again in a new environment')
        return
    section.facts[f'GPUs in {engine}'] = seen
    if (nodes or _driver()) and not seen:
        reason, cure = _why_unseen(engine, nodes, said)
        section.add_problem(f'a GPU is here, but {engine} does not see it', reason, cure)


def _tensorflow_gpus() -> list[str]:
    import tensorflow as tf

    found = []
    for device in tf.config.list_physical_devices('GPU'):
        details = tf.config.experimental.get_device_details(device)
        capability = '.'.join(map(str, details.get('compute_capability', ())))
        found.append(f'{details.get("device_name", device.name)} (compute capability {capability})')
    return found


def _jax_gpus() -> list[str]:
    import jax

    return [device.device_kind for device in jax.devices() if device.platform == 'gpu']


@contextlib.contextmanager
def _native_messages() -> Iterator[list[str]]:
    """What the engine says on its first use, which our backend sends to its log."""
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger = logging.getLogger(f'{__package__.rpartition(".")[0]}.model.backend')
    keep, level, propagates = Keep(), logger.level, logger.propagate
    logger.addHandler(keep)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(keep)
        logger.setLevel(level)
        logger.propagate = propagates


def _why_unseen(engine: str, nodes: list[str], said: list[str]) -> tuple[str, str]:
    """The reason why the engine sees no GPU, and the cure."""
    visible = os.environ.get('CUDA_VISIBLE_DEVICES')
    if visible is not None and not visible.strip('- ').replace(',', '').strip('1'):
        return f'CUDA_VISIBLE_DEVICES is {visible!r}', 'unset it, or name a device'
    if engine == 'tensorflow' and not _is_built_with_cuda():
        return 'this TensorFlow is built without CUDA', "use the image `gpu`, or pip install 'tensorflow[and-cuda]'"
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        return f'{", ".join(closed)} may not be opened by this user', 'give the user access to it'
    if not nodes:
        return 'the driver is loaded but there is no /dev/nvidia0', 'start the container with --gpus all'
    if not _loads('libcuda.so.1'):
        cure = 'start the container with --gpus all, or put the folder of the driver on LD_LIBRARY_PATH'
        return "the driver's library libcuda.so.1 cannot be loaded", cure
    told = next((line for line in said if 'dlopen' in line or 'CUDA_ERROR' in line or 'driver' in line.lower()), None)
    cure = "pip install 'tensorflow[and-cuda]', and a driver that is new enough for its CUDA"
    return told or 'its CUDA libraries cannot be loaded', cure


def _is_built_with_cuda() -> bool:
    import tensorflow as tf

    return bool(tf.test.is_built_with_cuda())


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
