"""Where raw data goes: tables of batches, in Parquet or in ClickHouse."""
