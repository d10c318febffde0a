"""Kill and pause workers at random moments under load, on a real broker, and let an independent checker judge.

``python -m tests.chaos --rounds 20 [--workers 2] [--seed N] [--per-second 80]``

A round waits until the workers serve and work (a quarter of the rounds do not wait), lets a random moment pass, kills a
worker with SIGKILL, and starts another; or, where there are several, pauses one with SIGSTOP for up to 20 s. In the end the
load stops, everything that was sent is waited for, and `tests.chaos.verdict` looks at the topics and at what the functions wrote
to files of their own: nothing lost, nothing started twice, no recorded step run again. ``STREAM_ENGINE_BOOTSTRAP_SERVERS``
names the broker; without it, one is started.
"""

from tests.chaos.campaign import main

raise SystemExit(main())
