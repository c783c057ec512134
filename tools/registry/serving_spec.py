"""The contract between whoever trains a model and the gateway that serves it: `serving.json`, beside the model file.

A model file takes tensors; requests carry named features. The spec says how one becomes the other, and how the model's
output becomes a prediction, without any code travelling with the model.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from tools.values import Frozen

FILE = "serving.json"


class NumericFeature(Frozen):
    """Goes into the model's first tensor, float32 `[batch, numeric features]`, in the order of the spec; null becomes NaN."""

    kind: Literal["numeric"] = "numeric"
    name: str


class CategoricalFeature(Frozen):
    """Goes into the second tensor, int64 `[batch, categorical features]`: position in `categories` plus 1; unknown is 0."""

    kind: Literal["categorical"] = "categorical"
    name: str
    categories: tuple[str, ...]


Feature = NumericFeature | CategoricalFeature


class ServingSpec(Frozen):
    """`task` binary: output `[batch]` or `[batch, 1]` is the logit of `classes[1]`, predicted when its probability reaches
    `threshold`. multiclass: output `[batch, classes]` holds logits. regression: output `[batch]` is the value.

    A model with only numeric (or only categorical) features takes that one tensor.
    """

    features: tuple[Feature, ...] = Field(min_length=1)
    task: Literal["binary", "multiclass", "regression"]
    classes: tuple[str, ...] = ()
    threshold: float = Field(default=0.5, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names):
            raise ValueError("features: names must be unique")
        wanted = {"binary": len(self.classes) == 2, "multiclass": len(self.classes) > 2, "regression": not self.classes}
        if not wanted[self.task]:
            raise ValueError(f"classes: {len(self.classes)} classes do not fit a {self.task} model")
        return self


class LoraAdapter(Frozen):
    """Weights that a server lays over its base model."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$")
    """What the server calls it: one name, one content, so best with the version in it."""
    path: str = Field(min_length=1, max_length=1000)
    """Where the *server* finds it: a folder of its disk, or a name that it can resolve."""


class CompletionsSpec(Frozen):
    """What `serving.json` says of a version that a language-model server answers for: no file of the version is loaded here.

    Where the server is and with which key it is asked are settings of the gateway, so that a model never brings an address.
    """

    runtime: Literal["vllm"]
    server: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """A name in the gateway's `completion_servers`."""
    model: str = Field(min_length=1, max_length=200)
    """What the server calls the base model."""
    adapter: LoraAdapter | None = None

    @property
    def served_name(self) -> str:
        """The `model` of a request to the server."""
        return self.adapter.name if self.adapter is not None else self.model
