"""HTTP/1.1 as a client: the wire behind the upstream port, knowing nothing of engines."""
