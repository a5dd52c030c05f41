"""Makes docs/reference from the code that it describes: `python -m tools.reference`, or `make docs`."""
