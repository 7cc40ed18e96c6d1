"""torch.export's programs and ONNX: vetted, unfolded into modules, and written."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
