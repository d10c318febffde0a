"""Events that runs wait for: where they and the waits come together."""
