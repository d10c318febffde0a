#!/usr/bin/env bash
# The shop on a real Kafka, with a kill -9 in the middle: what is lost, what runs twice, what comes of bad input.
#
#   bash topologies/demo.sh
#
# The first time it makes .venv from requirements.lock, and fetches Apache Kafka unless Docker runs it. It uses no broker
# and no state of yours, and leaves no process behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. tests/venv.sh
make_venv
exec .venv/bin/python topologies/demo.py
