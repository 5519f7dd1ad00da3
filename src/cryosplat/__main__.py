"""``python -m cryosplat``."""

from cryosplat.cli import main

main()
