"""What the page says beside its tables."""

HEAD = """# Starts
"""
COLUMNS = """## Columns
"""
