"""The broker for a developer's machine: found, started and stopped by the command line, by ``dev`` and by the tests."""

from stream_engine.shell.localbroker.choice import Kind
from stream_engine.shell.localbroker.control import BrokerStatus, connected, start, status, stop

__all__ = ["BrokerStatus", "Kind", "connected", "start", "status", "stop"]
