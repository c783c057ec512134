import pytest

from tests.databases import BACKENDS


@pytest.fixture(params=BACKENDS)
def threads_url(request: pytest.FixtureRequest) -> str:
    """Where LangGraph's threads are kept, on each database; a place of its own, since threads may have another test's names."""
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/checkpoints.db"
    url: str = request.getfixturevalue("postgres_url")
    return url
