"""What an INT8 form is and how it did, for people: Markdown beside it. Everything in it was measured; names are shown, never
interpreted."""

from pipelines.card import plain, table, when
from tools.jobs.prices import Prices
from tools.registry.quantizations import Form, Quantization, per_thousand

FILE = "model-card.md"
_FORMS: tuple[tuple[Form, str], ...] = (("original", "original"), ("converted", "FP32 in ONNX"), ("quantized", "INT8"))


def quantization_card(found: Quantization, data: str, prices: Prices | None) -> str:
    """`data`: where the rows come from."""
    parts = (
        f"# {plain(found.model)}, version {plain(found.version)} in INT8",
        f"Made of version {plain(found.version)} by the platform's job {plain(found.job)}, measured "
        f"{found.measured_at:%Y-%m-%d %H:%M} UTC. It has learnt nothing of its own: weights of INT8 (7 bits of "
        f"them, so that all processors answer alike), {_ranges(found)}.",
        "## How it does",
        f"On {plain(data)}; held out: {when(found.held_out)}; recent: {when(found.recent)}. "
        f"{found.calibration_rows:,} rows were calibrated by and are not among these.",
        table(
            ("measure", "rows of", "number", "INT8", "original"),
            [
                (each.name, each.window.replace("_", " "), f"{each.rows:,}", f"{each.candidate:.4f}", f"{each.champion:.4f}")
                for each in found.facts.compared
            ],
        ),
        "## What it takes",
        "Processor time of one batch in one thread, from features to answers; all three forms in turn. The machine's load was "
        f"{found.load_average:.1f}.",
        table(("rows in a batch", "form", "p50 ms", "p99 ms", _priced(prices)), _timings(found, prices)),
        table(
            ("form", "bytes"),
            [
                ("original", f"{found.original_bytes:,}"),
                ("FP32 in ONNX", f"{found.converted_bytes:,}"),
                ("INT8", f"{found.quantized_bytes:,}"),
            ],
        ),
        "## What was tried",
        table(
            ("recipe", "bytes", "answers as the original", "served"),
            [
                (
                    each.recipe,
                    f"{each.bytes:,}",
                    f"{each.agreement:.2%}" if each.agreement is not None else "not compared",
                    each.refused or "yes",
                )
                for each in found.tried
            ],
        ),
        "## Limits",
        "- Whether it pays is decided by policy, not here.\n"
        "- Times are of the machine that measured; another processor may gain less, or nothing.",
    )
    return "\n\n".join(parts) + "\n"


def _ranges(found: Quantization) -> str:
    if found.recipe == "static":
        return "activations in ranges that were found by calibration, so a row's answer depends on nothing but the row"
    return "activations in ranges that are found in each batch"


def _priced(prices: Prices | None) -> str:
    return f"{prices.currency} per 1,000 predictions" if prices is not None else "cost"


def _timings(found: Quantization, prices: Prices | None) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for batch in found.batches:
        for form, name in _FORMS:
            timing = batch.of(form)
            cost = f"{per_thousand(timing.p50_ms, batch.rows, prices):f}" if prices is not None else "no price"
            rows.append((str(batch.rows), name, f"{timing.p50_ms:.4f}", f"{timing.p99_ms:.4f}", cost))
    return rows
