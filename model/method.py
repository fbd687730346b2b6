"""How stems are made from what the networks estimate: Spleeter's way by default, and what goes beyond it by option.

A `Method` is a small record without a model; `Method.check` says whether a model can be used in that way, and
`Method.outputs` what comes out. Everything that needs the method (the grid of chunks, the compiled functions, the
fingerprints of results) is computed from this one record.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from .configuration import ModelConfig
from .errors import UsageError

RESIDUAL = 'residual'  # the name of what the chosen stems leave of the mixture
MASKS = ('ratio', 'direct')
MASK_EPSILON = 1e-10  # of ratio masks; Spleeter's, shared among the stems
HIGH_BANDS = ('model', 'zeros', 'average', 'octave')


@dataclasses.dataclass(frozen=True)
class Method:
    """How stems are made. The defaults are Spleeter's separation, all stems of the model.

    >>> Method(stems=('vocals',), mwf_iterations=1).to_json()
    {'stems': ['vocals'], 'mwf_iterations': 1}
    """

    # The stems that come out; None: all. Whatever the order, they come in the model's.
    stems: tuple[str, ...] | None = None

    # 'ratio': what a network estimates relative to what all of them estimate, so that stems share out the mixture.
    # 'direct': each network's own share of the mixture, for which the other networks need not be computed.
    masks: str = 'ratio'

    # Multichannel Wiener filter after the networks: 1 is Spleeter's --mwf, 0 none.
    mwf_iterations: int = 0

    # Share of a chunk that overlaps the next one, below one half; the masks of both are cross-faded.
    overlap: float = 0.0

    # The spectrum above the bins that the networks see. 'model': by the configuration's mask_extension (and nothing
    # under the Wiener filter, as in Spleeter); 'zeros': nothing; 'average', 'octave': the mixture times the mean of the
    # mask over all the bins that the networks see, or over the highest octave of them, per frame and channel.
    high_band: str = 'model'

    # Whether a stem `residual` comes last: the mixture minus the stems that come out.
    residual: bool = False

    def to_json(self) -> dict[str, Any]:
        """The fields that differ from the defaults, in a fixed order: empty for Spleeter's method."""
        given = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }
        return {name: sorted(value) if name == 'stems' else value for name, value in given.items()}

    def chosen(self, config: ModelConfig) -> tuple[str, ...]:
        """The model's stems that come out, in the model's order."""
        return tuple(name for name in config.instruments if self.stems is None or name in self.stems)

    def outputs(self, config: ModelConfig) -> tuple[str, ...]:
        """Names of everything that comes out, in order: the chosen stems, then 'residual' if it is asked for."""
        return (*self.chosen(config), *([RESIDUAL] if self.residual else []))

    def networks(self, config: ModelConfig) -> tuple[str, ...]:
        """The stems whose networks must be computed: all of them, unless every stem has a mask of its own."""
        return self.chosen(config) if self.masks == 'direct' else config.instruments

    def overlap_frames(self, config: ModelConfig) -> int:
        """STFT frames that neighbouring chunks share."""
        return round(self.overlap * config.frames)

    def mask_extension(self, config: ModelConfig) -> str:
        """What masks are above the bins that the networks see: 'zeros', 'average' or 'octave'."""
        if self.high_band != 'model':
            return self.high_band
        return 'zeros' if self.mwf_iterations else config.mask_extension

    def check(self, config: ModelConfig) -> None:
        """Raise UsageError, in one line, unless a model of this configuration can be used in this way."""
        for problem in self._problems(config):
            raise UsageError(problem)

    def _problems(self, config: ModelConfig) -> Iterator[str]:
        names = ', '.join(config.instruments)
        if self.stems is not None:
            if not self.stems:
                yield f'stems is empty: name at least one of {names}'
            for name in self.stems:
                if name not in config.instruments:
                    yield f'stems names {name!r}, which the model does not have: choose from {names}'
            if len(set(self.stems)) < len(self.stems):
                yield f'stems {", ".join(self.stems)} names a stem twice: name each once'
        if self.residual and RESIDUAL in config.instruments:
            yield f'residual: the model has a stem of that name ({names}): leave the option out'
        if self.masks not in MASKS:
            yield f'masks is {self.masks!r}: it must be one of {", ".join(MASKS)}'
        if self.high_band not in HIGH_BANDS:
            yield f'high_band is {self.high_band!r}: it must be one of {", ".join(HIGH_BANDS)}'
        if self.masks == 'direct' and config.model_type == 'unet.softmax_unet':
            yield 'masks is direct, but the networks of a softmax_unet model depend on each other: use ratio'
        if isinstance(self.mwf_iterations, bool) or int(self.mwf_iterations) != self.mwf_iterations:
            yield f'mwf_iterations is {self.mwf_iterations!r}: it must be a whole number'
        if self.mwf_iterations < 0:
            yield f'mwf_iterations is {self.mwf_iterations}: it must be 0 (no Wiener filter) or more'
        if self.masks == 'direct' and self.mwf_iterations:
            yield 'masks is direct, but the Wiener filter (mwf) weighs all networks of the model: use ratio'
        yield from self._overlap_problems(config)

    def _overlap_problems(self, config: ModelConfig) -> Iterator[str]:
        if not 0 <= self.overlap < 0.5:  # not for NaN either
            yield f'overlap is {self.overlap}: it must be at least 0 and below 0.5 of a chunk'
            return
        # A chunk reaches into the next one and no further, and the first one holds some of the track.
        most = (config.frames - config.frame_length // config.frame_step) // 2
        if self.overlap_frames(config) > max(most, 0):
            yield (
                f'overlap is {self.overlap}, {self.overlap_frames(config)} of the {config.frames} frames of a chunk: '
                f'it must be at most {max(most, 0) / config.frames:.3f} for this model'
            )
