"""WebDataset: samples in tar files, read as a stream, batched before the loader."""

import io
import json
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import webdataset as wds
from torch import nn

SHARDS, SAMPLES, CLASSES, FEATURES = 8, 150, 5, 12


def write_shards(folder: Path, shards: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(0).normal(size=(CLASSES, FEATURES))
    paths = []
    for shard in range(shards):
        path = folder / f"{seed}-{shard:03d}.tar"
        with tarfile.open(path, "w") as tar:
            for i in range(SAMPLES):
                label = int(rng.integers(CLASSES))
                point = centers[label] + 0.7 * rng.normal(size=FEATURES)
                array = io.BytesIO()
                np.save(array, point.astype(np.float32))
                for name, content in (
                    (f"{shard}-{i:04d}.x.npy", array.getvalue()),
                    (f"{shard}-{i:04d}.y.cls", str(label).encode()),
                ):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        paths.append(str(path))
    return paths


def stream(paths: list[str], shuffle: int) -> wds.WebDataset:
    data = wds.WebDataset(paths, shardshuffle=len(paths) if shuffle else False, seed=1)
    return data.shuffle(shuffle).decode().to_tuple("x.npy", "y.cls").batched(25)


def length(loader) -> int | None:
    try:
        return len(loader)
    except TypeError:
        return None


torch.set_num_threads(1)
torch.manual_seed(0)
folder = Path(tempfile.mkdtemp())
train_loader = wds.WebLoader(
    stream(write_shards(folder, SHARDS, seed=1), 300), batch_size=None, num_workers=1
)
test_loader = wds.WebLoader(stream(write_shards(folder, 2, seed=2), 0), batch_size=None)

model = nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, CLASSES))
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)

samples, batches, evaluated, lengths = [], [], [], [length(train_loader)]
for _ in range(3):
    samples.append(0)
    batches.append(0)
    model.train()
    for x, y in train_loader:
        loss = F.cross_entropy(model(torch.as_tensor(x)), torch.as_tensor(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        samples[-1] += len(y)
        batches[-1] += 1
    lengths.append(length(train_loader))

    model.eval()
    hits = []
    with torch.no_grad():
        for x, y in test_loader:
            hits.append(model(torch.as_tensor(x)).argmax(1) == torch.as_tensor(y))
    hits = torch.cat(hits)
    evaluated.append(len(hits))

result = {
    "train_samples": samples,
    "train_batches": batches,
    "loader_len": lengths,
    "eval_samples": evaluated,
    "metric_name": "accuracy",
    "metric": hits.float().mean().item(),
}
print("RESULT", json.dumps(result))
