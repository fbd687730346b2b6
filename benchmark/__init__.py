"""How fast stembeam is, how near to what the machine can do, and how that compares with what one would use instead.

`python -m benchmark` (or `make bench`) measures everything in one run, in rounds that take turns, so that a slow minute
of the machine hits all alike. What is measured runs in processes of its own, pinned to the same cores; this process
only starts them, asks them, and writes the report. Not part of the package.
"""
