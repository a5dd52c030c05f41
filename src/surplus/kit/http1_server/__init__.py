"""An HTTP/1.1 server for whoever streams: one protocol on httptools, no layer between it and the one who answers.

`Server` listens, `Exchange` is one request with its answer, and `AsgiHandler` puts an ASGI application behind the same
port. What callers may send, how slowly, and how many may be connected is said in `kit.edge`, and kept here.
"""

from surplus.kit.http1_server.asgi import AsgiHandler
from surplus.kit.http1_server.exchange import Exchange, Gone
from surplus.kit.http1_server.head import Head, Headers
from surplus.kit.http1_server.server import Server
from surplus.kit.http1_server.state import Answering, Handler

__all__ = ["Answering", "AsgiHandler", "Exchange", "Gone", "Handler", "Head", "Headers", "Server"]
