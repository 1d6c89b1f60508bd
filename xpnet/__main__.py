"""``python -m xpnet`` is ``xpnet``."""

from .cli import main

main()
