"""What one would use instead of stembeam, each in an environment of its own.

The modules with `worker` in their names run there, so they import nothing of ours but serving.py.
"""
