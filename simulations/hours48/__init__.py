"""`oppen simulate 48h`: two days of a platform in two minutes, in a world whose truth is known."""
