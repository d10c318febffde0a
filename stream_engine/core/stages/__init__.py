"""The handlers of decisions: the way of an event to a run, of a run through its steps, and to its end."""
