"""A module's forward as text that may be edited, held against what the module really did."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
