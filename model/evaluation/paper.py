"""What the Spleeter paper reports, to stand beside our own numbers.

Source: Hennequin, Khlif, Voituret, Moussallam, "Spleeter: a fast and efficient music source separation tool with
pre-trained models", JOSS 5(50), 2020: musdb18's test set (50 songs), the four-stem model, museval (BSSEval version 4),
median over frames of one second, then over tracks, in dB.
"""

from __future__ import annotations

METRICS = ('SDR', 'SIR', 'SAR', 'ISR')  # the columns of the paper's table, in its order
NOTE = "The paper's numbers are for musdb18's test set (50 songs): compare with them what was scored on the same songs."

# Stem -> metric -> dB; the stem files by ratio masks, and by the multichannel Wiener filter.
MASK: dict[str, dict[str, float]] = {
    'vocals': {'SDR': 6.55, 'SIR': 15.19, 'SAR': 6.44, 'ISR': 12.01},
    'bass': {'SDR': 5.10, 'SIR': 10.01, 'SAR': 5.15, 'ISR': 9.18},
    'drums': {'SDR': 5.93, 'SIR': 12.24, 'SAR': 5.78, 'ISR': 10.50},
    'other': {'SDR': 4.24, 'SIR': 7.86, 'SAR': 4.63, 'ISR': 9.83},
}
MWF: dict[str, dict[str, float]] = {
    'vocals': {'SDR': 6.86, 'SIR': 15.86, 'SAR': 6.99, 'ISR': 11.95},
    'bass': {'SDR': 5.51, 'SIR': 10.30, 'SAR': 5.96, 'ISR': 9.61},
    'drums': {'SDR': 6.71, 'SIR': 13.67, 'SAR': 6.54, 'ISR': 10.69},
    'other': {'SDR': 4.55, 'SIR': 8.16, 'SAR': 4.88, 'ISR': 9.87},
}
PUBLISHED = {'paper, mask': MASK, 'paper, MWF': MWF}
