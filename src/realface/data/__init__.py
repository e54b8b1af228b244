"""Labelled pictures on disk: which layouts are understood, and the one list they become."""

from .layouts import SPLITS, Sample, read_data

__all__ = ["SPLITS", "Sample", "read_data"]
