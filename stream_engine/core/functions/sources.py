"""Sources: topics that others own, whose records are events of an app as they are."""

from typing import Final

import msgspec

FORMATS: Final = ("json", "avro", "cloudevents")


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """A topic, and what its records are.

    ``name`` is the name of its events; empty for CloudEvents that go by their own types. ``format``: one of `FORMATS`. In ``json`` and
    ``avro`` the whole value is the event's data, in ``cloudevents`` the data of the CloudEvent, whose id and time are the event's.
    """

    topic: str
    name: str = ""
    format: str = "json"
