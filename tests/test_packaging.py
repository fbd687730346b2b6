"""What is in the wheel and the source archive, and that the version ranges end where `make test-oldest` tests them."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ('configs', 'model', 'transforms', 'pipeline')

if not (ROOT / 'setup.py').exists():
    pytest.skip('the tests run away from the source tree', allow_module_level=True)
if Version(importlib.metadata.version('setuptools')) < Version('77'):
    pytest.skip("building needs setuptools >= 77: pip install -e '.[test]'", allow_module_level=True)

BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """A copy of what belongs to the source, so that building leaves nothing behind in the checkout."""
    copy = tmp_path_factory.mktemp('source') / 'any name'
    copy.mkdir()
    for name in (*FOLDERS, 'tests'):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in (
        '__init__.py',
        'setup.py',
        'pyproject.toml',
        'MANIFEST.in',
        'Makefile',
        'README.md',
        'LICENSE',
        'CHANGELOG.md',
    ):
        shutil.copy(ROOT / name, copy / name)
    return copy


def build(source, out, hook):
    """Runs a build hook of setuptools, in this environment: no network, no isolation."""
    done = subprocess.run(
        [sys.executable, '-c', BUILD, hook, str(out)], cwd=source, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return out / done.stdout.split('\n')[-2]


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory):
    return build(source, tmp_path_factory.mktemp('wheel'), 'build_wheel')


@pytest.fixture(scope='module')
def sdist(source, tmp_path_factory):
    return build(source, tmp_path_factory.mktemp('sdist'), 'build_sdist')


def files_of_the_package():
    """Every file that must be shipped, by its path in the checkout."""
    code = [path for folder in FOLDERS for path in (ROOT / folder).rglob('*.py')]
    data = [*(ROOT / 'configs').rglob('*.json'), *(ROOT / 'model/bundled').rglob('*')]
    return {path.relative_to(ROOT).as_posix() for path in code + data if path.is_file() and path.suffix != '.pyc'}


def test_the_wheel_holds_the_four_folders_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith('/')}
    package = {name.removeprefix('stembeam/') for name in names if name.startswith('stembeam/')}
    rest = {name.split('/')[0] for name in names if not name.startswith('stembeam/')}
    assert package == files_of_the_package()
    assert any(name.startswith('model/bundled/mini/') for name in package)
    assert 'configs/4stems.json' in package
    assert rest == {'stembeam-' + importlib.metadata.version('stembeam') + '.dist-info'}


def test_the_source_archive_builds_the_same_wheel(sdist, wheel, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter='data')
    (folder,) = tmp_path.iterdir()
    assert (folder / 'tests' / 'test_packaging.py').exists()
    assert (folder / 'LICENSE').exists()
    again = build(folder, tmp_path, 'build_wheel')
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert {(i.filename, i.CRC) for i in first.infolist()} == {(i.filename, i.CRC) for i in second.infolist()}


def test_the_installed_wheel_finds_its_data(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / 'site')
    code = (
        'import importlib.resources as r, stembeam.configs, stembeam.model, stembeam.transforms, stembeam.pipeline;'
        'print(stembeam.model.__file__);'
        'print(r.files("stembeam.configs").joinpath("4stems.json").is_file());'
        'print(r.files("stembeam.model").joinpath("bundled").joinpath("mini").is_dir())'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(tmp_path / 'site')},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [str(tmp_path / 'site/stembeam/model/__init__.py'), 'True', 'True']


def metadata_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith('.dist-info/METADATA')]
        return Parser().parsestr(archive.read(name).decode())


def test_the_lower_ends_are_the_versions_that_the_oldest_environment_installs(wheel):
    oldest = {}
    for line in (ROOT / 'tests' / 'oldest-constraints.txt').read_text().splitlines():
        if line and not line.startswith('#'):
            name, version = line.split('==')
            oldest[name] = Version(version)
    for requirement in map(Requirement, metadata_of(wheel).get_all('Requires-Dist')):
        optional = requirement.marker is not None
        lower = [Version(part.version) for part in requirement.specifier if part.operator in ('>=', '==')]
        if optional and requirement.name not in (
            'tensorflow',
            'tensorflow-io',
            'jax',
            'museval',
            'matplotlib',
            'threadpoolctl',
        ):
            continue
        assert lower == [oldest[requirement.name]], f'{requirement} and tests/oldest-constraints.txt disagree'


def test_the_command_is_installed(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith('.dist-info/entry_points.txt')]
        assert archive.read(name).decode().split('\n')[:2] == [
            '[console_scripts]',
            'stembeam = stembeam.pipeline.cli:main',
        ]
    assert SpecifierSet(metadata_of(wheel)['Requires-Python']) == SpecifierSet('>=3.10,<3.13')
