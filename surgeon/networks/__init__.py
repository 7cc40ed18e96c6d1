"""The libraries' networks, and anyone's own: built by name, and recognised by their keys."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
