"""The machine that is measured on, what is installed, and which cores are used."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .turns import ROOT, MeasuringError

PACKAGES = ('stembeam', 'apache-beam', 'tensorflow', 'keras', 'numpy', 'scipy', 'soundfile', 'av')
TOPOLOGY = Path('/sys/devices/system/cpu')


def choose_cores(wanted: int) -> list[int]:
    """Numbers of the cores to measure on: of those that this process may use, one thread of every core first.

    Raises:
      MeasuringError: there are not as many.
    """
    available = sorted(os.sched_getaffinity(0))
    if wanted > len(available):
        raise MeasuringError(f'--cores {wanted}: there are {len(available)} for this process: ask for fewer')
    siblings = {cpu: _siblings(cpu) for cpu in available}
    first = [cpu for cpu in available if cpu == min(set(siblings[cpu]) & set(available))]
    return (first + [cpu for cpu in available if cpu not in first])[:wanted]


def _siblings(cpu: int) -> list[int]:
    """The processor numbers that share a core with this one, itself included."""
    try:
        text = (TOPOLOGY / f'cpu{cpu}/topology/thread_siblings_list').read_text()
    except OSError:  # not told: every one counts as a core
        return [cpu]
    return parse_cpus(text)


def parse_cpus(text: str) -> list[int]:
    """Numbers in the kernel's way of listing them.

    >>> parse_cpus('0-2,8')
    [0, 1, 2, 8]
    """
    numbers: list[int] = []
    for part in text.strip().split(','):
        low, _, high = part.partition('-')
        numbers += range(int(low), int(high or low) + 1)
    return numbers


def describe_machine(cores: Sequence[int]) -> dict[str, Any]:
    """Processor, cores used and memory."""
    info = Path('/proc/cpuinfo').read_text()
    model = next((line.partition(':')[2].strip() for line in info.splitlines() if line.startswith('model name')), '')
    flags = next((line.partition(':')[2].split() for line in info.splitlines() if line.startswith('flags')), [])
    return {
        'cpu': model or platform.machine(),
        'vectors': [flag for flag in ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_tile') if flag in flags],
        'cores_used': list(cores),
        'cores': os.cpu_count(),
        'memory_gb': round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9, 1),
        'load_before': os.getloadavg()[0],
        'system': platform.platform(),
    }


def versions() -> dict[str, str]:
    """Of Python and of what is installed here."""
    found = {'python': platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit that is checked out, with '-dirty' behind it if files differ from it."""
    found = _git('describe', '--always', '--dirty', '--abbrev=10', '--exclude=*')
    return found.strip() if found else 'unknown'


def committed_file(path: str) -> str | None:
    """The text of a file as it was committed last; None if it is not."""
    return _git('show', f'HEAD:{path}')


def _git(*arguments: str) -> str | None:
    try:
        ran = subprocess.run(['git', *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git: an unpacked archive
        return None
    return ran.stdout if ran.returncode == 0 else None
