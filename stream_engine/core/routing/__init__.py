"""From the bytes of an events topic to commands: what an event means, and what a replay or a rewind makes of it."""
