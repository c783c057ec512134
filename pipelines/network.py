"""The reference model: a small network that carries its own preparation of the features.

Scaling and what is done about missing values are buffers of the module, so the exported file takes raw features as
`tools.registry.serving_spec` lays them out, and training and serving cannot drift apart.
"""

import torch
from torch import Tensor, nn

_WIDEST_EMBEDDING = 8
_CLAMP = 6.0
"""In standard deviations: one flight that is a day late must not drown the rest."""


class Network(nn.Module):
    """float32 [n, numeric] (NaN: unknown) and int64 [n, categorical] (0: unknown) to the logit of the second class [n]."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, categories: tuple[int, ...], *, hidden: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        widths = [min(_WIDEST_EMBEDDING, count) for count in categories]
        self.embeddings = nn.ModuleList(nn.Embedding(count + 1, width) for count, width in zip(categories, widths, strict=True))
        self.body = nn.Sequential(
            nn.Linear(2 * len(mean) + sum(widths), hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, numeric: Tensor, categorical: Tensor) -> Tensor:
        unknown = torch.isnan(numeric)
        scaled = ((numeric - self.mean) / self.scale).clamp(-_CLAMP, _CLAMP)
        known = torch.where(unknown, torch.zeros_like(scaled), scaled)
        embedded = [embedding(categorical[:, column]) for column, embedding in enumerate(self.embeddings)]
        logit: Tensor = self.body(torch.cat([known, unknown.to(known.dtype), *embedded], dim=1))
        return logit.squeeze(1)
