"""Networks as tutorials and papers' repositories write them: nobody's library, every style of forward."""

import torch
import torch.nn.functional as F
from torch import nn


class Plain(nn.Module):
    """CIFAR's block, with an addition in place."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class PreActivated(nn.Module):
    """Norm and activation first; the shortcut projects what they made."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        out = F.relu(self.bn1(x))
        shortcut = self.shortcut(out) if hasattr(self, "shortcut") else x
        out = self.conv1(out)
        out = self.conv2(F.relu(self.bn2(out)))
        out += shortcut
        return out


class Wide(nn.Module):
    """Wide ResNet's block, with dropout and `equalInOut`."""

    def __init__(self, inputs, outputs, stride=1, rate=0.3):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.rate, self.equal = rate, inputs == outputs
        self.project = None if self.equal else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x):
        if not self.equal:
            x = F.relu(self.bn1(x))
            out = x
        else:
            out = F.relu(self.bn1(x))
        out = F.relu(self.bn2(self.conv1(out)))
        if self.rate > 0:
            out = F.dropout(out, p=self.rate, training=self.training)
        out = self.conv2(out)
        return torch.add(x if self.equal else self.project(x), out)


class Dropped(Plain):
    """Stochastic depth by hand: in training a block is left out now and then."""

    keep = 0.8

    def forward(self, x):
        if self.training and torch.rand(1).item() > self.keep:
            return F.relu(self.shortcut(x))
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if not self.training:
            out = out * self.keep
        return F.relu(out + self.shortcut(x))


class Cifar(nn.Module):
    """Three or four stages, the first at the full size, pooled by a function."""

    def __init__(self, block, depths=(2, 2, 2), width=16):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.inputs = width
        self.layer1 = self._stage(block, width, depths[0], 1)
        self.layer2 = self._stage(block, 2 * width, depths[1], 2)
        self.layer3 = self._stage(block, 4 * width, depths[2], 2)
        self.linear = nn.Linear(4 * width, 10)

    def _stage(self, block, outputs, depth, stride):
        blocks = []
        for step in [stride] + [1] * (depth - 1):
            blocks.append(block(self.inputs, outputs, step))
            self.inputs = outputs
        return nn.Sequential(*blocks)

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = F.avg_pool2d(out, out.size()[2:])
        return self.linear(out.view(out.size(0), -1))


class Twice(nn.Sequential):
    """(convolution, norm, ReLU) twice."""

    def __init__(self, inputs, outputs):
        layers = []
        for before in (inputs, outputs):
            layers += [nn.Conv2d(before, outputs, 3, 1, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class Up(nn.Module):
    """Upsampled, padded to the skip's size by hand, joined."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, inputs // 2, 2, 2)
        self.conv = Twice(inputs, outputs)

    def forward(self, x, skip):
        x = self.up(x)
        high, wide = skip.size()[2] - x.size()[2], skip.size()[3] - x.size()[3]
        x = F.pad(x, [wide // 2, wide - wide // 2, high // 2, high - high // 2])
        return self.conv(torch.cat([skip, x], dim=1))


class UNet(nn.Module):
    """Four levels."""

    def __init__(self, width=8):
        super().__init__()
        self.inc = Twice(3, width)
        self.down1 = nn.Sequential(nn.MaxPool2d(2), Twice(width, 2 * width))
        self.down2 = nn.Sequential(nn.MaxPool2d(2), Twice(2 * width, 4 * width))
        self.down3 = nn.Sequential(nn.MaxPool2d(2), Twice(4 * width, 8 * width))
        self.up1, self.up2, self.up3 = Up(8 * width, 4 * width), Up(4 * width, 2 * width), Up(2 * width, width)
        self.outc = nn.Conv2d(width, 2, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(x1)
        x3 = self.down2(x2)
        x4 = self.down3(x3)
        return self.outc(self.up3(self.up2(self.up1(x4, x3), x2), x1))


class Scaled(nn.Module):
    """EDSR's block: its branch is multiplied by a constant."""

    def __init__(self, width, scale=0.1):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(True), nn.Conv2d(width, width, 3, 1, 1))
        self.scale = scale

    def forward(self, x):
        return self.body(x).mul(self.scale) + x


class EDSR(nn.Module):
    """All its blocks lie inside one long skip, and it ends in an image."""

    def __init__(self, blocks=4, width=16):
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, 1, 1)
        self.body = nn.Sequential(*(Scaled(width) for _ in range(blocks)), nn.Conv2d(width, width, 3, 1, 1))
        self.tail = nn.Sequential(
            nn.Sequential(nn.Conv2d(width, 4 * width, 3, 1, 1), nn.PixelShuffle(2)), nn.Conv2d(width, 3, 3, 1, 1)
        )

    def forward(self, x):
        x = self.head(x)
        res = self.body(x)
        res += x
        return self.tail(res)


class SRBlock(nn.Module):
    """SRResNet's, with PReLU."""

    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1, self.prelu = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.PReLU()
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x):
        residual = self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))
        return x + residual


class SRResNet(nn.Module):
    """Numbered blocks, one long skip, an image by tanh."""

    def __init__(self, width=16):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), nn.PReLU())
        self.block2, self.block3, self.block4 = SRBlock(width), SRBlock(width), SRBlock(width)
        self.block7 = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))
        self.block8 = nn.Sequential(
            nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU(), nn.Conv2d(width, 3, 9, padding=4)
        )

    def forward(self, x):
        block1 = self.block1(x)
        block7 = self.block7(self.block4(self.block3(self.block2(block1))))
        return (torch.tanh(self.block8(block1 + block7)) + 1) / 2


class Generator(nn.Module):
    """DCGAN's: from noise to an image."""

    def __init__(self, noise=16, width=8):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(noise, 4 * width, 4, 1, 0, bias=False),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(True),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(True),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.ConvTranspose2d(width, 3, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, noise):
        return self.main(noise)


class Discriminator(nn.Module):
    """DCGAN's: convolutions down to one score."""

    def __init__(self, width=8):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3, width, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * width, 4 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(4 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(4 * width, 8 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(8 * width),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(8 * width, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.main(x)


class ResnetBlock(nn.Module):
    """CycleGAN's, padded by reflection."""

    def __init__(self, width):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
            nn.ReLU(True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3),
            nn.InstanceNorm2d(width),
        )

    def forward(self, x):
        out = x + self.conv_block(x)
        return out


class CycleGenerator(nn.Module):
    """An image in, two steps down, blocks, two steps up, an image out."""

    def __init__(self, width=8, blocks=3):
        super().__init__()
        model = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width), nn.ReLU(True)]
        for scale in (1, 2):
            inputs = width * scale
            model += [nn.Conv2d(inputs, 2 * inputs, 3, 2, 1), nn.InstanceNorm2d(2 * inputs), nn.ReLU(True)]
        model += [ResnetBlock(4 * width) for _ in range(blocks)]
        for scale in (4, 2):
            inputs = width * scale
            model += [nn.ConvTranspose2d(inputs, inputs // 2, 3, 2, 1, output_padding=1)]
            model += [nn.InstanceNorm2d(inputs // 2), nn.ReLU(True)]
        model += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*model)

    def forward(self, x):
        return self.model(x)


class Siamese(nn.Module):
    """One network for two images."""

    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(3, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.fc = nn.Linear(32, 8)

    def forward_once(self, x):
        return self.fc(self.cnn(x).mean((2, 3)))

    def forward(self, first, second):
        return self.forward_once(first), self.forward_once(second)


class M5(nn.Module):
    """Sound in, one dimension."""

    def __init__(self, width=16):
        super().__init__()
        self.conv1, self.bn1, self.pool1 = nn.Conv1d(1, width, 80, 16), nn.BatchNorm1d(width), nn.MaxPool1d(4)
        self.conv2, self.bn2, self.pool2 = nn.Conv1d(width, width, 3), nn.BatchNorm1d(width), nn.MaxPool1d(4)
        self.conv3, self.bn3, self.pool3 = nn.Conv1d(width, 2 * width, 3), nn.BatchNorm1d(2 * width), nn.MaxPool1d(4)
        self.fc1 = nn.Linear(2 * width, 10)

    def forward(self, x):
        x = self.pool1(F.relu(self.bn1(self.conv1(x))))
        x = self.pool2(F.relu(self.bn2(self.conv2(x))))
        x = self.pool3(F.relu(self.bn3(self.conv3(x))))
        x = F.avg_pool1d(x, x.shape[-1])
        return F.log_softmax(self.fc1(x.permute(0, 2, 1)), dim=2)


class Beats(nn.Module):
    """A block of an ECG network."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(inputs, outputs, 7, stride, 3), nn.BatchNorm1d(outputs)
        self.conv2, self.bn2 = nn.Conv1d(outputs, outputs, 7, 1, 3), nn.BatchNorm1d(outputs)
        self.downsample = nn.Conv1d(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + identity)


class ECG(nn.Module):
    """Twelve leads, one dimension."""

    def __init__(self, width=16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(12, width, 15, 2, 7), nn.BatchNorm1d(width), nn.ReLU(), nn.MaxPool1d(2))
        self.layer1 = nn.Sequential(Beats(width, width), Beats(width, width))
        self.layer2 = nn.Sequential(Beats(width, 2 * width, 2), Beats(2 * width, 2 * width))
        self.layer3 = nn.Sequential(Beats(2 * width, 4 * width, 2), Beats(4 * width, 4 * width))
        self.head = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4 * width, 5))

    def forward(self, x):
        return self.head(self.layer3(self.layer2(self.layer1(self.stem(x)))))


class Sized(nn.Module):
    """A block that is handed the size to come back to."""

    def __init__(self, width):
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1))

    def forward(self, x, size):
        if len(x.shape) != 4:
            raise ValueError("images come in batches")
        return x + F.interpolate(self.inner(x), size=size, mode="bilinear", align_corners=False)


class SizedNet(nn.Module):
    """Hands `x.shape[2:]` from module to module."""

    def __init__(self, width=8):
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, width, 3, 2, 1), nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.block1, self.block2 = Sized(width), Sized(2 * width)
        self.head = nn.Conv2d(2 * width, 2, 1)

    def forward(self, x):
        size = x.shape[2:]
        x = self.stem(x)
        x = self.block1(x, x.shape[2:])
        x = self.down(x)
        x = self.block2(x, x.shape[2:])
        return F.interpolate(self.head(x), size=size, mode="bilinear", align_corners=False)


class Residual(nn.Module):
    """Around any function."""

    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x, **options):
        return self.fn(x, **options) + x


class ConvMixer(nn.Sequential):
    """Nothing but Sequentials and a Residual."""

    def __init__(self, width=16, depth=3, patch=4):
        mix = [
            nn.Sequential(
                Residual(nn.Sequential(nn.Conv2d(width, width, 5, groups=width, padding="same"), nn.GELU())),
                nn.Conv2d(width, width, 1),
                nn.GELU(),
                nn.BatchNorm2d(width),
            )
            for _ in range(depth)
        ]
        stem = [nn.Conv2d(3, width, patch, patch), nn.GELU(), nn.BatchNorm2d(width)]
        super().__init__(*stem, *mix, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(width, 10))


class SelfAttention(nn.Module):
    """Heads by hand."""

    def __init__(self, width, heads=2):
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.norm, self.to_qkv, self.to_out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = (t.view(b, n, self.heads, -1).transpose(1, 2) for t in self.to_qkv(self.norm(x)).chunk(3, dim=-1))
        out = (q @ k.transpose(-1, -2) * self.scale).softmax(dim=-1) @ v
        return self.to_out(out.transpose(1, 2).reshape(b, n, c))


class Transformer(nn.Module):
    """Pairs of layers in a list."""

    def __init__(self, width, depth):
        super().__init__()
        self.layers = nn.ModuleList()
        for _ in range(depth):
            mlp = nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
            )
            self.layers.append(nn.ModuleList([SelfAttention(width), mlp]))

    def forward(self, x):
        for attention, mlp in self.layers:
            x = attention(x) + x
            x = mlp(x) + x
        return x


class SimpleViT(nn.Module):
    """Patches by reshaping, no class token, the mean in the end."""

    def __init__(self, width=32, depth=2, patch=8):
        super().__init__()
        self.patch = patch
        self.to_patch = nn.Linear(3 * patch * patch, width)
        self.transformer, self.head = Transformer(width, depth), nn.Linear(width, 10)

    def forward(self, image):
        b, c, h, w = image.shape
        p = self.patch
        x = image.view(b, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1).reshape(b, (h // p) * (w // p), -1)
        return self.head(self.transformer(self.to_patch(x)).mean(dim=1))


class Hourglass(nn.Module):
    """Recursive, and additive between the ways up and down."""

    def __init__(self, width, depth):
        super().__init__()
        self.up1, self.low1 = Plain(width, width), Plain(width, width)
        self.low2 = Hourglass(width, depth - 1) if depth > 1 else Plain(width, width)
        self.low3 = Plain(width, width)

    def forward(self, x):
        low = self.low3(self.low2(self.low1(F.max_pool2d(x, 2))))
        return self.up1(x) + F.interpolate(low, scale_factor=2)


class Pose(nn.Module):
    """A stacked hourglass of one."""

    def __init__(self, width=16):
        super().__init__()
        self.pre = nn.Sequential(nn.Conv2d(3, width, 7, 2, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.hourglass, self.out = Hourglass(width, 2), nn.Conv2d(width, 5, 1)

    def forward(self, x):
        return self.out(self.hourglass(self.pre(x)))


class AutoEncoder(nn.Module):
    """Down to a code and up again; no skips."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1)
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(32, 16, 2, 2),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 2, 2),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 3, 2, 2),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))
