"""The state of one partition while it is decided upon: tables in memory, timers, queues, and the turn that changes them."""
