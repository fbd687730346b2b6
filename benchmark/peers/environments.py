"""Environments of the peers: a virtual environment for each, made once and kept."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..turns import ROOT, MeasuringError

TORCH = 'torch==2.13.0+cpu'
TORCH_INDEX = ('--extra-index-url', 'https://download.pytorch.org/whl/cpu')  # PyPI has CUDA builds only for Linux


@dataclasses.dataclass(frozen=True)
class Environment:
    """What is installed into an environment, in steps; of a step's alternatives the first that works."""

    name: str
    pythons: tuple[str, ...]
    steps: tuple[tuple[tuple[str, ...], ...], ...]  # arguments of pip install
    imports: str  # a statement that must work when all is installed
    packages: tuple[str, ...]  # whose versions are told
    depends_on: str = ''  # what else it is made anew for


ENVIRONMENTS = {
    environment.name: environment
    for environment in (
        # imageio-ffmpeg is a wheel with the program ffmpeg, 4.2.2, of Spleeter's time: later ones take its option
        # `-strict -2` for a wish for FLAC of 32 bits, which few programs read.
        Environment(
            'spleeter',
            ('3.11', '3.10'),
            ((('spleeter==2.4.2', 'imageio-ffmpeg==0.4.9'),),),
            'import spleeter.separator, imageio_ffmpeg',
            ('spleeter', 'tensorflow', 'imageio-ffmpeg', 'numpy'),
        ),
        Environment(
            'sherpa-onnx',
            ('3.11', '3.12', '3.10'),
            ((('sherpa-onnx>=1.13,<3', 'onnx>=1.16,<2', 'soundfile>=0.13'),),),
            'import onnx, sherpa_onnx, soundfile; sherpa_onnx.OfflineSourceSeparation',
            ('sherpa-onnx', 'numpy'),
        ),
        Environment(
            'torch',
            ('3.11', '3.12', '3.10'),
            (
                ((TORCH,), (*TORCH_INDEX, TORCH)),
                (('demucs==4.1.0', 'soundfile>=0.13', TORCH),),
                # Without dependencies: they would bring another PyTorch, one for CUDA.
                (('--no-deps', 'openunmix==1.3.0', 'torchaudio==2.11.0'),),
            ),
            'import demucs.htdemucs, soundfile, torch',
            ('torch', 'demucs', 'openunmix', 'torchaudio', 'numpy'),
        ),
    )
}


def own_environment() -> Environment:
    """stembeam from this checkout, as a user installs it: what tests need besides makes the command start later."""
    return Environment(
        'stembeam',
        (f'{sys.version_info[0]}.{sys.version_info[1]}',),
        ((('--editable', str(ROOT)),),),
        'import stembeam',
        ('stembeam', 'tensorflow', 'keras', 'apache-beam', 'numpy'),
        hashlib.sha256((ROOT / 'setup.py').read_bytes()).hexdigest(),
    )


READY = '.ready'  # holds what was installed; written last


@dataclasses.dataclass(frozen=True)
class Installed:
    """An environment that can be used."""

    python: str
    versions: dict[str, str]

    def environment(self) -> dict[str, str]:
        """Variables for its processes: its programs come first."""
        return {'PATH': os.pathsep.join([str(Path(self.python).parent), os.environ.get('PATH', '')])}


def install(environment: Environment, folder: Path, tell: Callable[[str], None]) -> Installed:
    """Make an environment, unless it is there.

    Raises:
      MeasuringError: no Python that fits, or something does not install or import here.
    """
    where = folder / environment.name
    python = where / 'bin' / 'python'
    recipe = json.dumps(dataclasses.asdict(environment))
    stamp = where / READY
    if not (stamp.exists() and stamp.read_text() == recipe):
        base = find_python(environment.pythons)
        if base is None:
            raise MeasuringError(f'needs Python {", ".join(environment.pythons)}: none of them is here')
        tell(f'installing {environment.name} into {where}; this takes some minutes')
        shutil.rmtree(where, ignore_errors=True)
        where.parent.mkdir(parents=True, exist_ok=True)
        _run([base, '-m', 'venv', str(where)], 'no environment could be made')
        for alternatives in environment.steps:
            _install_one(python, alternatives)
        _mend(where)
        _run([str(python), '-c', environment.imports], 'installed, but cannot be imported')
        stamp.write_text(recipe)
    return Installed(str(python), _versions(python, environment.packages))


def find_python(versions: Sequence[str]) -> str | None:
    """The first interpreter of these versions that runs and can make environments; ours counts as one."""
    for version in versions:
        here = f'{sys.version_info[0]}.{sys.version_info[1]}' == version
        for candidate in ([getattr(sys, '_base_executable', sys.executable)] if here else []) + [f'python{version}']:
            try:
                ran = subprocess.run([candidate, '-c', 'import ensurepip, venv'], capture_output=True, check=False)
            except OSError:
                continue
            if ran.returncode == 0:
                return candidate
    return None


def _install_one(python: Path, alternatives: Sequence[Sequence[str]]) -> None:
    said = []
    for arguments in alternatives:
        try:
            _run([str(python), '-m', 'pip', 'install', '--quiet', '--retries', '1', *arguments], 'cannot be installed')
            return
        except MeasuringError as error:
            said.append(str(error))
    raise MeasuringError(said[-1])


def _run(command: list[str], what: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        told = [line for line in ran.stderr.splitlines() if line.strip() and not line.startswith('WARNING')]
        raise MeasuringError(f'{what}: {(told or ["no message"])[-1].strip()[:300]}')


def _mend(where: Path) -> None:
    """What wheels lack that their programs need."""
    # PyPI's torchaudio is compiled against CUDA; without its library it is plain Python, all that open-unmix uses.
    for library in where.glob('lib/python*/site-packages/torchaudio/lib/_torchaudio*.so'):
        library.unlink()
    for program in where.glob('lib/python*/site-packages/imageio_ffmpeg/binaries/ffmpeg-*'):
        if shutil.which('ffmpeg') and shutil.which('ffprobe'):
            return
        (where / 'bin' / 'ffmpeg').symlink_to(program.resolve())
        probe = where / 'bin' / 'ffprobe'
        probe.write_text(
            Path(__file__).with_name('ffprobe.py').read_text().replace('PYTHON', str(where / 'bin/python'))
        )
        probe.chmod(0o755)


def _versions(python: Path, packages: Sequence[str]) -> dict[str, str]:
    code = 'import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))'
    ran = subprocess.run([str(python), '-c', code, *packages], capture_output=True, text=True, check=True)
    found: Mapping[str, str] = json.loads(ran.stdout)
    return dict(found)
