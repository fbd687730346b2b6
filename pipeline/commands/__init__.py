"""The commands of `stembeam`, one module each, with `main(arguments) -> exit status`; see cli.py for the frame."""
