"""Pages and drawings made from the code: `python -m docs.tools.attention`, `rules`, `rooms`."""
