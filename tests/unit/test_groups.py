"""Tests that share what is dear run in one worker: said by their marks, and carried out by xdist."""

import os

import pytest


@pytest.mark.xdist_group("together")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process: there is nothing to be kept together")
def test_a_group_is_one_to_whoever_hands_out_the_tests(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@together")
