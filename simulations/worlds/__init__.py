"""Worlds with a known truth: traffic, versions, labels, telemetry and jobs of one model, and the faults that befall them.

A world is made of a scenario and a seed. It knows what is wrong; what it hands to the platform are the same things that a real
installation would: predictions with latencies and errors, labels that come late, metrics, and alerts of rules that look at
nothing else. Its numbers (standard deviations, shares, factors) are those of what happens, and none is taken from the policies
that judge it.
"""
