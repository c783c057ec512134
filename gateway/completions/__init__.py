"""Language models behind the gateway: OpenAI-style calls, routed by weight between servers and adapters, counted and priced.

The gateway computes nothing here. It picks the version, asks that version's server under the name that the version has there,
and hands the answer on byte by byte, reading along for the tokens. Prompts and answers are neither kept nor logged.
"""
