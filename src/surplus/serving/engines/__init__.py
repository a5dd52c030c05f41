"""Engines: one adapter for each way of running or reaching one."""
