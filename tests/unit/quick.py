"""Fewer examples of what is drawn, for ``make test-unit``; ``make test`` draws all of them."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("quick", settings.get_profile("ci"), max_examples=30)
