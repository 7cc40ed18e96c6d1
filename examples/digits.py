"""Real handwriting, a trained network, and attention put into it without a loss.

Trains a ResNet-18 for a few epochs on scikit-learn's digits, saves its state dict as any script would,
converts the file at each place with the command, and measures the accuracy before and after.

    python examples/digits.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import torch
import torchvision
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import surgeon
from surgeon.cli import run

PLACES = ("residual", "bottleneck", "final", "input")


def digits():
    """(training images, test images, training labels, test labels): 1797 digits as (N, 3, 32, 32) in [0, 1]."""
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    images = torch.nn.functional.interpolate(images, size=32, mode="bilinear").expand(-1, 3, -1, -1).contiguous()
    return train_test_split(images, torch.tensor(labels), test_size=0.3, random_state=0, stratify=labels)


def epoch(model, optimizer, images, labels, seed):
    """One pass over the training images; the mean loss."""
    model.train()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    losses = []
    for batch in order.split(64):
        loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def accuracy(model, images, labels):
    """Share of images whose digit is named right."""
    with torch.no_grad():
        return (model.eval()(images).argmax(1) == labels).float().mean().item()


def train(images, labels, epochs=3):
    """A ResNet-18 for ten classes, trained from scratch."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for number in range(epochs):
        print(f"epoch {number}: loss {epoch(model, optimizer, images, labels, number):.4f}")
    return model


def main(folder):
    train_images, test_images, train_labels, test_labels = digits()
    model = train(train_images, train_labels)
    before = accuracy(model, test_images, test_labels)
    torch.save(model.state_dict(), folder / "resnet18.pth")
    print(f"accuracy {before:.4f}")
    for place in PLACES:
        for init in ("identity", "paper"):
            target = folder / f"{place}_{init}.safetensors"
            code = run(
                [
                    "inject",
                    str(folder / "resnet18.pth"),
                    "--arch",
                    "torchvision:resnet18",
                    "--attention",
                    "cbam",
                    "--where",
                    place,
                    "--init",
                    init,
                    "--output",
                    str(target),
                    "--force",
                    "--quiet",
                ]
            )
            assert code == 0
            after = accuracy(surgeon.load(target), test_images, test_labels)
            print(
                f"{place:10}  {init:8}  accuracy {after:.4f}"
                + ("" if after == before else f"  ({after - before:+.4f})")
            )
            assert init == "paper" or after == before
    return before


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder))
