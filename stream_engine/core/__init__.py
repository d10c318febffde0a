"""The pure engine: every decision, and nothing else.

Theory of operation
-------------------
One partition of the commands topic has one *leader*. It takes commands in log order and inputs of its own (step results,
timers that came due), **decides** what follows from them, and **appends** the outcome to the partition's journal as one
physical record: the keys to put and to delete. Nothing that was decided takes effect before Kafka has acknowledged that
append at the offset that the leader expects. Then, and only then, its effects are performed: the store is written, runs
are executed, outgoing messages are sent, history is told.

What decides follows an event through six stages (`stages`, but for the first two, which are in `routing`), and the words are the same everywhere:

========  =====================================================================================
receive   bytes of the events topic become an ``Event``, or a rejection with a reason
route     an event becomes one ``Admit`` command on the partition of its identity
admit     an ``Admit`` becomes a run for each matching function, or another disposition
run       a run begins, is resumed after a crash, is put to sleep, is tried again
step      what a step did is recorded: its result, its failure, its sleep, what it sends
finish    a run ends, and what it leaves behind is cleaned up
========  =====================================================================================

Nothing here reads a clock, draws a random number, does I/O or logs. Times are integers: milliseconds since the epoch.
"""
