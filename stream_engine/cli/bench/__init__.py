"""``stream-engine bench``: the project's own benchmark, one line a figure."""
