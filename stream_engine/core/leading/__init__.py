"""A partition's leader: how it takes the lead, and how it decides."""
