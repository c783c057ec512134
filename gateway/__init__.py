"""The inference gateway: serves versions of models, splits their traffic, and writes down every prediction.

A program of its own (`python -m gateway`) that stands on `tools` alone. It decides nothing: weights come in by
`PUT /admin/routes/{model}`, and what it saw goes out as segment files and metrics.
"""
