"""`stembeam models` from outside: what it prints, what it leaves, and its exit status."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stembeam.model.store import published, resolving
from stembeam.model.store.places import Store
from stembeam.model.store.published import Published
from stembeam.pipeline.cli import main
from stembeam.pipeline.exit_status import BAD_USAGE, OK, RUN_FAILED

from ..model.store.release_host import CONFIG, Host, archive_of, checkpoint_members, make_tar, running_host

GOOD = make_tar(*checkpoint_members())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A release host of two small models, which are the published ones here; a store that the environment names."""
    archives = tuple(archive_of(GOOD, name) for name in ('2stems', '4stems'))
    models = {archive.name: Published(archive.name, archive) for archive in archives}
    monkeypatch.setattr(published, 'ARCHIVES', archives)
    monkeypatch.setattr(published, 'PUBLISHED', models)
    monkeypatch.setattr(resolving, 'PUBLISHED', models)
    monkeypatch.setenv('STEMBEAM_MODELS', str(tmp_path / 'store'))
    with running_host() as host:
        host.files = {f'/{archive.file}': GOOD for archive in archives}
        monkeypatch.setenv('STEMBEAM_MODEL_MIRROR', host.url)
        yield host


def rows(printed: str) -> dict[str, list[str]]:
    """name -> the other columns of `models list`."""
    return {line.split()[0]: re.split(r'\s{2,}', line)[1:] for line in printed.split('\n\n')[0].splitlines()}


def test_list_fetch_and_list_again(host, capsys, tmp_path):
    assert main(['models', 'list']) == OK
    table = rows(capsys.readouterr().out)
    assert list(table) == ['name', 'mini', '2stems', '4stems']
    assert table['mini'][0] == 'vocals, drums, bass, other'
    assert table['mini'][2] == 'in the package'
    assert table['2stems'] == ['vocals, accompaniment', '-', 'not fetched']

    assert main(['models', 'fetch', 'spleeter:2stems', '2stems']) == OK
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == f'2stems {tmp_path}/store/2stems'
    assert said.err.count('fetching 2stems.tar.gz') == 1

    assert main(['models', 'list']) == OK
    printed = capsys.readouterr().out
    assert rows(printed)['2stems'] == ['vocals, accompaniment', '1.2 MB', f'{tmp_path}/store/2stems']
    assert printed.endswith(f'\nstore: {tmp_path}/store\n')


def test_fetch_all_into_another_store_from_another_mirror(host, capsys, tmp_path):
    (tmp_path / 'mirror').mkdir()
    for name in ('2stems', '4stems'):
        (tmp_path / 'mirror' / f'{name}.tar.gz').write_bytes(GOOD)
    options = ['--all', '--store', str(tmp_path / 'other'), '--mirror', str(tmp_path / 'mirror')]
    assert main(['models', 'fetch', *options]) == OK
    assert host.asked == []
    assert all(Store.at(tmp_path / 'other').record(name) for name in ('2stems', '4stems'))


def test_one_that_cannot_be_fetched_does_not_keep_the_others_away(host, capsys, tmp_path):
    del host.files['/2stems.tar.gz']
    assert main(['models', 'fetch', '--all']) == RUN_FAILED
    said = capsys.readouterr()
    assert said.out == f'4stems {tmp_path}/store/4stems\n'
    (line,) = (line for line in said.err.splitlines() if line.startswith('stembeam: '))
    assert line.startswith('stembeam: model 2stems is not in')
    assert 'HTTP 404' in line


def test_show_before_and_after_fetching(host, capsys, tmp_path):
    assert main(['models', 'show', '4stems']) == OK
    printed = capsys.readouterr().out
    assert re.search(r'^where +not fetched: stembeam models fetch 4stems$', printed, re.MULTILINE)
    assert re.search(rf'^by hand .*{tmp_path}/store/4stems\.tar\.gz$', printed, re.MULTILINE)
    assert re.search(rf'^from +{host.url}/4stems\.tar\.gz$', printed, re.MULTILINE)
    assert host.asked == []

    main(['models', 'fetch', '4stems'])
    capsys.readouterr()
    assert main(['models', 'show', '4stems']) == OK
    printed = capsys.readouterr().out
    archive = published.PUBLISHED['4stems'].archive
    assert re.search(r'^stems +vocals, drums, bass, other$', printed, re.MULTILINE)
    assert re.search(r'^parameters +39,307,036$', printed, re.MULTILINE)
    assert re.search(rf'^where +{tmp_path}/store/4stems$', printed, re.MULTILINE)
    assert re.search(r'^file +model\.data-00000-of-00001, 1,236,640 bytes$', printed, re.MULTILINE)
    assert re.search(rf'^archive +4stems\.tar\.gz, SHA-256 {archive.sha256}$', printed, re.MULTILINE)
    assert re.search(r'^licence +MIT \(Deezer SA\)$', printed, re.MULTILINE)
    assert re.search(r'^source +https://github\.com/deezer/spleeter ', printed, re.MULTILINE)
    assert json.loads(printed.splitlines()[-1])['F'] == 1024


def test_show_mini_names_its_card(capsys):
    assert main(['models', 'show', 'mini']) == OK
    printed = capsys.readouterr().out
    (card,) = re.findall(r'^source .* see (.*)$', printed, re.MULTILINE)
    assert Path(card).read_text().startswith('# mini')


def test_show_a_model_of_ones_own(capsys):
    assert main(['models', 'show', str(CONFIG)]) == OK
    printed = capsys.readouterr().out
    assert re.search(r'^stems +vocals, accompaniment$', printed, re.MULTILINE)
    assert re.search(r'^licence +not known', printed, re.MULTILINE)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ([], 'the following arguments are required'),
        (['remove'], 'invalid choice'),
        (['fetch'], 'no model: give names, or --all'),
        (['fetch', '9stems'], "unknown model '9stems': use one of mini, 2stems"),
        (['fetch', '2stems', '9stems'], "unknown model '9stems'"),
        (['show'], 'the following arguments are required: NAME'),
        (['show', '9stems'], "unknown model '9stems'"),
        (['list', '--nonsense'], 'unrecognized arguments: --nonsense'),
    ],
)
def test_bad_usage(host, capsys, words, message):
    assert main(['models', *words]) == BAD_USAGE
    said = capsys.readouterr().err
    assert said.startswith('stembeam: ')
    assert said.count('\n') == 1
    assert message in said
    assert host.asked == []


def test_the_command_needs_no_tensorflow(tmp_path):
    code = (
        'import sys; from stembeam.pipeline.cli import main; status = main(sys.argv[1:]);'
        'assert not {"tensorflow", "apache_beam", "keras"} & set(sys.modules); sys.exit(status)'
    )
    for words in (['list'], ['show', 'mini'], ['--help'], ['fetch', 'mini']):
        command = [sys.executable, '-c', code, 'models', *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == OK, done.stderr
