"""An exception as data."""

import msgspec


class Failure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The class's name, the message, and the traceback as text; the same live and when a run is executed again."""

    type: str
    message: str
    traceback: str = ""
