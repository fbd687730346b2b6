#!PYTHON -IS
"""Stands in for ffprobe, which no wheel brings: tells of FILE what Spleeter asks for, as read from ffmpeg's words.

Standard library only, and no site packages, so that it starts as fast as the program it stands for.
"""

import os
import re
import subprocess
import sys

found = subprocess.run(
    [os.path.join(os.path.dirname(os.path.abspath(sys.argv[0])), 'ffmpeg'), '-hide_banner', '-i', sys.argv[-1]],
    stderr=subprocess.PIPE,
    check=False,
).stderr.decode(errors='replace')
match = re.search(r'Audio: (\w+).*?, (\d+) Hz, (mono|stereo)', found)
if match is None:
    sys.exit(found)
codec, rate, layout = match.groups()
channels = 1 if layout == 'mono' else 2
stream = f'{{"codec_type": "audio", "codec_name": "{codec}", "sample_rate": "{rate}", "channels": {channels}}}'
print(f'{{"streams": [{stream}], "format": {{}}}}')
