"""Maps for modules that are written for images: a video frame by frame, a sequence as one column of pixels."""


def as_images(x, dims):
    """The map `x` with `dims` spatial axes: those too many join the batch, the first ones first; new ones have length 1.

    >>> as_images(torch.zeros(2, 16, 5, 8, 9), 2).shape, as_images(torch.zeros(2, 16, 30), 2).shape
    (torch.Size([10, 16, 8, 9]), torch.Size([2, 16, 30, 1]))
    """
    frames = x.dim() - 2 - dims
    if frames > 0:
        return x.movedim(1, 1 + frames).flatten(0, frames)
    return x[(..., *[None] * -frames)]


def as_before(y, x):
    """What a module made of `as_images(x)`, with the axes of `x`."""
    frames = x.dim() - y.dim()
    if frames > 0:
        y = y.unflatten(0, (x.shape[0], *x.shape[2 : 2 + frames])).movedim(1 + frames, 1)
    elif frames < 0:
        y = y.flatten(x.dim() - 1)
    # The network may go on with a `.view`.
    return y.contiguous() if frames and x.is_contiguous() else y
