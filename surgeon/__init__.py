"""surgeon puts attention into networks that exist already, and leaves the rest as it is, to the bit.

>>> import surgeon
>>> model = surgeon.inject(model, "cbam", where="bottleneck")

The public names stand in `__init__.pyi`; each is imported when it is first used.
"""

import lazy_loader
import wrapt

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


@wrapt.when_imported("timm")
def _open_folders(timm):
    """Let `timm.create_model("local-dir:FOLDER")` open folders that surgeon wrote, whichever is imported first."""
    from surgeon.files.entry import surgeon_network

    timm.models.register_model(surgeon_network)


@wrapt.when_imported("transformers")
def _hear_reports(transformers):
    """Let transformers' reports of weights without a place say how attention is loaded."""
    from surgeon.files import notice

    notice.listen()
