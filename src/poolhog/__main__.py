"""``python -m poolhog`` is ``poolhog``."""

from poolhog.cli import main

main()
