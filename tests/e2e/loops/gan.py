"""A GAN: two networks, two losses, two optimizers, one loader."""

import json

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(999)

nz, batch_size, num_epochs = 4, 50, 3
real_label, fake_label = 1.0, 0.0

angle = torch.rand(2000) * 6.2832
points = torch.stack([angle.cos(), angle.sin()], dim=1) + 0.05 * torch.randn(2000, 2)
dataloader = DataLoader(TensorDataset(points), batch_size=batch_size, shuffle=True)

netG = nn.Sequential(nn.Linear(nz, 32), nn.ReLU(), nn.Linear(32, 2))
netD = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Sigmoid())
criterion = nn.BCELoss()
optimizerD = torch.optim.Adam(netD.parameters(), lr=2e-3, betas=(0.5, 0.999))
optimizerG = torch.optim.Adam(netG.parameters(), lr=2e-3, betas=(0.5, 0.999))

samples, batches, lengths = [], [], [len(dataloader)]
for epoch in range(num_epochs):
    count = 0
    for i, (data,) in enumerate(dataloader, 0):
        # Discriminator: the real batch, then a generated one.
        netD.zero_grad()
        b_size = data.size(0)
        label = torch.full((b_size,), real_label)
        errD_real = criterion(netD(data).view(-1), label)
        errD_real.backward()
        noise = torch.randn(b_size, nz)
        fake = netG(noise)
        label.fill_(fake_label)
        errD_fake = criterion(netD(fake.detach()).view(-1), label)
        errD_fake.backward()
        optimizerD.step()

        # Generator: make the discriminator call them real.
        netG.zero_grad()
        label.fill_(real_label)
        errG = criterion(netD(fake).view(-1), label)
        errG.backward()
        optimizerG.step()
        count += b_size
    samples.append(count)
    batches.append(i + 1)
    lengths.append(len(dataloader))
    print(f"[{epoch}/{num_epochs}] Loss_D: {(errD_real + errD_fake).item():.4f}")

with torch.no_grad():
    radius = netG(torch.randn(500, nz)).norm(dim=1).mean().item()
print(
    "RESULT",
    json.dumps(
        {
            "train_samples": samples,
            "train_batches": batches,
            "loader_len": lengths,
            "eval_samples": [],
            "metric_name": "mean_radius",
            "metric": radius,
        }
    ),
)
