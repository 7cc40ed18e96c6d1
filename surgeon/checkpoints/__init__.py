"""Other people's files: weights in their nests, under their prefixes, with their optimizers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
