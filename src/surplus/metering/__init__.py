"""Usage records in, exactly once; token totals by hour, key, model and price version out."""
