"""What a rewritten forward asks of its caller: the kind of call that it was rewritten for."""

from surgeon.errors import BadInput


def expect(value, observed, path, name):
    """Refuse an argument that would have taken the forward down another branch."""
    if value is not observed and value != observed:
        raise BadInput(
            f"{path}: called with {name}={value!r}, but surgeon rewrote its forward for {name}={observed!r}. "
            f"Pass example_inputs= that reach it this way, or call surgeon.remove(model) first."
        )


def expect_items(values, observed, path, name):
    """Refuse a list that is longer or shorter than the one the forward was rewritten for."""
    if len(values) != observed:
        raise BadInput(f"{path}: called with {len(values)} items in {name}, but surgeon rewrote its forward for {observed}.")
