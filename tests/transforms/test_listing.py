"""Files that the user names, and the ids that tracks get."""

from __future__ import annotations

import os

from stembeam.transforms.listing import read_listing

from .listings import HARD_NAMES, ids, refusal, touch, uris


class TestFiles:
    def test_named_files_are_taken_whatever_they_are(self, here):
        touch('.', *HARD_NAMES, 'notes.xyz', 'No. 5')
        inputs = [*HARD_NAMES, 'notes.xyz', 'No. 5', 'missing.mp3']
        assert uris(*inputs) == [f'{here}/{name}' for name in inputs]
        assert ids(*inputs)[-5:] == ['[x]*', '-v', 'notes', 'No. 5', 'missing']

    def test_a_name_that_exists_is_no_pattern(self, here):
        touch('.', 'Song [Live].mp3', 'Song L.mp3')
        assert ids('Song [Live].mp3') == ['Song [Live]']
        os.remove('Song [Live].mp3')
        assert ids('Song [Live].mp3') == ['Song L']

    def test_nothing_named(self):
        assert 'no input' in refusal()
        assert 'empty' in refusal('')

    def test_file_urls(self, here):
        touch('.', 'a b.mp3', '100%25.mp3')
        assert uris(f'file://{here}/a%20b.mp3') == [f'{here}/a b.mp3']
        assert uris(f'file://{here}/100%25.mp3') == [f'{here}/100%25.mp3']
        assert 'names the host nas' in refusal('file://nas/x.mp3')


class TestIds:
    def test_parents_are_put_in_front_until_distinct(self, here):
        assert ids('a/x.wav', 'b/x.wav', 'b/y.wav') == ['a/x', 'b/x', 'y']
        assert ids('1/a/x.wav', '2/a/x.mp3', 'b/x.wav') == ['1/a/x', '2/a/x', 'b/x']

    def test_two_folders_with_the_same_names(self, here):
        touch('.', 'cd1/01.wav', 'cd2/01.wav', 'cd2/02.wav')
        assert ids('cd1', 'cd2') == ['cd1/01', 'cd2/01', '02']

    def test_a_given_id_stays(self, here):
        (here / 't.csv').write_text('uri,track_id\na.wav,x\n')
        assert ids('b/x.wav', 't.csv') == ['b/x', 'x']

    def test_listed_twice_counts_once(self, here):
        touch('music', 'a/x.mp3')
        (here / 't.csv').write_text('uri,track_id,genre\nmusic/a/x.mp3,,Rock\n')
        assert read_listing(['music', 'music/a', 'music/a/x.mp3', 't.csv']).tracks == [
            ('a/x', f'{here}/music/a/x.mp3', {'genre': 'Rock'})
        ]
        (here / 't.csv').write_text('uri,track_id\nmusic/a/x.mp3,one\nmusic/a/x.mp3,two\nmusic/a/x.mp3,one\n')
        assert ids('music', 't.csv', 'music') == ['one', 'two']

    def test_listed_twice_with_different_columns(self, here):
        (here / 't.csv').write_text('uri,genre\nx.mp3,Rock\nx.mp3,Jazz\n')
        assert refusal('t.csv').endswith(
            f'row 2 (line 3): {here}/x.mp3 is listed twice with different columns; keep one row'
        )

    def test_what_cannot_be_told_apart(self, here):
        touch('music', 'x.mp3', 'x.wav')
        assert refusal('music') == (
            f'{here}/music/x.mp3 and {here}/music/x.wav have the name x in common; '
            'tell them apart in the track_id column of a table, or list only one'
        )
        (here / 't.csv').write_text('uri,track_id\nx.mp3,one\ny.mp3,one\n')
        assert f'{here}/x.mp3 and {here}/y.mp3 have the track_id one in common' in refusal('t.csv')
