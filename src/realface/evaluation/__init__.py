"""Measuring a detector on labelled faces. Needs the `train` extra."""
