"""What a run is asked to do, as one picklable record for every step, and how its tracks are cut into segments."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from typing import Any

from ..model.chunks import ChunkGrid
from ..model.features.columns import FEATURES_VERSION
from ..model.method import Method
from ..model.store import ModelFiles
from .attempts import Attempts
from .encoding import FORMATS, StemFormat
from .naming import LAYOUTS, Layout, stem_path
from .storage import Storage

# Stems, features or records made before a change of this number are made again.
RESULTS_VERSION = 1

# A track of up to six minutes is one segment, so that its stems go straight to their final place. Longer ones are cut
# into shorter segments, so that all workers can be in one hour-long track within the memory that songs need.
WHOLE_TRACK_CHUNKS = 30
PART_CHUNKS = 4

SPLEETER_METHOD = Method()  # all its defaults are Spleeter's


@dataclasses.dataclass(frozen=True)
class SeparateJob:
    """Options of `separate`, checked and complete."""

    storage: Storage
    model: ModelFiles
    method: Method = SPLEETER_METHOD  # which stems, and how they are made
    format: str = 'wav'  # a key of encoding.FORMATS
    bitrate: int | None = None  # bit/s, of lossy formats
    output_rate: int = 44100  # Hz of the stem files
    features: bool = True
    keep_stems: bool = True  # False: features alone are kept, computed from what the stem files would hold
    offset: float = 0.0  # seconds of every track that are left out
    duration: float | None = None  # seconds of every track that are separated; None: all
    layout: str = 'stembeam'  # a key of naming.LAYOUTS: where stems go in OUT
    filename_format: str | None = None  # pattern of stem files; None: the layout's
    allow_truncated: bool = False
    decoder: str = 'auto'
    overwrite: bool = False
    chunks_per_segment: int | None = None  # None: WHOLE_TRACK_CHUNKS and PART_CHUNKS
    batch_size: int | None = None  # chunks in one call of the network; None: see engines.load_engine
    streams: int = 1  # threads of a process that separate at the same time
    attempts: Attempts | None = None  # where tracks under way are marked; None: nowhere
    since: float | None = None  # time.time(): tracks complete since then were made by this command, restarted meanwhile
    is_fresh: bool = False  # when the run began, none of its tracks had a completion record: none is asked for
    hints: tuple[tuple[str, str], ...] = ()  # (name, value): Beam's resource hints for the inference steps alone

    @functools.cached_property
    def instruments(self) -> tuple[str, ...]:
        """The stems that are written: those chosen, in the model's order, and 'residual' last if it is asked for."""
        return self.method.outputs(self.model.config)

    @functools.cached_property
    def grid(self) -> ChunkGrid:
        """Where the model's chunks lie in a track."""
        return ChunkGrid.of(self.model.config, self.method.overlap)

    @property
    def placing(self) -> Layout:
        """Where stems go in OUT."""
        return LAYOUTS[self.layout]

    @property
    def pattern(self) -> str:
        """The pattern of stem files, below the folder of the layout."""
        return self.filename_format or self.placing.pattern

    def stem_file(self, track_id: str, instrument: str) -> str:
        """Where a stem of a track goes, relative to OUT."""
        return self.placing.folder + stem_path(self.pattern, track_id, instrument, self.stem_format.codec)

    @property
    def stem_format(self) -> StemFormat:
        """The format of the stem files."""
        return FORMATS[self.format]

    def results(self) -> dict[str, Any]:
        """Everything but the input that decides what the results are: the same values give the same files."""
        # Which stems, is said by 'stems'; naming all of them and naming none is the same.
        method = {name: value for name, value in self.method.to_json().items() if name != 'stems'}
        return {
            'version': RESULTS_VERSION,
            'model': self.model.fingerprint,
            'stems': list(self.instruments),
            'format': self.format,
            'bitrate': self.bitrate,
            'sample_rate': self.output_rate,
            'features': self.features,
            'features_version': FEATURES_VERSION if self.features else None,
            'offset': self.offset,
            'duration': self.duration,
            'filename_format': self.pattern,
            'allow_truncated': self.allow_truncated,
            'decoder': self.decoder,
            **({'layout': self.layout} if self.layout != 'stembeam' else {}),
            **({} if self.keep_stems else {'keep_stems': False}),
            **({'method': method} if method else {}),
        }

    def fingerprint(self, track_id: str, uri: str, source: dict[str, Any]) -> str:
        """SHA-256 (hex) of input, model and options: if it is the same, the results are the same."""
        content = json.dumps([track_id, uri, source, self.results()], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def segment_lengths(self, num_chunks: int) -> list[int]:
        """How a track of `num_chunks` is cut: chunks of each segment, as equal as can be."""
        whole = self.chunks_per_segment or WHOLE_TRACK_CHUNKS
        most = whole if num_chunks <= whole else self.chunks_per_segment or PART_CHUNKS
        pieces = -(-num_chunks // most)
        return [num_chunks * (i + 1) // pieces - num_chunks * i // pieces for i in range(pieces)]
