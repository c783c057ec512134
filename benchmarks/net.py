"""The torch model that all three servers of `benchmarks.gateway` serve: twelve numbers in, one logit out."""

import torch

FEATURES = 12


def build() -> torch.nn.Sequential:
    torch.manual_seed(7)
    return torch.nn.Sequential(
        torch.nn.Linear(FEATURES, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, 64),
        torch.nn.ReLU(),
        torch.nn.Linear(64, 1),
    )
