"""What a table's rows have to be, as data, and what was measured of them."""
