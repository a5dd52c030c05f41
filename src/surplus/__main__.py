"""`python -m surplus` is the `surplus` command."""

from surplus.cli.main import main

main()
