"""A one-stage detector as people write it: a list of layers that name where their input comes from (after YOLOv8)."""

import torch
from torch import nn


def conv(inputs, outputs, kernel=1, stride=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.SiLU()
    )


class Bottleneck(nn.Module):
    """Two convolutions, with a shortcut in the backbone and without one in the neck."""

    def __init__(self, channels, shortcut):
        super().__init__()
        self.cv1, self.cv2, self.add = conv(channels, channels, 3), conv(channels, channels, 3), shortcut

    def forward(self, x):
        return x + self.cv2(self.cv1(x)) if self.add else self.cv2(self.cv1(x))


class C2f(nn.Module):
    """A cross-stage block: every bottleneck's output is kept and joined at the end."""

    def __init__(self, inputs, outputs, count=1, shortcut=False):
        super().__init__()
        self.half = outputs // 2
        self.cv1, self.cv2 = conv(inputs, outputs), conv((2 + count) * self.half, outputs)
        self.m = nn.ModuleList(Bottleneck(self.half, shortcut) for _ in range(count))

    def forward(self, x):
        y = list(self.cv1(x).chunk(2, 1))
        y.extend(block(y[-1]) for block in self.m)
        return self.cv2(torch.cat(y, 1))


class SPPF(nn.Module):
    """Pools of three sizes, of stride one, side by side."""

    def __init__(self, channels):
        super().__init__()
        self.cv1, self.cv2, self.pool = (
            conv(channels, channels // 2),
            conv(channels * 2, channels),
            nn.MaxPool2d(5, 1, 2),
        )

    def forward(self, x):
        y = [self.cv1(x)]
        y.extend(self.pool(y[-1]) for _ in range(3))
        return self.cv2(torch.cat(y, 1))


class Concat(nn.Module):
    def forward(self, maps):
        return torch.cat(maps, 1)


class Detect(nn.Module):
    """Boxes and scores for each pixel of three maps; `bias` scores by an addition that is no shortcut."""

    def __init__(self, classes, channels):
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(count, 4 + classes, 1) for count in channels)
        self.prior = nn.ModuleList(
            nn.Sequential(nn.Conv2d(count, 4, 1), nn.Conv2d(4, 4 + classes, 1)) for count in channels
        )

    def forward(self, maps):
        return torch.cat([(head(x) + prior(x)).flatten(2) for head, prior, x in zip(self.heads, self.prior, maps)], 2)


class Detector(nn.Module):
    """layers: (index of what comes in, or several; -1 is the layer before; and the layer)."""

    def __init__(self, classes=3, width=8):
        super().__init__()
        w = width
        plan = [
            (-1, conv(3, w, 3, 2)),
            (-1, conv(w, 2 * w, 3, 2)),
            (-1, C2f(2 * w, 2 * w, 1, True)),
            (-1, conv(2 * w, 4 * w, 3, 2)),
            (-1, C2f(4 * w, 4 * w, 2, True)),
            (-1, conv(4 * w, 8 * w, 3, 2)),
            (-1, C2f(8 * w, 8 * w, 2, True)),
            (-1, conv(8 * w, 16 * w, 3, 2)),
            (-1, C2f(16 * w, 16 * w, 1, True)),
            (-1, SPPF(16 * w)),
            (-1, nn.Upsample(scale_factor=2)),
            ((-1, 6), Concat()),
            (-1, C2f(24 * w, 8 * w)),
            (-1, nn.Upsample(scale_factor=2)),
            ((-1, 4), Concat()),
            (-1, C2f(12 * w, 4 * w)),
            (-1, conv(4 * w, 4 * w, 3, 2)),
            ((-1, 12), Concat()),
            (-1, C2f(12 * w, 8 * w)),
            (-1, conv(8 * w, 8 * w, 3, 2)),
            ((-1, 9), Concat()),
            (-1, C2f(24 * w, 16 * w)),
            ((15, 18, 21), Detect(classes, (4 * w, 8 * w, 16 * w))),
        ]
        self.sources = [source for source, _ in plan]
        self.model = nn.ModuleList(layer for _, layer in plan)

    def forward(self, x):
        kept = []
        for source, layer in zip(self.sources, self.model):
            if source != -1:
                x = [x if index == -1 else kept[index] for index in source]
            x = layer(x)
            kept.append(x)
        return x
