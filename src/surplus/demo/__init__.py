"""The demo: a fleet on one machine, with a real tiny chat model."""
