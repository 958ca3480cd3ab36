"""Traces on disk: the schema they are written in, and how they are read."""
