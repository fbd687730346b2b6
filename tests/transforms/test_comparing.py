"""Which stems are compared where a data set and a model divide music differently."""

from __future__ import annotations

import pytest

from stembeam.model.errors import TrackError
from stembeam.transforms.comparing import compared_stems

FOUR = ('bass', 'drums', 'other', 'vocals')
FIVE = ('vocals', 'piano', 'drums', 'bass', 'other')


def by_name(references, estimates) -> dict[str, tuple[set[str], set[str]]]:
    return {s.name: (set(s.references), set(s.estimates)) for s in compared_stems(references, estimates)}


def same(*names: str) -> dict[str, tuple[set[str], set[str]]]:
    return {name: ({name}, {name}) for name in names}


def test_the_same_stems_are_compared_in_the_order_of_the_estimates():
    stems = compared_stems(FOUR, ('vocals', 'drums', 'bass', 'other'))
    assert [stem.name for stem in stems] == ['vocals', 'drums', 'bass', 'other']
    assert by_name(FOUR, FOUR) == same(*FOUR)


def test_a_model_of_accompaniment():
    assert by_name(FOUR, ('vocals', 'accompaniment')) == {
        **same('vocals'),
        'accompaniment': ({'bass', 'drums', 'other'}, {'accompaniment'}),
    }


def test_a_data_set_of_accompaniment():
    assert by_name(('vocals', 'accompaniment'), FOUR) == {
        **same('vocals'),
        'accompaniment': ({'accompaniment'}, {'bass', 'drums', 'other'}),
    }


def test_a_piano_that_only_one_side_has_belongs_to_other():
    assert by_name(FOUR, FIVE) == {**same('vocals', 'drums', 'bass'), 'other': ({'other'}, {'piano', 'other'})}
    assert by_name(FIVE, FOUR) == {**same('vocals', 'drums', 'bass'), 'other': ({'piano', 'other'}, {'other'})}
    assert by_name(FIVE, FIVE) == same(*FIVE)


def test_an_accompaniment_beside_its_parts_is_not_counted_twice():
    assert by_name((*FOUR, 'accompaniment'), FOUR) == same(*FOUR)


def test_the_residual_is_compared_with_what_is_left():
    assert by_name(FOUR, ('vocals', 'residual')) == {
        **same('vocals'),
        'residual': ({'bass', 'drums', 'other'}, {'residual'}),
    }
    assert by_name(FOUR, ('vocals', 'bass', 'residual')) == {
        **same('vocals', 'bass'),
        'residual': ({'drums', 'other'}, {'residual'}),
    }
    assert by_name(FOUR, (*FOUR, 'residual')) == same(*FOUR)  # nothing is left


@pytest.mark.parametrize(
    ('references', 'estimates', 'said'),
    [
        (FOUR, ('vocals', 'drums'), 'no estimate of bass, other'),
        (FOUR, (), 'no estimate of bass, drums, other, vocals'),
        (('drums', 'bass', 'other'), FOUR, 'no reference for vocals'),
        ((), FOUR, 'no reference for bass, drums, other, vocals'),
        (('vocals', 'noise'), ('vocals', 'guitar'), 'no estimate of noise'),
    ],
)
def test_what_does_not_divide_the_same_music_is_named(references, estimates, said):
    with pytest.raises(TrackError, match=f'^{said}: the estimates '):
        compared_stems(references, estimates)
