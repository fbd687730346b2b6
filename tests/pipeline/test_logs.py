"""Logs for people and for programs, and that neither they nor run.json hold what gives access."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from stembeam.model.hiding import hide_values_of, without_secrets
from stembeam.pipeline import logs
from stembeam.pipeline.cli import main
from stembeam.transforms.addresses import shown

from .runs import separate

ENTRY = {'time', 'level', 'logger', 'message'}


@pytest.fixture
def configured(monkeypatch):
    """Standard error after `logs.configure`, in a process without handlers of its own."""
    stderr = io.StringIO()

    def configure(level, form):
        monkeypatch.setattr(sys, 'stderr', stderr)
        monkeypatch.setattr(logging.getLogger(), 'handlers', [])
        logs.configure(level, form)
        return stderr

    with logs.own_logs():
        yield configure


def test_lines_for_people(configured):
    stderr = configured('info', 'text')
    logger = logging.getLogger('stembeam.transforms.anything')
    logger.debug('too much')
    logger.info('reading %s', 'https://me:pass@host/a.wav?sig=1')
    logging.getLogger('apache_beam').warning('nobody asked for this')
    print('a line', file=sys.stderr)
    assert stderr.getvalue() == 'INFO reading https://***@host/a.wav?sig=***\na line\n'


def test_every_line_for_programs_is_an_object(configured):
    stderr = configured('debug', 'json')
    logger = logging.getLogger('stembeam.x')
    logger.warning('two\nlines of "%s"', 'words', extra={'track': 'album/song', 'stage': 'decode', 'other': 1})
    try:
        raise ValueError('no way to s3://key:word@bucket/x')
    except ValueError:
        logger.exception('it broke')
    print('half of ', end='', file=sys.stderr)
    print('a line\n\nand another', file=sys.stderr)
    entries = [json.loads(line) for line in stderr.getvalue().splitlines()]
    assert all(entry.keys() >= ENTRY for entry in entries)
    assert [(e['level'], e['logger'], e['message']) for e in entries] == [
        ('WARNING', 'stembeam.x', 'two\nlines of "words"'),
        ('ERROR', 'stembeam.x', 'it broke'),
        ('INFO', 'stderr', 'half of a line'),
        ('INFO', 'stderr', 'and another'),
    ]
    assert entries[0].keys() == ENTRY | {'track', 'stage'}
    assert (entries[0]['track'], entries[0]['stage']) == ('album/song', 'decode')
    assert entries[1]['error'].endswith('ValueError: no way to s3://***@bucket/x\n')


def test_afterwards_all_is_as_it_was():
    root, ours, stderr = logging.getLogger(), logging.getLogger('stembeam'), sys.stderr
    before = list(root.handlers), root.level, ours.level
    with logs.own_logs():
        logs.configure('debug', 'json')
        assert sys.stderr is not stderr
    assert (list(root.handlers), root.level, ours.level, sys.stderr) == (*before, stderr)


@pytest.mark.parametrize(
    ('text', 'safe'),
    [
        ('https://user:pa@ss@host:80/a@b.wav', 'https://***@host:80/a@b.wav'),
        ('https://token@host/x', 'https://***@host/x'),
        ('https://b.s3.amazonaws.com/a?X-Amz-Credential=A%2F1&X-Amz-Signature=f00&v=1',
         'https://b.s3.amazonaws.com/a?X-Amz-Credential=***&X-Amz-Signature=***&v=1'),
        ('https://storage/x?GoogleAccessId=me@x.com&Expires=1&Signature=a/b+c=',
         'https://storage/x?GoogleAccessId=***&Expires=1&Signature=***'),
        ('https://account.blob.core.windows.net/x?sv=2022&sig=abc%3D', 'https://account.blob.core.windows.net/x?sv=2022&sig=***'),
        ('simplecache::https://u:p@h/a.zip?access_token=1', 'simplecache::https://***@h/a.zip?access_token=***'),
        ("403 for url 'https://h/x?api_key=1', retrying", "403 for url 'https://h/x?api_key=***', retrying"),
        ('https://h/x#access_token=1&v=2', 'https://h/x#access_token=***&v=2'),
        ('gs://bucket/a@b.wav', 'gs://bucket/a@b.wav'),
        ('/music/what?token=1 @ home.wav', '/music/what?token=1 @ home.wav'),
    ],
)  # fmt: skip
def test_what_gives_access_is_hidden_and_nothing_else(text, safe):
    assert without_secrets(text) == safe
    assert shown(text) == safe


def test_values_of_options_are_hidden_wherever_they_stand():
    options = {
        's3': {'key': 'AKIA0123', 'secret': 'AKIA0123456789', 'token': 'short', 'endpoint_url': 'http://minio:9000'},
        'https': {'client_kwargs': {'headers': {'Authorization': 'Bearer 42'}}},
        'gs': {'token': '/keys/gcs.json'},
    }
    hide_values_of(options)
    try:
        said = without_secrets('short AKIA0123 AKIA0123456789, Bearer 42 of /keys/gcs.json at http://minio:9000')
    finally:
        hide_values_of({})
    assert said == 'short *** ***, *** of /keys/gcs.json at http://minio:9000'
    assert without_secrets('AKIA0123') == 'AKIA0123'


def test_a_run_tells_no_secret(tmp_path, tiny_model, capfd):
    """What else there is of it is looked through in tests/hardening/test_secrets.py."""
    secrets = ('hunter2', 'f00dcafe')
    listing = tmp_path / 'songs.txt'
    address = 'https://me:hunter2@127.0.0.1:9/a.wav?X-Amz-Signature=f00dcafe'
    listing.write_text(f'{address}\n')
    options = ['--log-format', 'json', '--log-level', 'debug', '--storage-attempts', '1', '--allow-local-inputs']
    run = separate([str(listing), address.replace('a.wav', 'b.wav')], tmp_path / 'out', tiny_model, *options)
    assert run.status == 3
    stderr = capfd.readouterr().err
    entries = [json.loads(line) for line in stderr.splitlines()]
    failed = [entry for entry in entries if entry.get('stage') == 'plan']
    assert len(failed) == 2
    assert all('https://***@127.0.0.1:9/' in entry['message'] for entry in failed)
    told = [stderr, run.printed, (run.out / 'run.json').read_text(), *(row['reason'] for row in run.failures())]
    assert [secret for secret in secrets for text in told if secret in text] == []


def test_the_last_word_tells_no_secret(tmp_path, capsys):
    inputs = ['https://me:hunter2@127.0.0.1:9/folder/*.wav?token=f00dcafe']
    assert main(['separate', *inputs, '-o', str(tmp_path / 'out'), '--model', 'mini', '--storage-attempts', '1']) == 2
    said = capsys.readouterr().err
    assert '***@127.0.0.1' in said
    assert 'hunter2' not in said
    assert 'f00dcafe' not in said
