"""What a run will take, from stage costs: hours, machine-hours, storage and money, and the stage that binds.

The model is one of throughputs. All CPU stages of a machine share its cores; a GPU and the way to the storage work at
the same time as they do; the slowest of the three sets the machine's speed, and machines do not see each other.
"""

from __future__ import annotations

import dataclasses

from ..model.arithmetic import flop_per_second
from ..model.configuration import ModelConfig
from ..model.errors import UsageError
from .profiles import Prices, Profile, StageCosts

MIXTURE = 1  # features are those of the stems and of the mixture
TRANSFORMED_STEMS = 4  # that StageCosts.transforms_ms is for


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be done."""

    tracks: int
    seconds: float  # of audio in all
    config: ModelConfig
    format: str
    features: bool


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a run will take."""

    hours: float
    machine_hours: float
    gigabytes: float  # that are written
    dollars: float | None  # for machines; None: they are the user's own
    dollars_per_month: float | None  # for what is stored
    speed: float  # seconds of audio per second, of all machines
    stage_ms: dict[str, float]  # of machine time per second of audio, each stage as if it had the machine alone
    binds: str  # the stage that sets the speed


def estimate(work: Work, profile: Profile, costs: StageCosts, prices: Prices) -> Estimate:
    """Hours and money for `work` on the machines of a profile.

    CPU stages scale with the matrix speed of a core, which holds for the networks and roughly for the rest.

    Raises:
      UsageError: no cost or price for a format or a GPU.
    """
    stages = _stage_ms(work, profile, costs)
    on_gpu = stages.pop('networks (GPU)', 0.0)
    network = stages.pop('storage')
    cpu = sum(stages.values())
    slowest = max(cpu, on_gpu, network)
    machines = min(profile.machines, work.tracks)
    speed = 1000 / slowest * machines
    hours = work.seconds / speed / 3600 + profile.start_minutes / 60 + costs.start_seconds / 3600
    machine_hours = hours * machines
    signals = len(work.config.instruments)
    stored = signals * costs.stem_bytes[work.format] + work.features * (signals + MIXTURE) * costs.feature_bytes
    gigabytes = stored * work.seconds / 1e9
    binding = {cpu: max(stages, key=lambda name: stages[name]), on_gpu: 'networks (GPU)', network: 'storage'}[slowest]
    return Estimate(
        hours=hours,
        machine_hours=machine_hours,
        gigabytes=gigabytes,
        dollars=machine_hours * _machine_price(profile, prices) if profile.paid else None,
        dollars_per_month=gigabytes * prices.storage_gb_month if profile.paid else None,
        speed=speed,
        stage_ms={**stages, **({'networks (GPU)': on_gpu} if on_gpu else {}), 'storage': network},
        binds=binding,
    )


def _stage_ms(work: Work, profile: Profile, costs: StageCosts) -> dict[str, float]:
    """Milliseconds of one machine per second of audio, stage by stage."""
    if work.format not in costs.encode_ms or work.format not in costs.stem_bytes:
        known = ', '.join(sorted(set(costs.encode_ms) & set(costs.stem_bytes)))
        raise UsageError(f'the cost of format {work.format!r} was not measured: use one of {known}')
    stems = len(work.config.instruments)
    core = profile.core_gflops or costs.core_gflops
    cores = profile.cores * (costs.worker_efficiency if profile.cores > 1 else 1.0)
    slower = costs.core_gflops / core / cores
    flop = flop_per_second(work.config)
    stages = {'decode': costs.decode_ms * slower}
    if profile.gpu is None:
        stages['transforms'] = costs.transforms_ms * stems / TRANSFORMED_STEMS * slower
        stages['networks'] = flop / (core * 1e9 * costs.network_share) / cores * 1000
    else:  # transforms, masks and features' spectra are done there, too, in a part of the networks' time
        stages['networks (GPU)'] = flop / (profile.gpu.tflops * 1e12 * profile.gpu.share) * 1000
    if work.features:
        one_signal = costs.features_ms if profile.gpu is None else costs.features_gpu_ms
        stages['features'] = (stems + MIXTURE) * one_signal * slower
    stages['encode'] = stems * costs.encode_ms[work.format] * slower
    moved = costs.input_bytes + stems * costs.stem_bytes[work.format]
    stages['storage'] = moved / (profile.megabytes_per_second * 1e6) * 1000
    return stages


def _machine_price(profile: Profile, prices: Prices) -> float:
    """Dollars for an hour of one machine."""
    price = profile.virtual_cpus * prices.virtual_cpu_hour
    price += profile.memory_gb * prices.memory_gb_hour + profile.disk_gb * prices.disk_gb_hour
    if profile.gpu is not None:
        if profile.gpu.name not in prices.gpu_hour:
            known = ', '.join(prices.gpu_hour)
            raise UsageError(f'no price for a {profile.gpu.name} GPU, only for {known}: add it to the prices')
        price += prices.gpu_hour[profile.gpu.name]
    return price
