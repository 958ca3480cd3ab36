"""What may stand in a trace of texts that can hold secrets: command lines and SQL.

Each keeps what is known to be harmless, and drops the rest.
"""
