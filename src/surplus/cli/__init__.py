"""The `surplus` command."""
