"""Archives that do what no model's archive does: nothing leaves the folder, and nothing grows without bound."""

from __future__ import annotations

import gzip
import os
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from stembeam.model.errors import RunError
from stembeam.model.store import unpacking
from stembeam.model.store.unpacking import BadArchive, unpack

from .release_host import make_tar, plain


def special(name: str, kind: bytes, target: str = '') -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b''


def unpack_bytes(content: bytes, tmp_path: Path) -> Path:
    (tmp_path / 'model.tar.gz').write_bytes(content)
    folder = tmp_path / 'store' / 'folder'
    folder.mkdir(parents=True)
    unpack(str(tmp_path / 'model.tar.gz'), str(folder), str(tmp_path / 'store'))
    return folder


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob('*')}


def test_plain_files_and_folders_are_unpacked_with_rights_of_our_own(tmp_path):
    info, content = plain('./model.index', b'abc')
    info.mode, info.uid = 0o6777, 12345
    below = special('below/', tarfile.DIRTYPE)
    folder = unpack_bytes(make_tar((info, content), below, plain('below/x', b''), plain('y' * 150)), tmp_path)
    assert tree(folder) == {'model.index', 'below', 'below/x', 'y' * 150}
    assert (folder / 'model.index').read_bytes() == b'abc'
    about = (folder / 'model.index').stat()
    assert about.st_mode & 0o7111 == 0
    assert about.st_uid == os.getuid()


@pytest.mark.parametrize(
    ('member', 'message'),
    [
        (plain('../evil'), 'would leave the folder'),
        (plain('a/../../evil'), 'would leave the folder'),
        (plain('/evil'), 'would leave the folder'),
        (plain('..\\evil'), 'would leave the folder'),
        (special('..', tarfile.DIRTYPE), 'would leave the folder'),
        (special('evil', tarfile.SYMTYPE, '/etc'), 'is no plain file'),
        (special('evil', tarfile.SYMTYPE, 'good'), 'is no plain file'),
        (special('evil', tarfile.LNKTYPE, '/etc/passwd'), 'is no plain file'),
        (special('evil', tarfile.LNKTYPE, 'good'), 'is no plain file'),
        (special('evil', tarfile.CHRTYPE), 'is no plain file'),
        (special('evil', tarfile.BLKTYPE), 'is no plain file'),
        (special('evil', tarfile.FIFOTYPE), 'is no plain file'),
        (plain('.'), 'is no plain file'),
        (plain('good'), "has 'good' twice"),
        (plain('good/evil'), "has 'good' as file and as folder"),
    ],
    ids=lambda value: None if isinstance(value, str) else f'{value[0].name} {value[0].type.decode()}',
)
def test_members_of_other_kinds_are_refused(tmp_path, member, message):
    before = os.stat('/etc/passwd')
    with pytest.raises(BadArchive, match=message):
        unpack_bytes(make_tar(plain('good'), member), tmp_path)
    assert tree(tmp_path) <= {'model.tar.gz', 'store', 'store/folder', 'store/folder/good'}
    assert os.stat('/etc/passwd').st_nlink == before.st_nlink


def test_a_link_cannot_be_written_through(tmp_path):
    (tmp_path / 'outside').mkdir()
    members = special('link', tarfile.SYMTYPE, str(tmp_path / 'outside')), plain('link/evil')
    with pytest.raises(BadArchive, match='is no plain file'):
        unpack_bytes(make_tar(*members), tmp_path)
    assert os.listdir(tmp_path / 'outside') == []


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    info = tarfile.TarInfo('bomb')
    info.size = unpacking.MOST_BYTES + 1
    with gzip.open(tmp_path / 'model.tar.gz', 'wb') as file:
        file.write(info.tobuf())
    folder = tmp_path / 'folder'
    folder.mkdir()
    with pytest.raises(BadArchive, match='it unpacks to more than 1073 MB'):
        unpack(str(tmp_path / 'model.tar.gz'), str(folder), str(folder))
    assert tree(folder) == set()


def test_many_files_that_are_a_bomb_together_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, 'MOST_BYTES', 3_000_000)
    members = [plain(f'file{number}', bytes(1_000_000)) for number in range(4)]
    with pytest.raises(BadArchive, match='it unpacks to more than 3 MB'):
        unpack_bytes(make_tar(*members), tmp_path)


def test_more_members_than_a_model_has_are_refused(tmp_path):
    members = [plain(f'file{number}', b'') for number in range(unpacking.MOST_MEMBERS + 1)]
    with pytest.raises(BadArchive, match='it has more than 64 members'):
        unpack_bytes(make_tar(*members), tmp_path)


@pytest.mark.parametrize('kind', [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_headers_that_are_a_bomb_take_no_memory(tmp_path, kind):
    info = tarfile.TarInfo('header')
    info.type, info.size = kind, 300_000_000
    with gzip.open(tmp_path / 'model.tar.gz', 'wb', compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(300):
            file.write(bytes(1_000_000))
    folder = tmp_path / 'folder'
    folder.mkdir()
    tracemalloc.start()
    with pytest.raises(BadArchive, match='its headers take more than'):
        unpack(str(tmp_path / 'model.tar.gz'), str(folder), str(folder))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'<html>please log in</html>',
        gzip.compress(b'not a tar at all' * 100),
        make_tar(plain('model', bytes(100_000)))[:-300],
        make_tar(plain('model', os.urandom(100_000)))[:50_000],
    ],
    ids=['empty', 'page', 'no tar', 'end is missing', 'half is missing'],
)
def test_what_is_no_whole_archive_is_said(tmp_path, content):
    with pytest.raises(BadArchive, match='it cannot be unpacked'):
        unpack_bytes(content, tmp_path)


def test_a_folder_that_cannot_be_written_is_the_stores_trouble(tmp_path):
    (tmp_path / 'model.tar.gz').write_bytes(make_tar(plain('model')))
    with pytest.raises(RunError, match=r'model store .*/store: No such file or directory: make it writable'):
        unpack(str(tmp_path / 'model.tar.gz'), '/proc/none', str(tmp_path / 'store'))
