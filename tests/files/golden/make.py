"""Made the golden files of this folder, once for each recipe format; never to be run over an old one.

    python tests/files/golden/make.py v2

Constant weights, so that the files compress; what is tested is that they are read for ever.
"""

import sys
from pathlib import Path

import torch

import surgeon
from surgeon.networks import library

model = surgeon.inject(library.build("timm:test_resnet", num_classes=2), "cbam", where="bottleneck", reduction=8).half()
model.bn1.eps = 0.25  # since format 2, what was set otherwise than the library does is in the file
with torch.no_grad():
    for number, tensor in enumerate(model.state_dict().values()):
        tensor.fill_(number % 7)
for ending in ("safetensors", "pth"):
    target = Path(__file__).parent / f"{sys.argv[1]}.{ending}"
    surgeon.save(model, target, force=False)
    print(target.stat().st_size)
