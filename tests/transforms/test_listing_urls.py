"""Folders, globs and listings behind URLs."""

from __future__ import annotations

import zipfile

import fsspec

from stembeam.transforms.listing import read_listing

from .listings import TABLE_FILES, ids, refusal, uris


class TestUrls:
    def test_folders(self, memory):
        for name in ('b.mp3', 'a/x.flac', 'a/[1] #é?.wav', 'cover.jpg'):
            memory.pipe(f'/music/{name}', b'')
        listing = read_listing(['memory://music'])
        assert [track.track_id for track in listing.tracks] == ['a/[1] #é?', 'a/x', 'b']
        assert listing.tracks[0].uri == 'memory://music/a/[1] #é?.wav'
        assert listing.ignored == {'.jpg': 1}
        assert ids('memory://music/') == ids('memory://music')
        assert ids('memory://', exclude=['memory://music/a/']) == ['music/b']

    def test_globs(self, memory):
        for name in ('b.mp3', 'a/x.flac', 'a/y.txt', 'Song [Live].mp3'):
            memory.pipe(f'/music/{name}', b'')
        assert ids('memory://music/**/*.flac') == ['a/x']
        assert ids('memory://music/**') == ['Song [Live]', 'a/x', 'b']
        assert read_listing(['memory://music/*']).ignored == {'(folder)': 1}
        assert uris('memory://music/Song [Live].mp3') == ['memory://music/Song [Live].mp3']
        assert 'no audio in the pattern memory://music/*.ogg (found nothing' in refusal('memory://music/*.ogg')

    def test_listings(self, here, memory):
        memory.pipe('/lists/deep/l.txt', b'x.mp3\n../y.mp3\n../../../../z.mp3\n/abs.mp3\nftp://b/k.mp3\n')
        found = read_listing(['memory://lists/deep/l.txt'], allow_local=True)
        assert [track.uri for track in found.tracks] == [
            'memory://lists/deep/x.mp3',
            'memory://lists/y.mp3',
            'memory://lists/z.mp3',
            '/abs.mp3',
            'ftp://b/k.mp3',
        ]
        memory.pipe('/lists/t.parquet', TABLE_FILES['.parquet'])
        assert ids('memory://lists/t.parquet', allow_local=True)[0] == 'one'

    def test_archives(self, here):
        with zipfile.ZipFile('x.zip', 'w') as archive:
            archive.writestr('in/a.wav', b'')
            archive.writestr('in/b/c.wav', b'')
        assert uris('zip://in::x.zip') == ['zip://in/a.wav::x.zip', 'zip://in/b/c.wav::x.zip']
        assert ids('zip://::x.zip') == ['in/a', 'in/b/c']
        with fsspec.open(uris('zip://in/*::x.zip')[0]) as file:
            assert file.read() == b''

    def test_web_addresses_are_files(self, monkeypatch):
        monkeypatch.setattr(fsspec, 'get_filesystem_class', lambda scheme: None)  # is not installed everywhere
        (track,) = read_listing(['https://example.org/a/My%20Song.mp3?token=a/b.c']).tracks
        assert track == ('My Song', 'https://example.org/a/My%20Song.mp3?token=a/b.c', {})

    def test_same_names_in_two_buckets(self):
        assert ids('ftp://one/x.mp3', 'ftp://two/x.mp3') == ['one/x', 'two/x']

    def test_what_is_wrong(self, here, memory):
        assert 'memory://nowhere does not exist' in refusal('memory://nowhere')
        assert 'the folder memory://nowhere/ does not exist' in refusal('memory://nowhere/')
        assert 'memory://l.csv does not exist' in refusal('memory://l.csv')
        assert 'cannot read spam://x.mp3: Protocol not known: spam' in refusal('spam://x.mp3')
        (here / 'l.txt').write_text('x.mp3\nspam://x.mp3\n')
        assert 'l.txt, line 2: cannot read spam://x.mp3' in refusal('l.txt')
