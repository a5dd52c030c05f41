"""The routes of `/api`, one module per resource: parse, call one use-case, print."""
