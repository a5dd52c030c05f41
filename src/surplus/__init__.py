"""Surplus turns a fleet of accelerators into a compute cloud."""

__version__ = "0.1.0"
