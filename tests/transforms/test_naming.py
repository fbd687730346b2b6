import posixpath
import tracemalloc

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stembeam.model.errors import UsageError
from stembeam.transforms.naming import (
    DEFAULT_PATTERN,
    MAX_NAME_BYTES,
    check_distinct,
    check_pattern,
    stem_path,
    track_path,
)
from stembeam.transforms.records import Track

STEMS = ('vocals', 'drums', 'bass', 'other')
# Few letters, so that generated ids come close to each other; all that is special is among them.
TRICKY = st.text(
    alphabet=['a', '.', '/', '%', '2', '5', 'E', '0', 'A', '\n', '\\', '~', '\0', '\udcff', 'é', '😀'], max_size=8
)
IDS = TRICKY | st.text(st.characters(codec=None), max_size=8)


def tracks(*track_ids):
    return [Track(track_id, f'/in/{index}.wav', {}) for index, track_id in enumerate(track_ids)]


@pytest.mark.parametrize(
    ('track_id', 'path'),
    [
        ('Album/01 Song [Live] #1: "what?"', 'Album/01 Song [Live] #1: "what?"'),
        ('😀 naïve', '😀 naïve'),
        ('.hidden/trailing.', '.hidden/trailing.'),
        ('100%', '100%'),
        ('100%25', '100%2525'),
        ('two\nlines\\\x00', 'two%0Alines%5C%00'),
        ('../../etc', '%2E%2E/%2E%2E/etc'),
        ('/absolute', '%20/absolute'),
        ('a//b/.', 'a/%20/b/%2E'),
        ('', '%20'),
        ('bad \udce9', 'bad %ED%B3%A9'),
    ],
)
def test_only_what_no_store_can_hold_is_encoded(track_id, path):
    assert track_path(track_id) == path


def test_long_names_are_cut_at_a_character():
    path = track_path('x/' + 'é' * 200)
    folder, name = path.split('/')
    assert folder == 'x'
    assert MAX_NAME_BYTES - 3 < len(name.encode()) <= MAX_NAME_BYTES
    assert name.startswith('é' * 94 + '~')
    assert track_path('é' * 200) != track_path('é' * 201)
    assert track_path('e' * MAX_NAME_BYTES) == 'e' * MAX_NAME_BYTES
    assert len(track_path('\n' * 100)) <= MAX_NAME_BYTES


def test_a_name_that_looks_cut_is_not_taken_for_the_one_that_was():
    long = 'song ' * 60
    assert track_path(track_path(long)) != track_path(long)


@settings(max_examples=300, deadline=None)
@given(IDS)
@example('/..')
@example('\\..\\')
def test_paths_stay_inside_and_can_be_written(track_id):
    path = track_path(track_id)
    assert posixpath.normpath(posixpath.join('/out', path)) == f'/out/{path}'
    path.encode()
    assert all(len(part.encode()) <= MAX_NAME_BYTES for part in path.split('/'))
    assert not set(path) & set('\n\0\\')


@settings(max_examples=1000, deadline=None)
@given(IDS, IDS)
@example('', ' ')
@example('', '%20')
@example('\n', '%0A')
@example('\udcc2\udc85', '\x85')
def test_different_ids_have_different_paths(one, other):
    assert (track_path(one) == track_path(other)) == (one == other)


def test_fields_of_the_pattern():
    assert stem_path(DEFAULT_PATTERN, 'A/B/x', 'vocals', 'flac') == 'A/B/x/vocals.flac'
    assert stem_path('{foldername}/{filename}_{instrument}.{codec}', 'A/B/x', 'bass', 'wav') == 'B/x_bass.wav'
    assert stem_path('{foldername}/{filename}_{instrument}.{codec}', 'x', 'bass', 'wav') == 'x_bass.wav'
    assert stem_path('./{{{instrument}}}/{track}', 'x', 'bass', 'wav') == '{bass}/x'
    assert stem_path(DEFAULT_PATTERN, 'x', 'lead/..', 'wav') == 'x/lead%2F...wav'
    assert stem_path(DEFAULT_PATTERN, '{track}', 'bass', 'wav') == '{track}/bass.wav'


@pytest.mark.parametrize(
    ('pattern', 'message'),
    [
        ('{track}.{codec}', 'has no {instrument}'),
        ('{track}/{instrument}.{ext}', 'unknown field {ext}; the fields are {track}, {instrument}'),
        ('{track}/{instrument.__class__}', 'unknown field {instrument.__class__}'),
        ('{track!r}/{instrument}', 'unknown field {track}'),
        ('{track}/{instrument}{}', 'unknown field {}'),
        ('{track/{instrument}', 'expected'),
        ('{track}/{instrument}}', 'double a brace'),
        ('/tmp/{track}/{instrument}', 'is absolute'),
        ('../{track}/{instrument}', 'leaves the output folder'),
        ('{foldername}../{track}/{instrument}', 'leaves the output folder'),
        ('{track}/{instrument}/', 'without a file name'),
        ('{track}/{instrument}/{foldername}', 'without a file name'),
        ('{track}\\{instrument}', 'backslash'),
        ('{track}\n{instrument}', 'control character'),
    ],
)
def test_patterns_that_cannot_work(pattern, message):
    with pytest.raises(UsageError) as error:
        check_pattern(pattern)
    assert message in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'pattern', [DEFAULT_PATTERN, '{foldername}/{filename}-{instrument}.{codec}', '{instrument}', '100%41/{instrument}']
)
def test_patterns_that_work(pattern):
    check_pattern(pattern)


@settings(max_examples=200, deadline=None)
@given(
    IDS, st.sampled_from([DEFAULT_PATTERN, '{foldername}/{instrument}{filename}', '.{foldername}{track}{instrument}'])
)
def test_stems_stay_inside(track_id, pattern):
    path = stem_path(pattern, track_id, 'vocals', 'wav')
    assert posixpath.normpath(posixpath.join('/out', path)) == f'/out/{path}'


@pytest.mark.parametrize(
    ('pattern', 'track_ids', 'path'),
    [
        ('{filename}/{instrument}.{codec}', ('A/x', 'B/y', 'B/x'), 'x/vocals.wav'),
        ('{instrument}.{codec}', ('x', 'y'), 'vocals.wav'),
        ('{foldername}/{filename}/{instrument}', ('A/B/x', 'B/x'), 'B/x/vocals'),
    ],
)
def test_two_tracks_in_one_file(pattern, track_ids, path):
    listed = tracks(*track_ids)
    with pytest.raises(UsageError) as error:
        check_distinct(listed, pattern, STEMS, 'wav')
    assert f'{listed[0].uri} and {listed[-1].uri} would both write {path};' in str(error.value)


def test_stems_that_run_into_track_names():
    listed = tracks('x', 'x_lead')
    with pytest.raises(UsageError, match=r'/in/0.wav and /in/1.wav would both write x_lead_vocals.wav'):
        check_distinct(listed, '{track}_{instrument}.{codec}', ('vocals', 'lead_vocals'), 'wav')
    check_distinct(listed, '{track}/{instrument}.{codec}', ('vocals', 'lead_vocals'), 'wav')
    check_distinct(listed, '{track}_{instrument}.{codec}', STEMS, 'wav')


@pytest.mark.parametrize('pattern', [DEFAULT_PATTERN, '{instrument}/{track}', '{{track}}{filename}{instrument}{track}'])
def test_distinct_tracks_pass(pattern):
    check_distinct(tracks('x', 'X', 'A/x', 'B/x', 'x/vocals'), pattern, STEMS, 'wav')


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.text('ab_/', max_size=4), min_size=2, max_size=4, unique=True),
    st.lists(st.text('ab_', min_size=1, max_size=3), min_size=1, max_size=3, unique=True),
    st.sampled_from(
        ['{track}/{instrument}', '{track}{instrument}', '{instrument}/{track}', '{instrument}_{track}.{codec}']
    ),
)
def test_the_check_agrees_with_all_paths_compared(track_ids, instruments, pattern):
    listed = tracks(*track_ids)
    paths = [stem_path(pattern, track_id, name, 'a') for track_id in track_ids for name in instruments]
    if len(set(paths)) == len(paths):
        check_distinct(listed, pattern, instruments, 'a')
    else:
        with pytest.raises(UsageError, match='would both write'):
            check_distinct(listed, pattern, instruments, 'a')


def test_many_tracks_take_little_memory():
    listed = [Track(f'album/{index}', f'/in/{index}', {}) for index in range(50_000)]
    tracemalloc.start()
    check_distinct(listed, '{foldername}-{filename}-{instrument}', STEMS, 'wav')
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * len(listed) * len(STEMS)  # the paths themselves take 70 bytes each


@given(
    st.lists(
        st.sampled_from([*(f'{{{field}}}' for field in ('track', 'instrument', 'codec', 'filename', 'foldername'))])
        | st.sampled_from(['/', '..', '.', '//', '../', ' ', '{{', '}}', '%2e', '%', '~'])
        | st.text(max_size=3),
        max_size=8,
    ),
    IDS,
    IDS,
)
def test_no_pattern_that_is_accepted_leads_out(pieces, track_id, instrument):
    pattern = ''.join(pieces)
    try:
        check_pattern(pattern)
    except UsageError as error:
        assert '\n' not in str(error)  # noqa: PT017  # that it may be refused is not what is tested
        return
    path = stem_path(pattern, track_id, instrument, 'wav')
    parts = path.split('/')
    assert not path.startswith('/')
    assert not {'', '.', '..'} & set(parts)
    assert posixpath.normpath(posixpath.join('/out', path)).startswith('/out/')
    assert '\\' not in path
    assert '\0' not in path
