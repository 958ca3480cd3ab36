"""The lab: the conference talk that poolhog implements, run for real."""
