"""The version of surgeon, read by setup.cfg and written into every file."""

VERSION = "0.1.0"
