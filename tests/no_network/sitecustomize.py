"""Refuse every connection that leaves this machine.

Python imports a module of this name when it starts. With this folder on PYTHONPATH, every Python
process of a test run is guarded: pytest, the kernels, JupyterLab, and what they start. The hook
cannot be taken off again, so a library cannot work around it by accident.
"""

import ipaddress
import sys

LOCAL_NAMES = {"", "localhost", "ip6-localhost", "0.0.0.0", "::"}
# The audit events of CPython's socket module, and where in their arguments the address stands.
NAME_EVENTS = {"socket.getaddrinfo": 0, "socket.gethostbyname": 0, "socket.gethostbyaddr": 0}
ADDRESS_EVENTS = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1}


def refuse_the_network(event, arguments):
    if event in NAME_EVENTS:
        host = arguments[NAME_EVENTS[event]]
    elif event in ADDRESS_EVENTS:
        address = arguments[ADDRESS_EVENTS[event]]
        if not isinstance(address, tuple):  # a Unix socket's path, or an address given before
            return
        host = address[0]
    else:
        return
    if not is_local(host):
        raise OSError(
            f"The tests run without a network, but something asked for {host!r}: ship what it "
            "needs with the course, or give the code a way to do without."
        )


def is_local(host):
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host is None or host.lower() in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:  # a name
        return False


sys.addaudithook(refuse_the_network)
