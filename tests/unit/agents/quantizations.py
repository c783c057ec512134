"""What a quantisation job might have measured, for tests of what is made of it."""

from tests.unit.agents.worlds import NOW
from tools.registry.evaluations import Compared, Discordance, Facts
from tools.registry.quantizations import Batch, Quantization, Timing, Tried


def timing(mean_ms: float, spread: float = 0.01, p99: float = 1.2) -> Timing:
    """Seven rounds around a mean, the same pattern every time."""
    means = tuple(mean_ms * (1 + spread * step) for step in (0, 1, -1, 2, -2, 1, -1))
    p99s = tuple(each * p99 for each in means)
    return Timing(p50_ms=mean_ms, p99_ms=mean_ms * p99, p50s_ms=means, p99s_ms=p99s)


def batch(rows: int, original: float, converted: float, quantized: float, *, wobble: float = 0.01, p99: float = 1.2) -> Batch:
    """`wobble`: of the INT8 form's rounds, that of the others is nothing; its rounds are then apart from theirs."""
    return Batch(
        rows=rows,
        original=timing(original, 0.0),
        converted=timing(converted, 0.0),
        quantized=timing(quantized, wobble, p99),
    )


def accuracy(lost: int = 3, won: int = 3, rows: int = 4_000, name: str = "accuracy") -> Compared:
    """`lost`: rows that only the original got right."""
    right = int(rows * 0.8)
    return Compared(
        name=name,
        window="held_out",
        candidate=(right - lost + won) / rows,
        champion=right / rows,
        rows=rows,
        discordance=Discordance(only_candidate_right=won, only_champion_right=lost),
    )


def measured(*batches: Batch, facts: tuple[Compared, ...] | None = None) -> Quantization:
    return Quantization(
        model="flights",
        version="3",
        recipe="static",
        tried=(Tried(recipe="static", bytes=250_000, agreement=0.999, apart=0.001),),
        held_out=None,
        recent=None,
        facts=Facts(compared=facts if facts is not None else (accuracy(),)),
        original_bytes=1_000_000,
        converted_bytes=990_000,
        quantized_bytes=250_000,
        batches=batches or (batch(1, 0.2, 0.1, 0.05), batch(32, 1.0, 0.8, 0.4)),
        calibration_rows=1_000,
        measured_at=NOW,
        asked_at=NOW,
        job="oppen-quantization-1",
        artefact="a" * 64,
        original_artefact="b" * 64,
    )
