"""Conditions, keys and priorities that users write over events."""
