"""Serving: models, deployments, the replicas that run them, and the connection to whatever answers."""
