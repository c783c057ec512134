"""The history of the schema. A revision is never edited once a release has carried it; the next one changes what it made."""
