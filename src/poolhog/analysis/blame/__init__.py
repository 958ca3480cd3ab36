"""Blame: every instant in which a request waits is charged to the checkouts that hold its pool.

In equal parts, and within each checkout to its route, and to what it did, where. What nobody held
up is kept apart: opening and pinging connections, and queueing although one was free, or although
nobody had one. So the sum of all blame is the sum of all waiting, to the microsecond.
"""
