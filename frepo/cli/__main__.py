"""`python -m frepo.cli`."""

from frepo.cli import main

main()
