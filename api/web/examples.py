"""Answers as they really came, shortened: one incident of the demo, from its alert to its audit line.

Here and not on the views: what they are made of is read more often than what they looked like once.
"""

from collections.abc import Mapping
from typing import Any

_ALIVE: dict[str, Any] = {"status": "ok"}

_ALERT: dict[str, Any] = {
    "id": "alr_0198c0ffee00700080000000000000aa",
    "incident_id": "inc_0198c0ffee00700080000000000000aa",
    "source": "alertmanager",
    "fingerprint": "fd57d267f94c925e",
    "status": "firing",
    "name": "ModelAccuracyLow",
    "severity": "critical",
    "labels": {"alertname": "ModelAccuracyLow", "model": "flights", "version": "2", "severity": "critical", "team": "mlops"},
    "annotations": {
        "summary": "Accuracy of flights is 76.8%, below 85%",
        "description": "Measured over the answers of version 2 whose flights have arrived.",
    },
    "link": "http://prometheus.invalid:9090/graph",
    "starts_at": "2026-11-23T14:41:38.847000Z",
    "ends_at": None,
    "first_seen_at": "2026-11-24T06:06:22.118126Z",
    "last_seen_at": "2026-11-24T06:06:22.118126Z",
    "deliveries": 1,
}

_RUN: dict[str, Any] = {
    "id": "run_0198c0ffee00700080000000000000aa",
    "incident_id": "inc_0198c0ffee00700080000000000000aa",
    "subject": "model:flights",
    "status": "completed",
    "due_at": None,
    "event": "wake:20261124T143400.095339Z",
    "outcome": "resolved",
    "error": None,
    "created_at": "2026-11-24T06:06:22.118126Z",
    "updated_at": "2026-11-24T15:25:38.274203Z",
}

_APPROVAL: dict[str, Any] = {
    "id": "apr_0198c0ffee00700080000000000000aa",
    "run_id": "run_0198c0ffee00700080000000000000aa",
    "incident_id": "inc_0198c0ffee00700080000000000000aa",
    "status": "pending",
    "fingerprint": "6a1257a9d6d3dae14a769011284225c2b219142f72711b1f42ea75a766a0fe91",
    "proposal": {
        "id": "run_0198c0ffee00700080000000000000aa/1",
        "run_id": "run_0198c0ffee00700080000000000000aa",
        "incident_id": "inc_0198c0ffee00700080000000000000aa",
        "requested_by": "agent:incident",
        "title": "Roll flights back from version 2 to version 1",
        "action": {"kind": "rollback", "model": "flights", "from_version": "2", "to_version": "1"},
        "state": {"champion": "2", "route_generation": 2, "weights": {"2": 70, "1": 30}, "workers": None},
        "finding": {
            "cause": "model_regression",
            "summary": "Version 2 is wrong more often than version 1 on the same period; the loss is "
            "concentrated in one slice; the change came before the alert; the alerts name the "
            "new version. Version 2 now is right on 76.8% of 426 labels, version 1 now on "
            "86.9% of 283: ...",
            "hypotheses": [
                {
                    "cause": "model_regression",
                    "score": 0.9473,
                    "reason": "Version 2 is wrong more often than version 1 on the same period; "
                    "the loss is concentrated in one slice; the change came before the "
                    "alert; the alerts name the new version.",
                    "supporting": ["accuracy.v2.now-v1.now"],
                    "against": [],
                }
            ],
            "evidence": [
                {
                    "id": "rollout",
                    "statement": "release-pipeline made version 2 champion after version 1 at 2026-11-23 12:39 UTC.",
                    "source": "registry",
                    "query": "registry.history(model=flights)",
                    "value": "2",
                    "unit": "",
                    "limit": None,
                    "sample_size": None,
                    "window": None,
                    "link": "",
                }
            ],
            "missing": [],
            "model": "flights",
            "version": "2",
            "previous_version": "1",
            "assessed_at": "2026-11-24T07:43:44.381348Z",
        },
        "impact": {
            "risk": "medium",
            "blast_radius": "all traffic of flights",
            "expected_effect": "version 1 answers again, as it did before version 2",
            "undo": "give champion and traffic back to version 2",
            "runbook": "rollback",
        },
        "undo_of": None,
        "proposed_at": "2026-11-24T07:47:19.248177Z",
    },
    "request": {
        "action_requests": [
            {
                "name": "rollback",
                "args": {"model": "flights", "from_version": "2", "to_version": "1"},
                "description": "## Roll flights back from version 2 to version 1\n"
                "\n"
                "**Cause: model regression.** Version 2 is wrong more often than "
                "version 1 on the same period; the loss is concentrated in one slice; "
                "the change came before the alert; the alerts name the new version. "
                "...",
            }
        ],
        "review_configs": [{"action_name": "rollback", "allowed_decisions": ["approve", "edit", "reject"]}],
    },
    "narrative": "## Roll flights back from version 2 to version 1\n"
    "\n"
    "**Cause: model regression.** Version 2 is wrong more often than version 1 on the same period; the loss "
    "is concentrated in one slice; the change came before the alert; the alerts name the new version. ...",
    "quorum": 1,
    "requested_by": "agent:incident",
    "policy_version": "e499320ade2c",
    "replaces": None,
    "verdict": None,
    "created_at": "2026-11-24T07:50:21.010109Z",
    "expires_at": "2026-11-24T19:49:05.770927Z",
    "decided_at": None,
}

_ACTION: dict[str, Any] = {
    "key": "run_0198c0ffee00700080000000000000aa/1",
    "run_id": "run_0198c0ffee00700080000000000000aa",
    "incident_id": "inc_0198c0ffee00700080000000000000aa",
    "state": "done",
    "proposal": {
        "id": "run_0198c0ffee00700080000000000000aa/1",
        "requested_by": "agent:incident",
        "title": "Roll flights back from version 2 to version 1",
        "action": {"kind": "rollback", "model": "flights", "from_version": "2", "to_version": "1"},
        "state": {"champion": "2", "route_generation": 2, "weights": {"2": 70, "1": 30}, "workers": None},
        "proposed_at": "2026-11-24T07:47:19.248177Z",
    },
    "before": {"champion": "2", "route_generation": 2, "weights": {"2": 70, "1": 30}, "workers": None},
    "receipt": {
        "key": "run_0198c0ffee00700080000000000000aa/1",
        "action": {"kind": "rollback", "model": "flights", "from_version": "2", "to_version": "1"},
        "before": {"champion": "2", "route_generation": 2, "weights": {"2": 70, "1": 30}, "workers": None},
        "after": {"champion": "1", "route_generation": 3, "weights": {"1": 100}, "workers": None},
        "undo": {"kind": "rollback", "model": "flights", "from_version": "1", "to_version": "2"},
        "started_at": "2026-11-24T08:08:41.183345Z",
        "finished_at": "2026-11-24T08:08:41.260594Z",
    },
    "error": None,
    "intended_at": "2026-11-24T08:08:41.192281Z",
    "finished_at": "2026-11-24T08:08:41.260747Z",
}

_EVENT: dict[str, Any] = {
    "seq": 5,
    "incident_id": "inc_0198c0ffee00700080000000000000aa",
    "run_id": "run_0198c0ffee00700080000000000000aa",
    "name": "proposal.made",
    "data": {
        "proposal": "run_0198c0ffee00700080000000000000aa/1",
        "title": "Roll flights back from version 2 to version 1",
        "action": {"kind": "rollback", "model": "flights", "from_version": "2", "to_version": "1"},
        "fingerprint": "6a1257a9d6d3dae14a769011284225c2b219142f72711b1f42ea75a766a0fe91",
        "requested_by": "agent:incident",
    },
    "at": "2026-11-24T07:50:02.484413Z",
}

_AUDIT: dict[str, Any] = {
    "seq": 11,
    "at": "2026-11-24T08:08:41.260747Z",
    "actor": "engine",
    "action": "action.done",
    "subject": "inc_0198c0ffee00700080000000000000aa",
    "data": {
        "key": "run_0198c0ffee00700080000000000000aa/1",
        "receipt": {
            "action": {"from_version": "2", "kind": "rollback", "model": "flights", "to_version": "1"},
            "after": {"champion": "1", "route_generation": 3, "weights": {"1": 100}, "workers": None},
            "before": {"champion": "2", "route_generation": 2, "weights": {"1": 30, "2": 70}, "workers": None},
            "finished_at": "2026-11-24T08:08:41.260594Z",
            "key": "run_0198c0ffee00700080000000000000aa/1",
            "started_at": "2026-11-24T08:08:41.183345Z",
            "undo": {"from_version": "1", "kind": "rollback", "model": "flights", "to_version": "2"},
        },
    },
    "previous": "987f9aac28de205f032fe872276f638d8db5c2da8ba07275bae41c0fab4d9e6f",
    "hash": "03d1832d58b43dcb1467bd1e3272973f65b9b3685ee15f63d0e80b5f2029de8a",
}

_VERIFICATION: dict[str, Any] = {
    "ok": True,
    "lines": 12,
    "first_bad_seq": None,
    "head": "92d203929416511cd3ccc19ac379f351ad449d60dc9a0466ffd8d25a2c1033a6",
}

_MODELS: dict[str, Any] = {"items": ["flights"]}

_MODEL: dict[str, Any] = {
    "name": "flights",
    "aliases": {"champion": "1"},
    "versions": [
        {
            "model": "flights",
            "version": "2",
            "created_at": "2026-11-24T05:00:26.227000Z",
            "run_id": "0cefbd6fe38444b1949c02575372a171",
            "status": "READY",
            "format": "pt2",
            "tags": {"data.from": "2013-01-08T00:00:00+00:00", "data.to": "2013-03-08T00:00:00+00:00", "data.rows": "39929"},
        }
    ],
    "route": {"model": "flights", "generation": 3, "weights": {"1": 100}},
    "served": [{"version": "1", "state": "ready", "detail": ""}],
    "capacity": {"workers": 1, "limit": 8, "utilisation": 0.12},
    "serving_error": None,
}

_HISTORY: dict[str, Any] = {
    "items": [
        {
            "model": "flights",
            "alias": "champion",
            "before": "2",
            "after": "1",
            "at": "2026-11-24T08:08:41.220443Z",
            "actor": "demo-approver",
            "reason": "Version 2 is wrong more often than version 1 on the same period; the loss is concentrated in "
            "one slice; the change came before the alert; the alerts name the new version. Version 2 now is "
            "right on 76.8% of 426 labels, version 1 now on 86.9% of 283: ...",
            "key": "run_0198c0ffee00700080000000000000aa/1/alias",
            "origin": "oppen",
        }
    ]
}

_AUTONOMY: dict[str, Any] = {"mode": "propose", "actor": "ada", "reason": "the drill is over", "at": "2026-11-24T15:30:00Z"}

_POLICIES: dict[str, Any] = {"version": "8e5129f4602d", "policies": {"mode": "propose", "notify_channel": "ops"}}

_KEY: dict[str, Any] = {
    "id": "0198c0ffee00700080000000000000aa",
    "name": "ada",
    "role": "approver",
    "created_at": "2026-11-24T12:00:00Z",
    "expires_at": None,
    "revoked_at": None,
}

_SUMMARY: dict[str, Any] = {
    "id": "inc_0198c0ffee00700080000000000000aa",
    "subject": "model:flights",
    "model": "flights",
    "title": "Accuracy of flights is 76.8%, below 85%",
    "severity": "critical",
    "status": "resolved",
    "cause": "model_regression",
    "summary": "Version 2 is wrong more often than version 1 on the same period; the loss is concentrated in one slice; "
    "the change came before the alert; the alerts name the new version. Version 2 now is right on 76.8% of 426 "
    "labels, version 1 now on 86.9% of 283: ...",
    "opened_at": "2026-11-24T06:06:22.118126Z",
    "updated_at": "2026-11-24T15:25:38.274203Z",
    "closed_at": "2026-11-24T15:25:38.274203Z",
}

_DECIDED = {
    **_APPROVAL,
    "status": "approved",
    "verdict": {
        "decision": {"type": "approve"},
        "fingerprint": "6a1257a9d6d3dae14a769011284225c2b219142f72711b1f42ea75a766a0fe91",
        "decided_by": ["demo-approver"],
        "decided_at": "2026-11-24T08:08:41.122399Z",
    },
    "decided_at": "2026-11-24T08:08:41.122399Z",
}

_DRIFT: dict[str, Any] = {
    "model": "loans",
    "version": None,
    "reference": {"start": "2026-02-01T09:00:00Z", "end": "2026-03-01T09:00:00Z"},
    "current": {"start": "2026-03-01T09:00:00Z", "end": "2026-03-02T09:00:00Z"},
    "rows_reference": 3000,
    "rows_current": 1500,
    "left_out": [],
    "finding": {
        "cause": "covariate_drift",
        "reason": "number2 moved, and no value is broken",
        "considered": [
            "The shares of the labels moved by 4.8% only.",
            "Answers of the same class and score are right about as often as before (+1.0%).",
            "number2 were not so in 3 of 3 earlier seasons.",
        ],
        "features": {
            "dataset_drift": False,
            "drifted_share": 0.125,
            "cause": "covariate_drift",
            "reason": "number2 moved, and no value is broken",
            "features": [
                {
                    "name": "number2",
                    "type": "numeric",
                    "method": "wasserstein",
                    "score": 0.5627,
                    "threshold": 0.1,
                    "p_value": 9.201e-45,
                    "drifted": True,
                    "n_reference": 3000,
                    "n_current": 1500,
                    "nulls_reference": 0.0,
                    "nulls_current": 0.0,
                    "faults": [],
                },
                {
                    "name": "number3",
                    "type": "numeric",
                    "method": "wasserstein",
                    "score": 0.061,
                    "threshold": 0.1,
                    "p_value": 0.4728,
                    "drifted": False,
                    "n_reference": 3000,
                    "n_current": 1500,
                    "nulls_reference": 0.0,
                    "nulls_current": 0.0,
                    "faults": [],
                },
            ],
        },
        "answers": {
            "dataset_drift": False,
            "drifted_share": 0.3333,
            "cause": "covariate_drift",
            "reason": "score moved, and no value is broken",
            "features": [
                {
                    "name": "score",
                    "type": "numeric",
                    "method": "wasserstein",
                    "score": 0.1707,
                    "threshold": 0.1,
                    "p_value": 1.34e-09,
                    "drifted": True,
                    "n_reference": 3000,
                    "n_current": 1500,
                    "nulls_reference": 0.0,
                    "nulls_current": 0.0,
                    "faults": [],
                }
            ],
        },
        "performance": {
            "answered": 1500,
            "labelled": 781,
            "accuracy": 0.7785,
            "interval": [0.748, 0.8062],
            "estimate": 0.7606,
            "same_score_change": 0.0098,
            "same_score_p": 0.5477,
        },
        "missing": [],
    },
}

_QUALITY: dict[str, Any] = {
    "model": "loans",
    "reference": {"start": "2026-02-01T09:00:00Z", "end": "2026-03-01T09:00:00Z"},
    "current": {"start": "2026-03-01T09:00:00Z", "end": "2026-03-02T09:00:00Z"},
    "versions": [
        {
            "version": "1",
            "count": 1500,
            "errors": 0,
            "labelled": 781,
            "mean_absolute_error": None,
            "performance": {
                "answered": 1500,
                "labelled": 781,
                "accuracy": 0.7785,
                "interval": [0.748, 0.8062],
                "estimate": 0.7606,
                "same_score_change": 0.0098,
                "same_score_p": 0.5477,
            },
        }
    ],
    "features": [{"name": "number2", "null_rate": 0.0, "null_rate_reference": 0.0, "faults": []}],
}

_LINEAGE: dict[str, Any] = {
    "node": "features:trip_features@5c1d",
    "nodes": [
        {
            "id": "features:trip_features@5c1d",
            "kind": "features",
            "namespace": "features",
            "name": "trip_features",
            "version": "5c1d",
            "depth": 0,
            "job": None,
            "state": None,
            "started_at": None,
            "ended_at": None,
            "facets": {"schema": {"fields": [{"name": "distance_mean_7d", "type": "double"}]}},
        },
        {
            "id": "run:0198c0ff-ee00-7080-8000-0000000000aa",
            "kind": "run",
            "namespace": "oppen",
            "name": "0198c0ff-ee00-7080-8000-0000000000aa",
            "version": None,
            "depth": 1,
            "job": "job:oppen/features.trip_features",
            "state": "COMPLETE",
            "started_at": "2026-11-24T06:00:00Z",
            "ended_at": "2026-11-24T06:00:09.204611Z",
            "facets": {"oppen_code": {"package": "oppen", "version": "0.1.0", "commit": "c96e9d7", "changed": False}},
        },
        {
            "id": "batch:trips/file:2026-11-23.parquet:18234:9f86d081",
            "kind": "batch",
            "namespace": "lake",
            "name": "trips",
            "version": "file:2026-11-23.parquet:18234:9f86d081",
            "depth": 2,
            "job": None,
            "state": None,
            "started_at": None,
            "ended_at": None,
            "facets": {"batch": {"name": "2026-11-23.parquet", "rows": 9120, "quarantined": 3}},
        },
    ],
    "edges": [
        {
            "source": "run:0198c0ff-ee00-7080-8000-0000000000aa",
            "target": "features:trip_features@5c1d",
            "kind": "output",
            "facets": {"outputStatistics": {"rowCount": 9120}},
        },
        {
            "source": "batch:trips/file:2026-11-23.parquet:18234:9f86d081",
            "target": "run:0198c0ff-ee00-7080-8000-0000000000aa",
            "kind": "input",
            "facets": {},
        },
    ],
    "next_cursor": None,
}
_QUARANTINE: dict[str, Any] = {
    "id": "qua_0198c0ffee00700080000000000000aa",
    "model": "loans",
    "starts_at": "2026-03-02T03:00:00Z",
    "ends_at": "2026-03-02T09:00:00Z",
    "features": ["number2"],
    "reason": "Number2: 31.0% are null, 0.0% were.",
    "placed_by": "ada",
    "placed_at": "2026-03-02T09:12:40.118126Z",
    "released_by": None,
    "release_reason": None,
    "released_at": None,
}
_DATASET: dict[str, Any] = {
    "table": "trips",
    "bad": True,
    "summary": "Worse than before: far has no value in 21.2% of the rows, 20.2 points more than usual.",
    "stale": False,
    "newest": "2026-11-25T06:00:00Z",
    "model": None,
}

_DATASET_QUALITY: dict[str, Any] = {
    "table": "trips",
    "model": None,
    "bad": True,
    "summary": "Worse than before: far has no value in 21.2% of the rows, 20.2 points more than usual.",
    "degradations": [
        {
            "respect": "nulls",
            "column": "far",
            "value": 0.2122969837587007,
            "usual": 0.009867139575535453,
            "p_value": 5.753893342542006e-08,
            "summary": "far has no value in 21.2% of the rows, 20.2 points more than usual",
        }
    ],
    "compared_with": 12,
    "freshness": {
        "bad": False,
        "newest": "2026-11-25T06:00:00Z",
        "newest_event": "2026-11-25T06:00:00Z",
        "limit": "P4D",
        "summary": "The newest batch is of 2026-11-25 06:00 UTC.",
    },
    "batches": [
        {
            "key": "file:trips-2026-11-25.csv:175843:17ff8d95cb3d9d6e8937d90114076a0c476b61a21522e945a4cb0ebc2c9e5989",
            "name": "in/trips-2026-11-25.csv",
            "at": "2026-11-25T06:00:00Z",
            "verdict": "partly accepted",
            "refused": None,
            "rows": 5172,
            "quarantined": 6,
            "schema_version": "04df30f988ba",
            "newest_event": "2026-11-25T06:00:00Z",
            "broken": [{"column": "kind", "rule": "allowed", "rows": 6, "example": "kind: 'tram' is not one of 'bus', 'car'"}],
            "odd": [],
            "columns": [
                {
                    "name": "far",
                    "kind": "numeric",
                    "rows": 5172,
                    "nulls": 1098,
                    "not_finite": 0,
                    "distinct": 179,
                    "exact": True,
                    "minimum": 0.3,
                    "maximum": 24.4,
                    "mean": 11.988684339715268,
                    "deviation": 3.0006531913701666,
                    "quantiles": [0.3, 10.0, 12.0, 14.0, 24.4],
                    "top": [],
                    "complete": False,
                },
                {
                    "name": "kind",
                    "kind": "categorical",
                    "rows": 5172,
                    "nulls": 0,
                    "not_finite": 0,
                    "distinct": 2,
                    "exact": True,
                    "minimum": None,
                    "maximum": None,
                    "mean": None,
                    "deviation": None,
                    "quantiles": [],
                    "top": [["car", 2656], ["bus", 2516]],
                    "complete": True,
                },
            ],
        }
    ],
}

_FEATURE_VIEW: dict[str, Any] = {
    "name": "origin_weather",
    "version": "d8530bdd7d46",
    "current": True,
    "description": "The last weather reported at an airport: °F, mph, inches, miles.",
    "owner": "mlops",
    "source": "weather",
    "entities": {"origin": "text"},
    "features": {"temp": "number", "wind_speed": "number", "precip": "number", "visib": "number"},
    "ttl_s": 21600.0,
    "rows": 26115,
    "newest": "2013-11-20T12:00:00Z",
    "computed_at": "2026-11-24T09:00:04.120114Z",
    "materialized_until": "2026-11-24T09:00:03.801220Z",
}

_JOB: dict[str, Any] = {
    "name": "oppen-run-0198c0ffee0070008000000000-1f4a7c0e9b2d3a55",
    "model": "flights",
    "team": "airports",
    "run_id": "run_0198c0ffee00700080000000000000aa",
    "phase": "running",
    "reason": None,
    "detail": "",
    "exit_code": None,
    "attempts": 1,
    "progress": {"fraction": 0.6, "text": "registering", "eta_seconds": 4.0},
    "submitted_at": "2026-11-25T06:02:11.402113Z",
    "started_at": "2026-11-25T06:02:12.118126Z",
    "ended_at": None,
}

_ROLLOUT: dict[str, Any] = {
    "id": "rol_0198c0ffee00700080000000000000aa",
    "model": "flights",
    "version": "2",
    "from_version": "1",
    "status": "running",
    "stages": [{"weight": 0.1, "hold": "PT1H"}, {"weight": 0.5, "hold": "PT2H"}, {"weight": 1.0, "hold": "PT0S"}],
    "stage": 0,
    "stage_since": "2026-11-25T06:10:00Z",
    "look": {
        "choice": "hold",
        "reason": "12 min of 1 h have passed.",
        "stage": 0,
        "judged": [],
        "mismatch": None,
        "asks_at": "2026-11-25T11:10:00Z",
        "at": "2026-11-25T06:22:00Z",
    },
    "reason": "12 min of 1 h have passed.",
    "ordered": None,
    "ordered_by": None,
    "order_reason": None,
    "proposal_id": "run_0198c0ffee00700080000000000000aa/2",
    "run_id": "run_0198c0ffee00700080000000000000aa",
    "incident_id": "inc_0198c0ffee00700080000000000000aa",
    "began_at": "2026-11-25T06:10:00Z",
    "updated_at": "2026-11-25T06:22:00Z",
    "ended_at": None,
    "progress": {
        "stage": 1,
        "stages": 3,
        "weight": 0.1,
        "fraction": 0.0667,
        "eta_seconds": 10080.0,
        "waits_for": "the time of its stage: 48 min more",
    },
}

EXAMPLES: Mapping[str, dict[str, Any]] = {
    "JobView": _JOB,
    "JobUsageView": {
        **_JOB,
        "usage": {"wall_seconds": 9.4, "gpu_seconds": 0.0, "cpu_seconds": 8.9, "peak_memory_bytes": 612368384},
    },
    "JobsView": {"items": [{**_JOB, "progress": None}]},
    "LinesView": {"items": ['{"progress": 0.6, "text": "registering"}']},
    "RolloutView": _ROLLOUT,
    "TriggeredView": {"incident_id": "inc_0198c0ffee00700080000000000000aa", "joined": False, "aborts": None, "undoes": None},
    "Alive": _ALIVE,
    "AlertView": _ALERT,
    "RunView": _RUN,
    "ApprovalView": _APPROVAL,
    "ActionView": _ACTION,
    "EventView": _EVENT,
    "AuditView": _AUDIT,
    "VerificationView": _VERIFICATION,
    "ModelsView": _MODELS,
    "ModelView": _MODEL,
    "DriftView": _DRIFT,
    "QualityView": _QUALITY,
    "GraphView": _LINEAGE,
    "ToldView": {"new": True, "run": "run:0198c0ff-ee00-7080-8000-0000000000aa"},
    "DatasetsView": {"configured": True, "items": [_DATASET]},
    "DatasetQualityView": _DATASET_QUALITY,
    "MonitorsView": {
        "items": [
            {
                "subject": "model:loans",
                "model": "loans",
                "table": None,
                "monitor": "drift",
                "bad": True,
                "summary": "Covariate drift: number2 moved, and no value is broken.",
                "streak": 3,
                "raised_at": "2026-11-24T09:00:00Z",
                "tick": "2026-11-24T09:00:00Z",
                "checked_at": "2026-11-24T09:00:12.204611Z",
            }
        ]
    },
    "QuarantineView": _QUARANTINE,
    "FeaturesView": {"items": [_FEATURE_VIEW]},
    "FeatureValuesView": {
        "items": [
            {
                "entity": {"origin": "JFK"},
                "values": {"origin_delays:late_rate_24h": 0.2131, "origin_weather:temp": 44.06},
                "as_of": {"origin_delays": "2013-11-20T12:00:00Z", "origin_weather": "2013-11-20T12:00:00Z"},
            }
        ]
    },
    "AliasesView": {"at": "2026-11-24T08:00:00Z", "aliases": {"champion": "2"}},
    "HistoryView": _HISTORY,
    "AutonomyView": _AUTONOMY,
    "PoliciesView": _POLICIES,
    "KeyView": _KEY,
    "IncidentSummary": _SUMMARY,
    "IncidentView": {
        **_SUMMARY,
        "report": {
            "outcome": "resolved",
            "reason": "On version 1, error rate 0.0% (296 samples), accuracy 94.8% (116 samples).",
        },
        "alerts": [_ALERT],
        "runs": [_RUN],
        "approvals": [_DECIDED],
        "actions": [_ACTION],
    },
    "DecidedView": {"approval": _DECIDED, "votes": 1, "decided": True},
    "KeysView": {"items": [_KEY]},
    "NewKeyView": {**_KEY, "key": "oppen_0198c0ffee00700080000000000000aa_..."},
}
"""By the name of the schema."""

TEXTS: Mapping[str, str] = {
    "text/event-stream": 'id: 7\nevent: approval.requested\ndata: {"seq": 7, "name": "approval.requested", "data": {}}\n\n',
    "text/html": "<!DOCTYPE html>...",
    "text/markdown": "## Alerts\n\n- `ModelAccuracyLow`, critical, since 2026-11-24 06:06 UTC: ...\n\n## Finding\n\n...",
    "text/plain": 'oppen_alerts_total{outcome="new",source="alertmanager"} 1.0\n',
}
"""By media type."""
