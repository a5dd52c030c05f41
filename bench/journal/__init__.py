"""The cost of a journal record and of a slot update on this machine."""
