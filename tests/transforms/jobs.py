"""Jobs, planned tracks and pipelines that tests of several transforms need; nothing here loads TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from apache_beam.testing.test_pipeline import TestPipeline

from stembeam.model.store import resolve_model
from stembeam.pipeline.runners import place
from stembeam.transforms.audio_records import DecodedSegment, SeparatedSegment
from stembeam.transforms.job import SeparateJob
from stembeam.transforms.planning import plan_track, split_track
from stembeam.transforms.records import PlannedTrack, Segment, Track
from stembeam.transforms.storage import Storage


def make_job(out: str | Path, folder: Path, **options: Any) -> SeparateJob:
    """A job for all stems of a model folder."""
    files = resolve_model(folder)
    return SeparateJob(**{'storage': Storage.at(str(out)), 'model': files, **options})


def local_pipeline(workers: int = 1) -> TestPipeline:
    """A pipeline on the runner of local runs, in this process."""
    placement = place('local', workers, {})
    return TestPipeline(runner=placement.runner, options=placement.options)


def write_track(path: Path, samples: np.ndarray, sample_rate: int = 44100) -> Track:
    """A float WAV, which every decoder gives back bit for bit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, sample_rate, subtype='FLOAT')
    return Track(path.stem, str(path), {})


def plan(track: Track, job: SeparateJob) -> PlannedTrack:
    """The plan of a track that is not complete."""
    (planned,) = plan_track(track, job)
    assert isinstance(planned, PlannedTrack)
    return planned


def separate_by_chance(planned: PlannedTrack, job: SeparateJob, seed: int = 0) -> tuple[np.ndarray, list[Any]]:
    """Random contributions of every chunk in place of a network's, for a track at the model's rate and channels.

    Returns:
      The stems of the whole track, float32 (stems, samples, channels), added up chunk after chunk; and its
      SeparatedSegments, as the job cuts the track.
    """
    grid, config = job.grid, job.model.config
    chunks = grid.num_chunks(planned.num_samples)
    shape = (len(job.instruments), grid.span, config.channels)
    rng = np.random.default_rng(seed)
    contributions = [(0.5 * rng.standard_normal(shape)).astype(np.float32) for _ in range(chunks)]

    padded = np.zeros((grid.samples_of(chunks), config.channels), np.float32)
    padded[grid.lead : grid.lead + planned.num_samples] = soundfile.read(planned.track.uri, planned.num_samples)[0]

    def add_up(first: int, count: int) -> np.ndarray:
        run = np.zeros((shape[0], grid.samples_of(count), shape[2]), np.float32)
        for number in range(count):
            run[:, number * grid.hop : number * grid.hop + grid.span] += contributions[first + number]
        return run

    def separated(segment: Segment) -> SeparatedSegment:
        is_last = segment.index == segment.num_segments - 1
        samples = padded[segment.first_chunk * grid.hop :][: grid.samples_of(segment.num_chunks)]
        decoded = DecodedSegment(segment, samples, planned.num_samples if is_last else None, {'decode': 0.5})
        return SeparatedSegment(decoded, add_up(segment.first_chunk, segment.num_chunks))

    whole = add_up(0, chunks)[:, grid.lead : grid.lead + planned.num_samples]
    return whole, [separated(segment) for segment in split_track(planned, job)]
