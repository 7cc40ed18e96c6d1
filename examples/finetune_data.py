"""What the three scripts beside it learn from: a folder of images, CIFAR on disk, or the digits that surgeon brings."""

import zlib
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import datasets
from torchvision.transforms import v2

import surgeon

CIFAR = {"cifar-10-batches-py": datasets.CIFAR10, "cifar-100-python": datasets.CIFAR100}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Bad(SystemExit):
    """What is wrong with the data or the files, in one line; the process ends with it."""


def network(source):
    """The network with attention in a file that surgeon wrote; `sample:digits` is the one on board, CBAM in it."""
    if source == "sample:digits":
        torch.manual_seed(0)
        return surgeon.inject(surgeon.samples.load(), "cbam")
    try:
        model = surgeon.load(source)
    except surgeon.SurgeonError as error:
        raise Bad(f"finetune: {error}") from None
    if not surgeon.attention_modules(model):
        words = f"surgeon inject {source} --attention cbam --output FILE.safetensors puts some in"
        raise Bad(f"finetune: there is no attention in {source}: {words}.")
    return model


def images(data, size=224):
    """(for training, for judging, number of classes). `data`: `sample:digits`, CIFAR, or a folder with train/ and val/."""
    if data == "sample:digits":
        return Digits("train"), Digits("test"), 10
    root = Path(data)
    for name, kind in CIFAR.items():
        home = root if (root / name).is_dir() else root.parent if root.name == name else None
        if home is not None:
            crop = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()]
            try:
                training = kind(home, train=True, transform=_prepared(crop))
                return training, kind(home, train=False, transform=_prepared([])), len(training.classes)
            except RuntimeError as error:
                raise Bad(f"finetune: {root / name} is not whole: {error}") from None
    random = [v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()]
    training, judging = _folder(root / "train", random), _folder(root / "val", [v2.Resize(size), v2.CenterCrop(size)])
    if training.classes != judging.classes:
        raise Bad(f"finetune: {root}/train and {root}/val do not have the same classes.")
    return training, judging, len(training.classes)


def _folder(path, steps):
    try:
        return datasets.ImageFolder(path, _prepared(steps))
    except FileNotFoundError:
        raise Bad(f"finetune: no images in {path}: a folder for each class, in train/ and val/, is expected.") from None


def _prepared(steps):
    return v2.Compose([v2.ToImage(), *steps, v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, DEVIATION)])


class Digits(TensorDataset):
    """The digits on board."""

    def __init__(self, split):
        super().__init__(*surgeon.samples.digits(split))


class Seeded(Dataset):
    """A data set whose random steps depend on the epoch and the image alone, whichever process or run draws them."""

    def __init__(self, images, seed, epoch):
        self.images, self.about = images, f"{seed} {epoch}"

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(zlib.crc32(f"{self.about} {index}".encode()))
            image, label = self.images[index]
        return image, int(label)


def loader(images, batches, workers=0):
    """A DataLoader of batches that are lists of indices."""
    return DataLoader(images, batch_sampler=batches, num_workers=workers, persistent_workers=False)


@torch.no_grad()
def check_head(model, images, classes, source, data):
    """Refuse a network with another number of scores than there are classes, or that does not take such images."""
    try:
        scores = model.eval()(images[0][0][None])
    except RuntimeError as error:
        raise Bad(f"finetune: the network of {source} does not run on the images of {data}: {error}") from None
    if scores.shape[1] != classes:
        raise Bad(f"finetune: {data} has {classes} classes, and the head of {source} has {scores.shape[1]}.")
