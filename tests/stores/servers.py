"""Emulators of object stores as processes on loopback: moto for S3, gcp-storage-emulator for Google's."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

S3_SERVER = """
import os, sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
os._exit(0)
"""
# For very many requests: see lean_s3.py.
LEAN_S3_SERVER = f"""
import runpy
runpy.run_path({str(Path(__file__).with_name('lean_s3.py'))!r}, run_name='__main__')
"""
GS_SERVER = """
import os, socket, sys
from gcp_storage_emulator.server import create_server
with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
server = create_server('127.0.0.1', port, in_memory=True)
server.start()
print(port, flush=True)
sys.stdin.read()
os._exit(0)
"""


def start_server(program: str) -> tuple[subprocess.Popen[str], str]:
    """The process of an emulator, and its address, where it answers."""
    process = subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    url = f'http://127.0.0.1:{int(process.stdout.readline())}'
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=5)
            break
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(0.05)
    else:
        raise AssertionError(f'{url} does not answer')
    return process, url


def stop_server(process: subprocess.Popen[str]) -> None:
    """End an emulator; it also ends with the standard input that it has from us, if we are killed."""
    assert process.stdin is not None
    process.stdin.close()
    process.wait(30)
