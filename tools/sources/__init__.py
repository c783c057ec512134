"""Where raw data comes from: files, object storage, SQL databases, HTTP APIs, streams."""
