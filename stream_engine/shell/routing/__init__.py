"""The threads that read events: routing, replays, and scans for those who wait."""
