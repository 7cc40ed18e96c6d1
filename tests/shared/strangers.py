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


class TwoStreams(nn.Module):
    """A network for frames and one for motion, of other channels; their scores are added (two-stream networks)."""

    def __init__(self):
        super().__init__()
        self.frames, self.motion = self._network(3), self._network(2)

    def _network(self, channels):
        stages = [nn.Sequential(nn.MaxPool2d(2), Block(), Block()) for _ in range(2)]
        return nn.Sequential(conv(channels, 8), *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))

    def forward(self, frames, motion):
        return self.frames(frames) + self.motion(motion)


class Pathways(TwoStreams):
    """Two ways that are handed a list of clips, and write what they make of them into it (SlowFast)."""

    def forward(self, images):
        for at, way in enumerate((self.frames, self.motion)):
            images[at] = way[0](images[at])
        for at, way in enumerate((self.frames, self.motion)):
            images[at] = way[1:](images[at])
        return images[0] + images[1]


class Fused(nn.Module):
    """Depth beside colour, stage by stage, its maps added to those of colour (FuseNet)."""

    def __init__(self):
        super().__init__()
        self.colour_stem, self.depth_stem = conv(3, 8), conv(1, 8)
        self.colour = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), Block(), Block()) for _ in range(2))
        self.depth = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), Block(), Block()) for _ in range(2))
        self.fuse, self.head = nn.ModuleList([nn.ReLU(), nn.ReLU()]), nn.Linear(8, 2)

    def forward(self, colour, depth):
        x, y = self.colour_stem(colour), self.depth_stem(depth)
        for one, other, fuse in zip(self.colour, self.depth, self.fuse):
            y = other(y)
            x = fuse(one(x) + y)
        return self.head(x.mean((2, 3)))


class Masked(nn.Module):
    """A mask laid into the image (inpainting): no second image."""

    def __init__(self):
        super().__init__()
        self.first, self.stage = conv(4, 8), nn.Sequential(nn.MaxPool2d(2), Block(), Block())
        self.head = nn.Linear(8, 2)

    def forward(self, image, mask):
        return self.head(self.stage(self.first(torch.cat([image * mask, mask], 1))).mean((2, 3)))


class SidePooled(nn.Module):
    """Each stage ends in its own downsampling, behind two adds (a transformer's layer)."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3, 8)
        self.stages = nn.ModuleList(nn.Sequential(Block(), Block(), nn.Conv2d(8, 8, 2, 2)) for _ in "ab")
        self.last, self.head = Block(), nn.Linear(8, 2)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(self.last(x).mean((2, 3)))


class Discriminator(nn.Module):
    """A last convolution without padding, that makes one score, or several of a larger image (DCGAN)."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(8, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(8, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.2)]
        self.main = nn.Sequential(*layers, nn.Conv2d(8, 1, 4), nn.Sigmoid())

    def forward(self, x):
        return self.main(x)


class Nested(nn.Module):
    """A decoder at each size, before the encoder goes on (UNet++)."""

    def __init__(self):
        super().__init__()
        self.down0, self.down1, self.down2 = Block3(3), Block3(8), Block3(8)
        self.up01, self.up11, self.up02 = conv(16, 8), conv(16, 8), conv(24, 8)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        one = self.down0(x)
        two = self.down1(F.max_pool2d(one, 2))
        near = self.up01(torch.cat([one, F.interpolate(two, scale_factor=2)], 1))
        three = self.down2(F.max_pool2d(two, 2))
        far = self.up11(torch.cat([two, F.interpolate(three, scale_factor=2)], 1))
        return self.last(self.up02(torch.cat([one, near, F.interpolate(far, scale_factor=2)], 1)))


class Block3(nn.Sequential):
    """Two layers, as a level of a U-Net has."""

    def __init__(self, channels):
        super().__init__(conv(channels, 8), nn.ReLU(), conv(8, 8), nn.ReLU())


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
