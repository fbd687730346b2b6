from __future__ import annotations

import os

import pytest

from stembeam.model.store.addresses import base_name, child, is_url, local_path, parent, shown


@pytest.mark.parametrize(
    ('folder', 'relative', 'expected'),
    [
        ('/models', 'a.tar.gz', '/models/a.tar.gz'),
        ('/models/b', '../a', '/models/a'),
        ('https://host', 'a', 'https://host/a'),
        ('https://host/models/?key=a/b', 'c', 'https://host/models/c?key=a/b'),
        ('s3://bucket', 'a/b', 's3://bucket/a/b'),
        ('s3://bucket/a', '../../../b', 's3://bucket/b'),
        ('s3://bucket/a?b', 'c', 's3://bucket/a?b/c'),
        ('memory://', 'a', 'memory://a'),
        ('file:///a/b', './c', 'file:///a/b/c'),
        ('simplecache::s3://bucket/a', 'b', 'simplecache::s3://bucket/a/b'),
        ('zip://models::s3://bucket/x.zip', 'a', 'zip://models/a::s3://bucket/x.zip'),
        ('zip://::s3://bucket/x.zip', 'a', 'zip://a::s3://bucket/x.zip'),
    ],
)
def test_child(folder, relative, expected):
    assert child(folder, relative) == expected


def test_parent_and_base_name():
    assert parent('https://host/a/b.json?key=1') == 'https://host/a?key=1'
    assert base_name('https://host/a/b.json?key=1/2') == 'b.json'
    assert parent('/a/b.json') == '/a'
    assert base_name('zip://a/b.json::s3://bucket/x.zip') == 'b.json'


def test_what_is_local(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a%20b').touch()
    assert local_path('x') == str(tmp_path / 'x')
    assert local_path(f'file://{tmp_path}/a%20b') == str(tmp_path / 'a%20b')
    assert local_path(f'file://{tmp_path}/c%20d') == str(tmp_path / 'c d')
    assert local_path('~/x') == os.path.expanduser('~/x')
    assert local_path('gs://x') is None
    assert not is_url('/music/a::b')
    assert not is_url('spleeter:2stems')


def test_what_is_shown():
    assert shown('https://me:secret@host:8080/a?key=hidden') == 'https://host:8080/a'
    assert shown('s3://bucket/a?b') == 's3://bucket/a?b'
