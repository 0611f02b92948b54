"""Tells whoever started this process that it is ready, as systemd's services of `Type=notify` do.

The protocol is sd_notify(3): a datagram to the socket that `NOTIFY_SOCKET` names.
"""

import os
import socket

READY = b"READY=1"


def ready() -> None:
    """Says so once; nobody hears it where nobody asked.

    Raises:
        OSError: who asked is gone.
    """
    if not (where := os.environ.get("NOTIFY_SOCKET", "")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as teller:
        teller.sendto(READY, f"\0{where[1:]}" if where.startswith("@") else where)
