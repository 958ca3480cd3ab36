"""What users try against a pool that runs dry, measured: ``poolhog lab remedies``."""
