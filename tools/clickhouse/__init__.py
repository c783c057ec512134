"""ClickHouse, embedded or a server: the way there, which all that store something in it share."""
