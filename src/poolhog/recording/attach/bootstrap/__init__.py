"""The directory that ``poolhog run`` puts first on PYTHONPATH; it holds ``sitecustomize`` alone."""
