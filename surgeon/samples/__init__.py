"""What surgeon brings with it: a small trained network and its images, for trying everything without a download."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
