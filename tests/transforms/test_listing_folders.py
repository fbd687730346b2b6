"""Folders and globs of this machine: what is found in them, and what is not."""

from __future__ import annotations

import os

import pytest

from stembeam.transforms.listing import read_listing

from .listings import HARD_NAMES, ids, refusal, touch, uris


class TestFolders:
    def test_audio_below_it_in_order_and_the_rest_counted(self, here):
        touch('music', 'b.MP3', 'a/x.flac', 'a-z/x.wav', 'a/.hidden/y.ogg', 'a/cover.jpg', 'c.JPG', 'README', '._b.MP3')
        listing = read_listing(['music'])
        assert [track.track_id for track in listing.tracks] == ['a-z/x', 'a/.hidden/y', 'a/x', 'b']
        assert listing.tracks[-1] == ('b', str(here / 'music/b.MP3'), {})
        assert listing.ignored == {'.jpg': 2, '(none)': 1, '._*': 1}

    @pytest.mark.parametrize('spelling', ['music', 'music/', './music', '../here [1]/music', 'file:'])
    def test_every_spelling_is_the_same(self, here, spelling):
        touch('music', *HARD_NAMES)
        spelling = (here / 'music').as_uri() if spelling == 'file:' else spelling
        assert uris(spelling) == [f'{here}/music/{name}' for name in sorted(HARD_NAMES)]
        assert ids(spelling) == [name.removesuffix('.mp3') for name in sorted(HARD_NAMES)]

    def test_undecodable_names_survive(self, here):
        touch(b'music', b'caf\xe9.mp3')
        assert uris('music') == [f'{here}/music/caf\udce9.mp3']
        assert os.path.exists(uris('music')[0])

    def test_links_are_followed_and_loops_end(self, here):
        touch('.', 'disk/x.mp3', 'music/real/y.mp3')
        os.symlink('../music', 'music/loop')
        os.symlink('real', 'music/a link to a folder that is there anyway')
        os.symlink('../disk', 'music/disk')
        os.symlink('../disk/x.mp3', 'music/file.mp3')
        os.symlink('nowhere', 'music/gone.mp3')
        os.symlink('itself.mp3', 'music/itself.mp3')
        assert ids('music') == ['disk/x', 'file', 'gone', 'itself', 'real/y']

    def test_the_output_folder_is_not_entered(self, here):
        touch('.', 'x.mp3', 'out/stems/x/vocals.wav', 'outer/y.mp3')
        assert ids('.', exclude=['out']) == ['outer/y', 'x']
        assert ids('**/*.mp3', '*/*/*/*.wav', 'x.mp3', exclude=[]) == ['outer/y', 'x', 'out/stems/x/vocals']

    def test_nothing_in_it(self, here):
        touch('music', 'a.jpg', 'b.jpg', 'c.pdf')
        assert refusal('music') == (
            'no audio in the folder music (found 2 .jpg, 1 .pdf); check the path, or name the files themselves'
        )
        os.mkdir('empty')
        assert 'no audio in the folder empty (found nothing)' in refusal('empty')

    def test_a_missing_folder(self, here):
        assert refusal('music') == 'music does not exist; check the path'
        assert refusal('new\nline/') == 'the folder new\\nline/ does not exist; check the path'


class TestGlobs:
    @pytest.mark.parametrize(
        ('pattern', 'expected'),
        [
            ('music/*', ['.h', 'x']),
            ('music/**', ['.h', 'a/b/z', 'a/y', 'x']),
            ('music/**/*', ['.h', 'a/b/z', 'a/y', 'x']),
            ('music/**/y*', ['a/y']),
            ('music/*/[xyz].*', ['a/y']),
            ('m*/a/**/z.mp3', ['music/a/b/z']),
            ('music/a*/', ['a/b/z', 'a/y']),
            ('music/?.mp3', ['x']),
        ],
    )
    def test_what_matches(self, here, pattern, expected):
        touch('music', 'x.mp3', '.h.mp3', 'a/y.mp3', 'a/b/z.mp3', 'a/cover.jpg', 'notes.xyz')
        assert ids(pattern) == expected
        assert ids(f'{here}/{pattern}') == expected

    def test_others_are_counted_unless_spelled_out(self, here):
        touch('music', 'x.mp3', 'y.xyz', 'album/z.mp3')
        assert read_listing(['music/*']).ignored == {'.xyz': 1, '(folder)': 1}
        assert ids('music/*.xyz') == ['y']

    def test_listings_that_match_are_read(self, here):
        touch('lists/b', 'x.mp3')
        (here / 'lists/b/1.txt').write_text('x.mp3')
        (here / 'lists/2.txt').write_text('y.mp3')
        assert uris('lists/**/*.txt') == [f'{here}/lists/2.txt'.replace('2.txt', 'y.mp3'), f'{here}/lists/b/x.mp3']

    def test_nothing_matches(self, here):
        touch('music', 'album/z.mp3')
        assert 'the pattern music/*.mp3 (found nothing)' in refusal('music/*.mp3')
        assert '(found 1 (folder)); use "**" to go into folders' in refusal('music/*')
        assert 'nothing matches *.csv' in refusal('*.csv')

    def test_loops_end(self, here):
        touch('music', 'a/x.mp3')
        os.symlink('..', 'music/a/up')
        os.symlink('.', 'music/a/self')
        assert ids('music/**/*.mp3') == ['a/x']
