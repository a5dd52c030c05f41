"""The demo: a server on this machine, a small real model, two customers, exact bills."""
