"""How many chunks go through the network together: apart from what computes them, because `--help` tells it."""

GPU_BATCH_SIZE = 8  # chunks, a minute and a half of audio
