"""The usual script: LOSO one fold after another, a `DataLoader` with one worker that decodes PNGs, all threads.

    python benchmarks/usual_script.py TREE [--folds 68] [--epochs 20]

What `benchmarks/loso.py` compares with: the same network (RCN-F), maps (60x60), batches of 64 and epochs, written as
such scripts are. TREE is the published tree of flow maps. Prints the seconds and the UAR.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import nas_mer


class FlowMaps(Dataset[tuple[torch.Tensor, int]]):
    """PNG files, read when they are asked for."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = cv2.resize(cv2.imread(str(self.files[index])), (60, 60))[..., ::-1]
        maps = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)
        maps = (maps - maps.mean((1, 2), keepdim=True)) / (maps.std((1, 2), keepdim=True) + 1e-6)
        if torch.rand(()) < 0.5:
            maps = maps.flip(2)
            maps[0] = -maps[0]
        return maps, int(self.files[index].parent.name)


def train_fold(train: list[Path], test: list[Path], epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """Train one network and return the true and predicted classes of the held-out subject."""
    network = nas_mer.build("rcn-f")
    loader = DataLoader(FlowMaps(train), batch_size=64, shuffle=True, num_workers=1, drop_last=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=5e-3, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.5)
    counts = np.bincount([int(file.parent.name) for file in train], minlength=3)
    criterion = nn.CrossEntropyLoss(torch.tensor(counts**-0.5, dtype=torch.float32))
    network.train()
    for _ in range(epochs):
        for maps, labels in loader:
            optimizer.zero_grad()
            criterion(network(maps), labels).backward()
            optimizer.step()
        scheduler.step()
    network.eval()
    with torch.no_grad():
        maps, labels = zip(*FlowMaps(test), strict=True)
        return np.array(labels), network(torch.stack(maps)).argmax(1).numpy()


def loso(tree: Path, folds: int, epochs: int) -> tuple[float, float]:
    """Run the first folds; return seconds and UAR."""
    subjects = sorted(path for path in tree.iterdir() if path.is_dir())
    files = {subject: sorted(subject.glob("u_test/*/*.png")) for subject in subjects}
    truth, said = [], []
    start = time.perf_counter()
    for subject in subjects[:folds]:
        train = [file for other in subjects if other != subject for file in files[other]]
        labels, predicted = train_fold(train, files[subject], epochs)
        truth.append(labels)
        said.append(predicted)
    seconds = time.perf_counter() - start
    labels, predicted = np.concatenate(truth), np.concatenate(said)
    return seconds, float(np.mean([(predicted[labels == c] == c).mean() for c in np.unique(labels)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--folds", type=int, default=68)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    seconds, uar = loso(options.tree, options.folds, options.epochs)
    print(f"{options.folds} folds, {options.epochs} epochs: {seconds:.1f} s, UAR {uar:.3f}")


if __name__ == "__main__":
    main()
