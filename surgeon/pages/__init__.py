"""What is looked at rather than read: a network and its attention as a page, as a drawing, as maps over images."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
