"""What `stembeam doctor` finds: all well here, and each thing that can be wrong when it is made so."""

from __future__ import annotations

import collections
import contextlib
import importlib.metadata
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from stembeam.model.separator import Separator
from stembeam.model.store.places import RECORD, STORE_VARIABLE
from stembeam.pipeline import doctor, doctor_devices, findings
from stembeam.pipeline.cli import main
from stembeam.pipeline.exit_status import OK, RUN_FAILED
from stembeam.transforms.formats import FORMATS


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """An empty model store of its own for every test."""
    monkeypatch.setenv(STORE_VARIABLE, str(tmp_path / 'store'))
    return tmp_path / 'store'


def test_all_is_well_here(capsys):
    """The whole command in this process: versions, devices, codecs, models, self test."""
    assert main(['doctor', '--json']) == OK
    found = json.loads(capsys.readouterr().out)
    assert (found['ok'], found['problems']) == (True, [])
    versions = found['versions']
    assert versions['apache-beam'] == importlib.metadata.version('apache-beam')
    assert versions['libsndfile'].startswith('1.')
    assert versions['FFmpeg']
    assert {'gcp', 's3', 'tfio'} <= versions['extras'].keys()
    assert not {'test', 'lint'} & versions['extras'].keys()
    assert 'usable of' in found['devices']['cores']
    assert found['codecs']['written and read back'] == list(FORMATS)
    assert found['models']['in the package'] == ['mini']
    assert found['self test']['stems'] == ['vocals', 'drums', 'bass', 'other']
    assert float(found['self test']['residual'].partition(' ')[0]) < 1e-5


def test_quick_needs_no_tensorflow_and_fits_the_screen(tmp_path):
    """As the health check of a container runs it: a process of its own, which loads no TensorFlow."""
    code = (
        'import sys\n'
        'from stembeam.pipeline.cli import main\n'
        "status = main(['doctor', '--quick'])\n"
        "assert not {'tensorflow', 'keras', 'apache_beam'} & sys.modules.keys()\n"
        'sys.exit(status)\n'
    )
    (tmp_path / 'file').touch()
    environment = {**os.environ, STORE_VARIABLE: str(tmp_path / 'file' / 'store')}
    done = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (RUN_FAILED, '')
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= findings.WIDTH
    assert {'versions', 'devices', 'codecs', 'models'} <= set(lines)
    assert 'self test' not in lines
    at = lines.index('1 problem')
    assert 'the store cannot be written' in lines[at + 1]
    assert STORE_VARIABLE in ' '.join(lines[at:])


def test_versions_out_of_range_and_missing_packages(monkeypatch):
    real = doctor._version
    versions = {'tensorflow': '2.16.0', 'tensorflow-cpu': None, 'soxr': None, 's3fs': None}
    monkeypatch.setattr(doctor, '_version', lambda name: versions.get(name, real(name)))
    section = doctor.check_versions()
    told = {problem.what: problem.cure for problem in section.problems}
    assert len(told) == 2
    assert told['soxr<2,>=0.5.0 is not installed'] == "pip install 'soxr<2,>=0.5.0'"
    assert "pip install 'tensorflow<3,>=2.17.0'" in told.values()
    assert section.facts['extras']['s3'] == 'lacks s3fs>=2024.6.0'
    assert section.facts['tensorflow'] == '2.16.0'


def test_tensorflow_without_gpus_stands_in(monkeypatch):
    real = doctor._version
    versions = {'tensorflow': None, 'tensorflow-cpu': '2.21.0'}
    monkeypatch.setattr(doctor, '_version', lambda name: versions.get(name, real(name)))
    section = doctor.check_versions()
    assert section.problems == []
    assert section.facts['tensorflow'] == '2.21.0 (tensorflow-cpu: no GPUs)'


def test_a_codec_that_does_not_work(monkeypatch):
    from stembeam.transforms import encoding

    class Broken(encoding.StemWriter):
        def write(self, block):
            if self._format.name == 'mp3':
                raise RuntimeError('no LAME')
            super().write(block // 2 if self._format.name == 'flac' else block)

    monkeypatch.setattr(encoding, 'StemWriter', Broken)
    section = doctor.check_codecs()
    assert [(p.what, p.where) for p in section.problems] == [
        ('format flac does not work', 'a tone of level 0.354 came back with 0.177'),
        ('format mp3 does not work', 'RuntimeError: no LAME'),
    ]
    assert section.facts['written and read back'] == [name for name in FORMATS if name not in ('flac', 'mp3')]


def test_the_store(store, monkeypatch):
    (store / '4stems').mkdir(parents=True)
    (store / '4stems' / RECORD).write_text(json.dumps({'files': {'model.index': 3}}))
    (store / '2stems').mkdir()
    (store / '2stems' / 'x').write_text('abc')
    (store / '2stems' / RECORD).write_text(json.dumps({'files': {'x': 3}}))
    usage = collections.namedtuple('usage', 'free')
    monkeypatch.setattr(doctor.shutil, 'disk_usage', lambda place: usage(5_000_000))
    section = doctor.check_models()
    assert (section.facts['store'], section.facts['fetched']) == (str(store), ['2stems'])
    broken, *full = section.problems
    assert broken == ('a model is not whole', str(store / '4stems'), 'stembeam models fetch 4stems')
    assert [problem.what for problem in full] == ['only 0.01 GB of disk are free'] * 2


def test_wrong_samples_and_a_broken_model(monkeypatch):
    monkeypatch.setattr(Separator, 'load', lambda name: Wrong())
    (problem,) = doctor.check_separation().problems
    assert problem.what == 'separation gives wrong samples'
    assert problem.where.startswith('residual 5.0e-01 of the peak')

    def load(name):
        raise RuntimeError('a library\nis missing')

    monkeypatch.setattr(Separator, 'load', load)
    (problem,) = doctor.check_separation().problems
    assert problem.line().startswith('the bundled model cannot be used: a library is missing: ')


class Wrong:
    """A separator that gives half of the mixture."""

    sample_rate = 44100

    def separate(self, waveform, sample_rate):
        return {'vocals': waveform / 4, 'other': np.copy(waveform / 4)}


def test_a_check_that_breaks_down_is_a_problem(monkeypatch, capsys):
    monkeypatch.setattr(doctor, 'check_codecs', lambda: 1 / 0)
    assert main(['doctor', '--quick']) == RUN_FAILED
    assert 'the check of codecs broke down: ZeroDivisionError: division by zero' in capsys.readouterr().out


def test_memory_and_cores_of_a_small_container(monkeypatch, tmp_path):
    (tmp_path / 'memory.max').write_text('1500000000\n')
    (tmp_path / 'cpu.max').write_text('150000 100000\n')
    monkeypatch.setattr(doctor_devices, 'MEMORY_LIMITS', (str(tmp_path / 'memory.max'),))
    monkeypatch.setattr(doctor_devices, 'CPU_LIMIT', str(tmp_path / 'cpu.max'))
    section = doctor_devices.check_devices(quick=True)
    assert section.facts['cores'].endswith(', 1.5 by the control group')
    assert section.facts['memory']['limit of the control group'] == '1.5 GB'
    assert section.problems[0].what == 'only 1.5 GB of memory'
    assert section.problems[0].where.startswith('limit of the control group')


@pytest.mark.parametrize(
    ('visible', 'built', 'loads', 'mode', 'said', 'reason'),
    [
        ('', True, True, 0o666, [], "CUDA_VISIBLE_DEVICES is ''"),
        ('-1', True, True, 0o666, [], "CUDA_VISIBLE_DEVICES is '-1'"),
        (None, False, True, 0o666, [], 'this TensorFlow is built without CUDA'),
        ('0', True, False, 0o666, [], "the driver's library libcuda.so.1 cannot be loaded"),
        (None, True, True, 0o666, ['hello', 'Cannot dlopen some GPU libraries'], 'Cannot dlopen some GPU libraries'),
        (None, True, True, 0o666, [], 'its CUDA libraries cannot be loaded'),
    ],
)
def test_a_gpu_that_is_not_seen_has_a_reason(monkeypatch, tmp_path, visible, built, loads, mode, said, reason):
    (tmp_path / 'nvidia0').touch(mode)
    monkeypatch.setattr(doctor_devices, 'GPU_NODES', str(tmp_path / 'nvidia[0-9]*'))
    monkeypatch.setattr(doctor_devices, '_tensorflow_gpus', list)
    monkeypatch.setattr(doctor_devices, '_is_built_with_cuda', lambda: built)
    monkeypatch.setattr(doctor_devices, '_loads', lambda library: loads)
    if visible is None:
        monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    else:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
    section = findings.Section('devices')
    monkeypatch.setattr(doctor_devices, '_native_messages', lambda: contextlib.nullcontext(said))
    doctor_devices._check_gpus(section, [str(tmp_path / 'nvidia0')])
    (problem,) = section.problems
    assert problem.what == 'a GPU is here, but tensorflow does not see it'
    assert problem.where == reason
    assert problem.cure


def test_a_gpu_that_is_seen(monkeypatch, tmp_path):
    (tmp_path / 'nvidia0').touch()
    monkeypatch.setattr(doctor_devices, '_tensorflow_gpus', lambda: ['Some GPU (compute capability 9.0)'])
    section = findings.Section('devices')
    doctor_devices._check_gpus(section, [str(tmp_path / 'nvidia0')])
    assert section.problems == []
    assert section.facts == {'GPUs in tensorflow': ['Some GPU (compute capability 9.0)']}
