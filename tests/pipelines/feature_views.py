"""Definitions as an installation would have them: a module with VIEWS."""

from tests.pipelines.feature_cases import of_facts, over_windows

VIEWS = (over_windows(), of_facts())
