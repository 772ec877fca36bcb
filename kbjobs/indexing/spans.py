"""The parts of an index job's progress, as fractions of the whole."""

SCAN, EMBED, STORE = (0.0, 0.05), (0.05, 0.95), (0.95, 1.0)
SEND = (0.05, 0.06)  # of EMBED, if an API embeds
