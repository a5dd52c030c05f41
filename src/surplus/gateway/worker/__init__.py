"""Gateway workers: processes that take requests beside each other, and the desk that they ask."""
