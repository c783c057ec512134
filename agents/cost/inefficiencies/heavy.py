"""A model whose serving costs enough for an INT8 version to be worth an experiment. Whether it pays is for that to measure."""

from decimal import Decimal

from agents.actions import Risk
from agents.cost.case import CostCase
from agents.cost.inefficiency import Inefficiency, Quantization, Saving
from agents.cost.quantization_rules import QuantizationRules
from agents.evidence import Evidence
from agents.quantization_job import stands
from agents.wording import counted, money, share
from tools.values import Instant

_MOST = Decimal("0.67")
"""Of the processor's time: INT8 on ONNX Runtime is up to three times as fast as FP32. At least it saves nothing: small models
may get slower, which the experiment finds out."""
_LEAST_HOURS = 2
"""Of serving on record: less is no rate."""
_PLACES = Decimal("0.000001")


def heavy_model(case: CostCase, own: QuantizationRules, now: Instant) -> Inefficiency | None:
    """None where it is INT8 already, was measured lately, or costs too little."""
    serving = case.serving
    if case.model is None or case.currency is None or serving is None or own.command is None or case.quantized:
        return None
    if case.measured is not None and stands(case.measured, own, now):
        return None
    if serving.hours < _LEAST_HOURS or not serving.predictions:
        return None
    expected = Saving(low=Decimal(0), high=(serving.per_day * _MOST).quantize(_PLACES), currency=case.currency)
    per_thousand = serving.cost * 1000 / serving.predictions
    what = (
        f"Version {serving.version} of {case.model} is served as it was trained for {money(serving.per_day, case.currency)} a "
        f"day ({money(per_thousand, case.currency)} per 1,000 predictions): INT8 may take up to {share(float(_MOST))} less, "
        "which an experiment measures, of processor time: where workers are billed while they are held, only fewer of them "
        "(scale_down) turn that into money"
    )
    evidence = Evidence(
        id=f"serving.{serving.version}",
        statement=f"Serving version {serving.version} has cost {money(serving.cost, case.currency)} in "
        f"{counted(serving.hours, 'hour')}, for {serving.predictions:,} predictions.",
        source="costs",
        query=f"breakdown(serving of {case.model}, by version)",
        value=float(serving.per_day),
        unit=f"{case.currency}/day",
        sample_size=serving.hours,
        window=case.window,
    )
    return Inefficiency(
        kind="quantize",
        subject=case.model,
        evidence=(evidence,),
        expected=expected,
        risk=Risk.LOW,
        what=what[:500],
        remedy=Quantization(model=case.model, version=serving.version),
    )
