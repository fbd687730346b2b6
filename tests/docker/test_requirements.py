"""The requirement files of the images: complete, within the ranges of setup.py, and in agreement with one another."""

from __future__ import annotations

import importlib.metadata
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / 'docker'
EXTRAS = ('gcp', 's3')
# As the images: Python 3.11 on Linux x86-64.
TARGET = {
    'python_version': '3.11',
    'python_full_version': '3.11.15',
    'sys_platform': 'linux',
    'platform_system': 'Linux',
    'platform_machine': 'x86_64',
    'os_name': 'posix',
    'platform_python_implementation': 'CPython',
    'implementation_name': 'cpython',
}

if not (DOCKER / 'pin.py').exists():
    pytest.skip('the tests run away from the source tree', allow_module_level=True)


def read_pins(image):
    """Package -> version."""
    lines = [line for line in (DOCKER / f'requirements-{image}.txt').read_text().splitlines() if line[0] != '#']
    found = [pin for line in lines for pin in re.findall(r'^([a-z0-9.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}$', line)]
    pins = {canonicalize_name(name): version for name, version in found}
    assert len(pins) == len(lines)
    return pins


@pytest.fixture(scope='module')
def asked(tmp_path_factory):
    """What setup.py asks for, with the extras of the images."""
    told = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, 'setup', lambda **settings: told.update(settings))
        patch.chdir(ROOT)
        runpy.run_path(str(ROOT / 'setup.py'))
    texts = [*told['install_requires'], *(text for extra in EXTRAS for text in told['extras_require'][extra])]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize('image', ['cpu', 'gpu'])
def test_pins_are_within_the_ranges(asked, image):
    pins = read_pins(image)
    if image == 'cpu':
        pins['tensorflow'] = pins['tensorflow-cpu']  # stands in for it
    unmet = [str(r) for r in asked if not r.specifier.contains(pins.get(canonicalize_name(r.name), '0'))]
    assert unmet == []


def test_both_images_hold_the_same_but_for_devices():
    cpu, gpu = read_pins('cpu'), read_pins('gpu')
    assert cpu.pop('tensorflow-cpu') == gpu.pop('tensorflow')
    more = {name: version for name, version in gpu.items() if name not in cpu}
    assert {name: gpu[name] for name in cpu} == cpu
    assert all(name.startswith('nvidia-') for name in more)
    # One major version of CUDA, that of TensorFlow's build, with what XLA compiles by.
    assert {name.rpartition('-')[2] for name in more} == {'cu12'}
    assert {'nvidia-cudnn-cu12', 'nvidia-cuda-nvcc-cu12', 'nvidia-cuda-runtime-cu12'} <= more.keys()
    assert more['nvidia-cudnn-cu12'].startswith('9.')
    # XLA warns of every ptxas before this one.
    assert tuple(map(int, more['nvidia-cuda-nvcc-cu12'].split('.')[:2])) >= (12, 8)


def same_here(pins):
    """Pinned packages that are installed here in the same version."""
    here = {canonicalize_name(d.metadata['Name']): d for d in importlib.metadata.distributions()}
    return {name: here[name] for name, version in pins.items() if name in here and here[name].version == version}


def test_nothing_that_a_pinned_package_needs_is_left_out(asked):
    pins = read_pins('cpu')
    extras = {canonicalize_name(r.name): r.extras for r in asked}
    known = same_here(pins)
    if len(known) < len(pins) / 2:
        pytest.skip(f'only {len(known)} of {len(pins)} pinned packages are here in the same version')
    unmet = []
    for name, distribution in known.items():
        for requirement in map(Requirement, distribution.requires or []):
            wanted = [{**TARGET, 'extra': extra} for extra in ('', *extras.get(name, ()))]
            if requirement.marker is None or any(requirement.marker.evaluate(where) for where in wanted):
                needed = 'tensorflow-cpu' if requirement.name == 'tensorflow' else canonicalize_name(requirement.name)
                if not requirement.specifier.contains(pins.get(needed, '0'), prereleases=True):
                    unmet.append(f'{name}: {requirement}')
    assert unmet == []


IMPORT = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(f'{name}: {type(error).__name__}: {error}')
"""


@pytest.mark.slow
def test_pinned_packages_can_be_imported():
    pins = read_pins('cpu')
    known = same_here(pins)
    if len(known) < len(pins) / 2:
        pytest.skip(f'only {len(known)} of {len(pins)} pinned packages are here in the same version')
    found = {
        package
        for distribution in known.values()
        for file in distribution.files or []
        if file.name == '__init__.py' and len(file.parts) == 2 and (package := file.parts[0]).isidentifier()
    }
    # The SDK's own support of Ray, which is an extra of it.
    modules = sorted(m for m in found if not m.startswith('_') and m not in ('tests', 'test', 'vertex_ray'))
    assert len(modules) > len(known) / 2
    done = subprocess.run([sys.executable, '-c', IMPORT, *modules], capture_output=True, text=True, timeout=500)
    assert (done.returncode, done.stdout) == (0, '')
