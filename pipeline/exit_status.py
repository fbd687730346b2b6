"""What the command's exit status says."""

OK = 0  # all done
RUN_FAILED = 1  # the run itself could not go on
BAD_USAGE = 2  # nothing was begun
WITH_FAILURES = 3  # finished, but not every input came through
ASKS_AGAIN = 75  # between supervising.py and its child: the run is to be started again
INTERRUPTED = 130  # Ctrl-C, as shells have it
