"""Faust apps around the engine: what they are set up with, and how they count. At-least-once is enough here, as their effects are idempotent."""
