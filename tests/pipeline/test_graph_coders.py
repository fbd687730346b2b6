"""Every record that crosses a shuffle has a coder of its own: the whole graph is walked."""

from __future__ import annotations

import re

import apache_beam as beam
import pytest
from apache_beam.coders import coders
from apache_beam.portability import common_urns
from apache_beam.runners.pipeline_context import PipelineContext

from stembeam.model.method import Method
from stembeam.pipeline.separate import build_separate
from stembeam.transforms.listing_files import ListingFiles
from stembeam.transforms.manifest import Tables
from stembeam.transforms.record_coders import RecordCoder
from stembeam.transforms.records import Track

from ..transforms.jobs import make_job

# Beam's own: the one key of a global combination is None, and a reshuffle's time stamps are None or Beam's.
VOID, STAMPS = 'SeparateTracks/PlanTracks/Sum/', '/ReshufflePerKey/'


def graph(tmp_path, tiny_model, in_order):
    job = make_job(tmp_path, tiny_model, method=Method(mwf_iterations=2))
    pipeline = beam.Pipeline()
    build_separate(pipeline, ListingFiles(['a.jsonl'], ['b.jsonl']), job, Tables(job, 2, {}), in_order)
    return pipeline.to_runner_api(return_context=True)


def fallbacks(coder):
    """Coders within a coder that pickle what they do not know."""
    if isinstance(coder, coders.FastPrimitivesCoder | coders.PickleCoder | coders.DeterministicFastPrimitivesCoder):
        return [coder]
    parts = getattr(coder, '_coders', None) or [
        part for part in (getattr(coder, name, None) for name in ('_elem_coder', '_value_coder')) if part is not None
    ]
    return [found for part in parts for found in fallbacks(part)]


@pytest.mark.parametrize('in_order', [True, False])
def test_what_crosses_a_shuffle(tmp_path, tiny_model, in_order):
    proto, context = graph(tmp_path, tiny_model, in_order)
    shuffled = []
    for transform in proto.components.transforms.values():
        if transform.spec.urn in (common_urns.primitives.GROUP_BY_KEY.urn, common_urns.composites.RESHUFFLE.urn):
            for collection in (*transform.inputs.values(), *transform.outputs.values()):
                coder = context.coders.get_by_id(proto.components.pcollections[collection].coder_id)
                shuffled.append((transform.unique_name, coder))
    names = {name for name, _ in shuffled}
    assert {'SeparateTracks/PlanTracks/SpreadTracks', 'SeparateTracks/AssembleTracks/Gather'} <= names
    assert ('SeparateTracks/SplitTracks/Together' in names) == in_order
    assert len(names) >= 12
    for name, coder in shuffled:
        if coder.is_kv_coder() and not name.startswith(VOID):
            key, value = coder.key_coder(), coder.value_coder()
            assert isinstance(key, coders.VarIntCoder | coders.StrUtf8Coder), (name, key)
            assert key.is_deterministic()
        else:
            value = coder.value_coder() if coder.is_kv_coder() else coder
        assert not fallbacks(value) or STAMPS in name, (name, value)
        # Names of listing files are text, and Create encodes its elements, here numbers of shards, itself.
        assert re.search('RecordCoder|StrUtf8Coder|BytesCoder', repr(value)), (name, value)


def test_what_else_a_runner_might_store(tmp_path, tiny_model):
    """Where a stage ends, is the runner's business: every collection of our own steps has a coder."""
    proto, context = graph(tmp_path, tiny_model, in_order=False)
    beams = ('/Sum/', '/ReshufflePerKey/', '/Write')  # of Beam's own composites; ends of the graph, that give None
    for collection in proto.components.pcollections.values():
        coder = context.coders.get_by_id(collection.coder_id)
        if not any(part in collection.unique_name for part in beams) or 'Guarded' in collection.unique_name:
            assert not fallbacks(coder), (collection.unique_name, coder)


def test_sums_cross_as_plain_numbers(tmp_path, tiny_model):
    proto, _ = graph(tmp_path, tiny_model, in_order=False)
    combine = common_urns.composites.COMBINE_PER_KEY.urn
    (transform,) = [found for found in proto.components.transforms.values() if found.spec.urn == combine]
    payload = beam.portability.api.beam_runner_api_pb2.CombinePayload.FromString(transform.spec.payload)
    coder = PipelineContext(proto.components).coders.get_by_id(payload.accumulator_coder_id)
    assert isinstance(coder, coders.TupleCoder)
    assert [type(part) for part in coder.coders()] == [coders.VarIntCoder] * 2 + [coders.FloatCoder] * 2


def test_the_coder_comes_back_from_the_graph(tmp_path, tiny_model):
    proto, _ = graph(tmp_path, tiny_model, in_order=False)
    (listing,) = [c for c in proto.components.pcollections.values() if c.unique_name.endswith('Listing/Read.None')]
    coder = PipelineContext(proto.components).coders.get_by_id(listing.coder_id)
    assert isinstance(coder, RecordCoder)
    track = Track('a/b', 'gs://x', {'n': 1})
    assert coder.decode(coder.encode(track)) == track
