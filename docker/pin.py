"""Writes the requirement files of the images anew: every package at the newest version that setup.py allows, by hash.

Run it with a bare Python 3.11 on Linux x86-64, as the images have it: `python3.11 docker/pin.py`. It makes an empty
environment and only asks pip what it would install there, so nothing is installed and hardly anything downloaded.
Every line names one file by its SHA-256: an image built later, or behind a mirror, holds the same bytes or none.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
EXTRAS = 'gcp,s3'  # object stores and Dataflow
HEAD = """\
# What the image `{image}` holds beside stembeam itself: Python 3.11, Linux x86-64. Made by docker/pin.py from setup.py
# with the extras {extras}{how}; make it again rather than edit it.
"""
CPU_HOW = """; tensorflow-cpu stands in for tensorflow, the same version
# without the code for GPUs, which is half of its size"""
GPU_HOW = """ and tensorflow[and-cuda], which brings the
# CUDA libraries"""


def would_install(python: str, *requirements: str) -> dict[str, dict[str, Any]]:
    """Package -> what pip's report says of it, for an empty environment."""
    with tempfile.NamedTemporaryFile(suffix='.json') as report:
        asked = ['install', '--quiet', '--dry-run', '--ignore-installed', '--report', report.name, *requirements]
        subprocess.run([python, '-m', 'pip', *asked], check=True)
        found = json.loads(Path(report.name).read_text(encoding='utf-8'))['install']
    return {item['metadata']['name'].lower().replace('_', '-'): item for item in found}


def line(name: str, item: dict[str, Any]) -> str:
    """One package of a requirement file."""
    digest = item['download_info']['archive_info']['hashes']['sha256']
    return f'{name}=={item["metadata"]["version"]} --hash=sha256:{digest}\n'


def write(image: str, packages: dict[str, dict[str, Any]], how: str) -> None:
    """One requirement file, without stembeam itself."""
    lines = [line(name, item) for name, item in sorted(packages.items()) if name != 'stembeam']
    path = HERE / f'requirements-{image}.txt'
    path.write_text(HEAD.format(image=image, extras=EXTRAS.replace(',', ' and '), how=how) + ''.join(lines))
    print(f'{path}: {len(lines)} packages')


def main() -> int:
    """Both files."""
    if (sys.version_info[:2], sys.platform, platform.machine()) != ((3, 11), 'linux', 'x86_64'):
        print('pin.py: the images have Python 3.11 on Linux x86-64: run it with that', file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = f'{folder}/bin/python'
        subprocess.run([python, '-m', 'pip', 'install', '--quiet', '--upgrade', 'pip'], check=True)
        stembeam = f'{HERE.parent}[{EXTRAS}]'
        cpu = would_install(python, stembeam)
        tensorflow = cpu.pop('tensorflow')['metadata']['version']
        cpu |= would_install(python, '--no-deps', f'tensorflow-cpu=={tensorflow}')
        write('cpu', cpu, CPU_HOW)
        # Otherwise the same versions: the two images differ in nothing but TensorFlow's device code.
        same = [f'{name}=={item["metadata"]["version"]}' for name, item in cpu.items() if name != 'stembeam']
        same.remove(f'tensorflow-cpu=={tensorflow}')
        write('gpu', would_install(python, f'tensorflow[and-cuda]=={tensorflow}', *same), GPU_HOW)
    return 0


if __name__ == '__main__':
    sys.exit(main())
