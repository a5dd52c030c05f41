"""A link between processes of one machine: calls, messages and pushes over a unix socket.

One process listens (`Hub`), others connect (`Link`). Bytes go in and bytes come out, on channels that have names; what
they mean is for both ends to know. Nothing is ever sent twice: what was under way when a link is lost has an unknown
fate, and whoever asked is told so.
"""

from surplus.kit.link.address import reachable
from surplus.kit.link.client import Link
from surplus.kit.link.errors import LinkLost, decode_error, encode_error
from surplus.kit.link.server import Hub, Peer

__all__ = ["Hub", "Link", "LinkLost", "Peer", "decode_error", "encode_error", "reachable"]
