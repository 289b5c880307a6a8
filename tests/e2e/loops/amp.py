"""Mixed precision: autocast to bfloat16 and a gradient scaler."""

import json

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self, in_size: int, hidden: int, out_size: int, num_layers: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(in_size, hidden), nn.ReLU()]
        for _ in range(num_layers):
            layers += [nn.Linear(hidden, hidden), nn.ReLU()]
        layers.append(nn.Linear(hidden, out_size))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


device = "cpu"
use_amp = True

prototypes = torch.randn(6, 24)
classes = torch.randint(6, (2400,))
images = prototypes[classes] + 1.5 * torch.randn(2400, 24)
train_loader = DataLoader(TensorDataset(images[:2000], classes[:2000]), batch_size=40, shuffle=True)
test_loader = DataLoader(TensorDataset(images[2000:], classes[2000:]), batch_size=40)

net = Net(24, 48, 6, num_layers=1).to(device)
loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
scaler = torch.amp.GradScaler(device, enabled=use_amp)

record = {
    "train_samples": [],
    "train_batches": [],
    "loader_len": [len(train_loader)],
    "eval_samples": [],
}
for _ in range(3):
    n_samples = n_batches = 0
    for image, label in train_loader:
        image, label = image.to(device), label.to(device)
        with torch.autocast(device_type=device, dtype=torch.bfloat16, enabled=use_amp):
            output = net(image)
            loss = loss_fn(output, label)
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
        n_samples += image.size(0)
        n_batches += 1
    record["train_samples"].append(n_samples)
    record["train_batches"].append(n_batches)
    record["loader_len"].append(len(train_loader))

    hits = seen = 0
    with torch.inference_mode(), torch.autocast(device_type=device, dtype=torch.bfloat16):
        for image, label in test_loader:
            hits += (net(image).argmax(1) == label).sum().item()
            seen += label.numel()
    record["eval_samples"].append(seen)

record["metric_name"] = "accuracy"
record["metric"] = hits / seen
record["scale"] = scaler.get_scale()
print("RESULT", json.dumps(record))
