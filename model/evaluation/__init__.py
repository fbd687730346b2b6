"""Evaluation: BSSEval version 4 scores of estimates, their medians, and the numbers that the Spleeter paper reports.

Pure: arrays in, scores and text out; the pipeline around it is in transforms and pipeline. The one idea to know: a
score belongs to a stem and a frame of one second; a table has the median over frames, then over tracks, as museval's.
"""
