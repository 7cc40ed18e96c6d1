"""Networks as people write them, each with a trap for where attention goes."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.shared.toy import conv


class Block(nn.Module):
    """Two layers and a shortcut."""

    def __init__(self, channels=8):
        super().__init__()
        self.one, self.two = conv(channels, channels), conv(channels, channels)

    def forward(self, x):
        return x + self.two(F.relu(self.one(x)))


class Widening(nn.Module):
    """A shortcut without weights: thinned out, read as `.data`, and filled up with zeros (ResNet's option A)."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 8)
        self.one, self.two = nn.Conv2d(8, 16, 3, 2, 1), conv(16, 16)
        self.relu, self.head = nn.ReLU(), nn.Linear(16, 2)

    def forward(self, x):
        x = self.stem(x)
        rest = F.avg_pool2d(x, 1, 2).data
        rest = torch.cat([rest, torch.zeros(len(rest), 8, *rest.shape[2:]).to(rest)], dim=1)
        x = self.relu(self.two(F.relu(self.one(x))) + rest)
        return self.head(x.flatten(2).mT.mean(1))


class SuperResolution(nn.Module):
    """One long skip around all blocks, and an image twice as large at the end (EDSR)."""

    def __init__(self, blocks=4):
        super().__init__()
        self.head = conv(3, 8)
        self.body = nn.Sequential(*(Block() for _ in range(blocks)), conv(8, 8))
        self.tail = nn.Sequential(conv(8, 32), nn.PixelShuffle(2), conv(8, 3))
        self.add_mean = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.head(x)
        rest = self.body(x)
        rest += x
        return self.add_mean(self.tail(rest))


class Group(nn.Module):
    """A skip around two blocks."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(Block(), Block(), conv(8, 8))

    def forward(self, x):
        return x + self.body(x)


class Restored(nn.Module):
    """Skips within skips, and the image itself added to what was learned (RCAN, a denoiser)."""

    def __init__(self):
        super().__init__()
        self.head, self.groups, self.tail = conv(3, 8), nn.Sequential(Group(), Group()), conv(8, 3)

    def forward(self, image):
        x = self.head(image)
        return image + self.tail(x + self.groups(x))


def double(inputs, outputs):
    """Two layers, as on each level of a U-Net."""
    layers = (nn.BatchNorm2d(outputs), nn.ReLU())
    return nn.Sequential(conv(inputs, outputs), *layers, conv(outputs, outputs), *layers)


class UNet(nn.Module):
    """Plain levels, the first of them at the image's own size, and scores at the end."""

    def __init__(self, classes=21):
        super().__init__()
        self.inc, self.down1, self.down2 = double(3, 8), double(8, 16), double(16, 32)
        self.up1, self.conv1 = nn.ConvTranspose2d(32, 16, 2, 2), double(32, 16)
        self.up2, self.conv2 = nn.ConvTranspose2d(16, 8, 2, 2), double(16, 8)
        self.outc = nn.Conv2d(8, classes, 1)

    def forward(self, x):
        first = self.inc(x)
        second = self.down1(F.max_pool2d(first, 2))
        x = self.down2(F.max_pool2d(second, 2))
        x = self.conv1(torch.cat([second, self.up1(x)], dim=1))
        x = self.conv2(torch.cat([first, self.up2(x)], dim=1))
        return self.outc(x)


class AddedUNet(nn.Module):
    """A U-Net whose skips are added; the innermost surrounds one block, at half its size (SegResNet)."""

    def __init__(self):
        super().__init__()
        self.stem, self.enc1 = conv(3, 8), Block(8)
        self.down1, self.enc2 = conv(8, 16, 2), Block(16)
        self.down2, self.enc3 = conv(16, 32, 2), Block(32)
        self.up2, self.dec2 = nn.ConvTranspose2d(32, 16, 2, 2), Block(16)
        self.up1, self.dec1 = nn.ConvTranspose2d(16, 8, 2, 2), Block(8)
        self.out = nn.Sequential(nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 2, 1))

    def forward(self, x):
        first = self.enc1(self.stem(x))
        second = self.enc2(self.down1(first))
        x = self.enc3(self.down2(second))
        x = self.dec2(self.up2(x) + second)
        return self.out(self.dec1(self.up1(x) + first))


class Level(nn.Module):
    """A level of a U-Net with all deeper ones inside it (DynUNet)."""

    def __init__(self, inputs, outputs, deeper, stride=2):
        super().__init__()
        self.down, self.deeper = nn.Sequential(conv(inputs, outputs, stride), nn.ReLU(), Block(outputs)), deeper
        self.up = nn.ConvTranspose2d(2 * outputs, outputs, 2, 2)
        self.join = double(2 * outputs, outputs)

    def forward(self, x):
        x = self.down(x)
        return self.join(torch.cat([x, self.up(self.deeper(x))], dim=1))


class NestedUNet(nn.Module):
    """A U-Net in one module, level within level."""

    def __init__(self):
        super().__init__()
        bottom = nn.Sequential(conv(16, 32, 2), nn.ReLU(), Block(32))
        self.levels = Level(3, 8, Level(8, 16, bottom), stride=1)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        return self.out(self.levels(x))


class Scored(nn.Module):
    """A U-Net that ends in a residual unit of its few classes (MONAI's UNet)."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(conv(3, 8, 2), nn.BatchNorm2d(8), nn.PReLU())
        self.bottom = nn.Sequential(conv(8, 16), nn.BatchNorm2d(16), nn.PReLU())
        self.up = nn.Sequential(nn.ConvTranspose2d(24, 2, 2, 2), nn.BatchNorm2d(2), nn.PReLU())
        self.last = conv(2, 2)

    def forward(self, x):
        first = self.down(x)
        x = self.up(torch.cat([first, self.bottom(first)], dim=1))
        return x + self.last(x)


class Autoencoder(nn.Module):
    """One module makes the map smaller, a layer for each size, and another makes it larger again."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(conv(3, 8, 2), nn.ReLU(), conv(8, 16, 2), nn.ReLU(), conv(16, 32, 2), nn.ReLU())
        self.decode = nn.Sequential(nn.Upsample(scale_factor=4), conv(32, 8), nn.ReLU(), nn.Upsample(scale_factor=2))
        self.image = conv(8, 3)

    def forward(self, x):
        return torch.sigmoid(self.image(self.decode(self.encode(x))))


class Generator(nn.Module):
    """Numbers to an image, with padding before its last layer and a bound behind it (pix2pix)."""

    def __init__(self):
        super().__init__()
        self.make = nn.Sequential(conv(3, 16, 2), nn.ReLU(), nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.ReLU())
        self.pad, self.last = nn.ReflectionPad2d(1), nn.Conv2d(8, 3, 3)

    def forward(self, x):
        return torch.tanh(self.last(self.pad(self.make(x))))


class Basic(nn.Module):
    """A basic block, its shortcut an empty Sequential where nothing is projected."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs), nn.BatchNorm2d(outputs)
        projected = stride != 1 or inputs != outputs
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride)) if projected else nn.Sequential()

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        out += self.shortcut(x)
        return F.relu(out)


class Cifar(nn.Module):
    """A ResNet for images of 32 pixels, whose first stage keeps them all."""

    def __init__(self, blocks=2):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 8), nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(*(Basic(8, 8) for _ in range(blocks)))
        self.layer2 = nn.Sequential(Basic(8, 16, 2), *(Basic(16, 16) for _ in range(blocks - 1)))
        self.layer3 = nn.Sequential(Basic(16, 32, 2), *(Basic(32, 32) for _ in range(blocks - 1)))
        self.linear = nn.Linear(32, 10)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, out.size()[2:])
        return self.linear(out.view(out.size(0), -1))


class Siamese(nn.Module):
    """One network that runs on two images."""

    def __init__(self):
        super().__init__()
        self.net = Cifar(1)

    def forward(self, one, other):
        return (self.net(one) - self.net(other)).abs()


class Streams(nn.Module):
    """Two images, each with a stem of its own."""

    def __init__(self):
        super().__init__()
        self.colour, self.depth, self.net = conv(3, 8), conv(3, 8), Cifar(1)
        self.net.conv1 = conv(8, 8)

    def forward(self, colour, depth):
        return self.net(self.colour(colour) + self.depth(depth))


class Repeated(nn.Module):
    """A layer that runs three times, each time on what it made."""

    def __init__(self):
        super().__init__()
        self.stem, self.again = conv(3, 8), nn.Sequential(conv(8, 8), nn.ReLU())

    def forward(self, x):
        return self.again(self.again(self.again(self.stem(x)))).mean((2, 3))
