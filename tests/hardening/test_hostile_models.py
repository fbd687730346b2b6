"""Model folders, archives and checkpoints from somebody who means ill, or from a disk that does."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stembeam.model.checkpoint import WEIGHTS_FILE, read_weights, write_checkpoint, write_npz
from stembeam.model.configuration import ModelConfig
from stembeam.model.errors import StembeamError, UsageError
from stembeam.model.store import resolve_model
from stembeam.model.store.bundle_index import parse_index
from stembeam.model.store.unpacking import BadArchive, unpack

from ..conftest import TINY, random_weights, write_model
from .hostile import HOSTILE, damaged, only

SMALL = ModelConfig(
    instruments=('vocals',),
    frames=64,
    bins=64,
    mask_extension='average',
    conv_activation='ELU',
    deconv_activation='ELU',
    conv_filters=(1, 1, 1, 1, 1, 1),
)


class Executes:
    """What a pickle can do to whoever loads it."""

    def __reduce__(self):
        return os.mkdir, ('executed',)


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    yield
    assert not os.path.exists('executed')


@pytest.fixture(scope='module')
def weights_npz(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp('npz') / WEIGHTS_FILE
    write_npz(str(path), random_weights(SMALL))
    return path.read_bytes()


def read_npz(content: bytes) -> None:
    Path(WEIGHTS_FILE).write_bytes(content)
    with only(UsageError):
        read_weights(SMALL, WEIGHTS_FILE)


@HOSTILE
@given(data=st.data())
def test_weights(weights_npz, data):
    read_npz(data.draw(damaged(weights_npz)))


def npz_with(name: str, content: bytes) -> bytes:
    """Weights of which one array is something else."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        for key, value in random_weights(SMALL).items():
            array = io.BytesIO()
            np.save(array, value)
            archive.writestr(f'{key}.npy', content if key == name else array.getvalue())
    return file.getvalue()


def header(shape: str, kind: str = '<f4') -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + '\n'
    return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text.encode()


def array(value: object, dtype: object = None) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(value, dtype))  # type: ignore[call-overload]
    return file.getvalue()


NAMES = list(random_weights(SMALL))


@pytest.mark.parametrize(
    'content',
    [
        array([Executes()], dtype=object),
        pickle.dumps(Executes()),
        header('(1000000000000,)') + bytes(100),
        header('(-1,)') + bytes(100),
        header('(' * 500),
        header("__import__('os').mkdir('executed')"),
        header('(1,)', '|O') + pickle.dumps(Executes()),
        array(['text']),
        array([1 + 1j]),
        array([np.datetime64('2000')]),
        b'',
    ],
)
def test_arrays_that_are_none(content):
    read_npz(npz_with(NAMES[0], content))
    with pytest.raises(UsageError):
        read_weights(SMALL, WEIGHTS_FILE)


def test_weights_that_are_no_archive(weights_npz):
    for content in (array([1.0]), pickle.dumps(Executes()), b'', b'PK\x05\x06' + bytes(18), weights_npz[:100]):
        read_npz(content)
        with pytest.raises(UsageError):
            read_weights(SMALL, WEIGHTS_FILE)


def test_arrays_that_nobody_asked_for_are_not_unpacked(weights_npz):
    Path('bomb.npz').write_bytes(weights_npz)
    with zipfile.ZipFile('bomb.npz', 'a', zipfile.ZIP_DEFLATED) as archive, archive.open('bomb.npy', 'w') as file:
        file.write(header('(25000000,)'))
        for _ in range(100):
            file.write(bytes(1_000_000))
    with only(UsageError):  # 100 MB, from as many kilobytes
        read_weights(SMALL, 'bomb.npz')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('checkpoint')
    write_checkpoint(str(folder), random_weights(SMALL), 1)
    return folder


def part(folder: Path, suffix: str) -> Path:
    return next(path for path in folder.iterdir() if path.name.endswith(suffix))


@settings(HOSTILE, max_examples=30)
@given(data=st.data(), suffix=st.sampled_from(['.index', '-of-00001', 'checkpoint']))
def test_checkpoints(checkpoint, data, suffix):
    shutil.rmtree('copy', ignore_errors=True)
    shutil.copytree(checkpoint, 'copy')
    path = part(Path('copy'), suffix)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    with only(UsageError):
        read_weights(SMALL, 'copy')


@HOSTILE
@given(data=st.data())
def test_indices_of_checkpoints(checkpoint, data):
    content = part(checkpoint, '.index').read_bytes()
    with only(ValueError):
        parse_index(data.draw(st.one_of(damaged(content), st.binary(max_size=100).map(lambda b: b + content[-48:]))))


@settings(HOSTILE, max_examples=20)
@given(data=st.data(), name=st.sampled_from(['config.json', WEIGHTS_FILE]))
def test_model_folders(tmp_path_factory, data, name):
    folder = write_model(tmp_path_factory.mktemp('model'), SMALL)
    (folder / name).write_bytes(data.draw(damaged((folder / name).read_bytes())))
    with only(StembeamError):
        model = resolve_model(str(folder))
        model.check()


def test_other_files_of_a_model_folder_are_not_touched(tmp_path):
    folder = write_model(tmp_path / 'model', TINY)
    for name in ('weights.pkl', 'model.pickle', 'keras_metadata.pb', 'saved_model.pb', 'pytorch_model.bin'):
        (folder / name).write_bytes(pickle.dumps(Executes()))
    for name in ('__init__.py', 'model.py', 'conftest.py', 'setup.py'):
        (folder / name).write_text("import os\nos.mkdir('executed')\n")
    resolve_model(str(folder)).check()


def archive_of(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


WHOLE = archive_of({'config.json': json.dumps(TINY.to_json()).encode(), 'model.index': b'x' * 2000, 'checkpoint': b'y'})
EVIL = archive_of({'../escaped': b'x', '/tmp/escaped': b'x', 'a/../../escaped': b'x'})


@HOSTILE
@given(content=st.one_of(damaged(WHOLE, EVIL).map(gzip.compress), damaged(gzip.compress(WHOLE))))
def test_archives(tmp_path_factory, content):
    home = tmp_path_factory.mktemp('archive')
    (home / 'model').mkdir()
    (home / 'model.tar.gz').write_bytes(content)
    with only(StembeamError, BadArchive):
        unpack(str(home / 'model.tar.gz'), str(home / 'model'), str(home))
    assert sorted(os.listdir(home)) in (['model', 'model.tar.gz'], ['model.tar.gz'])
    for parent, _, names in os.walk(home):
        assert not any(os.path.islink(os.path.join(parent, name)) for name in names)
