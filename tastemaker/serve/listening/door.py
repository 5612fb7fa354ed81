"""The door: how a listening socket is closed without breaking off whoever has come through it.

A connection that the kernel has accepted lies in the queue of the listening socket until the process takes it; where
the socket is closed before that, the caller gets a reset after it was let in. So newcomers are turned away first, then
the queue is emptied, and only then the socket is closed.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

HANDSHAKE_SECONDS = 0.2
"""Time in which those come in who had begun to before newcomers were turned away: the way to them and back."""
SO_ATTACH_FILTER = 26  # Linux; Python has no name for it
LOAD_BYTE, AND, JUMP_IF_EQUAL, RETURN = 0x30, 0x54, 0x15, 0x06
FLAGS, SYN, SYN_OR_ACK = 13, 0x02, 0x12  # place of the flags in a TCP header, and two masks of them
NO_NEWCOMERS = (
    (LOAD_BYTE, 0, 0, FLAGS),
    (AND, 0, 0, SYN_OR_ACK),
    (JUMP_IF_EQUAL, 0, 1, SYN),  # a first packet of a connection: the next line, else the one after it
    (RETURN, 0, 0, 0),
    (RETURN, 0, 0, 0xFFFFFFFF),
)
"""A classic BPF program (`man 7 socket`, SO_ATTACH_FILTER): drops what asks for a new connection, and nothing else."""


def turn_newcomers_away(listener: socket.socket) -> bool:
    """Let nobody begin a connection any more; return whether that can be done here.

    Whoever tries hears nothing, tries again after a second, as TCP does, and is refused if it is closed by then.
    """
    if sys.platform != "linux":
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in NO_NEWCOMERS))
    try:
        listener.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(NO_NEWCOMERS), ctypes.addressof(program))
        )
    except OSError:  # a sandbox that does not know it
        return False
    return True


def those_in_the_queue(listener: socket.socket) -> list[socket.socket]:
    """Take all connections that wait to be taken."""
    listener.setblocking(False)
    found: list[socket.socket] = []
    while True:
        try:
            connection, _ = listener.accept()
        except ConnectionAbortedError:  # it gave up meanwhile
            continue
        except OSError:  # nobody waits, or no descriptor is left for who does
            return found
        connection.setblocking(False)
        found.append(connection)
