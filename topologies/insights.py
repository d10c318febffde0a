"""Figures that show a bad deploy: throughput, latency and failures per function and version, counted from history.

Run it beside a worker, or by itself, with Faust's own command::

    stream-engine worker topologies/shop.py:engine --topology insights
    STREAM_ENGINE_APP=shop faust -A topologies.insights worker

What it counts is in `<app>.insights`, and `stream_engine.shell.operating.insights` reads it. Start as many as you like: Kafka
shares the partitions of history among them. How it works is told in `stream_engine.shell.edge.insights`.
"""

from stream_engine.cli.apps import resolve_app_name
from stream_engine.shell.edge.insights import insights_app
from stream_engine.shell.localbroker import connected
from stream_engine.shell.settings import Settings

_settings = connected(Settings.from_env())

app = insights_app(_settings, resolve_app_name(None, _settings))
