"""The separator itself, without Beam: a waveform goes in, stems come out."""
