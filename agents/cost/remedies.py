"""From what an action against an inefficiency has to be told to the action, and what each inefficiency is called as a cause."""

from typing import assert_never

from agents.actions import Action, ConsolidateTraining, ExpireArtifacts, MoveToSpot, Quantize, Scale, SetBatching
from agents.cost.inefficiency import Consolidation, Expiry, Kind, Move, Quantization, Rebatching, Remedy, Shrinking
from agents.evidence import Cause

CAUSES: dict[Kind, Cause] = {
    "quantize": Cause.HEAVY_MODEL,
    "consolidate_training": Cause.DUPLICATE_TRAINING,
    "scale_down": Cause.IDLE_CAPACITY,
    "set_batching": Cause.SMALL_BATCHES,
    "move_to_spot": Cause.FULL_PRICE,
    "expire_artifacts": Cause.STALE_ARTIFACTS,
}


def action_of(remedy: Remedy) -> Action:
    match remedy:
        case Quantization(model=model, version=version):
            return Quantize(model=model, version=version)
        case Consolidation(model=model, kept=kept, cancelled=cancelled):
            return ConsolidateTraining(model=model, kept=kept, cancelled=cancelled)
        case Shrinking(model=model, from_workers=current, workers=workers):
            return Scale(model=model, from_workers=current, workers=workers)
        case Rebatching(model=model, from_rows=from_rows, from_wait_ms=from_wait_ms, rows=rows, wait_ms=wait_ms):
            return SetBatching(model=model, from_rows=from_rows, from_wait_ms=from_wait_ms, rows=rows, wait_ms=wait_ms)
        case Move(model=model, from_pricing=current, pricing=pricing):
            return MoveToSpot(model=model, from_pricing=current, pricing=pricing)
        case Expiry(model=model, items=items):
            return ExpireArtifacts(model=model, items=items)
        case unknown:
            assert_never(unknown)
