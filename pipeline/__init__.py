"""Graphs put together from transforms, and the command line."""
