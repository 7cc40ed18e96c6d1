"""The documentation; `docs.tools` makes those of its pages that are read off the code."""
