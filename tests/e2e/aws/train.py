"""A script as users of Amazon's smart_sifting 1.0 wrote them: every name is that library's."""

import json
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting.data_model.data_model_interface import SiftingBatch, SiftingBatchTransform
from smart_sifting.data_model.list_batch import ListBatch
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader
from smart_sifting.loss.abstract_sift_loss_module import Loss
from smart_sifting.sift_config.sift_configs import (
    LossConfig,
    RelativeProbabilisticSiftConfig,
    SiftingBaseConfig,
)


class PairTransform(SiftingBatchTransform):
    """(inputs, labels) to a list of samples and back."""

    def transform(self, batch: Any) -> SiftingBatch:
        inputs, labels = batch
        return ListBatch(list(inputs), labels.tolist())

    def reverse_transform(self, list_batch: ListBatch) -> Any:
        if len(list_batch.inputs) == 0:
            return torch.empty(0), torch.empty(0)
        return torch.stack(list_batch.inputs), torch.tensor(list_batch.labels)


class PairLoss(Loss):
    def loss(
        self, model: nn.Module, transformed_batch: SiftingBatch, original_batch: Any = None
    ) -> torch.Tensor:
        device = next(model.parameters()).device
        inputs, labels = original_batch
        outputs = model(inputs.to(device))
        return F.cross_entropy(outputs, labels.to(device), reduction="none")


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    inputs = torch.randn(1000, 8)
    data = TensorDataset(inputs, inputs[:, :4].argmax(1))
    model = nn.Linear(8, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    sift_config = RelativeProbabilisticSiftConfig(
        beta_value=3,
        loss_history_length=500,
        loss_based_sift_config=LossConfig(sift_config=SiftingBaseConfig(sift_delay=10)),
    )
    loader = SiftingDataloader(
        sift_config=sift_config,
        orig_dataloader=DataLoader(data, batch_size=20, shuffle=True),
        batch_transforms=PairTransform(),
        loss_impl=PairLoss(),
        model=model,
    )
    lengths, batches = [], []
    for _ in range(2):
        lengths.append(len(loader))
        given = 0
        for x, y in loader:
            given += 1
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        batches.append(given)
    print("RESULT", json.dumps({"lengths": lengths, "batches": batches}))


if __name__ == "__main__":
    main()
