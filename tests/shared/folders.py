"""Folders of timm's, opened as its users open them."""

import pytest
import timm

from surgeon.outside.timm import opens_folders

needed = pytest.mark.skipif(
    not opens_folders(), reason=f"timm {timm.__version__} opens no folders: it came with 1.0.16"
)


def from_folder(folder, **options):
    """What timm makes of `folder`, whoever wrote it; a test that asks for it is skipped where timm can't."""
    if not opens_folders():
        pytest.skip(needed.kwargs["reason"])
    return timm.create_model(f"local-dir:{folder}", **options)
