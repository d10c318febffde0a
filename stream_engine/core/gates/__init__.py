"""What decides whether and when a run may start: who has passed, who waits, and windows that count."""
