"""Libraries that ask other services: nothing of theirs is recorded, and none is the application."""

from __future__ import annotations

from poolhog.probes.probe import Probe

PROBE = Probe(infrastructure=("aiohttp", "httpcore", "httpx", "requests", "urllib3"))
