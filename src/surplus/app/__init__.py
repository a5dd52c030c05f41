"""Use-cases that span domains, for whatever takes the request."""
