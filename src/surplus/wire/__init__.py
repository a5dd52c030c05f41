"""Schemas of the control plane: one module per resource, shared by the server and by clients. No logic."""
