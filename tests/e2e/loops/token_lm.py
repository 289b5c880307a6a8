"""A small causal language model: cross entropy over every token, padding ignored."""

import json
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

torch.set_num_threads(1)
torch.manual_seed(1337)

vocab_size, block_size, n_embd, pad = 24, 16, 32, -100


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1 = nn.LayerNorm(n_embd)
        self.attn = nn.MultiheadAttention(n_embd, 2, dropout=0.1, batch_first=True)
        self.ln_2 = nn.LayerNorm(n_embd)
        self.mlp = nn.Sequential(
            nn.Linear(n_embd, 4 * n_embd), nn.GELU(), nn.Linear(4 * n_embd, n_embd)
        )

    def forward(self, x):
        mask = nn.Transformer.generate_square_subsequent_mask(x.size(1))
        h = self.ln_1(x)
        x = x + self.attn(h, h, h, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.wpe = nn.Embedding(block_size, n_embd)
        self.blocks = nn.ModuleList([Block()])
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, idx):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1)))
        for block in self.blocks:
            x = block(x)
        return self.lm_head(x)


def make_sequences(n):
    """Counting with a step of 1 to 5, modulo the vocabulary, of different lengths."""
    out = []
    for _ in range(n):
        start, step = int(torch.randint(vocab_size, ())), int(torch.randint(1, 6, ()))
        length = int(torch.randint(block_size // 2, block_size + 2, ()))
        out.append((start + step * torch.arange(length)) % vocab_size)
    return out


def collate(sequences):
    inputs = torch.zeros(len(sequences), block_size, dtype=torch.long)
    labels = torch.full((len(sequences), block_size), pad)
    for row, s in enumerate(sequences):
        inputs[row, : len(s) - 1] = s[:-1]
        labels[row, : len(s) - 1] = s[1:]
    return inputs, labels


def lm_loss(logits, labels):
    return F.cross_entropy(logits.view(-1, vocab_size), labels.view(-1), ignore_index=pad)


train_loader = DataLoader(make_sequences(1000), batch_size=20, shuffle=True, collate_fn=collate)
val_loader = DataLoader(make_sequences(100), batch_size=50, collate_fn=collate)
model = GPT()
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.95))

epochs = 3
max_iters = epochs * len(train_loader)
history = {"train_samples": [], "train_batches": [], "eval_samples": []}
history["loader_len"] = [len(train_loader)]
it = 0
for _ in range(epochs):
    model.train()
    n = b = 0
    for xb, yb in train_loader:
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * 0.5 * (1 + math.cos(math.pi * it / max_iters))
        loss = lm_loss(model(xb), yb)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        it += 1
        n += xb.size(0)
        b += 1
    history["train_samples"].append(n)
    history["train_batches"].append(b)
    history["loader_len"].append(len(train_loader))

    model.eval()
    losses, n = [], 0
    with torch.no_grad():
        for xb, yb in val_loader:
            losses.append(lm_loss(model(xb), yb).item())
            n += xb.size(0)
    history["eval_samples"].append(n)
    print(f"iter {it}: val loss {sum(losses) / len(losses):.4f}")

history["metric_name"] = "val_loss"
history["metric"] = sum(losses) / len(losses)
print("RESULT", json.dumps(history))
