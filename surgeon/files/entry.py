"""The one model that surgeon registers with timm: a network in a folder that surgeon wrote."""

from surgeon.errors import BadFile


def surgeon_network(pretrained=False, pretrained_cfg=None, recipe=None, **arguments):
    """The network of a folder that surgeon wrote, for `timm.create_model("local-dir:FOLDER")`."""
    if recipe is None:
        raise BadFile("surgeon_network is made from a folder: timm.create_model('local-dir:FOLDER', pretrained=True).")
    # timm registers this as soon as it is imported; what opens the folder is heavy.
    from surgeon.files.folder import open_network

    return open_network(recipe, pretrained, pretrained_cfg, arguments)
