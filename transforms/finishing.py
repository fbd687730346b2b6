"""The end of a track's way: stem files, feature tables and, last of all, the completion record.

Whether the stems come from one segment in memory or from the parts of a long track is all the same here: they are
streams of blocks. Everything is made under temporary names first; the record is written when all files have their final
ones.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from ..model.features.extractor import StemFeatures
from ..model.hiding import without_secrets
from .completion import BEING_REPLACED, DONE, read_record, record_path, write_record
from .feature_tables import MIXTURE, FrameTable, track_rows
from .job import SeparateJob
from .metrics import FEATURES, TRACKS_DONE, WRITE, count, count_stage
from .naming import track_path
from .records import Completed, PlannedTrack
from .stem_files import StemFile, extract_features, write_stem
from .storage import full_disk_stops_the_run

logger = logging.getLogger(__name__)

Blocks = Iterable[np.ndarray]  # float32 (n, channels) at the model's rate, in order


class _Made(NamedTuple):
    """The files of a track under temporary names, and what is known of them."""

    files: dict[str, str]  # local path -> path in OUT
    stems: dict[str, StemFile]
    frames: str | None  # the feature table's path in OUT; None without features
    features: dict[str, StemFeatures]  # of stems and mixture; empty without features
    feature_seconds: float  # spent on them


def finish_track(
    planned: PlannedTrack,
    stems: Mapping[str, Callable[[], Blocks]],
    mixture: Callable[[], Blocks],
    num_samples: int,
    seconds: Mapping[str, float],
    job: SeparateJob,
    threads: int = 1,
    stage: str = WRITE,
    known: Mapping[str, np.ndarray] | None = None,
) -> Completed:
    """Write everything that belongs to a track; it is complete when this returns.

    Args:
      stems: for each stem to be written, a function that gives its samples.
      mixture: the same for the input; called only if there are features.
      num_samples: of the track, at the model's rate.
      seconds: spent on the track in earlier steps.
      threads: how many stems are written at the same time.
      stage: for which it is counted, see metrics.py.
      known: spectral rows of some stems, as written, and of the mixture, by name: see FeatureExtractor.

    Raises:
      RunError: the disk is full.
    """
    began = time.perf_counter()
    storage, track = job.storage, planned.track
    with storage.new_folder() as folder, full_disk_stops_the_run(storage.root):
        made = _make(folder, track.track_id, stems, mixture, job, threads, known or {})
        sizes = {path: os.path.getsize(local) for local, path in made.files.items()}
        _replace(made.files, planned, job)
    record = _record(planned, num_samples, made, sizes, {**seconds, 'write': time.perf_counter() - began}, job)
    completed = Completed(track.track_id, write_record(storage, record), is_new=True)
    count(TRACKS_DONE)
    count_stage(stage, time.perf_counter() - began, tracks=1, audio=record['duration'], bytes_out=sum(sizes.values()))
    if made.frames is not None:
        count_stage(FEATURES, made.feature_seconds, tracks=1, bytes_out=sizes[made.frames])
    logger.debug('complete: %s', track.track_id, extra={'track': track.track_id, 'stage': stage})
    return completed


def _make(
    folder: str,
    track_id: str,
    stems: Mapping[str, Callable[[], Blocks]],
    mixture: Callable[[], Blocks],
    job: SeparateJob,
    threads: int,
    known: Mapping[str, np.ndarray],
) -> _Made:
    """Write all files of a track into a local folder, `threads` signals at a time."""
    local = {name: os.path.join(folder, f'{number}.{job.stem_format.codec}') for number, name in enumerate(stems)}
    with ThreadPoolExecutor(threads) as pool:
        writing = {
            name: pool.submit(lambda n=name: write_stem(stems[n](), local[n], job, known.get(n)))  # type: ignore[misc]
            for name in stems
        }
        hearing = pool.submit(_hear, mixture, job, known.get(MIXTURE)) if job.features else None
        written = {name: future.result() for name, future in writing.items()}
        features = {name: stem.features for name, stem in written.items() if stem.features is not None}
        spent = sum(stem.feature_seconds for stem in written.values())
        if hearing is not None:
            features[MIXTURE], seconds = hearing.result()
            spent += seconds
    files = {local[name]: job.stem_file(track_id, name) for name in stems} if job.keep_stems else {}
    if not job.features:
        return _Made(files, written, None, features, spent)
    table_file = os.path.join(folder, 'frames.parquet')
    with FrameTable(table_file, track_id, job.output_rate) as table:
        for name, found in features.items():
            table.add(name, found)
    files[table_file] = frames = f'features/frames/{track_path(track_id)}.parquet'
    return _Made(files, written, frames, features, spent)


def _hear(mixture: Callable[[], Blocks], job: SeparateJob, known: np.ndarray | None) -> tuple[StemFeatures, float]:
    """Features of the mixture, and the seconds spent on them; a long track is decoded anew for it."""
    began = time.perf_counter()
    return extract_features(mixture(), job, known), time.perf_counter() - began


def _replace(made: Mapping[str, str], planned: PlannedTrack, job: SeparateJob) -> None:
    """Give the made files their final names, and remove files of a former run that have no successor."""
    track_id = planned.track.track_id
    former = read_record(job.storage, record_path(track_id)) if planned.is_known else None
    former_files = former['files'] if former else {}
    # From here on, and if the run is killed here, the track is complete for nobody; what it owns stays known.
    owned = {**former_files, **dict.fromkeys(made.values(), 0)}
    write_record(job.storage, {'status': BEING_REPLACED, 'track_id': track_id, 'files': owned})
    for local, path in made.items():
        job.storage.publish(local, path)
    for path in set(former_files) - set(made.values()):
        job.storage.remove(path)


def _record(
    planned: PlannedTrack,
    num_samples: int,
    made: _Made,
    sizes: Mapping[str, int],
    seconds: Mapping[str, float],
    job: SeparateJob,
) -> dict[str, Any]:
    """What the completion record of a track says: its row of the manifest, and what resuming must know."""
    track = planned.track
    return {
        'status': DONE,
        'track_id': track.track_id,
        'uri': without_secrets(track.uri),
        'metadata': track.metadata,
        'fingerprint': planned.fingerprint,
        'source': planned.source,
        'input': {**planned.info._asdict(), 'uri': without_secrets(planned.info.uri)},
        'results': job.results(),
        'model': job.model.name,
        'num_samples': num_samples,
        'duration': num_samples / job.model.config.sample_rate,
        'files': sizes,
        'stems': {
            name: {
                'path': job.stem_file(track.track_id, name),
                'samples': stem.num_samples,
                'sha256': stem.sha256,
                'clipped': stem.clipped,
            }
            for name, stem in made.stems.items()
            if job.keep_stems
        },
        'frames': made.frames,
        'features': track_rows(made.features) if made.features else None,
        'finished': time.time(),
        'seconds': {step: round(spent, 4) for step, spent in seconds.items()},
    }
