"""The peer that everybody writes first: FastAPI, pydantic and a torch forward, in one process. `python -m benchmarks.bare`.

As fast as such a handler gets without leaving the pattern: async, no thread pool, one torch thread, the plain module.
"""

import sys
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Request(BaseModel):
    rows: list[list[float]]


class Answer(BaseModel):
    predictions: list[str]
    scores: list[float]


def app(weights: Path) -> FastAPI:
    from benchmarks.net import build

    torch.set_num_threads(1)
    net = build()
    net.load_state_dict(torch.load(weights, weights_only=True))
    net.eval()
    served = FastAPI()

    @served.post("/predict")
    async def predict(request: Request) -> Answer:
        with torch.inference_mode():
            scores = torch.sigmoid(net(torch.tensor(request.rows))[:, 0]).tolist()
        return Answer(predictions=["late" if score >= 0.5 else "on_time" for score in scores], scores=scores)

    @served.get("/ready")
    async def ready() -> dict[str, bool]:
        return {"ready": True}

    return served


if __name__ == "__main__":
    uvicorn.run(
        app(Path(sys.argv[1])), port=int(sys.argv[2]), loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
