"""Conclusions drawn from a trace by pure functions."""
