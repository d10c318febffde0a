"""The threads that lead partitions: recovery, deciding, sending, telling history, snapshots."""
