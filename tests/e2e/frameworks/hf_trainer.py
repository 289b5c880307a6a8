"""Hugging Face Trainer: a classifier like BERT, or with --model gpt a causal language model.

Four batches are accumulated for every update, the learning rate falls linearly to 0, and every
epoch ends with an evaluation.
"""

import argparse
import json
import tempfile

import torch
from torch.utils.data import Dataset
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

VOCABULARY, LENGTH, CLASSES = 32, 12, 4


class Sentences(Dataset):
    """Random tokens after eight that are of the words of the sentence's class."""

    def __init__(self, size, seed):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, CLASSES, (size,), generator=generator)
        self.tokens = torch.randint(8, VOCABULARY, (size, LENGTH), generator=generator)
        self.tokens[:, :8] = self.labels[:, None] * 2 + torch.tensor([0, 1] * 4)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        tokens = self.tokens[index]
        return {
            "input_ids": tokens,
            "attention_mask": torch.ones_like(tokens),
            "labels": self.labels[index],
        }


class Counting(Dataset):
    """Sequences that count upwards from a random number, some of them padded."""

    def __init__(self, size, seed):
        generator = torch.Generator().manual_seed(seed)
        start = torch.randint(0, VOCABULARY, (size, 1), generator=generator)
        self.tokens = (start + torch.arange(LENGTH)) % VOCABULARY
        self.lengths = torch.randint(LENGTH // 2, LENGTH + 1, (size,), generator=generator)

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        tokens, length = self.tokens[index], self.lengths[index]
        labels = tokens.clone()
        labels[length:] = -100
        return {"input_ids": tokens, "labels": labels}


class CountingTrainer(Trainer):
    """Counts what reaches it: samples and batches of each epoch, and those of each evaluation."""

    samples, batches, evaluated = [], [], []

    def training_step(self, model, inputs, *args, **kwargs):
        self.samples[-1] += len(inputs["input_ids"])
        self.batches[-1] += 1
        return super().training_step(model, inputs, *args, **kwargs)

    def evaluation_loop(self, *args, **kwargs):
        output = super().evaluation_loop(*args, **kwargs)
        self.evaluated.append(output.num_samples)
        return output


class NewEpoch(TrainerCallback):
    def on_epoch_begin(self, args, state, control, **kwargs):
        CountingTrainer.samples.append(0)
        CountingTrainer.batches.append(0)


def classifier():
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=LENGTH,
            num_labels=CLASSES,
        )
    )


def language_model():
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY,
            n_embd=32,
            n_layer=1,
            n_head=2,
            n_positions=LENGTH,
            use_cache=False,
        )
    )


def accuracy(prediction):
    logits, labels = prediction
    if logits.ndim == 3:
        logits, labels = logits[:, :-1], labels[:, 1:]
    counted = labels != -100
    return {"accuracy": float((logits.argmax(-1) == labels)[counted].mean())}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["bert", "gpt"], default="bert")
    options = parser.parse_args()
    torch.set_num_threads(1)
    set_seed(0)
    data = Sentences if options.model == "bert" else Counting
    trainer = CountingTrainer(
        model=classifier() if options.model == "bert" else language_model(),
        args=TrainingArguments(
            output_dir=tempfile.mkdtemp(),
            num_train_epochs=3,
            per_device_train_batch_size=16,
            per_device_eval_batch_size=50,
            gradient_accumulation_steps=4,
            learning_rate=4e-3,
            lr_scheduler_type="linear",
            eval_strategy="epoch",
            save_strategy="no",
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=data(1920, seed=1),
        eval_dataset=data(200, seed=2),
        compute_metrics=accuracy,
        callbacks=[NewEpoch()],
    )
    trainer.train()
    result = {
        "train_samples": trainer.samples,
        "train_batches": trainer.batches,
        "loader_len": [len(trainer.get_train_dataloader())],
        "eval_samples": trainer.evaluated,
        "global_step": trainer.state.global_step,
        "max_steps": trainer.state.max_steps,
        "epochs": trainer.state.epoch,
        "last_lr": trainer.lr_scheduler.get_last_lr()[0],
        "metric_name": "accuracy",
        "metric": trainer.evaluate()["eval_accuracy"],
    }
    print("RESULT", json.dumps(result))


if __name__ == "__main__":
    main()
