"""A typed client of the control plane."""

from surplus.client.client import Client
from surplus.client.errors import ApiError, BadAnswer, BadArgument, ClientError, Unreachable

__all__ = ["ApiError", "BadAnswer", "BadArgument", "Client", "ClientError", "Unreachable"]
