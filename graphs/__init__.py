"""Sequence: LangGraph wiring and nothing else. What is decided is in `agents`, what touches the world is behind `tools`."""

import os

# Both are read when LangGraph is imported. Checkpoints are outside data when they come back: only the types of our own state
# are rebuilt from them. And no run of an operator's incident is traced to anybody unless the operator switched that on.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
os.environ.setdefault("LANGSMITH_TRACING", "false")
