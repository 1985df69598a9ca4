"""Tests of the pure parts of `release/`."""
