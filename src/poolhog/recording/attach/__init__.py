"""Attaching to a command: the environment that makes its Python processes record themselves."""
