"""What functions declare, as data: triggers, conditions, flow control, sources; and the catalogue that holds it."""
