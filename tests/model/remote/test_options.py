from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from stembeam.model.errors import UsageError
from stembeam.model.remote import (
    Retries,
    StoreOptions,
    current_options,
    current_retries,
    install_options,
    missing_package,
    open_filesystem,
    read_options,
)

pytestmark = pytest.mark.usefixtures('clean_configuration')


def test_they_are_in_force_where_they_arrive():
    install_options(StoreOptions({'memory': {'skip_instance_cache': True}}, Retries(attempts=3)))
    sent = pickle.dumps(current_options())
    fsspec.config.conf.clear()
    install_options(StoreOptions())
    assert current_retries().attempts == 12
    pickle.loads(sent)
    assert current_retries().attempts == 3
    assert fsspec.config.conf['memory'] == {'skip_instance_cache': True}


def test_what_the_environment_says_travels_too(tmp_path: Path):
    program = (
        'import pickle, sys\nfrom stembeam.model.remote import current_options\n'
        'sys.stdout.buffer.write(pickle.dumps(current_options()))'
    )
    environment = {'FSSPEC_S3_ENDPOINT_URL': 'http://minio:9000', 'PATH': '/usr/bin:/bin', 'HOME': str(tmp_path)}
    sent = subprocess.run([sys.executable, '-c', program], env=environment, stdout=subprocess.PIPE, check=True).stdout
    pickle.loads(sent)
    assert fsspec.config.conf['s3'] == {'endpoint_url': 'http://minio:9000'}


def test_secrets_are_not_shown():
    options = StoreOptions({'s3': {'secret': 'very secret'}})
    assert 'very secret' not in f'{options} {options!r}'


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        ('{"s3": {"secret": "very secret"', 'not JSON at line 1'),
        ('["very secret"]', 'no JSON object'),
        ('{"s4": {"secret": "very secret"}}', "protocol 's4' is unknown"),
        ('{"s3": "very secret"}', "options of 's3' are no JSON object"),
    ],
)
def test_a_file_that_is_wrong_is_one_line_without_its_values(tmp_path: Path, content: str, said: str):
    path = tmp_path / 'options.json'
    path.write_text(content)
    with pytest.raises(UsageError) as error:
        read_options(str(path))
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert 'very secret' not in str(error.value)
    assert '\n' not in str(error.value)


def test_a_file(tmp_path: Path):
    path = tmp_path / 'options.json'
    path.write_text(json.dumps({'s3': {'anon': True}}))
    assert read_options(str(path)) == {'s3': {'anon': True}}
    with pytest.raises(UsageError, match='cannot be read'):
        read_options(str(tmp_path / 'none.json'))


def test_drivers_leave_trying_again_to_us():
    pytest.importorskip('s3fs')
    install_options(StoreOptions({'s3': {'anon': True, 'config_kwargs': {'read_timeout': 7}}}))
    fs, path = open_filesystem('s3://bucket/key')
    assert path == 'bucket/key'
    assert fs.retries == 1
    assert fs.config_kwargs == {'read_timeout': 7, 'connect_timeout': 20, 'retries': {'total_max_attempts': 1}}
    assert fs is open_filesystem('s3://bucket/other')[0]


@pytest.mark.parametrize(('url', 'extra'), [('gs://b/x', 'gcp'), ('s3://b/x', 's3'), ('zip://a::s3://b/x', 's3')])
def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch, url: str, extra: str):
    def refuse(*arguments, **options):
        raise ImportError('Install it to access it')

    monkeypatch.setattr(fsspec.core, 'url_to_fs', refuse)
    with pytest.raises(ImportError, match=rf"pip install 'stembeam\[{extra}\]'"):
        open_filesystem(url)
    assert missing_package('sftp://x', ImportError('Install paramiko')).endswith('not installed: Install paramiko')
